"""Scores pairs with a warm student: the lower layers read each text of a window once, the joint layers each pair."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from tamis.errors import InputError
from tamis.models.rows import Pair
from tamis.models.student import score_prepared
from tamis.models.warm import WarmCrossEncoder


@dataclass(frozen=True, slots=True)
class ApartRow:
    """Token ids of both texts of a pair, special tokens included; for `cut` and `emptied` see `tamis.models.rows`."""

    query: tuple[int, ...]
    document: tuple[int, ...]
    cut: bool
    emptied: bool

    @property
    def length(self) -> int:
        """Tokens of both texts."""
        return len(self.query) + len(self.document)


class WarmScorer:
    """Tokenises and scores pairs for a warm student.

    Attributes:
        student: The model.
        token_budget: Most tokens per forward pass, padding included.
    """

    def __init__(self, student: WarmCrossEncoder, token_budget: int) -> None:
        self.student = student
        self.token_budget = token_budget

    def encode(self, pairs: Sequence[Pair], instruction: str | None = None) -> list[ApartRow]:
        """Token ids of both texts of each pair.

        Raises:
            InputError: an instruction, of which a warm student knows nothing.
        """
        if instruction:
            raise InputError("this model takes no instruction; its serializer has no place for one")
        serializer = self.student.serializer
        queries = self._ids({query for query, _ in pairs}, serializer.query_prefix, serializer.query_tokens)
        documents = self._ids({d for _, d in pairs}, serializer.document_prefix, serializer.document_tokens)
        return [
            ApartRow(queries[q][0], documents[d][0], cut=queries[q][1] or documents[d][1], emptied=not d.strip())
            for q, d in pairs
        ]

    def _ids(self, texts: set[str], prefix: str, limit: int) -> dict[str, tuple[tuple[int, ...], bool]]:
        ordered = sorted(texts)
        encoded = self.student.encoder.encodings(ordered, prefix, limit)
        return {text: (tuple(one.ids), bool(one.overflowing)) for text, one in zip(ordered, encoded, strict=True)}

    def logits(self, rows: Sequence[ApartRow], known: dict[tuple[int, ...], Tensor] | None = None) -> np.ndarray:
        """float32 [rows], in their order.

        Args:
            rows: What `encode` gave.
            known: States of queries that were read before; those read now are put in.
        """
        student = self.student
        query_of = {} if known is None else known
        queries = sorted({row.query for row in rows} - query_of.keys())
        documents = sorted({row.document for row in rows})
        query_of.update(zip(queries, student.read(queries), strict=True))
        document_of = dict(zip(documents, student.read(documents), strict=True))
        values = np.empty(len(rows), np.float32)
        for batch, found in score_prepared(
            student,
            [query_of[row.query] for row in rows],
            [document_of[row.document] for row in rows],
            self.token_budget,
        ):
            values[batch] = found
        return values
