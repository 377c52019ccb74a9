"""Scores pairs with a warm student: the lower layers read each text once, the joint layers each pair.

Once for all pairs that are scored together, and, where there is a memory, for those that come later too. A text's
states differ in their last bits with the texts that were read beside it; so, then, does a score with what is
remembered: by some 1e-6 of a logit in float32, as it does with the batch anyway.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from tamis.errors import InputError
from tamis.models.engines.compiled import CompiledWarm
from tamis.models.known.documents import KnownDocuments
from tamis.models.remembered import CachedStates, TokenIds
from tamis.models.rows import Pair, keep
from tamis.models.student import score_prepared
from tamis.models.warm import WarmCrossEncoder


@dataclass(frozen=True, slots=True)
class ApartRow:
    """Token ids of both texts of a pair, special tokens included; for `cut` and `emptied` see `tamis.models.rows`."""

    query: TokenIds
    document: TokenIds
    cut: bool
    emptied: bool

    @property
    def length(self) -> int:
        """Tokens of both texts."""
        return len(self.query) + len(self.document)


class WarmScorer:
    """Tokenises and scores pairs for a warm student.

    Attributes:
        student: The model, in torch or in another engine.
        token_budget: Most tokens per forward pass, padding included.
        memory: States of texts that were read before; None keeps none.
        known: States of documents that lie on disk; None for none.
        alone: Read each text by itself: its states, and what is scored with them, do not depend on other texts.
    """

    def __init__(self, student: WarmCrossEncoder | CompiledWarm, token_budget: int) -> None:
        self.student = student
        self.token_budget = token_budget
        self.memory: CachedStates | None = None
        self.known: KnownDocuments | None = None
        self.alone = False

    def encode(
        self, pairs: Sequence[Pair], instruction: str | None = None, longest: int | None = None
    ) -> list[ApartRow]:
        """Token ids of both texts of each pair.

        Raises:
            InputError: an instruction, of which a warm student knows nothing, or too few tokens for both texts.
        """
        if instruction:
            raise InputError("this model takes no instruction; its serializer has no place for one")
        serializer = self.student.serializer
        queries = self._ids({query for query, _ in pairs}, serializer.query_prefix, serializer.query_tokens)
        documents = self._ids({d for _, d in pairs}, serializer.document_prefix, serializer.document_tokens)
        rows = [
            ApartRow(queries[q][0], documents[d][0], cut=queries[q][1] or documents[d][1], emptied=not d.strip())
            for q, d in pairs
        ]
        if longest is None:
            return rows
        special = len(self.student.encodings([""], "", serializer.max_tokens)[0].ids)
        if longest < 2 * special + 2:
            raise InputError(f"{longest} tokens of a pair are too few, expected at least {2 * special + 2}")
        return [
            self._within(row, pair, longest, special) if row.length > longest else row
            for row, pair in zip(rows, pairs, strict=True)
        ]

    def _within(self, row: ApartRow, pair: Pair, longest: int, special: int) -> ApartRow:
        """A row cut to so many tokens of both texts, by the rule of `keep`; each keeps its `special` ones."""
        serializer = self.student.serializer
        lengths = keep(len(row.query) - special, len(row.document) - special, longest - 2 * special)
        limits = [length + special for length in lengths]
        query = self._ids({pair[0]}, serializer.query_prefix, limits[0])[pair[0]][0]
        document = self._ids({pair[1]}, serializer.document_prefix, limits[1])[pair[1]][0]
        return ApartRow(query, document, cut=True, emptied=row.emptied)

    def _ids(self, texts: set[str], prefix: str, limit: int) -> dict[str, tuple[TokenIds, bool]]:
        ordered = sorted(texts)
        encoded = self.student.encodings(ordered, prefix, limit)
        return {text: (tuple(one.ids), bool(one.overflowing)) for text, one in zip(ordered, encoded, strict=True)}

    def logits(self, rows: Sequence[ApartRow], most: int | None = None) -> np.ndarray:
        """float32 [rows] of what `encode` gave, in their order; `most` pairs per pass of the joint layers."""
        queries = self._read({row.query for row in rows})
        documents = self._documents({row.document for row in rows}, next(iter(queries.values()), None))
        values = np.empty(len(rows), np.float32)
        for batch, found in score_prepared(
            self.student,
            [queries[row.query] for row in rows],
            [documents[row.document] for row in rows],
            self.token_budget,
            most,
        ):
            values[batch] = found
        return values

    def _documents(self, texts: Set[TokenIds], like: Tensor | None) -> dict[TokenIds, Tensor]:
        """States of each document, of the type of other states; what lies on disk is not read."""
        if self.known is None or like is None:
            return self._read(texts)
        known = {ids: states.to(like) for ids, states in self.known.states(texts).items()}
        return known | self._read(texts - known.keys())

    def _read(self, texts: Set[TokenIds]) -> dict[TokenIds, Tensor]:
        """States of each text; what is not remembered is read."""
        known = {} if self.memory is None else self.memory.known(texts)
        unread = sorted(texts - known.keys())
        company = [[text] for text in unread] if self.alone else [unread]
        states = [one for texts in company for one in self.student.read(texts)]
        read = dict(zip(unread, states, strict=True))
        if self.memory is not None:
            self.memory.keep(read)
        return known | read
