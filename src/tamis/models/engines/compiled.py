"""What stands in the place of torch's model in a scorer: the same scores, computed by another engine."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from tamis.models.batching import token_batches
from tamis.models.encoder import encodings
from tamis.models.engines.engine import RunGraph
from tamis.models.rows import JoinedRows, Pair, TemplateRows, TokenRow
from tamis.models.sequence import SequenceScorer
from tamis.models.serializer import Apart
from tamis.models.warm import WarmCrossEncoder

BUCKET: Final = 16
"""Rows are padded to a multiple of so many tokens: an engine prepares itself anew for each shape that it meets."""


@dataclass(frozen=True, slots=True)
class RowText:
    """What of a `SequenceScorer` is no weight.

    Attributes:
        rows: How pairs become rows.
        padding: The token to pad with.
        uses_types: Whether the body tells segments apart.
        token_budget: Most tokens per forward pass, padding included.
    """

    rows: JoinedRows | TemplateRows
    padding: int
    uses_types: bool
    token_budget: int


@dataclass(frozen=True, slots=True)
class WarmText:
    """What of a `WarmCrossEncoder` is no weight.

    Attributes:
        serializer: How texts become tokens.
        tokenizer: The checkpoint's own.
        padding: The token to pad with, which the body's table has.
        positions: Most tokens of one text that the body has positions for.
        token_budget: Most tokens per forward pass, padding included.
    """

    serializer: Apart
    tokenizer: Any
    padding: int
    positions: int
    token_budget: int

    @classmethod
    def of(cls, student: WarmCrossEncoder) -> "WarmText":
        """Tokenizer and limits of a student."""
        encoder = student.encoder
        return cls(student.serializer, encoder.tokenizer, encoder.padding, encoder.positions, encoder.token_budget)


class CompiledScorer:
    """Scores pairs by a graph `model`, as a `SequenceScorer` does by torch.

    Attributes:
        token_budget: Most tokens per forward pass, padding included.
    """

    def __init__(self, run: RunGraph, scorer: SequenceScorer | RowText, bucket: int = BUCKET) -> None:
        """Take over the text and the limits of a scorer, and none of its weights; for `bucket` see `BUCKET`."""
        self._bucket = bucket
        self.token_budget = scorer.token_budget
        self._run, self._rows = run, scorer.rows
        self._padding, self._uses_types = scorer.padding, scorer.uses_types

    def encode(
        self, pairs: Sequence[Pair], instruction: str | None = None, longest: int | None = None
    ) -> list[TokenRow]:
        """Rows of pairs; needs no model."""
        return self._rows.within(longest).rows(pairs, instruction)

    def logits(self, rows: Sequence[TokenRow], most: int | None = None) -> np.ndarray:
        """float32 [rows], in their order; `most` rows at once, None for as many as the budget holds."""
        values = np.empty(len(rows), np.float32)
        for batch in token_batches([row.length for row in rows], self.token_budget, most=most):
            values[batch] = self._run(self._features([rows[i] for i in batch]))[:, 0]
        return values

    def _features(self, rows: Sequence[TokenRow]) -> dict[str, np.ndarray]:
        texts = [row.ids.astype(np.int64) for row in rows]
        most = self._rows.serializer.max_tokens  # which the body has positions for
        mask = row_mask(texts, self._bucket, most)
        features = {"input_ids": pad_rows(texts, self._padding, self._bucket, most), "attention_mask": mask}
        if self._uses_types:
            second = np.array([row.second for row in rows])[:, None]  # [rows, 1]
            features["token_type_ids"] = (np.arange(mask.shape[1]) >= second) * mask
        return features


class CompiledWarm:
    """Graphs `states` and `joint` in the place of a `WarmCrossEncoder`.

    Attributes:
        serializer: How texts become tokens.
    """

    def __init__(
        self, states: RunGraph, joint: RunGraph, student: WarmCrossEncoder | WarmText, bucket: int = BUCKET
    ) -> None:
        """Take over tokenizer and limits of a student, and none of its weights; for `bucket` see `BUCKET`."""
        text = student if isinstance(student, WarmText) else WarmText.of(student)
        self.serializer: Apart = text.serializer
        self._states, self._joint, self._bucket = states, joint, bucket
        self._tokenizer, self._positions = text.tokenizer, text.positions
        self._padding = text.padding
        self._token_budget = text.token_budget

    def encodings(self, texts: Sequence[str], prefix: str, max_tokens: int) -> list[Any]:
        """As `Encoder.encodings`."""
        return encodings(self._tokenizer, texts, prefix, min(max_tokens, self._positions))

    def read(self, token_ids: Sequence[Sequence[int]]) -> list[Tensor]:
        """States of tokenised texts below the joint layers: [tokens, hidden] each."""
        found: list[Tensor] = [torch.empty(0)] * len(token_ids)
        for batch in token_batches([len(ids) for ids in token_ids], self._token_budget):
            rows = [np.array(token_ids[i], np.int64) for i in batch]
            ids = pad_rows(rows, self._padding, self._bucket, self._positions)
            mask = row_mask(rows, self._bucket, self._positions)
            states = self._states({"input_ids": ids, "attention_mask": mask})
            for index, one in zip(batch, states, strict=True):
                found[index] = torch.tensor(one[: len(token_ids[index])])
        return found

    def __call__(self, queries: Sequence[Tensor], documents: Sequence[Tensor]) -> Tensor:
        """Logits of pairs of read texts, as `WarmCrossEncoder.forward`: float32 [pairs]."""
        logits = self._joint(dict(_sides(queries, documents, self._bucket)))
        return torch.tensor(logits[:, 0])  # [pairs]


def _sides(queries: Sequence[Tensor], documents: Sequence[Tensor], bucket: int) -> Iterator[tuple[str, np.ndarray]]:
    """The inputs of `joint` by name."""
    for side, texts in (("query", queries), ("document", documents)):
        rows = [text.numpy() for text in texts]
        yield f"{side}_states", pad_rows(rows, 0, bucket)
        yield f"{side}_mask", row_mask(rows, bucket)


def pad_rows(rows: Sequence[np.ndarray], padding: int, bucket: int = BUCKET, most: int | None = None) -> np.ndarray:
    """Rows of one type as one array, padded right to a multiple of `bucket`, or to `most`: [rows, tokens ...]."""
    found = np.full((len(rows), _longest(rows, bucket, most), *rows[0].shape[1:]), padding, rows[0].dtype)
    for place, row in enumerate(rows):
        found[place, : len(row)] = row
    return found


def row_mask(rows: Sequence[np.ndarray], bucket: int = BUCKET, most: int | None = None) -> np.ndarray:
    """1 where a row holds a token: int64 [rows, tokens]; for the number of tokens see `pad_rows`."""
    lengths = np.array([len(row) for row in rows])
    return (np.arange(_longest(rows, bucket, most)) < lengths[:, None]).astype(np.int64)


def _longest(rows: Sequence[np.ndarray], bucket: int, most: int | None) -> int:
    """Tokens of the longest row with its padding, which takes none beyond `most`: there may be no positions."""
    longest = max(map(len, rows))
    padded = longest + -longest % bucket
    return padded if most is None else max(longest, min(padded, most))
