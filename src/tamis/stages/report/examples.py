"""Examples to read: queries with the documents they came from, and questions where the student mattered most."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tamis.records import Document, Query
from tamis.stages.report.data import ReportData
from tamis.stages.report.highlight import Piece, common_words, matching_part
from tamis.text import clip

PER_LANGUAGE: Final = 3
CASES: Final = 10
_QUERY_CLIPPED: Final = 220
_DOCUMENT_CLIPPED: Final = 180
_GIVEN: Final = "given"


@dataclass(frozen=True)
class Sample:
    """A written query, clipped, and the part of its document that matches it."""

    query: str
    document: list[Piece]
    language: str
    generator: str


@dataclass(frozen=True)
class Top:
    """The document at rank 1, the part that matches the question, and whether it is relevant."""

    text: list[Piece]
    language: str
    relevant: bool


@dataclass(frozen=True)
class Case:
    """One test question before and after.

    Attributes:
        question: Its text.
        language: Its language.
        before: nDCG@10 before, in [0, 1].
        after: nDCG@10 after.
        rank_before: Best rank of a relevant document among the first ten, from 1; None below.
        rank_after: The same after.
        top_before: What stood first; None for an empty run.
        top_after: What stands first now.
    """

    question: str
    language: str
    before: float
    after: float
    rank_before: int | None
    rank_after: int | None
    top_before: Top | None
    top_after: Top | None


def sample_queries(queries: Iterable[Query], documents: Mapping[str, Document]) -> dict[str, list[Sample]]:
    """Three written queries per language, spread evenly over their ids; given queries are left out."""
    common = common_words(documents.values())
    by_language: dict[str, list[Query]] = {}
    for query in sorted(queries, key=lambda query: query.query_id):
        if query.generator != _GIVEN and query.document_id in documents:
            by_language.setdefault(query.language, []).append(query)
    return {
        language: [_sample(query, documents, common) for query in _spread(found)]
        for language, found in sorted(by_language.items())
    }


def _spread(queries: Sequence[Query]) -> list[Query]:
    chosen = min(PER_LANGUAGE, len(queries))
    return [queries[number * len(queries) // chosen] for number in range(chosen)]


def _sample(query: Query, documents: Mapping[str, Document], common: Mapping[str, frozenset[str]]) -> Sample:
    document = documents[query.document_id]
    part = matching_part(document.text, query.text, common[document.language], _DOCUMENT_CLIPPED)
    return Sample(clip(query.text, _QUERY_CLIPPED), part, query.language, query.generator)


def changed_questions(data: ReportData, system: str, baseline: str) -> tuple[list[Case], list[Case]]:
    """The questions whose nDCG@10 rose most and fell most, at most ten each; unchanged ones are in neither.

    Args:
        data: `per_query` and `runs` must hold both systems, else both lists are empty.
        system: After.
        baseline: Before.
    """
    if not {system, baseline} <= data.per_query.keys() & data.runs.keys():
        return [], []
    before, after = data.per_query[baseline], data.per_query[system]
    shared = before.keys() & after.keys() & data.questions.keys()
    # By id among equals, so that the page does not depend on the order of a dictionary.
    rising = sorted(shared, key=lambda question: (before[question] - after[question], question))
    falling = sorted(shared, key=lambda question: (after[question] - before[question], question))
    helped = [question for question in rising if after[question] > before[question]][:CASES]
    hurt = [question for question in falling if after[question] < before[question]][:CASES]
    common = common_words(data.documents.values())
    return (
        [_case(data, system, baseline, question, common) for question in helped],
        [_case(data, system, baseline, question, common) for question in hurt],
    )


def _case(data: ReportData, system: str, baseline: str, question: str, common: Mapping[str, frozenset[str]]) -> Case:
    return Case(
        question=clip(data.questions[question], _QUERY_CLIPPED),
        language=data.question_languages.get(question, "und"),
        before=data.per_query[baseline][question],
        after=data.per_query[system][question],
        rank_before=_rank(data, baseline, question),
        rank_after=_rank(data, system, question),
        top_before=_top(data, baseline, question, common),
        top_after=_top(data, system, question, common),
    )


def _rank(data: ReportData, system: str, question: str) -> int | None:
    relevant = data.relevant.get(question, set())
    ranked = data.runs[system].get(question, ())[:10]
    return next((rank for rank, doc_id in enumerate(ranked, start=1) if doc_id in relevant), None)


def _top(data: ReportData, system: str, question: str, common: Mapping[str, frozenset[str]]) -> Top | None:
    ranked = data.runs[system].get(question, ())
    if not ranked:
        return None
    document = data.documents.get(ranked[0])
    relevant = ranked[0] in data.relevant.get(question, set())
    if document is None:
        return Top([Piece(f"(text of {ranked[0]} not at hand)", False)], "und", relevant)
    words = common[document.language]
    return Top(
        matching_part(document.text, data.questions[question], words, _DOCUMENT_CLIPPED), document.language, relevant
    )
