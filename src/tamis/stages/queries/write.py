"""Queries: from documents to queries, and which of them to keep.

write_queries | queries_of_file | given_queries | logged_queries ─ filter_queries
"""

import hashlib
import random
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from tamis.formats.written_queries import WrittenQuery
from tamis.languages import UNKNOWN_LANGUAGE, primary
from tamis.records import GIVEN, Document, Dropped, Prompt, Query, QueryAnswer, QueryRequest
from tamis.stages.queries.writers.answers import NO_TEXT
from tamis.text import clip, letters, normalise, one_line, sentences, without_spaces, words

_EXTRACTIVE: Final = "extractive"

_MIN_WORDS: Final = 2
_MIN_SPACELESS_LETTERS: Final = 4
_MAX_CHARACTERS: Final = 200
_MAX_WORDS: Final = 40
_MAX_COPIED: Final = 0.6  # of a normalised sentence, line or document
_MAX_FROM_SHOTS: Final = 0.75  # of the words of a query
_MIN_IDENTIFIED_LETTERS: Final = 20

CLIPPED: Final = 200


Filter = Callable[[Query, Document], str | None]
"""Gives the reason to leave a query out that was written from the document, or None to keep it."""


FilterAlone = Callable[[Query], str | None]
"""The same, whatever it was written from."""


Ask = Callable[[Document, str, int, int], Prompt]
"""Puts a document, a type of query, its number among those of the document and its seed into a prompt."""


class Generate(Protocol):
    """A writer of queries.

    Attributes:
        name: Stands in query ids, holds no slash; `extractive`, or the short name of a language model.
        model: The language model in full, empty where there is none.
    """

    name: str
    model: str

    def write(self, requests: Iterable[QueryRequest]) -> Iterator[QueryAnswer]:
        """Answer every request once, in any order.

        Args:
            requests: Read as they are needed, so that a generator may have several under way.

        Yields:
            Each answer as soon as it is there.
        """
        ...


def unprompted(document: Document, kind: str, number: int, seed: int) -> Prompt:
    """No prompt: for generators that read the document itself."""
    return Prompt("", "")


@dataclass(frozen=True, slots=True)
class WritingPlan:
    """How queries are asked for.

    Attributes:
        per_document: Queries of each document, at least 1.
        seed: Seed of the run.
        kinds: Type of query -> how often it is asked for; empty where the generator knows no types.
        temperatures: One for a document's first query, which can so be the surest, and one for its others.
        ask: Makes the prompts.
    """

    per_document: int
    seed: int
    kinds: Mapping[str, float] = field(default_factory=dict)
    temperatures: tuple[float | None, float | None] = (None, None)
    ask: Ask = unprompted


def write_queries(documents: Iterable[Document], generate: Generate, plan: WritingPlan) -> Iterator[Query | Dropped]:
    """Write queries from documents.

    Args:
        documents: The documents to write from.
        generate: What writes.
        plan: How many and how. A query depends on the plan, on its document and on its number, not on the other
            documents.

    Yields:
        Queries with the ids `generator/number/document`, in the order of the documents whatever the order in which
        they were finished; extracts may be empty. For those that could not be written, the reason.
    """
    under_way: dict[int, tuple[int, QueryRequest]] = {}
    finished: dict[int, Query | Dropped] = {}

    def requests() -> Iterator[QueryRequest]:
        for number, request in requests_for(documents, plan):
            under_way[request.place] = (number, request)
            yield request

    turn = 0
    for answer in generate.write(requests()):
        finished[answer.place] = _finished(generate, *under_way.pop(answer.place), answer)
        while turn in finished:
            yield finished.pop(turn)
            turn += 1
    assert not under_way, f"{generate.name}: no answer to {len(under_way)} requests"


def requests_for(documents: Iterable[Document], plan: WritingPlan) -> Iterator[tuple[int, QueryRequest]]:
    """What is asked of a generator, each with its number among those of its document."""
    wanted = ((document, number) for document in documents for number in range(plan.per_document))
    for place, (document, number) in enumerate(wanted):
        yield number, _request(place, document, number, plan)


