"""A tamis reranker as a document compressor of LangChain.

Example:
    >>> best = TamisRerank(model="demo/model", top_n=5).compress_documents(found, query)  # doctest: +SKIP
"""

from collections.abc import Sequence
from typing import Any

from langchain_core.documents import BaseDocumentCompressor, Document
from pydantic import ConfigDict

from tamis.integrations.ranking import Model, loaded, rank_found
from tamis.models.checkpoint import OTHER


class TamisRerank(BaseDocumentCompressor):  # type: ignore[misc]
    """Orders documents by relevance; each keeps its metadata and gets `relevance_score`, which falls with the rank.

    `model` is a folder, a hub name or a `Reranker`, `first_stage` as for `rank_found`. `score_key` names the search's
    score, higher being better, in the metadata; LangChain's stores keep none there by themselves.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")
    model: Model
    top_n: int | None = None
    first_stage: str | None = None
    score_key: str | None = None

    def model_post_init(self, _: Any) -> None:
        """Load the model once."""
        self.model = loaded(self.model)

    def compress_documents(self, documents: Sequence[Document], query: str, callbacks: Any = None) -> list[Document]:
        """The best documents, best first, see `rank_found`; `callbacks` get nothing."""
        texts, scores = [one.page_content for one in documents], [one.metadata.get(self.score_key) for one in documents]
        first = self.first_stage or (OTHER if self.score_key else None)
        ranked = [(documents[n], score) for n, score in rank_found(self.model, query, texts, scores, self.top_n, first)]
        return [one.model_copy(update={"metadata": one.metadata | {"relevance_score": score}}) for one, score in ranked]
