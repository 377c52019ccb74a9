"""The stage evaluate: rank every judged question by every system, and compare."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Final, Literal

from tamis.artifacts import write_json
from tamis.artifacts.inputs import input_hashes
from tamis.context import RunContext, texts_of
from tamis.evaluation.figures import ENOUGH, ComparedPair, Measured, PairedTests, results_of, set_figures
from tamis.evaluation.judged import draw_questions, read_questions
from tamis.evaluation.passages import grades_of_documents, notes_of, whole_documents
from tamis.evaluation.sets import JudgedSet
from tamis.evaluation.systems import STUDENTS, TRAINED, systems_of
from tamis.evaluation.writing import PerQuery, measure_set
from tamis.formulas.measures import parse_measures
from tamis.models.checkpoint import deployed_weights
from tamis.records import Facts
from tamis.retrievers.index import Languages
from tamis.stages.evaluate.pools import Systems
from tamis.stages.evaluate.settings import EvaluateSettings
from tamis.stages.evaluate.targets import ADAPTATION, target_rows

MEASURE: Final = "nDCG@10"
RESAMPLES: Final = 10_000
"""Resamples of each bootstrap interval."""


@dataclass(frozen=True)
class EvaluateStage:
    """Ranks every judged question by every system, and compares.

    Attributes:
        settings: The judged questions; no other stage reads them.
        recipe: Its name.
        seed: Of the tests.
        systems: What is measured.
        context: The run.
        passages: Whether the corpus is in passages, which are judged as the documents that they were cut from.
    """

    settings: EvaluateSettings
    recipe: str
    seed: int
    systems: Systems
    context: RunContext
    passages: bool = False
    name: ClassVar = "evaluate"
    reads: ClassVar = ("corpus", "train", "merge")
    version: ClassVar = 11

    def key(self) -> object:
        """Settings of the evaluation, and the hashes of its questions and judgements."""
        settings = self.settings
        files = input_hashes([settings.queries, settings.qrels], self.name)
        runs = dict(zip(settings.runs, input_hashes(list(settings.runs.values()), self.name), strict=True))
        facts = [settings.model_dump(mode="json", exclude={"queries", "qrels", "runs"}), files, runs, self.seed]
        known = deployed_weights(self.systems.students.settings.start)  # the untrained student is served by them
        told = ["passages as documents"] if self.passages else []
        return [*facts, *([known] if known else []), *told]

    def run(self, folder: Path) -> Facts:
        """Fill the folder of the stage."""
        judged, asked, dropped = self._judged_set()
        questions = list(judged.questions.values())
        own = self.systems.own(questions)
        pools = self.systems.find_pools(questions, own)
        self.systems.students.prepare({q: each.text for q, each in judged.questions.items()}, texts_of(judged.searched))
        runs, ties = self.systems.rank(pools)
        measures = parse_measures([MEASURE])
        ranked = ((s, runs[s.name].items(), partial(ties.get, s.name)) for s in systems_of(tuple(self.settings.runs)))
        measured = list(measure_set(judged, ranked, measures, folder / "sets" / judged.name))
        with PerQuery(folder / "per_query.parquet", list(measures)) as table:
            table.add(judged, measured)
        write_json(folder / "results.json", self._results(judged, measured))
        facts: Facts = {"counts": {"in": asked, "kept": len(judged.questions), "dropped": dropped}}
        if own:
            told = f"{len(own):,} questions are documents of the corpus, by their ids; none is its own candidate"
            facts["warnings"] = [told]
        unknown = {name: run.unknown for name, run in self.systems.external_runs.items()}
        return {**facts, "unknown_documents_of_runs": unknown} if unknown else facts

    def _judged_set(self) -> tuple[JudgedSet, int, dict[str, int]]:
        """The questions with the documents that they search; how many there are; and why some are left out."""
        settings, passages = self.settings, self.context.target if self.passages else {}
        documents = whole_documents(passages) if passages else self.context.target
        languages = {doc_id: document.language for doc_id, document in {**passages, **documents}.items()}
        judged, asked = read_questions(settings.queries, settings.qrels, languages, self._searched)
        drawn = draw_questions(judged, settings.questions)
        questions = {
            q.query_id: replace(
                q, domain=self.systems.domain_for(q.language), relevant=grades_of_documents(q.relevant, passages)
            )
            for q in drawn
        }
        reasons = {"no relevant document in the corpus": asked - len(judged), "not drawn": len(judged) - len(drawn)}
        dropped = {reason: count for reason, count in reasons.items() if count}
        notes = tuple(f"{count:,} questions are left out: {reason}" for reason, count in dropped.items())
        notes += notes_of(passages)
        source = f"recipe {self.recipe}"
        found = JudgedSet(self.recipe, source, documents, questions, notes=notes, passages=passages)
        return found, asked, dropped

    @property
    def _searched(self) -> Languages:
        return self.systems.first_stages.settings.languages

    def _results(self, judged: JudgedSet, measured: Sequence[Measured]) -> Facts:
        """What `results.json` says, see docs/results.md."""
        with_baselines = [(m.system.name, m.system.baseline) for m in measured if m.system.baseline is not None]
        pairs = [ComparedPair(*pair, [self.seed, n]) for n, pair in enumerate([*with_baselines, *ADAPTATION])]
        asked = Counter(question.language for question in judged.questions.values())
        over: Literal["languages", "questions"] = "languages" if min(asked.values()) >= ENOUGH else "questions"
        tests = PairedTests(pairs, self.settings.rounds, RESAMPLES, over)
        found = set_figures(judged, measured, MEASURE, tests, {name: name in TRAINED for name in STUDENTS})
        models = self.systems.model_facts()
        results = results_of({judged.name: found}, [MEASURE], self.settings.depth, self._searched, models)
        domains: dict[str, list[str]] = {}
        for language in found["groups"]["language"]:
            domains.setdefault(self.systems.domain_for(language), []).append(language)
        targets = target_rows(found, MEASURE)
        run = {"recipe": self.recipe, "seed": self.seed, "domains": dict(sorted(domains.items())), "targets": targets}
        return {**results, "run": run}
