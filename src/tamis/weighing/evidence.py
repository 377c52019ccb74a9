"""What weights are chosen by: the best candidates of each query, scored by the model, and which of them are right."""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tamis.artifacts import ItemStore
from tamis.evaluation.candidates import BiEncoder, Wanted, embeddings, find
from tamis.evaluation.judged import Question
from tamis.evaluation.sets import JudgedSet
from tamis.models.checkpoint import read_facts
from tamis.models.finite import finite_logits
from tamis.models.first_stage import finite_scores
from tamis.models.reranker import Reranker
from tamis.models.serializer import encoder_prefixes
from tamis.records import Candidates, Document, Query
from tamis.retrievers.own_ids import without
from tamis.stages.corpus.clean import identify_languages
from tamis.stages.lists.alike import alike_documents, alike_texts
from tamis.stages.lists.draw import Alike
from tamis.stages.merge.weights import RerankedHead
from tamis.weighing.config import WeighingConfig
from tamis.weighing.inputs import Inputs, Notes, Run, counted, draw, drawn_from

Runs = Mapping[str, Run]
"""What first stages found, by their names."""


@dataclass(frozen=True)
class Evidence:
    """Scored candidates of queries.

    Attributes:
        heads: By first stage.
        group_of: By query id, the document that it shares with others.
        notes: Which queries were drawn, and which documents count as right beside a query's own.
    """

    heads: Mapping[str, Sequence[RerankedHead]]
    group_of: Mapping[str, str]
    notes: Notes


def gather_evidence(asked: WeighingConfig, folder: Path, given: Inputs) -> Evidence:
    """Search where that is asked for, tell which candidates are right, and score them.

    Args:
        asked: What is weighed.
        folder: Folder of the model.
        given: Queries, documents and runs.

    Raises:
        TamisError: dense search without a bi-encoder, or a score that is not finite.
    """
    queries, documents = given.queries, given.documents
    encoder = BiEncoder(asked.encoder, *encoder_prefixes(read_facts(folder).serializer)) if asked.encoder else None
    drawn = draw(queries) if asked.first else {}
    with tempfile.TemporaryDirectory() as scratch, closing(ItemStore(Path(scratch) / "items.sqlite")) as items:
        searched = _searched(asked, drawn, documents, encoder, items) if drawn else {}
        found = {
            name: {query_id: without(each, None, asked.depth) for query_id, each in run.items()}
            for name, run in {**given.runs, **searched}.items()
        }
        own = {query_id: queries[query_id].document_id for run in found.values() for query_id in run}
        alike = _alike(own.values(), found, documents, encoder, items)
        heads = _heads(folder, found, queries, documents, alike)
    notes = drawn_from(", ".join(asked.first), drawn, queries) if drawn else []
    notes += _copies(heads, found, own, encoder)
    return Evidence(heads, {q: alike.cluster_of.get(d, d) for q, d in own.items()}, notes)


def _searched(
    asked: WeighingConfig,
    queries: Mapping[str, Query],
    documents: Mapping[str, Document],
    encoder: BiEncoder | None,
    items: ItemStore,
) -> Runs:
    """What the library's own first stages find, by name."""
    questions = {q: Question(q, query.text, query.language, {query.document_id: 1}) for q, query in queries.items()}
    judged = JudgedSet(asked.corpus.name, str(asked.corpus), documents, questions)
    return find(judged, Wanted(list(dict.fromkeys(asked.first)), {}, asked.depth, "any", encoder), items)


def _alike(
    own: Iterable[str],
    found: Runs,
    documents: Mapping[str, Document],
    encoder: BiEncoder | None,
    items: ItemStore,
) -> Alike:
    """Which candidates say what queries' own documents say: by vectors where there is a bi-encoder, else by words."""
    own = sorted(set(own))
    named = {*own, *(doc_id for run in found.values() for each in run.values() for doc_id in each.doc_ids)}
    some = {each.doc_id: each for each in identify_languages((documents[one] for one in sorted(named)), None)}
    if encoder is None:
        return alike_texts(own, some)
    vectors, _ = embeddings(encoder, {doc_id: document.text for doc_id, document in some.items()}, {}, items)
    return alike_documents(own, some, vectors)


def _heads(
    folder: Path,
    found: Runs,
    queries: Mapping[str, Query],
    documents: Mapping[str, Document],
    alike: Alike,
) -> dict[str, list[RerankedHead]]:
    """Heads of each first stage, scored by the model; a pair that several have is scored once."""
    pairs = {(q, doc_id) for run in found.values() for q, each in run.items() for doc_id in each.doc_ids}
    logits = _logits(folder, pairs, queries, documents)

    def head(name: str, query: Query, top: Candidates) -> RerankedHead:
        own = np.array([doc_id == query.document_id for doc_id in top.doc_ids], dtype=bool)
        return RerankedHead(
            query.query_id,
            query.language,
            np.array([logits[query.query_id, doc_id] for doc_id in top.doc_ids]),
            finite_scores(name, top.scores),
            (own | alike.repeats(query.document_id, top.doc_ids)).astype(np.float64),
        )

    return {name: [head(name, queries[q], top) for q, top in run.items()] for name, run in found.items()}


def _logits(
    folder: Path, pairs: Iterable[tuple[str, str]], queries: Mapping[str, Query], documents: Mapping[str, Document]
) -> dict[tuple[str, str], float]:
    """Logits by query id and document id; a document's pairs after each other, so that what is made of it is used."""
    ordered = sorted(pairs, key=lambda pair: (pair[1], pair[0]))
    texts = [(queries[query_id].text, documents[doc_id].text) for query_id, doc_id in ordered]
    windows = finite_logits(
        Reranker(folder), texts, "scoring", name_of=lambda n: f"query {ordered[n][0]!r} and document {ordered[n][1]!r}"
    )
    return dict(zip(ordered, (logit for window in windows for logit in window.tolist()), strict=True))


def _copies(
    heads: Mapping[str, Sequence[RerankedHead]], found: Runs, own: Mapping[str, str], encoder: BiEncoder | None
) -> Notes:
    """How many candidates count as right although they are not the query's own document, and how they were told."""
    right = sum(int(head.own.sum()) for some in heads.values() for head in some)
    there = sum(own[query_id] in each.doc_ids for run in found.values() for query_id, each in run.items())
    told = "their vectors" if encoder else "their words, --encoder ENCODER tells translations too"
    return counted(right - there, f"candidates say what a query's own document says and count as right, told by {told}")
