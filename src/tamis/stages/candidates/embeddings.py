"""Embeddings of a run's texts, from its item store where they are known."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from tamis.artifacts import item_key
from tamis.context import RunContext, texts_of
from tamis.executors.local import LOCAL
from tamis.retrievers.embedding import embed_missing, unembedded
from tamis.retrievers.vectors import Vectors
from tamis.stages.candidates.encoders import DENSE, Encoders, prefix_of
from tamis.stages.candidates.settings import EncoderSettings


@dataclass(frozen=True)
class NamedEncoder:
    """A bi-encoder, on this machine or behind a server; it reads a `query` otherwise than a `document`.

    Attributes:
        name: Its name within the run.
        identity: Names everything but the text that a vector of a query or a document depends on.
        embed: Makes vectors of queries or documents: float32 [texts, hidden], rows of norm 1.
        here: Whether it is asked from this process whatever the executor, since it only waits for a server.
    """

    name: str
    identity: Callable[[str], str]
    embed: Callable[[str, Sequence[str]], np.ndarray]
    here: bool = False


class Embeddings:
    """Vectors of a run's texts by the bi-encoders that it asks.

    Attributes:
        encoders: Those of this machine.
        context: The run.
    """

    def __init__(self, encoders: Encoders, context: RunContext) -> None:
        """Embed nothing yet."""
        self.encoders, self.context = encoders, context
        self._known: dict[tuple[str, str], Vectors] = {}

    @cached_property
    def dense(self) -> NamedEncoder:
        """The first stage's bi-encoder."""
        return self.by(DENSE, self.encoders.dense)

    @cached_property
    def use(self) -> NamedEncoder:
        """The Universal Sentence Encoder."""
        return NamedEncoder("use", lambda kind: "use-multilingual-3", self.encoders.embed_use)

    def by(self, name: str, wanted: EncoderSettings) -> NamedEncoder:
        """A bi-encoder of this machine, loaded when it is first asked."""
        context, own = self.context, () if wanted.pooling is None else (wanted.pooling,)

        def identity(kind: str) -> str:
            model, precision = context.identity_of(wanted.path), context.machine.precision
            return item_key(model, prefix_of(wanted, kind), wanted.max_length, precision, *own)

        return NamedEncoder(name, identity, partial(self.encoders.embed, wanted))

    def vectors(self, kind: str, texts: Mapping[str, str], encoder: NamedEncoder | None = None) -> Vectors:
        """Embeddings of texts by id, those of earlier calls among them.

        Args:
            kind: `query` or `document`.
            texts: Texts by id.
            encoder: What embeds; None for the first stage's bi-encoder.
        """
        encoder = encoder or self.dense
        known = self._known.get((encoder.name, kind))
        rows = known.rows if known is not None else {}
        new = {text_id: text for text_id, text in texts.items() if text_id not in rows}
        if known is None or new:
            executor = LOCAL if encoder.here else self.context.executor
            label, embed = f"embedding {kind} texts ({encoder.name})", partial(encoder.embed, kind)
            fresh = embed_missing(new, encoder.identity(kind), embed, self.context.items, label, executor.mapped)
            known = self._known[encoder.name, kind] = Vectors(fresh.file, {**rows, **fresh.rows})
        return known

    def of_documents(self, encoder: NamedEncoder | None = None) -> Vectors:
        """Embeddings of all documents of the run."""
        return self.vectors("document", texts_of(self.context.documents), encoder)

    def both(self, encoder: NamedEncoder, queries: Mapping[str, str]) -> tuple[Vectors, Vectors]:
        """Embeddings of these queries, texts by id, and of all documents."""
        return self.vectors("query", queries, encoder), self.of_documents(encoder)

    def missing(self, kind: str, encoder: NamedEncoder, texts: Mapping[str, str]) -> list[str]:
        """The texts that `vectors` would embed, each once."""
        return unembedded(texts.values(), encoder.identity(kind), self.context.items)
