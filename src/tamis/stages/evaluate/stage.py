"""The stage evaluate: rank every judged question by every system, and compare."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tamis.artifacts import write_json
from tamis.artifacts.inputs import input_hashes
from tamis.context import RunContext, texts_of
from tamis.evaluation.judged import Question, draw_questions, read_questions
from tamis.evaluation.systems import ADAPTATION, Run, compare, macro_mean, measure, systems_of
from tamis.formats.trec import by_rank, write_run
from tamis.models.checkpoint import deployed_weights
from tamis.progress import track
from tamis.records import Facts
from tamis.stages.evaluate.pools import Systems
from tamis.stages.evaluate.settings import EvaluateSettings
from tamis.stages.evaluate.targets import headline_p, languages_by_domain, target_rows


@dataclass(frozen=True)
class EvaluateStage:
    """Ranks every judged question by every system, and compares.

    Attributes:
        settings: The judged questions; no other stage reads them.
        recipe: Its name.
        seed: Of the tests.
        systems: What is measured.
        context: The run.
    """

    settings: EvaluateSettings
    recipe: str
    seed: int
    systems: Systems
    context: RunContext
    name: ClassVar = "evaluate"
    reads: ClassVar = ("corpus", "train", "merge")
    version: ClassVar = 8

    def key(self) -> object:
        """Settings of the evaluation, and the hashes of its questions and judgements."""
        settings = self.settings
        files = input_hashes([settings.queries, settings.qrels], self.name)
        runs = dict(zip(settings.runs, input_hashes(list(settings.runs.values()), self.name), strict=True))
        facts = [settings.model_dump(mode="json", exclude={"queries", "qrels", "runs"}), files, runs, self.seed]
        known = deployed_weights(self.systems.students.settings.start)  # the untrained student is served by them
        return [*facts, known] if known else facts

    def run(self, folder: Path) -> Facts:
        """Fill the folder of the stage."""
        settings, target = self.settings, self.context.target
        languages = {document.doc_id: document.language for document in target.values()}
        searched = self.systems.first_stages.settings.languages
        judged, asked = read_questions(settings.queries, settings.qrels, languages, searched)
        questions = draw_questions(judged, settings.questions)
        pools = self.systems.find_pools(questions)
        self.systems.students.prepare({q.query_id: q.text for q in questions}, texts_of(target))
        runs, ties = self.systems.rank(pools)
        per_query = measure(runs, questions)
        write_json(folder / "results.json", self._results(questions, runs, ties, per_query))
        _write_questions(folder, questions, per_query)
        _write_runs(folder, runs)
        reasons = {"no relevant document in the corpus": asked - len(judged), "not drawn": len(judged) - len(questions)}
        dropped = {reason: count for reason, count in reasons.items() if count}
        facts: Facts = {"counts": {"in": asked, "kept": len(questions), "dropped": dropped}}
        if own := self.systems.own(questions).ids:
            told = f"{len(own):,} questions are documents of the corpus, by their ids; none is its own candidate"
            facts["warnings"] = [told]
        unknown = {name: run.unknown for name, run in self.systems.external_runs.items()}
        return {**facts, "unknown_documents_of_runs": unknown} if unknown else facts

    def _results(
        self,
        questions: Sequence[Question],
        runs: Mapping[str, Run],
        ties: Mapping[str, float],
        per_query: Mapping[str, Mapping[str, float]],
    ) -> Facts:
        """What `results.json` says, see docs/results.md."""
        settings, domain_for = self.settings, self.systems.domain_for
        systems = [system for system in systems_of(tuple(settings.runs)) if system.name in runs]
        with_baselines = [(system.name, system.baseline) for system in systems if system.baseline is not None]
        pairs = [*with_baselines, *ADAPTATION]
        with track("testing differences", len(pairs)) as advance:
            compared = compare(per_query, pairs, questions, settings.rounds, self.seed, advance)
        comparisons, adaptation = compared[: len(with_baselines)], compared[len(with_baselines) :]
        means = {name: macro_mean(values, questions) for name, values in per_query.items()}
        domains = languages_by_domain(questions, domain_for)
        return {
            "recipe": self.recipe,
            "seed": self.seed,
            "depth": settings.depth,
            "adapted_to_corpus": True,
            "languages": sorted({q.language for q in questions}),
            "questions": dict(sorted(Counter(q.language for q in questions).items())),
            "systems": [asdict(system) for system in systems],
            "mean_ndcg10": {name: found["mean"] for name, found in means.items()},
            "ndcg10": {name: {k: v for k, v in found.items() if k != "mean"} for name, found in means.items()},
            "domains": domains,
            "domain_ndcg10": {
                name: {domain: float(np.mean([found[one] for one in spoken])) for domain, spoken in domains.items()}
                for name, found in means.items()
            },
            "tie_rate": ties,
            "comparisons": comparisons,
            "adaptation": adaptation,
            "p_value": headline_p(comparisons),
            "targets": target_rows(means, comparisons, per_query, questions, domain_for),
        }


def _write_questions(folder: Path, questions: Sequence[Question], per_query: Mapping[str, Mapping[str, float]]) -> None:
    columns: dict[str, list[Any]] = {
        "query_id": [q.query_id for q in questions],
        "language": [q.language for q in questions],
        "text": [q.text for q in questions],
        "relevant": [sorted(d for d, grade in q.relevant.items() if grade > 0) for q in questions],
    }
    columns |= {name: [values[q.query_id] for q in questions] for name, values in per_query.items()}
    pq.write_table(pa.table(columns), folder / "questions.parquet", compression="zstd")


def _write_runs(folder: Path, runs: Mapping[str, Run]) -> None:
    """TREC run files; the score is the negative rank, so that every tool keeps our order."""
    (folder / "runs").mkdir()
    for name, run in runs.items():
        write_run(folder / "runs" / f"{name}.trec", (by_rank(each, ranked) for each, ranked in run.items()), name)
