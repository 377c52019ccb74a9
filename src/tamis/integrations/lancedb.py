"""A tamis reranker as a reranker of LanceDB.

Example:
    >>> table.search(query, query_type="hybrid").rerank(TamisReranker("demo/model")).limit(10)  # doctest: +SKIP
"""

import pyarrow as pa
from lancedb.rerankers import Reranker, RRFReranker

from tamis.integrations.ranking import Model, loaded, rank_found


class TamisReranker(Reranker):  # type: ignore[misc]
    """Orders rows by `column`'s text beside minus the distance, full text's score, or the rank fusion of both."""

    def __init__(
        self, model: Model, column: str = "text", top_n: int | None = None, first_stage: str | None = None
    ) -> None:
        super().__init__()
        self.model, self.column, self.top_n, self.first_stage = loaded(model), column, top_n, first_stage

    def rerank_hybrid(self, query: str, vector_results: pa.Table, fts_results: pa.Table) -> pa.Table:
        """What either search found, best first."""
        return self._ranked(query, RRFReranker().rerank_hybrid(query, vector_results, fts_results), "_relevance_score")

    def rerank_vector(self, query: str, vector_results: pa.Table) -> pa.Table:
        """What a search by vectors found, best first."""
        return self._ranked(query, vector_results, "_distance", sign=-1)

    def rerank_fts(self, query: str, fts_results: pa.Table) -> pa.Table:
        """What full text search found, best first."""
        return self._ranked(query, fts_results, "_score")

    def _ranked(self, query: str, rows: pa.Table, by: str, sign: int = 1) -> pa.Table:
        texts, scores = rows[self.column].to_pylist(), [sign * score for score in rows[by].to_pylist()]
        hits = rank_found(self.model, query, texts, scores, self.top_n, self.first_stage)
        best = rows.take(pa.array([place for place, _ in hits], pa.int64())).drop_columns([by])
        return best.append_column("_relevance_score", pa.array([score for _, score in hits], pa.float32()))
