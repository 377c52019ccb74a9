"""Queries that were given: those of general corpora with their documents, and those of logs."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from tamis.formats.queries import read_given_queries, read_query_log
from tamis.languages import UNKNOWN_LANGUAGE, language_identifier, primary
from tamis.records import GIVEN, Document, Dropped, Query
from tamis.stages.corpus.settings import GeneralCorpus
from tamis.stages.queries.settings import QueryLog
from tamis.stages.queries.write import CLIPPED
from tamis.text import clip, one_line


def given_rows(general: Iterable[GeneralCorpus], documents: Mapping[str, Document]) -> Iterator[tuple[str, str, str]]:
    """The given queries of the general documents that are there: id, text and document."""
    for corpus in general:
        for query_id, text, doc_id in read_given_queries(corpus.path, corpus.splits):
            if f"{corpus.path.name}:{doc_id}" in documents:
                yield query_id, text, f"{corpus.path.name}:{doc_id}"


def log_queries(
    logs: Iterable[QueryLog], languages: Sequence[str], documents: Mapping[str, Document]
) -> Iterator[Query]:
    """What the logs hold, in the languages of the documents that are searched.

    Args:
        logs: The logs of a recipe.
        languages: That may occur in them; none: those of the documents.
        documents: By id.
    """
    for log in logs:
        spoken = sorted({d.language for d in documents.values() if d.origin == log.origin})
        among = [log.language] if log.language else languages or spoken
        rows = read_query_log(log.path)
        yield from logged_queries(rows, log.path.name, log.origin, spoken, language_identifier(among))


LOG: Final = "log"
"""What ids of queries of a log begin with, as those of others do with the name of their writer."""


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
        query_id = f"{GIVEN}/{given_id}/{doc_id}"
        document = documents.get(doc_id)
        if document is None:
            yield Dropped(query_id, "unknown document", UNKNOWN_LANGUAGE, clip(text, CLIPPED))
        else:
            yield Query(query_id, one_line(text), document.language, document.origin, doc_id, generator=GIVEN)


def given_id(query: Query) -> str:
    """The id under which a given query came: that of its folder's queries.jsonl."""
    return query.query_id.removeprefix(f"{GIVEN}/").removesuffix(f"/{query.document_id}")


def logged_queries(
    rows: Iterable[tuple[str, str, str]],
    log: str,
    origin: str,
    languages: Sequence[str],
    identify: Callable[[str], str],
) -> Iterator[Query]:
    """Turn queries that people typed into records; no document is known to answer them.

    Args:
        rows: Id in the log, text and language, `und` where it is not known.
        log: Name of the log, holds no slash.
        origin: Origin of the documents that they search.
        languages: Languages of these documents. A query's language becomes the one of them with the same primary part,
            `en` for `en-us`; one that none of them has stays.
        identify: Text -> language tag.

    Yields:
        One query a row, with the id `log/LOG/id`.
    """
    nearest = {primary(tag): tag for tag in reversed(languages)}
    for own_id, text, told in rows:
        typed = one_line(text)
        language = identify(typed) if told == UNKNOWN_LANGUAGE else told
        if language not in languages:
            language = nearest.get(primary(language), language)
        yield Query(logged_id(log, own_id), typed, language, origin, document_id="", generator=GIVEN)


def logged_id(log: str, own_id: str) -> str:
    """The id of a query, from the name of its log and its id there."""
    return f"{LOG}/{log}/{own_id}"
