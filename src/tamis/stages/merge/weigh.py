"""Heads of held-out queries: they weigh the first stages beside the student, and say where its score is one half."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from tamis.artifacts import split_dropped
from tamis.context import texts_of
from tamis.evaluation.judged import read_questions
from tamis.evaluation.systems import RERANKED
from tamis.formats.documents import read_documents
from tamis.formulas.calibration import balanced_level
from tamis.formulas.ranking import tie_key
from tamis.models.student import Student
from tamis.records import Query, TrainingList
from tamis.retrievers.index import IndexSet
from tamis.retrievers.own_ids import own_ids
from tamis.retrievers.search import search_indexes
from tamis.retrievers.vectors import Vectors
from tamis.stages.candidates.first_stages import FirstStages
from tamis.stages.candidates.search import own_documents
from tamis.stages.corpus.clean import clean, identify_languages
from tamis.stages.corpus.settings import CorpusSettings
from tamis.stages.lists.draw import by_hash
from tamis.stages.lists.held_out import given_and_written
from tamis.stages.merge.weights import RerankedHead
from tamis.stages.student.factory import StudentFactory
from tamis.stages.student.scores import score_pairs

WEIGHING: Final = 600
"""Most queries that weigh the first stages: their standard error is then about a point."""

_JUDGED: Final = "judged:"


@dataclass(frozen=True)
class HeadScorer:
    """Reranks the heads of first stages by a student, to see what each counts beside it.

    Attributes:
        depth: How many candidates the model will rerank.
        corpus: How documents that are judged elsewhere are cleaned.
        first_stages: What searches.
        students: Prepare and score texts.
    """

    depth: int
    corpus: CorpusSettings
    first_stages: FirstStages
    students: StudentFactory

    def held_out(self, student: Student, queries: Sequence[Query]) -> dict[str, list[RerankedHead]]:
        """What the student makes of held-out queries, by first stage, down to the depth at which it will be used.

        Args:
            student: The model; texts are prepared.
            queries: Each with the document that it belongs to; may be none.
        """
        if not queries:
            return {first_stage: [] for first_stage in RERANKED}
        vectors = self.first_stages.embeddings.vectors("query", texts_of(self.students.context.queries))
        own = {query.query_id: {query.document_id} for query in queries}
        indexes = self.first_stages.indexes
        return self._heads(student, queries, own, vectors, indexes, own_documents(queries, indexes))

    def judged(self, student: Student, folder: Path) -> dict[str, list[RerankedHead]]:
        """The same of judged questions on documents that nothing was learnt from, which alone are searched.

        Args:
            student: The model.
            folder: BEIR folder; of more than `WEIGHING` questions as many are drawn by hash.

        Raises:
            InputError: The folder is no judged set, see `read_documents` and `read_questions`.
        """
        kept, _ = split_dropped(clean(read_documents(folder, "target"), self.corpus.max_chars))
        read = list(identify_languages(kept, self.corpus.languages or None))
        languages = {document.doc_id: document.language for document in read}
        judged, _ = read_questions(*judged_files(folder), languages, self.first_stages.settings.languages)
        drawn = sorted(judged, key=lambda question: tie_key("question", question.query_id))[:WEIGHING]
        # The run may know other texts by the same ids.
        documents = {f"{_JUDGED}{d.doc_id}": replace(d, doc_id=f"{_JUDGED}{d.doc_id}") for d in read}
        queries = [q.as_query(_JUDGED) for q in drawn]
        own = {
            query.query_id: {f"{_JUDGED}{d}" for d, grade in question.relevant.items() if grade > 0}
            for query, question in zip(queries, drawn, strict=True)
        }
        texts, embeddings = texts_of({q.query_id: q for q in queries}), self.first_stages.embeddings
        self.students.prepare(texts, texts_of(documents))
        indexes = self.first_stages.over(documents.values(), embeddings.vectors("document", texts_of(documents)))
        known = own_ids({question.query_id: question.relevant for question in judged}, languages).ids
        itself = {f"{_JUDGED}{query_id}": f"{_JUDGED}{query_id}" for query_id in known}
        return self._heads(student, queries, own, embeddings.vectors("query", texts), indexes, itself)

    def _heads(
        self,
        student: Student,
        queries: Sequence[Query],
        own: Mapping[str, Collection[str]],
        vectors: Vectors,
        indexes: IndexSet,
        itself: Mapping[str, str],
    ) -> dict[str, list[RerankedHead]]:
        """Heads of prepared queries and documents, by first stage.

        Args:
            student: The model.
            queries: What is asked.
            own: Ids of the documents that belong to each query, by its id.
            vectors: Of the queries.
            indexes: What they search.
            itself: Id of the document that a query is itself, by its id; it is no candidate.
        """
        found = list(search_indexes(queries, vectors, indexes, self.depth, RERANKED, itself=itself))
        heads: dict[str, list[RerankedHead]] = {}
        for first_stage in RERANKED:
            ranked = [(query, of[first_stage]) for query, of in found]
            pairs = [(query.query_id, doc_id) for query, head in ranked for doc_id in head.doc_ids]
            logits = score_pairs(self.students, student, pairs, f"weighing {first_stage}")
            heads[first_stage] = [
                RerankedHead(
                    query.query_id,
                    query.language,
                    np.array([logits[query.query_id, doc_id] for doc_id in head.doc_ids]),
                    np.array(head.scores),
                    np.array([float(doc_id in own[query.query_id]) for doc_id in head.doc_ids]),
                )
                for query, head in ranked
            ]
        return heads


def judged_files(folder: Path) -> tuple[Path, Path]:
    """Questions and judgements of a BEIR folder."""
    return folder / "queries.jsonl", folder / "qrels" / "test.tsv"


def level_of(heads: Iterable[RerankedHead]) -> float:
    """The logit between the documents that held-out queries belong to and the other candidates; 0 without either."""
    heads = list(heads)
    if not heads:
        return 0.0
    logits, own = (np.concatenate(parts) for parts in zip(*((h.logits, h.own) for h in heads), strict=True))
    return balanced_level(logits[own == 1], logits[own == 0]) if 0 < own.sum() < len(own) else 0.0


def weighing_queries(lists: Sequence[TrainingList], queries: Mapping[str, Query]) -> list[Query]:
    """The held-out queries that weigh the first stages, at most `WEIGHING` drawn by hash.

    The given ones, or the written ones where none are given. Those of logs cannot: of them no document is known.
    """
    held_out = (one for one in lists if one.split == "held-out" and queries[one.query_id].document_id)
    given, written = given_and_written(held_out, queries)
    chosen = given or written
    if len(chosen) > WEIGHING:
        chosen = by_hash(chosen)[:WEIGHING]
    return [queries[one.query_id] for one in chosen]
