"""From what `--on` names to judged sets: folders, ir_datasets, mteb."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from tamis.errors import InputError, reaching
from tamis.evaluation.sets import JudgedSet, SetQueries, as_passages, join_set, of_languages
from tamis.formats.beir import beir_file, folder_and_split
from tamis.formats.documents import read_documents
from tamis.formats.fields import (
    DOMAIN,
    LANGUAGES,
    QUERY_IDS,
    QUERY_TEXTS,
    domain_of,
    language_of,
    record_id,
    text_of,
)
from tamis.formats.pools import pool_notes
from tamis.formats.qrels import qrels_files, read_qrels
from tamis.formats.tables import check_new, rows
from tamis.retrievers.index import Languages
from tamis.text import clip

IR_DATASETS: Final = "irds:"
MTEB: Final = "mteb:"


def read_set(given: str, languages: Languages = "any", passages: bool = False) -> list[JudgedSet]:
    """Read what `--on` names.

    Args:
        given: A BEIR folder, with `:SPLIT` behind it where it has several files of judgements (`my/set:dev`);
            `irds:NAME` for a set of ir_datasets; `mteb:TASK` for a retrieval or reranking task of mteb.
        languages: Which documents a question searches; judgements of others do not count.
        passages: Whether a set whose documents are there in passages is given a second time, judged by passages.

    Returns:
        One set; of an mteb task one for each of its subsets and splits.

    Raises:
        InputError: nothing there, a line that is not understood, or judgements that name what is not there.
        MissingPartError: the package that carries the set is not installed.
    """
    if given.startswith(IR_DATASETS):
        from tamis.evaluation.ir_datasets import read_ir_dataset

        found = [read_ir_dataset(given, given.removeprefix(IR_DATASETS))]
    elif given.startswith(MTEB):
        from tamis.evaluation.mteb_tasks import read_mteb_task

        found = read_mteb_task(given, given.removeprefix(MTEB))
    else:
        with reaching(given):
            found = [_read_folder(given)]
    if passages:
        found = [each for one in found for each in ([one, as_passages(one)] if one.passages else [one])]
    return [of_languages(one, languages) for one in found]


def the_set(given: str) -> JudgedSet:
    """What `--on` names where that is one set.

    Raises:
        InputError: it holds several, or see `read_set`.
    """
    (judged, *others) = read_set(given)
    if others:
        names = ", ".join(one.name for one in (judged, *others))
        raise InputError(f"--on {given} holds {1 + len(others)} sets, expected one; name one of {clip(names, 200)}")
    return judged


def is_folder(given: str) -> bool:
    """Whether `--on` names a folder here, and no set of a package."""
    return not given.startswith((IR_DATASETS, MTEB)) and (
        Path(given).is_dir() or Path(given.rpartition(":")[0]).is_dir()
    )


def read_sets(given: Iterable[str], languages: Languages = "any", passages: bool = False) -> Iterator[JudgedSet]:
    """Read several sets, one at a time.

    Raises:
        InputError: two of one name, passages are to be judged and no set has any, or see `read_set`.
    """
    sources: dict[str, str] = {}
    in_passages = False
    for one in given:
        for found in read_set(one, languages, passages):
            in_passages = in_passages or bool(found.passages)
            if found.name in sources:
                raise InputError(f"--on {one}: its name, {found.name}, is that of {sources[found.name]} too; rename it")
            sources[found.name] = one
            yield found
    if passages and not in_passages:
        raise InputError(
            f"--passages: no document of {', '.join(sources)} is there in passages, DOC#1 and so on, with a judgement "
            "of DOC; leave the option out"
        )


def _read_folder(given: str) -> JudgedSet:
    folder, split = folder_and_split(given)
    queries_file, corpus = beir_file(folder, "queries"), beir_file(folder, "corpus")
    files = qrels_files(folder)
    for there, name in ((corpus, "corpus.jsonl"), (queries_file, "queries.jsonl"), (files, "qrels/SPLIT.tsv")):
        if not there:
            raise InputError(
                f"{folder}: no {name} in it; a BEIR folder has corpus.jsonl, queries.jsonl and qrels/*.tsv"
            )
    split = split or ("test" if "test" in files or len(files) > 1 else next(iter(files)))
    if split not in files:
        raise InputError(
            f"{folder}: no qrels/{split}.tsv; it has {', '.join(files)}: name one, {folder}:{next(iter(files))}"
        )
    assert corpus is not None
    assert queries_file is not None
    documents = {document.doc_id: document for document in read_documents(folder, "target")}
    queries = _read_queries(queries_file)
    name = folder.resolve().name
    found = join_set(
        name if split == "test" or len(files) == 1 else f"{name}-{split}",
        given,
        documents,
        queries,
        read_qrels(files[split]),
        files[split],
        (corpus, queries_file),
    )
    return replace(found, notes=(*found.notes, *pool_notes(folder)))


def _read_queries(file: Path) -> dict[str, SetQueries]:
    """Text, language and domain of each query by id."""
    places: dict[str, tuple[Path, str]] = {}
    found = {}
    for row in rows([file], {*QUERY_IDS, *QUERY_TEXTS, *LANGUAGES, DOMAIN}):
        query_id = record_id(row.content, row.where, QUERY_IDS)
        check_new(query_id, row, places)
        text = text_of(row.content, row.where, QUERY_TEXTS)
        if not text.strip():
            raise InputError(f"{row.where}: query {query_id!r} is empty; write it or remove the line")
        found[query_id] = SetQueries(text, language_of(row.content, row.where), domain_of(row.content, row.where))
    return found
