"""Examples to read: queries with the documents they came from, and questions where the student mattered most."""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Final

from tamis.languages import UNKNOWN_LANGUAGE
from tamis.records import GIVEN, Document, Query
from tamis.report.highlight import Fragment, common_words, matching_part
from tamis.text import clip

PER_LANGUAGE: Final = 3
CASES: Final = 10
_QUERY_CLIPPED: Final = 220
_DOCUMENT_CLIPPED: Final = 180


@dataclass(frozen=True)
class QuerySample:
    """A written query, clipped, and the part of its document that matches it."""

    query: str
    document: list[Fragment]
    language: str
    generator: str


@dataclass(frozen=True)
class Top:
    """The document at rank 1, the part that matches the question, and whether it is relevant."""

    text: list[Fragment]
    language: str
    relevant: bool


@dataclass(frozen=True)
class Case:
    """One test question before and after.

    Attributes:
        question: Its text.
        language: Its language.
        before: Its figure before, in [0, 1].
        after: The same after.
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


@dataclass(frozen=True)
class ChangedQuestions:
    """The questions of a set that a system changed most.

    Attributes:
        set: Name of the set.
        system: What ranks now.
        baseline: What it is compared with.
        helped: Questions that rose most.
        hurt: Questions that fell most.
    """

    set: str
    system: str
    baseline: str
    helped: list[Case]
    hurt: list[Case]


def sample_queries(queries: Iterable[Query], documents: Mapping[str, Document]) -> dict[str, list[QuerySample]]:
    """Three written queries per language, spread evenly over their ids; given queries are left out."""
    common = common_words(documents.values())
    by_language: dict[str, list[Query]] = {}
    for query in sorted(queries, key=lambda query: query.query_id):
        if query.generator != GIVEN and query.document_id in documents:
            by_language.setdefault(query.language, []).append(query)
    return {
        language: [_sample(query, documents, common) for query in _spread(found)]
        for language, found in sorted(by_language.items())
    }


def _spread(queries: Sequence[Query]) -> list[Query]:
    chosen = min(PER_LANGUAGE, len(queries))
    return [queries[number * len(queries) // chosen] for number in range(chosen)]


def _sample(query: Query, documents: Mapping[str, Document], common: Mapping[str, frozenset[str]]) -> QuerySample:
    document = documents[query.document_id]
    part = matching_part(document.text, query.text, common[document.language], _DOCUMENT_CLIPPED)
    return QuerySample(clip(query.text, _QUERY_CLIPPED), part, query.language, query.generator)


@dataclass(frozen=True)
class QuestionTexts:
    """Judged questions, and the documents to show with them.

    Attributes:
        questions: Text by id.
        languages: Language by id.
        relevant: Ids of the relevant documents by id.
        documents: By id; missing ones are shown as such.
    """

    questions: Mapping[str, str]
    languages: Mapping[str, str]
    relevant: Mapping[str, Set[str]]
    documents: Mapping[str, Document]


@dataclass(frozen=True)
class QuestionRun:
    """What a system made of the questions.

    Attributes:
        figures: What the ranking is worth, in [0, 1], by question.
        tops: The first ten document ids, best first, by question; of those questions at least that are shown.
    """

    figures: Mapping[str, float]
    tops: Mapping[str, Sequence[str]]


def most_changed(before: Mapping[str, float], after: Mapping[str, float], most: int) -> tuple[list[str], list[str]]:
    """Ids of the questions whose figure rose most and fell most, at most so many each; the unchanged are in neither."""
    shared = before.keys() & after.keys()
    # By id among equals, so that the page does not depend on the order of a dictionary.
    rising = sorted(shared, key=lambda question: (before[question] - after[question], question))
    falling = sorted(shared, key=lambda question: (after[question] - before[question], question))
    return (
        [question for question in rising[:most] if after[question] > before[question]],
        [question for question in falling[:most] if after[question] < before[question]],
    )


def changed_questions(
    asked: QuestionTexts, before: QuestionRun, after: QuestionRun, most: int = CASES
) -> tuple[list[Case], list[Case]]:
    """The questions of `most_changed` with what stood first before and after."""
    helped, hurt = most_changed(before.figures, after.figures, most)
    common = common_words(asked.documents.values())
    return (
        [_case(asked, before, after, question, common) for question in helped],
        [_case(asked, before, after, question, common) for question in hurt],
    )


def _case(
    asked: QuestionTexts, before: QuestionRun, after: QuestionRun, question: str, common: Mapping[str, Set[str]]
) -> Case:
    return Case(
        question=clip(asked.questions[question], _QUERY_CLIPPED),
        language=asked.languages.get(question, UNKNOWN_LANGUAGE),
        before=before.figures[question],
        after=after.figures[question],
        rank_before=_rank(asked, before, question),
        rank_after=_rank(asked, after, question),
        top_before=_top(asked, before, question, common),
        top_after=_top(asked, after, question, common),
    )


def _rank(asked: QuestionTexts, ranked: QuestionRun, question: str) -> int | None:
    relevant = asked.relevant.get(question, set())
    top = ranked.tops.get(question, ())[:10]
    return next((rank for rank, doc_id in enumerate(top, start=1) if doc_id in relevant), None)


def _top(asked: QuestionTexts, ranked: QuestionRun, question: str, common: Mapping[str, Set[str]]) -> Top | None:
    top = ranked.tops.get(question, ())
    if not top:
        return None
    document = asked.documents.get(top[0])
    relevant = top[0] in asked.relevant.get(question, set())
    if document is None:
        return Top([Fragment(f"(text of {top[0]} not at hand)", False)], UNKNOWN_LANGUAGE, relevant)
    part = matching_part(document.text, asked.questions[question], common[document.language], _DOCUMENT_CLIPPED)
    return Top(part, document.language, relevant)
