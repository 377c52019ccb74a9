"""A tamis reranker as a node postprocessor of LlamaIndex.

Example:
    >>> index.as_query_engine(similarity_top_k=30, node_postprocessors=[TamisRerank("demo/model")])  # doctest: +SKIP
"""

from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle
from pydantic import PrivateAttr

from tamis.errors import InputError
from tamis.integrations.ranking import Model, loaded, rank_found
from tamis.models.reranker import Reranker


class TamisRerank(BaseNodePostprocessor):  # type: ignore[misc]
    """Orders nodes by relevance, beside the score that the retriever gave them; the new score falls with the rank.

    The text of a node is what LlamaIndex embeds of it, metadata included. `first_stage` is as for `rank_found`.
    """

    top_n: int | None
    first_stage: str | None
    _reranker: Reranker = PrivateAttr()

    def __init__(self, model: Model, top_n: int | None = None, first_stage: str | None = None) -> None:
        super().__init__(top_n=top_n, first_stage=first_stage)
        self._reranker = loaded(model)

    def _postprocess_nodes(self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None) -> list[NodeWithScore]:
        if query_bundle is None:
            raise InputError("TamisRerank: got no query; pass query_str or query_bundle")
        texts = [one.node.get_content(metadata_mode=MetadataMode.EMBED) for one in nodes]
        scores, query = [one.score for one in nodes], query_bundle.query_str
        ranked = rank_found(self._reranker, query, texts, scores, self.top_n, self.first_stage)
        return [NodeWithScore(node=nodes[place].node, score=score) for place, score in ranked]
