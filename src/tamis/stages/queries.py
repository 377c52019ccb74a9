"""Queries: from documents to queries, and which of them to keep.

write_queries | given_queries ─ filter_queries
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Final, Protocol

from tamis.records import Document, Dropped, Query
from tamis.text import clip, letters, normalise, sentences, without_spaces, words

_GIVEN: Final = "given"
_EXTRACTIVE: Final = "extractive"
_MIN_WORDS: Final = 2
_MIN_SPACELESS_LETTERS: Final = 4
_MAX_CHARACTERS: Final = 200
_MAX_WORDS: Final = 40
_MAX_COPIED: Final = 0.6  # of a normalised sentence, line or document
_MAX_FROM_SHOTS: Final = 0.75  # of the words of a query
_MIN_IDENTIFIED_LETTERS: Final = 20
_CLIPPED: Final = 200

Filter = Callable[[Query, Document], str | None]
"""Gives the reason to leave a query out that was written from the document, or None to keep it."""


class Generate(Protocol):
    """What writes queries.

    Attributes:
        name: Stands in query ids; `extractive`, or the name of a language model.
        prompt: Hash of the prompt template, empty where there is none.
    """

    name: str
    prompt: str

    def __call__(self, document: Document, seed: int) -> str:
        """Write one query that the document answers; empty if it cannot.

        Args:
            document: The document to write from, and nothing else.
            seed: From 0 below 2**31; even for the first query of a document, odd for later ones, so that a generator
                can make the first one its surest. The same document and seed give the same query.
        """
        ...


def write_queries(documents: Iterable[Document], generate: Generate, per_document: int, seed: int) -> Iterator[Query]:
    """Write queries from documents.

    Args:
        documents: The documents to write from.
        generate: What writes; called `per_document` times for each document.
        per_document: Queries per document, at least 1.
        seed: Seed of the run. A query depends on it, on its document and its number, not on the other documents.

    Yields:
        Queries with the ids `generator/number/document`, in the order of the documents; some may be empty.
    """
    for document in documents:
        for number in range(per_document):
            query_seed = seed_of_query(seed, document.doc_id, number)
            yield Query(
                query_id=f"{generate.name}/{number}/{document.doc_id}",
                text=" ".join(generate(document, query_seed).split()),
                language=document.language,
                origin=document.origin,
                document_id=document.doc_id,
                generator=generate.name,
                prompt=generate.prompt,
                seed=query_seed,
            )


def seed_of_query(seed: int, doc_id: str, number: int) -> int:
    """Seed of the n-th query of a document, in [0, 2**31): even for number 0, odd for the others (see `Generate`)."""
    digest = hashlib.sha256(f"{seed}\0{doc_id}\0{number}".encode()).digest()
    return (int.from_bytes(digest[:4]) >> 2) << 1 | (number > 0)


def given_queries(rows: Iterable[tuple[str, str, str]], documents: Mapping[str, Document]) -> Iterator[Query | Dropped]:
    """Turn queries that came with documents into records.

    Args:
        rows: Query id, text and id of a relevant document.
        documents: Document id -> document.

    Yields:
        One query a row, with the id `given/query/document` and the language and origin of its document; or the reason
        `unknown document` where the document is not there (it may have been left out as a duplicate).
    """
    for given_id, text, doc_id in rows:
        query_id = f"{_GIVEN}/{given_id}/{doc_id}"
        document = documents.get(doc_id)
        if document is None:
            yield Dropped(query_id, "unknown document", "und", clip(text, _CLIPPED))
        else:
            one_line = " ".join(text.split())
            yield Query(query_id, one_line, document.language, document.origin, doc_id, generator=_GIVEN)


def given_id(query: Query) -> str:
    """The id under which a given query came: that of its folder's queries.jsonl."""
    return query.query_id.removeprefix(f"{_GIVEN}/").removesuffix(f"/{query.document_id}")


def filter_queries(
    queries: Iterable[Query], documents: Mapping[str, Document], identify: Callable[[str], str], shots: Collection[str]
) -> Iterator[Query | Dropped]:
    """Leave out queries that would teach nothing or something wrong. The first reason wins.

    Args:
        queries: Written or given queries.
        documents: Document id -> document, with the document of every query.
        identify: Text -> language tag, choosing among the languages of the corpus and English, into which language
            models slip.
        shots: Queries in the prompts of language models.

    Yields:
        For each query, in order, the query or why it was left out.
    """
    filters: tuple[Filter, ...] = (
        too_short,
        too_long,
        copy_of_passage,
        copy_of_shot(shots),
        wrong_language(identify),
        copy_of_another_query(),  # last, so that it remembers kept queries only
    )
    for query in queries:
        document = documents[query.document_id]
        reason = next((reason for judge in filters if (reason := judge(query, document))), None)
        yield query if reason is None else Dropped(query.query_id, reason, query.language, clip(query.text, _CLIPPED))


def too_short(query: Query, document: Document) -> str | None:
    """Refuse fewer than 2 words with letters or digits, or 4 letters of a script without spaces."""
    if without_spaces(query.text):
        enough = letters(query.text) >= _MIN_SPACELESS_LETTERS
    else:
        enough = len(normalise(query.text).split()) >= _MIN_WORDS
    return None if enough else "too short"


def too_long(query: Query, document: Document) -> str | None:
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
    known = frozenset(word for shot in shots for word in words(shot))

    def judge(query: Query, document: Document) -> str | None:
        asked = set(words(query.text))
        if not _from_language_model(query) or not asked:
            return None
        borrowed = (asked & known) - set(words(document.text))
        copied = normalise(query.text) in whole or len(borrowed) >= _MAX_FROM_SHOTS * len(asked)
        return "copy of a shot" if copied else None

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
        told = _primary(identify(query.text))
        right = told == _primary(document.language) or told == _primary(identify(document.text))
        return None if right else "wrong language"

    return judge


def copy_of_another_query() -> Filter:
    """Make a filter that refuses a query with the words of one that it saw before, of the same language and origin."""
    seen: set[tuple[str, str, str]] = set()

    def judge(query: Query, document: Document) -> str | None:
        key = (normalise(query.text), query.language, query.origin)
        if key in seen:
            return "copy of another query"
        seen.add(key)
        return None

    return judge


def _from_language_model(query: Query) -> bool:
    return query.generator not in (_EXTRACTIVE, _GIVEN)


def _primary(language: str) -> str:
    return language.split("-")[0]
