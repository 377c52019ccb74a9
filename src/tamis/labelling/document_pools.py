"""Pools over documents alone: what BM25 and the user's own systems find for questions that nobody has judged."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tamis.artifacts import drop_counts, drop_notes, split_dropped
from tamis.errors import InputError, SettingsError
from tamis.formats.documents import Corpus
from tamis.formats.queries import LoggedQuery
from tamis.labelling.pools import Pools, make_pools
from tamis.labelling.wanted import Wanted, asked_of, notes_of_run, own_of
from tamis.records import Document
from tamis.retrievers.given_run import read_run
from tamis.retrievers.index import QueryBatch, Searching, build_indexes
from tamis.retrievers.own_ids import without
from tamis.retrievers.search import rank_candidates


def pools_of_documents(source: Path, wanted: Wanted) -> Pools:
    """Pools of BM25 and of given runs.

    Args:
        source: Documents, see `Corpus`.
        wanted: What is pooled.

    Raises:
        SettingsError: No questions are given.
        InputError: A file that is not understood, or nothing is found.
    """
    if wanted.queries is None:
        raise SettingsError(f"{source} is no folder of a run, so nothing wrote questions; give --queries FILE")
    documents, notes = _documents(source)
    asked = asked_of(wanted.queries, wanted.most, documents.values())
    rankings: dict[str, dict[str, Sequence[str]]] = {one.query_id: {} for one in asked.questions}
    own = own_of(asked, documents)
    for query_id, found in _bm25(asked.questions, list(documents.values()), own, wanted.depth).items():
        rankings[query_id]["bm25"] = found
    for name, path in wanted.runs.items():
        run = read_run(path, documents)
        notes += notes_of_run(name, run, wanted, asked, source)
        for query_id, ranking in rankings.items():
            scores = run.scores.get(query_id, {})
            ranked = rank_candidates(query_id, tuple(scores), np.array(list(scores.values())), len(scores))
            ranking[name] = without(ranked, query_id if query_id in own else None, wanted.depth).doc_ids
    return make_pools(asked, rankings, documents, wanted.depth, source.as_posix(), notes)


def _documents(source: Path) -> tuple[dict[str, Document], list[str]]:
    """The documents by id, and a note for each reason for which something was left out.

    Raises:
        InputError: Not one can be read.
    """
    kept, dropped = split_dropped(Corpus(source).documents("target"))
    if not kept:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in drop_counts(dropped).items())
        raise InputError(f"{source}: no document can be read ({reasons}); name a folder with one, or mend these")
    return {document.doc_id: document for document in kept}, drop_notes(dropped, source)


def _bm25(
    questions: Sequence[LoggedQuery], documents: Sequence[Document], own: frozenset[str], depth: int
) -> dict[str, tuple[str, ...]]:
    """The best documents of each question that hold a word of it; none is found by its own id."""
    index = build_indexes(documents, None, Searching(languages="any")).get("target", "")
    assert index is not None  # an input without documents is refused where it is read
    asked = QueryBatch(
        [q.query_id for q in questions], [q.text for q in questions], np.zeros((len(questions), 0), np.float32)
    )
    found = {}
    for question, of in zip(questions, index.search(asked, depth + bool(own), ["bm25"]), strict=True):
        hits = without(of["bm25"], question.query_id if question.query_id in own else None, depth)
        pairs = zip(hits.doc_ids, hits.scores, strict=True)
        found[question.query_id] = tuple(doc_id for doc_id, score in pairs if score > 0)
    return found
