"""A run's training lists in the forms of other trainers."""

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from tamis.artifacts import newest_results, read_stream, stream_columns
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
    file = folders["lists"] / "lists.parquet"
    asked = _asked(folders["queries"] / "queries.parquet")
    corpus = folders["corpus"] / "corpus.parquet"
    with whole_folder(out) as folder:
        if form == "beir":
            _write_beir(folder, file, asked, corpus)
        else:
            texts: dict[str, str] = dict(stream_columns(corpus, "doc_id", "text"))
            for split in SPLITS:
                with (folder / f"{split}.jsonl").open("w", encoding="utf-8", newline="\n") as stream:
                    for example in _examples(_lists(file, split), asked, texts):
                        stream.write(json.dumps(WRITERS[form](example), ensure_ascii=False) + "\n")
    counts = Counter(split for (split,) in stream_columns(file, "split"))
    return {split: counts[split] for split in SPLITS}


class _Asked(NamedTuple):
    """The fields of a query that are written."""

    text: str
    language: str
    document_id: str


def _asked(file: Path) -> dict[str, _Asked]:
    """The queries by id: with the texts all that is in memory at once, however many lists there are."""
    columns = stream_columns(file, "query_id", "text", "language", "document_id")
    return {query_id: _Asked(text, sys.intern(language), seed) for query_id, text, language, seed in columns}


def _lists(file: Path, split: str) -> Iterator[TrainingList]:
    return (one for one in read_stream(file, TrainingList) if one.split == split)


def _examples(
    lists: Iterable[TrainingList], asked: Mapping[str, _Asked], texts: Mapping[str, str]
) -> Iterator[Example]:
    for one in lists:
        query = asked[one.query_id]
        best = _best(one, query)
        passages = [
            Passage(doc_id, texts[doc_id], doc_id == best, label)
            for doc_id, label in zip(one.doc_ids, one.labels, strict=True)
        ]
        yield Example(one.query_id, query.text, query.language, tuple(passages))


def _best(one: TrainingList, query: _Asked) -> str:
    highest = max(one.labels)
    best = [doc_id for doc_id, label in zip(one.doc_ids, one.labels, strict=True) if label == highest]
    return min(best, key=lambda doc_id: (doc_id != query.document_id, tie_key(one.query_id, doc_id)))


def _write_beir(folder: Path, file: Path, asked: Mapping[str, _Asked], corpus: Path) -> None:
    judged = {
        split: ((one.query_id, _best(one, asked[one.query_id]), 1) for one in _lists(file, split)) for split in SPLITS
    }
    ids = (one.query_id for split in SPLITS for one in _lists(file, split))
    queries = (Query(each, asked[each].text, asked[each].language, "", "", "") for each in ids)
    write_beir_folder(folder, read_stream(corpus, Document), queries, judged)
    (folder / "runs").mkdir()
    for split in SPLITS:
        write_run(folder / "runs" / f"{split}.trec", map(_ranked, _lists(file, split)), "teacher")


def _ranked(one: TrainingList) -> Candidates:
    keys = [tie_key(one.query_id, doc_id) for doc_id in one.doc_ids]
    order = rank_order(np.array(one.labels), keys).tolist()
    return Candidates(one.query_id, tuple(one.doc_ids[i] for i in order), tuple(one.labels[i] for i in order))
