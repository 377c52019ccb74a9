"""Sets of ir_datasets, where that package is installed and has fetched them."""

from pathlib import Path
from typing import Any

from tamis.errors import InputError
from tamis.evaluation.sets import JudgedSet, SetQueries, join_set
from tamis.extras import missing_package
from tamis.formats.qrels import Judgement
from tamis.languages import UNKNOWN_LANGUAGE
from tamis.records import Document
from tamis.text import clip


def read_ir_dataset(source: str, name: str) -> JudgedSet:
    """Read documents, queries and judgements.

    Args:
        source: As it was given, for messages.
        name: As ir_datasets calls it, `beir/scifact/test`.

    Raises:
        MissingPartError: ir_datasets is not installed.
        InputError: it knows no such set, or one without documents, queries and judgements.
    """
    try:
        import ir_datasets
    except ImportError:
        raise missing_package(f"--on {source}", "ir_datasets", "ir-datasets") from None
    try:
        dataset = ir_datasets.load(name)
    except KeyError:
        raise InputError(
            f"--on {source}: ir_datasets knows no {name!r}; `ir_datasets list` shows what it knows"
        ) from None
    try:
        return _joined(source, name, dataset)
    except OSError as error:  # of a download, too
        raise InputError(
            f"--on {source}: ir_datasets cannot read {name} ({clip(str(error), 160)}); it fetches what is not in "
            "~/.ir_datasets"
        ) from None


def _joined(source: str, name: str, dataset: Any) -> JudgedSet:
    for part in ("docs", "queries", "qrels"):
        if not getattr(dataset, f"has_{part}")():
            raise InputError(f"--on {source}: {name} has no {part}; name one of its splits, as in beir/scifact/test")
    language = str(dataset.docs_lang() or UNKNOWN_LANGUAGE).lower()
    asked_in = str(dataset.queries_lang() or UNKNOWN_LANGUAGE).lower()
    documents = {
        str(each.doc_id): Document(str(each.doc_id), each.default_text(), language) for each in dataset.docs_iter()
    }
    queries = {str(each.query_id): SetQueries(each.default_text(), asked_in) for each in dataset.queries_iter()}
    judgements = [
        Judgement(str(each.query_id), str(each.doc_id), int(each.relevance), number)
        for number, each in enumerate(dataset.qrels_iter(), 1)
    ]
    place = Path(name)
    return join_set(
        name.replace("/", "-"),
        source,
        documents,
        queries,
        judgements,
        place / "qrels",
        (place / "docs", place / "queries"),
    )
