"""Queries by a function of the user's own; what it wrote is kept in the run folder."""

import json
from collections.abc import Iterator, Sequence
from typing import Final

from tamis.artifacts import ItemStore, item_key
from tamis.executors.local import Executor
from tamis.own_parts import Writer
from tamis.progress import track
from tamis.records import Document, Dropped, Query
from tamis.stages.queries.writers.answers import NO_TEXT
from tamis.text import one_line

AT_ONCE: Final = 32
"""Documents that the function is given together."""


def own_queries(
    writer: Writer, documents: Sequence[Document], engine: Executor, items: ItemStore
) -> Iterator[Query | Dropped]:
    """Let a function write queries from documents.

    Args:
        writer: What writes.
        documents: The documents.
        engine: Where it runs.
        items: Where what it wrote is kept, by its name and version.

    Yields:
        Its queries with the ids `name/number/document`, in the order of the documents; for one without a query, the
        reason.

    Raises:
        InputError: it gave something else than queries.
    """
    _write_missing(writer, documents, engine, items)
    for document in documents:
        key = _key(writer, document)
        texts = [one_line(text) for text in json.loads(items.get([key])[key])]
        for number, text in enumerate(texts or [""]):
            query_id = f"{writer.name}/{number}/{document.doc_id}"
            if text:
                yield Query(query_id, text, document.language, document.origin, document.doc_id, writer.name)
            else:
                yield Dropped(query_id, NO_TEXT, document.language)


def _write_missing(writer: Writer, documents: Sequence[Document], engine: Executor, items: ItemStore) -> None:
    missing = [document for document in documents if not items.get([_key(writer, document)])]
    blocks = [missing[start : start + AT_ONCE] for start in range(0, len(missing), AT_ONCE)]
    written = engine.mapped(writer.write, ([document.text for document in block] for block in blocks))
    with track(f"writing queries ({writer.name})", len(missing)) as advance:
        for block, answers in zip(blocks, written, strict=True):
            keyed = ((_key(writer, document), answer) for document, answer in zip(block, answers, strict=True))
            items.put((key, json.dumps(answer).encode()) for key, answer in keyed)
            advance(len(block))


def _key(writer: Writer, document: Document) -> str:
    return item_key("own writer", *writer.identity, document.text)
