"""Queries that were written elsewhere, and what language models may be shown of people's: the files of a recipe."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tamis.artifacts import read_column
from tamis.artifacts.inputs import input_hashes
from tamis.context import RunContext
from tamis.errors import InputError, SettingsError
from tamis.formats.evaluation_sets import read_evaluation_texts
from tamis.formats.lines import ending
from tamis.formats.prompt_files import read_style
from tamis.formats.queries import query_log_files
from tamis.formats.written_queries import LINES_ARE_ROWS, WrittenQuery, read_written_queries, written_query_files
from tamis.records import Document, Dropped, Query
from tamis.stages.queries.passages import about_passages, passages_by_document
from tamis.stages.queries.settings import QueriesSettings, writer_name
from tamis.stages.queries.write import queries_of_file
from tamis.text import normalise


def written_facts(written: Iterable[Path]) -> list[dict[str, Any]]:
    """What the written queries depend on: the names of their files and the hashes of what these hold."""
    return [
        {"name": writer_name(path), "files": input_hashes(written_query_files(path), "queries")}
        | ({"rows": "lines"} if ending(path) == LINES_ARE_ROWS else {})  # not those of before, see `line_rows`
        for path in written
    ]


def file_queries(written: Sequence[Path], context: RunContext) -> Iterator[Query | Dropped]:
    """The written queries of the target documents, file by file, or why there is none.

    Raises:
        InputError: A file that cannot be read, or of whose documents none was ever in the corpus.
    """
    if not written:
        return
    target = context.target
    left_out = frozenset(read_column(context.folders["corpus"] / "dropped.parquet", "record_id"))
    passages = passages_by_document(target)
    for path in written:
        found = list(about_passages(read_written_queries(path), passages))
        _check_white_space(str(path), found, target)
        known = (target, left_out, passages)
        if not any(query.document_id in some for query in found for some in known):
            _refuse(str(path), found, target)
        yield from queries_of_file(found, writer_name(path), *known)


def _check_white_space(path: str, found: Sequence[WrittenQuery], target: Mapping[str, Document]) -> None:
    """Refuse ids of documents that are unknown for the white space around them, which no eye sees."""
    for query in found:
        bare = query.document_id.strip()
        if query.document_id not in target and bare in target:
            raise InputError(
                f"{path}: query {query.query_id!r} names the document {query.document_id!r}, the corpus has {bare!r}; "
                "take the white space away"
            )


def _refuse(path: str, found: Sequence[WrittenQuery], target: Mapping[str, Document]) -> None:
    raise InputError(
        f"{path}: none of its {len(found):,} queries is about a document of corpus.target: its first document is "
        f"{found[0].document_id!r}, the corpus has {next(iter(target))!r}; name the file of this corpus, or give the "
        "documents the same ids"
    )


def check_query_files(settings: QueriesSettings) -> None:
    """Look for the files of written and typed queries, without opening any, and read the examples of style.

    Raises:
        TamisError: What is missing or wrong, before anything is done.
    """
    for path in settings.written:
        written_query_files(path)
    for log in settings.logs:
        query_log_files(log.path)
    _check_style(settings)


def _check_style(settings: QueriesSettings) -> None:
    """Refuse examples of style that are too few, too many, or questions that are kept out to judge by.

    Raises:
        InputError: A file that cannot be read.
        SettingsError: What is wrong with them.
    """
    like = settings.prompt.like
    if like is None:
        return
    style = {normalise(line): line for line in read_style(like)}
    for path in settings.keep_out:
        for query_id, text in read_evaluation_texts(path).queries.items():
            if normalise(text) in style:
                raise SettingsError(
                    f"queries.prompt.like: {like} holds {style[normalise(text)]!r}, which is query {query_id} of "
                    "queries.keep_out; what is judged by may not be imitated: take it out of the one or the other"
                )
