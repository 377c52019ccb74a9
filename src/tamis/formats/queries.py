"""Given queries from whatever path a recipe names; the form is told from the path, in one place."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from tamis.errors import InputError
from tamis.formats.beir import beir_file, judged_files, read_judged_queries
from tamis.formats.tables import table_files
from tamis.formats.training_files import FORMS, read_examples


def read_given_queries(path: Path, splits: Sequence[str] = ("test",)) -> Iterator[tuple[str, str, str]]:
    """Read the queries that come with general documents. The queries of a target corpus are never read.

    Args:
        path: A BEIR folder with `queries.jsonl` and a `qrels/SPLIT.tsv` for each split, or a training file.
        splits: Of a BEIR folder: whose judged queries to read; those of other splits stay unread.

    Yields:
        Query id, text and the id of a relevant document: in the order of the qrels, or of the training file, there
        the relevant documents of a query by their scores.

    Raises:
        InputError: A file that is missing, or a line that is not understood.
    """
    if not _is_training_file(path):
        yield from read_judged_queries(path, splits)
        return
    for example in read_examples(path):
        relevant = [passage for passage in example.passages if passage.relevant]
        for passage in sorted(relevant, key=lambda passage: -(passage.score or 0)):
            yield example.query_id, example.query, passage.doc_id


def given_query_files(path: Path, splits: Sequence[str]) -> list[Path]:
    """The files, beside those of the documents, that hold the given queries; they need not be there.

    Raises:
        InputError: A file that can hold no queries.
    """
    return [] if _is_training_file(path) else judged_files(path, splits)


def _is_training_file(path: Path) -> bool:
    if path.is_dir():
        return beir_file(path, "corpus") is None and beir_file(path, "queries") is None and bool(table_files(path))
    if not path.is_file() or table_files(path):
        return path.is_file()
    raise InputError(
        f"{path}: cannot hold queries; expected a BEIR folder or a training file "
        f"({', '.join(form.name for form in FORMS)}; .jsonl, .csv, .tsv or .parquet)"
    )