def _request(place: int, document: Document, number: int, plan: WritingPlan) -> QueryRequest:
    seed = seed_of_query(plan.seed, document.doc_id, number)
    kinds = sorted(plan.kinds)
    kind = random.Random(seed).choices(kinds, [plan.kinds[name] for name in kinds])[0] if kinds else ""
    prompt = plan.ask(document, kind, number, seed)
    return QueryRequest(place, document, seed, kind, prompt, plan.temperatures[number > 0])


def _finished(generate: Generate, number: int, request: QueryRequest, answer: QueryAnswer) -> Query | Dropped:
    document = request.document
    query_id = f"{generate.name}/{number}/{document.doc_id}"
    text = one_line(answer.text)
    reason = answer.reason or (NO_TEXT if generate.model and not text else "")
    if reason:
        return Dropped(query_id, reason, document.language, clip(answer.text, CLIPPED))
    return Query(
        query_id=query_id,
        text=text,
        language=document.language,
        origin=document.origin,
        document_id=document.doc_id,
        generator=generate.name,
        prompt=request.prompt.hash,
        seed=request.seed,
        model=generate.model,
        temperature=request.temperature,
        kind=request.kind,
    )


def seed_of_query(seed: int, doc_id: str, number: int) -> int:
    """Seed of the n-th query of a document, in [0, 2**31): even for number 0, odd for the others."""
    digest = hashlib.sha256(f"{seed}\0{doc_id}\0{number}".encode()).digest()
    return (int.from_bytes(digest[:4]) >> 2) << 1 | (number > 0)


def queries_of_file(
    rows: Iterable[WrittenQuery],
    writer: str,
    documents: Mapping[str, Document],
    left_out: Collection[str],
    cut: Container[str] = (),
) -> Iterator[Query | Dropped]:
    """Turn queries that somebody wrote about documents into records, as if a writer of the run had written them.

    Args:
        rows: The queries of one file.
        writer: What the file is called by, holds no slash.
        documents: The documents that are there, by id.
        left_out: Ids of documents that were read and left out.
        cut: Ids of documents that are there as passages only.

    Yields:
        One query a row, with the id `writer/query/document` and the language and origin of its document; or the
        reason: `unknown document`, `its document was left out`, `about no one passage of its document`, or `wrong
        language` where the file says that the query is in another language than its document.
    """
    for row in rows:
        query_id = f"{writer}/{row.query_id}/{row.document_id}"
        document = documents.get(row.document_id)
        if document is None:
            reason = "its document was left out" if row.document_id in left_out else "unknown document"
            reason = "about no one passage of its document" if row.document_id in cut else reason
            yield Dropped(query_id, reason, row.language or UNKNOWN_LANGUAGE, clip(row.text, CLIPPED))
        elif row.language and primary(row.language) != primary(document.language):
            yield Dropped(query_id, "wrong language", row.language, clip(row.text, CLIPPED))
        else:
            text, language = one_line(row.text), document.language
            yield Query(query_id, text, language, document.origin, document.doc_id, generator=writer, kind=row.kind)


def filter_queries(
    queries: Iterable[Query],
    documents: Mapping[str, Document],
    identify: Callable[[str], str],
    shots: Collection[str],
    style: Collection[str] = (),
) -> Iterator[Query | Dropped]:
    """Leave out queries that would teach nothing or something wrong. The first reason wins.

    A query without a document is judged by itself alone.

    Args:
        queries: Written or given queries.
        documents: Document id -> document, with the document of every query that has one.
        identify: Text -> language tag, choosing among the languages of the corpus and English, into which language
            models slip.
        shots: Queries in the prompts of language models, each with its passage.
        style: Queries in their prompts as examples of style alone.

    Yields:
        For each query, in order, the query or why it was left out.
    """
    beside_document: tuple[Filter, ...] = (
        copy_of_passage,
        copy_of_shot(shots),
        copy_of_style(style),
        wrong_language(identify),
    )
    repeats = copy_of_another_query()

    def reasons(query: Query) -> Iterator[str | None]:
        yield too_short(query)
        yield too_long(query)
        if query.document_id:
            yield from (judge(query, documents[query.document_id]) for judge in beside_document)
        yield repeats(query)  # last, so that it remembers kept queries only

    for query in queries:
        reason = next(filter(None, reasons(query)), None)
        yield query if reason is None else Dropped(query.query_id, reason, query.language, clip(query.text, CLIPPED))


