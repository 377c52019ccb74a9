"""BEIR folders: queries and judgements read, whole folders written."""

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tamis.errors import InputError
from tamis.formats.fields import QUERY_IDS, QUERY_TEXTS, record_id, text_of, usable_id
from tamis.formats.qrels import read_qrels
from tamis.formats.query_rows import query_rows, query_tables
from tamis.formats.tables import check_new
from tamis.records import Document, Query

_LINES: Final = (".jsonl", ".jsonl.gz", ".jsonl.zst")
_HEADER: Final = "query-id\tcorpus-id\tscore"


def beir_file(folder: Path, name: str) -> Path | None:
    """The file `corpus` or `queries` of a BEIR folder, plain or compressed; None where there is none."""
    return next((file for ending in _LINES if (file := folder / f"{name}{ending}").is_file()), None)


def read_judged_queries(folder: Path, splits: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Read the queries of a BEIR folder with the documents that answer them.

    Args:
        folder: Holds `queries.jsonl` and a `qrels/SPLIT.tsv` for each split.
        splits: Whose judged queries to read; those of other splits stay unread.

    Yields:
        Query id, text and the id of a relevant document (score above 0), in the order of the qrels.

    Raises:
        InputError: A file that is missing, or a line that is not understood.
    """
    queries_file, *qrels_files = judged_files(folder, splits)
    for file in (queries_file, *qrels_files):
        if not file.is_file():
            wanted = ", ".join(f"qrels/{split}.tsv" for split in splits)
            raise InputError(f"{file}: no such file; given queries need queries.jsonl and {wanted}")
    texts = read_query_texts(queries_file)
    for file in qrels_files:
        for query_id, doc_id, where in relevant(file):
            if query_id not in texts:
                raise InputError(
                    f"{where}: query {query_id!r} is not in {queries_file.name}; add it or remove the line"
                )
            yield query_id, texts[query_id], doc_id


def judged_files(folder: Path, splits: Sequence[str]) -> list[Path]:
    """The files of a BEIR folder that `read_judged_queries` opens, whether they are there or not."""
    queries = beir_file(folder, "queries") or folder / "queries.jsonl"
    return [queries, *(folder / "qrels" / f"{split}.tsv" for split in splits)]


def folder_and_split(given: str) -> tuple[Path, str]:
    """A BEIR folder and a split of it, of `FOLDER` or `FOLDER:SPLIT`; the split is empty where none is named.

    Raises:
        InputError: There is no such folder.
    """
    if given and Path(given).is_dir():  # an empty one would be the working directory
        return Path(given), ""
    path, _, split = given.rpartition(":")
    if path and Path(path).is_dir() and split:
        return Path(path), split
    raise InputError(
        f"--on {given}: no such folder; expected a BEIR folder (FOLDER:SPLIT names its qrels), irds:NAME or mteb:TASK"
    )


def read_query_texts(path: Path) -> dict[str, str]:
    """Texts of queries by id.

    Args:
        path: Any form of rows (see `query_tables`) with `_id`, `id`, `query_id` or `qid` and `text`, `query` or
            `question`; a `.tsv` without a header holds id and text.

    Raises:
        InputError: A line or row that is not understood, or an id that comes twice.
    """
    texts: dict[str, str] = {}
    places: dict[str, tuple[Path, str]] = {}
    for row in query_rows(query_tables(path)):
        query_id = record_id(row.content, row.where, QUERY_IDS)
        check_new(query_id, row, places)
        texts[query_id] = text_of(row.content, row.where, QUERY_TEXTS)
    return texts


def relevant(qrels_file: Path) -> Iterator[tuple[str, str, str]]:
    """Query id, document id and place (for messages) of each judgement above 0.

    Raises:
        InputError: A line that is not understood, see `read_qrels`.
    """
    for each in read_qrels(qrels_file):
        if each.grade > 0:
            yield each.query_id, each.doc_id, f"{qrels_file}, line {each.line}"


def write_beir_folder(
    folder: Path,
    documents: Iterable[Document],
    queries: Iterable[Query],
    judgements: Mapping[str, Iterable[tuple[str, str, int]]],
) -> None:
    """Write documents, queries and judgements as a BEIR folder.

    Args:
        folder: An empty folder.
        documents: Written in their order, the whole text as `text`, the language as `metadata.lang`.
        queries: Likewise.
        judgements: Split -> query id, document id and grade.

    Raises:
        InputError: An id that holds a tab or a line break, which qrels cannot hold.
    """
    (folder / "qrels").mkdir()
    _write_lines(folder / "corpus.jsonl", (_json_line(d.doc_id, d.text, d.language, title="") for d in documents))
    _write_lines(folder / "queries.jsonl", (_json_line(q.query_id, q.text, q.language) for q in queries))
    for split, judged in judgements.items():
        _write_lines(folder / "qrels" / f"{split}.tsv", itertools.chain([_HEADER], map(_qrels_line, judged)))


def _qrels_line(judgement: tuple[str, str, int]) -> str:
    query_id, doc_id, grade = judgement
    for each in (query_id, doc_id):
        if not usable_id(each):
            raise InputError(f"id {each!r} cannot stand in a qrels file; rename the document")
    return f"{query_id}\t{doc_id}\t{grade}"


def _json_line(record: str, text: str, language: str, **more: str) -> str:
    entry: dict[str, Any] = {"_id": record, **more, "text": text, "metadata": {"lang": language}}
    return json.dumps(entry, ensure_ascii=False)


def _write_lines(path: Path, written: Iterable[str]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        stream.writelines(f"{line}\n" for line in written)
