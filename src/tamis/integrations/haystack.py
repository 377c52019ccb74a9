"""A tamis reranker as a ranker of Haystack.

Example:
    >>> pipeline.add_component("ranker", TamisRanker("demo/model", top_k=5))  # doctest: +SKIP
    >>> pipeline.connect("retriever.documents", "ranker.documents")  # doctest: +SKIP
"""

from dataclasses import replace

from haystack import Document, component

from tamis.integrations.ranking import Model, loaded, rank_found


@component
class TamisRanker:
    """Orders documents by relevance, beside the scores that a retriever gave them; the new score falls with the rank.

    `model` is a folder or a hub name, loaded by `warm_up` or the first run; `first_stage` as for `rank_found`.
    """

    def __init__(self, model: str, top_k: int | None = None, first_stage: str | None = None) -> None:
        self.model, self.top_k, self.first_stage = model, top_k, first_stage
        self._model: Model = model

    def warm_up(self) -> None:
        """Load the model, unless it is."""
        self._model = loaded(self._model)

    @component.output_types(documents=list[Document])  # type: ignore[untyped-decorator]
    def run(self, query: str, documents: list[Document], top_k: int | None = None) -> dict[str, list[Document]]:
        """The best documents, best first, see `rank_found`; `top_k` replaces that of the component."""
        self.warm_up()
        texts, scores = [one.content for one in documents], [one.score for one in documents]
        most = self.top_k if top_k is None else top_k
        ranked = rank_found(self._model, query, texts, scores, most, self.first_stage)
        return {"documents": [replace(documents[place], score=score) for place, score in ranked]}
