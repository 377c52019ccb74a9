"""The stage lists: what a student learns from, and what is held out."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tamis.artifacts import drop_counts, read_column, read_json, split_dropped, stream_columns
from tamis.artifacts.output import write_output
from tamis.context import RunContext
from tamis.errors import InputError, SettingsError
from tamis.records import Dropped, Facts, Query, ScoredCandidates, TrainingList
from tamis.stages.candidates.embeddings import Embeddings
from tamis.stages.lists.alike import alike_documents
from tamis.stages.lists.draw import by_hash, draw_lists, scores_of_many, split_by_document
from tamis.stages.lists.held_out import domains_among
from tamis.stages.lists.settings import GENERAL, OTHERS, ListsSettings
from tamis.stages.lists.solved import SOLVED_VERSION, solved_queries
from tamis.stages.queries.stage import by_generator
from tamis.stages.student.factory import StudentFactory

FEW = 100
"""Training lists of a domain below which a run is told that they are few."""


@dataclass(frozen=True)
class ListsStage:
    """Draws the training lists.

    Attributes:
        settings: How they are drawn and which are held out.
        seed_bonus: How far a query's own document is lifted in them, see `scores.seed_bonus`.
        seed: Of every draw.
        target: The corpus that is adapted to, if any.
        embeddings: Vectors that say which documents are alike.
        students: The untrained one says which queries it answers already.
        context: The run.
    """

    settings: ListsSettings
    seed_bonus: float
    seed: int
    target: Path | None
    embeddings: Embeddings
    students: StudentFactory
    context: RunContext
    name: ClassVar = "lists"
    reads: ClassVar = ("corpus", "queries", "scores")
    version: ClassVar = 3

    def key(self) -> object:
        """Settings of the lists, and of the student where it says which queries it answers already.

        Labels that are rescaled query by query are as if there were no choice.
        """
        facts = self.settings.model_dump(mode="json")
        if self.settings.rescale_over == "query":
            del facts["rescale_over"]
        if self.settings.solved == 1:
            del facts["solved"]  # nobody is asked
            return [facts, self.seed]
        student = self.students.settings.model_dump(mode="json", exclude={"start"})
        start = self.context.identity_of(self.students.start)
        return [facts, self.seed, student, start, self.context.machine.precision, SOLVED_VERSION]

    def run(self, folder: Path) -> Facts:
        """Fill the folder of the stage."""
        context, settings, queries = self.context, self.settings, self.context.queries
        known = read_column(context.folders["scores"] / "scores.parquet", "query_id")
        own = {queries[query_id].document_id for query_id in known}
        alike = alike_documents(sorted(own - {""}), context.documents, self.embeddings.of_documents())
        over = None
        if settings.rescale_over == "all":
            scored = context.stream("scores", ScoredCandidates)
            over = scores_of_many(scored, queries, settings, self.seed_bonus, alike)
        scored = context.stream("scores", ScoredCandidates)
        solved = solved_queries(self.students, settings.held_out, alike) if settings.solved < 1 else frozenset[str]()
        drawn = draw_lists(scored, queries, settings, self.seed_bonus, self.seed, over, alike, solved)
        kept, dropped = split_dropped(drawn)
        # In no order of language or source: training streams the file part by part.
        lists = by_hash(_split_again(kept, queries, settings.held_out))
        self._check_splits(lists, dropped)
        facts = write_output(folder, self.name, lists, TrainingList, dropped)
        counts = Counter((one.domain, one.split) for one in lists)
        facts |= {
            "lists": {f"{domain}, {split}": count for (domain, split), count in sorted(counts.items())},
            "clusters": len(set(alike.cluster_of.values())),
            "covered": round(alike.covered, 4),
            **({"solved": len(solved)} if settings.solved < 1 else {}),
            "generators": by_generator([one.query_id for one in lists], dropped),
        }
        spoken = {document.language for document in context.documents.values()}
        warnings = [*unspoken(settings, spoken), *too_little_to_learn(counts, self._domains(counts))]
        return {**facts, "warnings": warnings} if warnings else facts

    def check_languages(self) -> None:
        """Every language of the target documents belongs to a domain.

        Raises:
            SettingsError: One does not; it is named, and a document in it.
        """
        lists = self.settings
        documents = stream_columns(self.context.folders["corpus"] / "corpus.parquet", "doc_id", "language", "origin")
        for doc_id, language, origin in documents:
            if origin == "target" and lists.domain_for(language) == GENERAL:
                raise SettingsError(
                    f"lists.domains: no domain for language {language!r} (document {doc_id!r}); add it to one of "
                    f"{', '.join(lists.domains)} ('*': all other ones), or name the languages that may occur in "
                    "corpus.languages"
                )

    def _check_splits(self, lists: Sequence[TrainingList], dropped: Sequence[Dropped]) -> None:
        """Every domain that has lists can learn from some and be judged by others; at least one has."""
        counts = Counter((one.domain, one.split) for one in lists)
        domains = self._domains(counts)
        if not domains or not lists:
            raise InputError(
                f"{self.target or 'corpus.general'}: no query of its documents can be learnt from "
                f"({self._reasons(dropped)}); give more documents, or queries that nothing is wrong with"
            )
        for domain in domains:
            train, held_out = counts[domain, "train"], counts[domain, "held-out"]
            if not train or not held_out:
                raise InputError(
                    f"lists: domain {domain!r} has {train} lists to learn from and {held_out} held out, needs both; "
                    f"give more documents, change lists.held_out ({self.settings.held_out}), or join it with another "
                    "domain"
                )

    def _reasons(self, dropped: Sequence[Dropped]) -> str:
        """Why queries became no lists, in the stages since they were kept."""
        reasons = Counter(drop_counts(dropped))
        for stage in ("candidates", "scores"):
            reasons.update(read_json(self.context.folders[stage] / "manifest.json")["counts"]["dropped"])
        return ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common()) or "there is none"

    def _domains(self, counts: Mapping[tuple[str, str], int]) -> list[str]:
        """The domains that have students of their own, of lists counted by domain and split."""
        return domains_among(counts) if self.target else [GENERAL]


def too_little_to_learn(counts: Mapping[tuple[str, str], int], domains: Iterable[str]) -> list[str]:
    """A warning for each of the domains with few lists to learn from, of lists counted by domain and split."""
    train = {domain: counts.get((domain, "train"), 0) for domain in domains}
    return [
        f"domain {domain}: {count} lists to learn from; below some {2 * FEW} what is learnt is chance: write more "
        "queries or give more documents"
        for domain, count in train.items()
        if count < FEW
    ]


def _split_again(
    lists: Sequence[TrainingList], queries: Mapping[str, Query], held_out: float
) -> Iterator[TrainingList]:
    """Lists, those of a domain whose clusters all fell on one side by document: a few documents may be one cluster."""
    domains: dict[str, list[TrainingList]] = {}
    for one in lists:
        domains.setdefault(one.domain, []).append(one)
    for own in domains.values():
        whole = len({one.split for one in own}) < 2
        yield from split_by_document(own, queries, held_out) if whole else own


def unspoken(settings: ListsSettings, spoken: Collection[str]) -> list[str]:
    """A warning where domains name languages that no document has, which may be misspelt; none where all are there.

    Args:
        settings: With the domains.
        spoken: Languages of the documents.
    """
    named = [(one, name) for name, languages in settings.domains.items() for one in languages if one != OTHERS]
    absent = [f"{language!r} ({name})" for language, name in named if language not in spoken]
    if not absent:
        return []
    return [
        f"domains name languages that no document is in: {', '.join(absent)}; the corpus has "
        f"{', '.join(sorted(spoken))}: correct what is misspelt, or leave it out of lists.domains"
    ]
