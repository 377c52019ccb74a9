"""`tamis weigh --queries-out`: the queries that would weigh, for a search engine to answer."""

from collections.abc import Sequence
from pathlib import Path

from tamis.artifacts import writing
from tamis.errors import InputError
from tamis.weighing.config import WeighingConfig
from tamis.weighing.inputs import answerable, draw, own_documents, queries_by_id, read_documents
from tamis.whole_folder import whole_file


def export_queries(asked: WeighingConfig, out: Path) -> tuple[int, int, Sequence[str]]:
    """Write the queries that would weigh for a search engine to answer: lines of id and text between a tab.

    Args:
        asked: Names queries and corpus; nothing else of it is looked at.
        out: The file.

    Returns:
        How many were written, at most `WEIGHING` drawn by hash, how many could have been, and what was left out.

    Raises:
        InputError: the file is there already, no query's document is in the corpus, or see `read_queries`.
    """
    if out.exists():
        raise InputError(f"{out}: is there already; --queries-out writes a new file, remove it or name another one")
    written = queries_by_id(asked.queries)
    documents, unread = read_documents(asked.corpus, own_documents(written))
    queries, unanswerable = answerable(written, documents, asked)
    drawn = draw(queries)
    with writing(out, "make room or name another file"):
        lines = (f"{query_id}\t{' '.join(query.text.split())}\n" for query_id, query in drawn.items())
        with whole_file(out) as partial:
            partial.write_text("".join(lines), encoding="utf-8")
    return len(drawn), len(queries), [*unread, *unanswerable]
