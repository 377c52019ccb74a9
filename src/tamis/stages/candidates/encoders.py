"""The bi-encoders of a run, each loaded when it is first needed; what an executor sends to other processes."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np

from tamis.machine import Machine
from tamis.models.checkpoint import is_encoder
from tamis.models.embedder import Embedder, pooling_of
from tamis.models.encoder import Encoder
from tamis.models.universal_sentence_encoder import UniversalSentenceEncoder
from tamis.stages.candidates.settings import EncoderSettings

DENSE: Final = "dense"
"""Name of the first stage's bi-encoder."""

USE: Final = "use"
"""Name of the Universal Sentence Encoder, which has no settings."""


class Encoders:
    """Bi-encoders by name. A copy in another process has none yet and loads what it is asked for.

    Attributes:
        settings: Of each by name; `dense` is the first stage's.
    """

    def __init__(self, settings: Mapping[str, EncoderSettings], machine: Machine) -> None:
        """Load nothing yet."""
        self.settings, self._machine = settings, machine
        self._embedders: dict[str, Encoder | Embedder] = {}

    def __reduce__(self) -> tuple[object, ...]:
        return Encoders, (self.settings, self._machine)

    @cached_property
    def encoder(self) -> Encoder:
        """The first stage's bi-encoder, which is the student's start, too."""
        return self.load(self.settings[DENSE].path)

    def load(self, path: Path) -> Encoder:
        """An encoder, on the device."""
        encoder = Encoder.load(path, self._machine.precision, self._machine.token_budget)
        encoder.body.to(self._machine.device)
        return encoder

    def embed(self, kind: str, by: str, texts: Sequence[str]) -> np.ndarray:
        """Embeddings of texts: float32 [texts, hidden], rows of norm 1; last bits depend on all texts of the call.

        Args:
            kind: `query` or `document`.
            by: `use`, or one of `settings`.
            texts: The texts.
        """
        if by == USE:
            return self._use.embed(texts)
        wanted = self.settings[by]
        return self._embedder(by).embed(texts, prefix_of(wanted, kind), wanted.max_length)

    @cached_property
    def _use(self) -> UniversalSentenceEncoder:
        return UniversalSentenceEncoder(self._machine.settings.threads)

    def _embedder(self, by: str) -> Encoder | Embedder:
        """A bi-encoder; the first stage's shares its body with the student where it can."""
        if by not in self._embedders:
            self._embedders[by] = self._load(self.settings[by], shared=by == DENSE)
        return self._embedders[by]

    def _load(self, wanted: EncoderSettings, shared: bool) -> Encoder | Embedder:
        plain = (wanted.pooling or pooling_of(wanted.path) or "mean") == "mean" and not wanted.trust_remote_code
        if shared and plain and is_encoder(wanted.path):
            return self.encoder
        how = (self._machine.precision, self._machine.token_budget, self._machine.device)
        return Embedder(wanted.path, wanted.pooling, *how, wanted.trust_remote_code)


def prefix_of(settings: EncoderSettings, kind: str) -> str:
    """What a bi-encoder puts before a `query` or a `document`."""
    return settings.query_prefix if kind == "query" else settings.document_prefix
