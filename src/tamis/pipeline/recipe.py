"""A recipe: one frozen section per stage, the evaluation and the machine among them."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from tamis.machine import MachineSettings
from tamis.section import NAME, Section
from tamis.stages.candidates.settings import CandidatesSettings
from tamis.stages.corpus.settings import CorpusSettings
from tamis.stages.evaluate.settings import EvaluateSettings
from tamis.stages.lists.settings import ListsSettings
from tamis.stages.merge.settings import MergeSettings
from tamis.stages.queries.settings import QueriesSettings
from tamis.stages.scores.settings import ScoresSettings
from tamis.stages.student.settings import StudentSettings
from tamis.stages.train.settings import TrainSettings

WHO_ASKS = (
    "name queries.written (of tamis adapt: --queries FILE), files of a document's id and a query that a person or a "
    "language model wrote; or "
    "queries.writer, in Python a function of your own; or "
    "queries.generator, a language model; or queries.logs, what people typed; or queries.generator extractive, which "
    "asks in the documents' own words and was measured to gain nothing; see docs/queries.md"
)
"""What a recipe whose documents nobody asks about is told."""


class Recipe(Section):
    """Everything that a run needs."""

    name: str = Field(
        pattern=NAME, description="Name of the run, of letters, digits, '.', '_' and '-'. Its folder is runs/NAME."
    )
    seed: int = Field(
        default=0,
        ge=0,
        le=2**64 - 1,
        description="Number that every random draw starts from. Change it to see what chance does.",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto",
        description="Number format of matrix products. Scores are float32 always. auto: bfloat16 where the machine "
        "multiplies it natively.",
    )
    corpus: CorpusSettings
    queries: QueriesSettings = QueriesSettings()
    candidates: CandidatesSettings
    scores: ScoresSettings = ScoresSettings()
    lists: ListsSettings = ListsSettings()
    student: StudentSettings = StudentSettings()
    train: TrainSettings = TrainSettings()
    merge: MergeSettings = MergeSettings()
    evaluate: EvaluateSettings | None = None
    machine: MachineSettings = MachineSettings()

    @property
    def rerank_depth(self) -> int:
        """How many candidates the model will rerank; of the evaluation's settings no stage before it looks at more."""
        return self.evaluate.depth if self.evaluate else 20

    @model_validator(mode="after")
    def _something_to_learn_from(self) -> "Recipe":
        if self.corpus.target is None:
            if not self.corpus.general:
                raise ValueError("corpus has neither target nor general: name a corpus to learn from")
            if self.lists.domains or self.evaluate:
                raise ValueError(
                    "without corpus.target there is nothing to adapt to: leave lists.domains and evaluate out"
                )
        elif not self.lists.domains:
            raise ValueError("lists.domains is missing; name the languages of each specialist")
        return self

    @model_validator(mode="after")
    def _somebody_asks(self) -> "Recipe":
        if self.corpus.target and not self.queries.anybody:
            raise ValueError(f"nothing asks about {self.corpus.target}: {WHO_ASKS}")
        return self

    @model_validator(mode="after")
    def _runs_belong_to_given_queries(self) -> "Recipe":
        known = [path.name for path in {general.path for general in self.corpus.general}]
        known += [log.path.name for log in self.queries.logs]
        for name in self.candidates.runs:
            if known.count(name) != 1:
                called = "both a general corpus and a log are" if name in known else "no general corpus or log is"
                raise ValueError(
                    f"candidates.runs: {called} called {name!r}; a run's name is that of the folder or log whose "
                    f"given queries it answers: {', '.join(sorted(known)) or 'there is none'}"
                )
        return self

    @model_validator(mode="after")
    def _logs_ask_what_is_there(self) -> "Recipe":
        for log in self.queries.logs:
            if not (self.corpus.target if log.origin == "target" else self.corpus.general):
                raise ValueError(
                    f"queries.logs: {log.path} searches corpus.{log.origin}, which is not there; set origin"
                )
            self._refuse_judged("queries.logs", log.path, "queries of other people")
        return self

    @model_validator(mode="after")
    def _written_queries_and_their_style_are_not_judged(self) -> "Recipe":
        queries = self.queries
        named = [("queries.written", path) for path in queries.written]
        named += [("queries.prompt.like", queries.prompt.like)] if queries.prompt.like else []
        for setting, path in named:
            self._refuse_judged(setting, path, "other queries")
        if queries.written and not self.corpus.target:
            raise ValueError(
                f"queries.written: {queries.written[0]} holds queries about documents of corpus.target, which is not "
                "there; name it, or leave written out"
            )
        return self

    @model_validator(mode="after")
    def _what_weighs_is_not_what_measures(self) -> "Recipe":
        if self.merge.weigh_on:
            self._refuse_judged(
                "merge.weigh_on", self.merge.weigh_on, "judged questions on other documents", "queries.jsonl"
            )
        return self

    @model_validator(mode="after")
    def _what_is_learnt_neither_measures_nor_chooses(self) -> "Recipe":
        """No given query of a general corpus is judged by; a folder may well have other splits for that."""
        judging = {self.evaluate.qrels.resolve(): "evaluate.qrels"} if self.evaluate else {}
        judging |= {(folder / "qrels" / "test.tsv").resolve(): setting for setting, folder in self._choosing.items()}
        for general in self.corpus.general:
            for split in general.splits:
                setting = judging.get((general.path / "qrels" / f"{split}.tsv").resolve(), "")
                if setting:
                    raise ValueError(
                        f"corpus.general: the given queries of {general.path}, split {split}, are the judged ones of "
                        f"{setting}, which would be learnt from; name other splits, or leave one of both out"
                    )
        return self

    @property
    def _choosing(self) -> dict[str, Path]:
        """Folders of judged questions by which a merge or its weights are chosen, by setting."""
        folders = {"merge.judged": self.merge.judged, "merge.weigh_on": self.merge.weigh_on}
        return {setting: folder for setting, folder in folders.items() if folder}

    def _refuse_judged(self, setting: str, path: Path, instead: str, file: str = "") -> None:
        if self.evaluate and (path / file).resolve() == self.evaluate.queries.resolve():
            raise ValueError(
                f"{setting}: {path} holds the judged questions of evaluate.queries, which no stage before may read; "
                f"give {instead}"
            )
        for other, folder in self._choosing.items():
            if setting.startswith("queries.") and path.resolve() == (folder / "queries.jsonl").resolve():
                raise ValueError(
                    f"{setting}: {path} holds the questions of {other}, which would choose by what was learnt from "
                    f"them; give {instead}"
                )

    @model_validator(mode="after")
    def _what_judges_a_merge_is_not_what_measures(self) -> "Recipe":
        folder = self.merge.judged
        if folder and self.evaluate and (folder / "queries.jsonl").resolve() == self.evaluate.queries.resolve():
            raise ValueError(
                f"merge.judged: {folder} holds the questions of evaluate.queries, which would measure what they chose; "
                "give other questions to one of both"
            )
        return self

    @model_validator(mode="after")
    def _old_domains_need_their_model(self) -> "Recipe":
        settings = (self.student.head, self.train.general_steps, self.merge.on)
        if self.merge.keep and settings != ("own", 0, "weights"):
            raise ValueError(
                "merge.keep merges into the model that the student starts from: set student.start to it, student.head "
                "to own, train.general_steps to 0 and merge.on to weights"
            )
        return self

    @model_validator(mode="after")
    def _warm_students_are_not_sharded(self) -> "Recipe":
        if self.machine.shard and self.student.head == "warm":
            raise ValueError(
                "machine.shard is for students that learn all layers, a warm one learns its last ones: leave it out, "
                "or set student.head to stock or own"
            )
        return self

    @model_validator(mode="after")
    def _hinge_needs_bounded_labels(self) -> "Recipe":
        if self.train.loss == "gap-hinge" and self.lists.rescale == "none":
            raise ValueError("train.loss gap-hinge compares with scores in [-1, 1]: set lists.rescale to min-max")
        return self
