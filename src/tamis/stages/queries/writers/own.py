"""Queries by a function of the user's own; what it wrote is kept in the run folder."""

import json
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from tamis.artifacts import ItemStore, item_key, kept_in
from tamis.executors.local import Executor
from tamis.own_parts import Writer
from tamis.progress import track
from tamis.records import Document, Dropped, Query
from tamis.stages.queries.writers.answers import NO_TEXT
from tamis.text import one_line

AT_ONCE: Final = 32
"""Documents that the function is given together."""


def own_queries(
    writer: Writer, documents: Sequence[Document], executor: Executor, items: ItemStore
) -> Iterator[Query | Dropped]:
    """Let a function write queries from documents; they are kept by its name and version.

    Yields:
        Its queries with the ids `name/number/document`, in the order of the documents; for one without a query, the
        reason.

    Raises:
        InputError: it gave something else than queries.
    """
    kept = kept_in(items, partial(_key, writer), lambda texts: json.dumps(texts).encode(), json.loads)
    written = kept.values(documents, partial(_write, writer, executor))
    for document, texts in zip(documents, written, strict=True):
        for number, text in enumerate(map(one_line, texts) if texts else [""]):
            query_id = f"{writer.name}/{number}/{document.doc_id}"
            if text:
                yield Query(query_id, text, document.language, document.origin, document.doc_id, writer.name)
            else:
                yield Dropped(query_id, NO_TEXT, document.language)


def _write(
    writer: Writer, executor: Executor, missing: Iterator[list[Document]]
) -> Iterator[list[tuple[Document, list[str]]]]:
    new = [document for group in missing for document in group]
    blocks = [new[start : start + AT_ONCE] for start in range(0, len(new), AT_ONCE)]
    written = executor.mapped(writer.write, ([document.text for document in block] for block in blocks))
    with track(f"writing queries ({writer.name})", len(new)) as advance:
        for block, answers in zip(blocks, written, strict=True):
            yield list(zip(block, answers, strict=True))
            advance(len(block))


def _key(writer: Writer, document: Document) -> str:
    return item_key("own writer", *writer.identity, document.text)
