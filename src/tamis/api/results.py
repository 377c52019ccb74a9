"""What a run or an evaluation left, as objects: tables, counts, figures, a report, a model."""

import html
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tamis.adaptation import outcome_of
from tamis.artifacts import read_json
from tamis.errors import RunError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from tamis.models.reranker import Reranker


@dataclass(frozen=True)
class RecordTable:
    """Records in Parquet files, read when they are asked for.

    Attributes:
        files: The files, each with the stage that wrote it.
        with_stage: Whether rows say their stage.
    """

    files: tuple[tuple[str, Path], ...]
    with_stage: bool = False

    def to_arrow(self) -> "pa.Table":
        """All rows, [records], as a pyarrow table."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        tables = []
        for stage, file in self.files:
            table = pq.read_table(file)
            tables.append(table.add_column(0, "stage", pa.array([stage] * len(table))) if self.with_stage else table)
        return pa.concat_tables(tables, promote_options="default")

    def to_pandas(self) -> "pd.DataFrame":
        """All rows, [records], as a pandas DataFrame; pandas has to be installed."""
        return self.to_arrow().to_pandas()

    def __len__(self) -> int:
        return int(self.to_arrow().num_rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.to_arrow().to_pylist())


@dataclass(frozen=True)
class Report:
    """A self-contained HTML page; a notebook shows it in place.

    Attributes:
        path: The file.
    """

    path: Path

    @property
    def html(self) -> str:
        """The whole page."""
        return self.path.read_text(encoding="utf-8")

    def _repr_html_(self) -> str:
        """The page in a frame of its own, so that neither its styles nor its scripts touch the notebook's."""
        page = html.escape(self.html, quote=True)
        return f'<iframe title="tamis report" style="width:100%;height:800px;border:0" srcdoc="{page}"></iframe>'


@dataclass(frozen=True)
class RunResult:
    """What a run left in its folder.

    Example:
        >>> run = tamis.run("recipes/mine.yaml", until="lists")  # doctest: +SKIP
        >>> run.counts["queries"]["dropped"]  # doctest: +SKIP
        {'too short': 12}

    Attributes:
        name: Name of the recipe.
        folders: Folder of each finished stage, by name.
    """

    name: str
    folders: Mapping[str, Path]

    @property
    def documents(self) -> RecordTable:
        """Documents that were kept, see `tamis.records.Document`."""
        return self.records("corpus")

    @property
    def queries(self) -> RecordTable:
        """Queries that were kept, see `tamis.records.Query`."""
        return self.records("queries")

    @property
    def candidates(self) -> RecordTable:
        """Documents that were found for each query, see `tamis.records.Candidates`."""
        return self.records("candidates")

    @property
    def scores(self) -> RecordTable:
        """The teacher's score of each candidate, see `tamis.records.ScoredCandidates`."""
        return self.records("scores")

    @property
    def lists(self) -> RecordTable:
        """Training lists with their labels, see `tamis.records.TrainingList`."""
        return self.records("lists")

    @property
    def dropped(self) -> RecordTable:
        """All that was left out, with stage, id, reason, language and the beginning of the text."""
        found = ((stage, folder / "dropped.parquet") for stage, folder in self.folders.items())
        return RecordTable(tuple((stage, file) for stage, file in found if file.is_file()), with_stage=True)

    @property
    def counts(self) -> dict[str, dict[str, Any]]:
        """Of each stage what came `in`, what was `kept`, and what was `dropped` by reason."""
        return {stage: self._manifest(stage)["counts"] for stage in self.folders}

    @property
    def warnings(self) -> list[str]:
        """What the stages warn of."""
        return [warning for stage in self.folders for warning in self._manifest(stage).get("warnings", ())]

    @property
    def figures(self) -> dict[str, Any]:
        """What the stage evaluate measured: the content of results.json, see docs/results.md.

        Raises:
            RunError: nothing was measured.
        """
        found: dict[str, Any] = read_json(self._folder("evaluate") / "results.json")
        return found

    @property
    def agreement(self) -> dict[str, tuple[float, float, float]]:
        """nDCG@10 against the teacher on held-out queries by domain: the start, the specialist, the result.

        Raises:
            RunError: the run did not come to the stage merge.
        """
        return outcome_of({"merge": self._folder("merge")}).agreement

    @property
    def report(self) -> Report:
        """The report.

        Raises:
            RunError: the run did not come to the stage report.
        """
        return Report(self._folder("report") / "report.html")

    @property
    def model_folder(self) -> Path:
        """Folder of the merged model, an ordinary Hugging Face folder.

        Raises:
            RunError: the run did not come to the stage merge.
        """
        return self._folder("merge") / "model"

    @cached_property
    def model(self) -> "Reranker":
        """The merged model, loaded when it is first asked for.

        Raises:
            RunError: the run did not come to the stage merge.
        """
        from tamis.models.reranker import Reranker

        return Reranker(self.model_folder)

    def records(self, stage: str) -> RecordTable:
        """What a stage from corpus to lists kept.

        Raises:
            RunError: the run did not come to that stage.
        """
        return RecordTable(((stage, self._folder(stage) / f"{stage}.parquet"),))

    def _folder(self, stage: str) -> Path:
        if stage not in self.folders:
            hint = "give the recipe judged questions in its section evaluate" if stage == "evaluate" else "run further"
            reached = ", ".join(self.folders)
            raise RunError(f"{self.name}: no stage {stage} in this run, which has {reached}; {hint}")
        return self.folders[stage]

    def _manifest(self, stage: str) -> dict[str, Any]:
        found: dict[str, Any] = read_json(self.folders[stage] / "manifest.json")
        return found


@dataclass(frozen=True)
class EvaluationResult:
    """What an evaluation measured.

    Attributes:
        folder: Where results, runs and judgements lie.
        figures: The content of results.json, see docs/results.md.
    """

    folder: Path
    figures: dict[str, Any]

    @property
    def report(self) -> Report:
        """The report."""
        return Report(self.folder / "report.html")

    @property
    def per_query(self) -> RecordTable:
        """A row for each question and system with its measures."""
        return RecordTable((("evaluate", self.folder / "per_query.parquet"),))

    def _repr_html_(self) -> str:
        return self.report._repr_html_()
