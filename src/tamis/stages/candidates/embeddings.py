"""Embeddings of a run's texts, from its item store where they are known."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Protocol

import numpy as np

from tamis.artifacts import item_key
from tamis.context import RunContext, texts_of
from tamis.executors.local import run_here
from tamis.retrievers.embedding import Embed, blocks, embed_missing, unembedded
from tamis.retrievers.vectors import Vectors
from tamis.stages.candidates.encoders import USE, Encoders, prefix_of


class RemoteVectors(Protocol):
    """An encoder behind a server, whose vectors are kept."""

    def identity(self, kind: str) -> str:
        """Names everything but the text that a vector of a `query` or a `document` depends on."""

    def missing(self, kind: str, texts: Sequence[str]) -> list[tuple[str, ...]]:
        """What is sent for these texts, request by request."""

    def embed(self, kind: str, texts: Sequence[str]) -> np.ndarray:
        """float32 [texts, dimensions], rows of norm 1."""


class Embeddings:
    """Vectors by the bi-encoders of this machine and by those behind servers.

    Attributes:
        encoders: Those of this machine.
        remote: Those behind servers, by name, each opened when it is first asked.
    """

    def __init__(
        self, encoders: Encoders, context: RunContext, remote: Mapping[str, Callable[[], RemoteVectors]]
    ) -> None:
        """Embed nothing yet."""
        self.encoders, self.remote, self._context = encoders, remote, context
        self._known: dict[str, Vectors] = {}

    def vectors(self, kind: str, by: str, texts: Mapping[str, str]) -> Vectors:
        """Embeddings of texts by id.

        Args:
            kind: `query` or `document`.
            by: Name of a bi-encoder, `use`, or one of `remote`.
            texts: Texts by id.
        """
        identity, embed = self._embedder(kind, by)
        known = self._known.get(f"{by}/{kind}")
        rows = known.rows if known is not None else {}
        new = {text_id: text for text_id, text in texts.items() if text_id not in rows}
        if known is None or new:
            mapped = run_here if by in self.remote else self._context.engine.mapped
            label = f"embedding {kind} texts ({by})"
            fresh = embed_missing(new, identity, embed, self._context.items, label, mapped)
            known = self._known[f"{by}/{kind}"] = Vectors(fresh.file, {**rows, **fresh.rows})
        return known

    def of_documents(self, by: str) -> Vectors:
        """Embeddings of all documents of the run."""
        return self.vectors("document", by, texts_of(self._context.documents))

    def missing(self, kind: str, by: str, texts: Mapping[str, str]) -> tuple[list[str], Embed]:
        """The texts that `vectors` would embed, each once, and what would do it."""
        identity, embed = self._embedder(kind, by)
        return unembedded(texts.values(), identity, self._context.items), embed

    def unsent(self, kind: str, by: str, texts: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
        """The requests with which `vectors` would ask an encoder behind a server."""
        remote = self.remote[by]()
        missing = unembedded(texts.values(), remote.identity(kind), self._context.items)
        return (request for block in blocks(missing) for request in remote.missing(kind, block))

    def _embedder(self, kind: str, by: str) -> tuple[str, Embed]:
        if by in self.remote:
            remote = self.remote[by]()
            return remote.identity(kind), partial(remote.embed, kind)
        return self._identity(kind, by), partial(self.encoders.embed, kind, by)

    def _identity(self, kind: str, by: str) -> str:
        """Names everything but the text that an embedding by a model of this machine depends on."""
        if by == USE:
            return "use-multilingual-3"
        wanted = self.encoders.settings[by]
        own = () if wanted.pooling is None else (wanted.pooling,)
        model, precision = self._context.identity_of(wanted.path), self._context.machine.precision
        return item_key(model, prefix_of(wanted, kind), wanted.max_length, precision, *own)
