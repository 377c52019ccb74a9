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
        InputError: it knows no such set, one without documents, queries and judgements, one that cannot be fetched, or
            one of which it does not say what the text is.
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
    return _joined(source, name, dataset)


def _joined(source: str, name: str, dataset: Any) -> JudgedSet:
    try:
        documents, queries, judgements = _read(source, name, dataset)
    except InputError:
        raise
    except Exception as error:  # of a download, too: with several places to fetch from it is no OSError
        raise InputError(
            f"--on {source}: ir_datasets cannot read {name} ({clip(str(error), 160)}); it fetches what is not in "
            "~/.ir_datasets"
        ) from None
    place = Path(name)
    others = place / "docs", place / "queries"
    return join_set(name.replace("/", "-"), source, documents, queries, judgements, place / "qrels", others)


def _read(source: str, name: str, dataset: Any) -> tuple[dict[str, Document], dict[str, SetQueries], list[Judgement]]:
    for part in ("docs", "queries", "qrels"):
        if not getattr(dataset, f"has_{part}")():
            raise InputError(f"--on {source}: {name} has no {part}; name one of its splits, as in beir/scifact/test")
    language = str(dataset.docs_lang() or UNKNOWN_LANGUAGE).lower()
    asked_in = str(dataset.queries_lang() or UNKNOWN_LANGUAGE).lower()
    documents = {
        str(each.doc_id): Document(str(each.doc_id), _text(source, each), language) for each in dataset.docs_iter()
    }
    queries = {str(each.query_id): SetQueries(_text(source, each), asked_in) for each in dataset.queries_iter()}
    judgements = [
        Judgement(str(each.query_id), str(each.doc_id), int(each.relevance), number)
        for number, each in enumerate(dataset.qrels_iter(), 1)
    ]
    return documents, queries, judgements


def _text(source: str, record: Any) -> str:
    """The text of a document or query; of a kind without a default one that of its field `text`.

    Raises:
        InputError: it has neither, and which of its fields count is not for us to say.
    """
    text = record.default_text() if hasattr(record, "default_text") else getattr(record, "text", None)
    if not isinstance(text, str):
        fields = ", ".join(record._fields)
        raise InputError(
            f"--on {source}: ir_datasets gives no text of a {type(record).__name__}, which has {fields}; write a BEIR "
            "folder with the text that counts, and name that"
        )
    return text
