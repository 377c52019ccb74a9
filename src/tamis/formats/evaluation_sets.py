"""The texts of evaluation sets, so that what overlaps them can be left out of training."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tamis.errors import InputError
from tamis.formats.beir import beir_file, read_query_texts, relevant
from tamis.formats.documents import read_documents
from tamis.formats.lines import ending, filled_lines
from tamis.formats.qrels import qrels_files
from tamis.formats.query_rows import query_tables


@dataclass(frozen=True)
class EvaluationTexts:
    """Texts of an evaluation set by id; the ids begin with the set's name.

    Attributes:
        queries: All its queries.
        documents: The documents that its judgements call relevant, where they lie beside the queries.
    """

    queries: Mapping[str, str] = field(default_factory=dict)
    documents: Mapping[str, str] = field(default_factory=dict)


def evaluation_files(path: Path) -> list[Path]:
    """The files that `read_evaluation_texts` opens.

    Raises:
        InputError: Nothing there that can be read.
    """
    if path.is_dir() and (queries := beir_file(path, "queries")):
        corpus = beir_file(path, "corpus")
        return [queries, *_qrels_of(path), *([corpus] if corpus else [])]
    files = query_tables(path)
    if not files:
        raise InputError(
            f"{path}: no evaluation set that can be read; expected a BEIR folder or a file of queries "
            "(.jsonl, .csv, .tsv or .parquet)"
        )
    return files


def read_evaluation_texts(path: Path) -> EvaluationTexts:
    """Read what an evaluation set asks, and what answers it.

    Args:
        path: A BEIR folder with `queries.jsonl` (the relevant documents of all its qrels are read too, where it has
            both), or a file or folder of queries, see `read_query_texts`.

    Raises:
        InputError: Nothing to read, a line that is not understood, or a file of judgements, which names no texts.
    """
    name = path.name
    if path.is_dir() and (queries := beir_file(path, "queries")):
        judged = {doc_id for file in _qrels_of(path) for _, doc_id, _ in relevant(file)}
        corpus = beir_file(path, "corpus")
        documents = _texts_of(corpus, judged) if corpus and judged else {}
    else:
        queries, documents = path, {}
        for file in evaluation_files(path)[:1]:
            _refuse_judgements(file)
    texts = read_query_texts(queries)
    return EvaluationTexts(
        {f"{name}:{query_id}": text for query_id, text in texts.items()},
        {f"{name}:{doc_id}": text for doc_id, text in documents.items()},
    )


def _qrels_of(folder: Path) -> list[Path]:
    return list(qrels_files(folder).values())


def _refuse_judgements(file: Path) -> None:
    if ending(file) == ".tsv":
        _, header = next(filled_lines(file), (0, ""))
        if header.split("\t")[-1] == "score":
            raise InputError(
                f"{file}: judgements name no texts; name the BEIR folder that they belong to, or its file of queries"
            )


def _texts_of(corpus: Path, wanted: set[str]) -> dict[str, str]:
    return {
        document.doc_id: document.text for document in read_documents(corpus, "target") if document.doc_id in wanted
    }
