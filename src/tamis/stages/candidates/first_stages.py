"""The first stages of a run: its documents, searchable as the recipe wants it."""

from collections.abc import Iterable
from functools import cached_property

from tamis.context import RunContext
from tamis.records import Document
from tamis.retrievers.index import IndexSet, Searching, build_indexes
from tamis.retrievers.vectors import Vectors
from tamis.stages.candidates.embeddings import Embeddings
from tamis.stages.candidates.settings import CandidatesSettings, FusionWeights


class FirstStages:
    """BM25, dense vectors and both together, over the documents of a run or over others.

    Attributes:
        settings: How is searched.
        embeddings: Vectors of the documents.
    """

    def __init__(self, settings: CandidatesSettings, embeddings: Embeddings, context: RunContext) -> None:
        """Index nothing yet."""
        self.settings, self.embeddings, self._context = settings, embeddings, context

    @cached_property
    def indexes(self) -> IndexSet:
        """All documents of the run."""
        return self.over(self._context.documents.values(), self.embeddings.of_documents())

    def over(self, documents: Iterable[Document], vectors: Vectors) -> IndexSet:
        """Other documents, with vectors of the first stage's bi-encoder."""
        wanted = self.settings
        weights = wanted.weights or FusionWeights()
        how = Searching(
            k1=wanted.bm25.k1,
            b=wanted.bm25.b,
            languages=wanted.languages,
            weights=(weights.bm25, weights.dense) if wanted.fusion == "weighted" else None,
            index=wanted.index,
        )
        return build_indexes(documents, vectors, how)