def too_short(query: Query) -> str | None:
    """Refuse fewer than 2 words with letters or digits, or 4 letters of a script without spaces."""
    if without_spaces(query.text):
        enough = letters(query.text) >= _MIN_SPACELESS_LETTERS
    else:
        enough = len(normalise(query.text).split()) >= _MIN_WORDS
    return None if enough else "too short"


def too_long(query: Query) -> str | None:
    """Refuse more than 200 characters or 40 words."""
    fits = len(query.text) <= _MAX_CHARACTERS and len(query.text.split()) <= _MAX_WORDS
    return None if fits else "too long"


def copy_of_passage(query: Query, document: Document) -> str | None:
    """Refuse what is copied from the document instead of asked about it.

    A language model may not give back, in one piece, a whole sentence or line or more, or more than 60 % of a
    sentence, a line or the document (a copy often stops where its tokens run out). Extracts and given queries are made
    of the document's words by nature (a title, a question it asks): they only may not be the whole document.
    """
    text, passage = normalise(query.text), normalise(document.text)
    if text == passage:
        return "copy of the passage"
    if not _from_language_model(query) or text not in passage:
        return None
    pieces = [passage, *map(normalise, document.text.splitlines()), *map(normalise, sentences(document.text))]
    copied = any(piece and (piece in text or _is_most_of(text, piece)) for piece in pieces)
    return "copy of the passage" if copied else None


def _is_most_of(text: str, piece: str) -> bool:
    return text in piece and len(text) > _MAX_COPIED * len(piece)


def copy_of_shot(shots: Collection[str]) -> Filter:
    """Make a filter that refuses queries which a language model copied, or pieced together, from its prompt.

    Small models answer "may I take my bread on the night train?". At least three in four words from the shots are a
    copy; a word that the document holds too is the document's.
    """
    whole = frozenset(map(normalise, shots))
    return _copy_of([(whole, frozenset(word for shot in shots for word in words(shot)))], "copy of a shot")


def copy_of_style(style: Collection[str]) -> Filter:
    """Make a filter that refuses queries which a language model copied from one of the examples of style.

    These are about what the documents are about: a query may well have its words from several of them. It is a copy
    where at least three in four of its words are those of one and not of the document.
    """
    lines = [(frozenset([normalise(line)]), frozenset(words(line))) for line in style]
    return _copy_of(lines, "copy of an example of style")


def _copy_of(sources: Sequence[tuple[frozenset[str], frozenset[str]]], reason: str) -> Filter:
    """Refuse a language model's query that is one of a source's texts, or has most of its words from a source."""

    def judge(query: Query, document: Document) -> str | None:
        asked = set(words(query.text))
        if not sources or not _from_language_model(query) or not asked:
            return None
        text, new, most = normalise(query.text), asked - set(words(document.text)), _MAX_FROM_SHOTS * len(asked)
        return reason if any(text in whole or len(new & known) >= most for whole, known in sources) else None

    return judge


def wrong_language(identify: Callable[[str], str]) -> Filter:
    """Make a filter that refuses queries in another language than their document; short ones cannot be told apart.

    Languages are compared by their primary part (`zh` of `zh-cn`). A query that is identified as what its document is
    identified as passes too, whatever the document's tag says: the identifier may not know the tag. Extracts pass:
    they are the document's own words, and of 3,900 from manuals in ten languages 6 % would go, often mere names.
    """

    def judge(query: Query, document: Document) -> str | None:
        if query.generator == _EXTRACTIVE or letters(query.text) < _MIN_IDENTIFIED_LETTERS:
            return None
        told = primary(identify(query.text))
        right = told == primary(document.language) or told == primary(identify(document.text))
        return None if right else "wrong language"

    return judge


def copy_of_another_query() -> FilterAlone:
    """Make a filter that refuses a query with the words of one that it saw before, of the same language and origin."""
    seen: set[tuple[str, str, str]] = set()

    def judge(query: Query) -> str | None:
        key = (normalise(query.text), query.language, query.origin)
        if key in seen:
            return "copy of another query"
        seen.add(key)
        return None

    return judge


def _from_language_model(query: Query) -> bool:
    return query.generator not in (_EXTRACTIVE, GIVEN)
