"""A run's training lists in the forms of other trainers."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from tamis.artifacts import newest_results, read_records
from tamis.errors import RunError, SettingsError
from tamis.formats.beir import write_beir_folder
from tamis.formats.training_files import WRITERS, Example, Passage
from tamis.formats.trec import write_run
from tamis.formulas.ranking import rank_order, tie_key
from tamis.records import Candidates, Document, Query, TrainingList
from tamis.whole_folder import whole_folder

FORMATS: Final = (*WRITERS, "beir")
"""Names of the forms that lists can be written in."""

SPLITS: Final = ("train", "held-out")


def write_lists(run: Path, form: str, out: Path) -> dict[str, int]:
    """Write the newest training lists of a run, with the teacher's labels, for another trainer.

    The document with the highest label answers the query (the label holds the bonus of the seed document), the others
    of the list do not. Of equal labels the seed document comes first.

    Args:
        run: Folder of a run whose stage `lists` is finished.
        form: One of `FORMATS`. `beir` writes all documents, the queries of the lists with their best document in
            `qrels/SPLIT.tsv`, and the teacher's labels as the TREC run `runs/SPLIT.trec`; the others a `SPLIT.jsonl`.
        out: New folder; it appears whole or not at all.

    Returns:
        Number of lists by split, `train` and `held-out`.

    Raises:
        SettingsError: There is no such form.
        RunError: No finished lists in the run, or a disk that cannot be written.
        InputError: Something lies at `out`.
    """
    if form not in FORMATS:
        raise SettingsError(f"--format {form}: expected one of {', '.join(FORMATS)}")
    if not run.is_dir():
        raise RunError(f"{run}: no such folder; expected the folder of a run, as --out names it")
    folders = newest_results(run, "lists")
    lists = read_records(folders["lists"] / "lists.parquet", TrainingList)
    queries = {query.query_id: query for query in read_records(folders["queries"] / "queries.parquet", Query)}
    documents = {each.doc_id: each for each in read_records(folders["corpus"] / "corpus.parquet", Document)}
    by_split = {split: [one for one in lists if one.split == split] for split in SPLITS}
    with whole_folder(out) as folder:
        if form == "beir":
            _write_beir(folder, by_split, queries, documents)
        else:
            for split, own in by_split.items():
                with (folder / f"{split}.jsonl").open("w", encoding="utf-8", newline="\n") as stream:
                    for example in _examples(own, queries, documents):
                        stream.write(json.dumps(WRITERS[form](example), ensure_ascii=False) + "\n")
    return {split: len(own) for split, own in by_split.items()}


def _examples(
    lists: Sequence[TrainingList], queries: dict[str, Query], documents: dict[str, Document]
) -> Iterator[Example]:
    for one in lists:
        query = queries[one.query_id]
        best = _best(one, query)
        passages = [
            Passage(doc_id, documents[doc_id].text, doc_id == best, label)
            for doc_id, label in zip(one.doc_ids, one.labels, strict=True)
        ]
        yield Example(one.query_id, query.text, query.language, tuple(passages))


def _best(one: TrainingList, query: Query) -> str:
    highest = max(one.labels)
    best = [doc_id for doc_id, label in zip(one.doc_ids, one.labels, strict=True) if label == highest]
    return min(best, key=lambda doc_id: (doc_id != query.document_id, tie_key(one.query_id, doc_id)))


def _write_beir(
    folder: Path,
    by_split: dict[str, list[TrainingList]],
    queries: dict[str, Query],
    documents: dict[str, Document],
) -> None:
    judged = {
        split: [(one.query_id, _best(one, queries[one.query_id]), 1) for one in own] for split, own in by_split.items()
    }
    asked = [queries[one.query_id] for own in by_split.values() for one in own]
    write_beir_folder(folder, documents.values(), asked, judged)
    (folder / "runs").mkdir()
    for split, own in by_split.items():
        write_run(folder / "runs" / f"{split}.trec", map(_ranked, own), "teacher")


def _ranked(one: TrainingList) -> Candidates:
    keys = [tie_key(one.query_id, doc_id) for doc_id in one.doc_ids]
    order = rank_order(np.array(one.labels), keys).tolist()
    return Candidates(one.query_id, tuple(one.doc_ids[i] for i in order), tuple(one.labels[i] for i in order))
