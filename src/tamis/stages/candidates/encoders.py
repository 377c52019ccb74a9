"""The bi-encoders of a run, each loaded when it is first needed; what an executor sends to other processes."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Final, TypeVar

import numpy as np

from tamis.machine import Machine
from tamis.models.bi_encoder_files import bi_encoder_facts
from tamis.models.checkpoint import is_encoder
from tamis.models.embedder import Embedder, pooling_of
from tamis.models.encoder import Encoder
from tamis.models.universal_sentence_encoder import UniversalSentenceEncoder
from tamis.stages.candidates.settings import EncoderSettings

DENSE: Final = "dense"
"""Name of the first stage's bi-encoder."""

AnyEncoder = TypeVar("AnyEncoder", bound=EncoderSettings)


class Encoders:
    """Bi-encoders by their settings. A copy in another process has none yet and loads what it is asked for.

    Attributes:
        dense: Settings of the first stage's.
    """

    def __init__(self, dense: EncoderSettings, machine: Machine) -> None:
        """Load nothing yet."""
        self.dense, self._machine = dense, machine
        self._embedders: dict[EncoderSettings, Encoder | Embedder] = {}

    def __reduce__(self) -> tuple[object, ...]:
        return Encoders, (self.dense, self._machine)

    @cached_property
    def encoder(self) -> Encoder:
        """The first stage's bi-encoder, which is the student's start, too."""
        return self.load(self.dense.path)

    def release(self) -> None:
        """Let go of all that is loaded; what is needed again is loaded again."""
        self._embedders.clear()
        for name in ("encoder", "_use"):
            self.__dict__.pop(name, None)

    def load(self, path: Path) -> Encoder:
        """An encoder, on the device."""
        encoder = Encoder.load(path, self._machine.precision, self._machine.token_budget)
        encoder.body.to(self._machine.device)
        return encoder

    def embed(self, wanted: EncoderSettings, kind: str, texts: Sequence[str]) -> np.ndarray:
        """Embeddings of texts: float32 [texts, hidden], rows of norm 1; last bits depend on all texts of the call.

        Args:
            wanted: The bi-encoder.
            kind: `query` or `document`.
            texts: The texts.
        """
        return self._embedder(wanted).embed(texts, prefix_of(wanted, kind), wanted.max_length)

    def embed_use(self, kind: str, texts: Sequence[str]) -> np.ndarray:
        """The same by the Universal Sentence Encoder, which has no settings."""
        return self._use.embed(texts)

    @cached_property
    def _use(self) -> UniversalSentenceEncoder:
        return UniversalSentenceEncoder(self._machine.settings.threads)

    def _embedder(self, wanted: EncoderSettings) -> Encoder | Embedder:
        """A bi-encoder; the first stage's shares its body with the student where it can."""
        if wanted not in self._embedders:
            self._embedders[wanted] = self._load(wanted, shared=wanted == self.dense)
        return self._embedders[wanted]

    def _load(self, wanted: EncoderSettings, shared: bool) -> Encoder | Embedder:
        plain = (wanted.pooling or pooling_of(wanted.path) or "mean") == "mean" and not wanted.trust_remote_code
        if shared and plain and is_encoder(wanted.path):
            return self.encoder
        how = (self._machine.precision, self._machine.token_budget, self._machine.device)
        return Embedder(wanted.path, wanted.pooling, *how, wanted.trust_remote_code)


def prefix_of(settings: EncoderSettings, kind: str) -> str:
    """What a bi-encoder puts before a `query` or a `document`."""
    return settings.query_prefix if kind == "query" else settings.document_prefix


def as_its_folder_says(settings: AnyEncoder) -> AnyEncoder:
    """Settings of a bi-encoder, with its folder's own prompts and length where the recipe says nothing of them.

    They are the same settings where the folder says nothing either, so that keys of stages stay.

    Raises:
        ModelError: see `bi_encoder_facts`.
    """
    said = {name: value for name, value in asdict(bi_encoder_facts(settings.path)).items() if value is not None}
    found = {name: value for name, value in said.items() if name not in settings.model_fields_set}
    return settings.model_copy(update=found) if found else settings
