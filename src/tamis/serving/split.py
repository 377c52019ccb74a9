"""One name for several models: which of them answers a request."""

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

from tamis.serving.settings import CHANCE, HEADER


@dataclass(frozen=True, slots=True)
class Split:
    """Shares of several models in the requests that ask for one name.

    Attributes:
        name: What clients ask for.
        weights: Of each model by name; some above 0.
        by: `chance`, `query`, or `header:NAME`: what has the same hash goes to the same model.
    """

    name: str
    weights: Mapping[str, float]
    by: str = CHANCE

    def choose(self, query: str, headers: Mapping[str, str]) -> str:
        """The name of a model.

        Args:
            query: Of the request.
            headers: Likewise. A request without the header that decides goes by its query.
        """
        point = random.random() if self.by == CHANCE else self._hashed(self._value(query, headers))
        total = sum(self.weights.values())
        ends = zip(self.weights, accumulate(self.weights.values()), strict=True)
        drawn = [name for name, end in ends if point * total < end and self.weights[name]]
        return drawn[0] if drawn else [name for name in self.weights if self.weights[name]][-1]

    def _value(self, query: str, headers: Mapping[str, str]) -> str:
        said = headers.get(self.by.removeprefix(HEADER)) if self.by.startswith(HEADER) else None
        return f"header\0{said}" if said else f"query\0{query}"

    def _hashed(self, value: str) -> float:
        """A point in [0, 1), the same for the same value and, unless a hash is broken, spread evenly over values."""
        digest = hashlib.sha256(f"{self.name}\0{value}".encode("utf-8", "surrogatepass")).digest()
        return (int.from_bytes(digest[:8]) >> 11) / 2**53
