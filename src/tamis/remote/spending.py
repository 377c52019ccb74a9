"""What the servers that a run asks have cost it, kept in the run folder."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamis.artifacts import ItemStore, stored_items
from tamis.records import Tokens
from tamis.remote.budget import cost
from tamis.remote.settings import ServerSettings

_BEGINNING = "spent/"


@dataclass(frozen=True, slots=True)
class Spending:
    """What one model has cost a run folder so far.

    Attributes:
        tokens: Tokens and requests.
        money: In the currency of the prices of each time.
    """

    tokens: Tokens
    money: float


@dataclass(frozen=True, slots=True)
class Ledger:
    """The sums of one model.

    Attributes:
        items: The run folder's item store.
        name: What the model does and what it is called.
        prices: None for what costs nothing.
    """

    items: ItemStore
    name: str
    prices: ServerSettings | None = None

    @property
    def spent(self) -> Tokens:
        """What it has cost in this run folder, whatever it was asked."""
        return self._so_far().tokens

    def entry(self, more: Tokens) -> tuple[str, bytes]:
        """The item that says so much more was spent: to be put in one piece with what it was spent on."""
        so_far = self._so_far()
        money = so_far.money + (cost(more, self.prices) if self.prices else 0.0)
        total = so_far.tokens + more
        return self._key, json.dumps([total.prompt, total.completion, total.requests, money]).encode()

    @property
    def _key(self) -> str:
        return _BEGINNING + self.name

    def _so_far(self) -> Spending:
        found = self.items.get([self._key])
        return _spending(found[self._key]) if found else Spending(Tokens(), 0.0)


def spent_in(run: Path) -> dict[str, Spending]:
    """What each model has cost a run folder so far, by the name of its ledger; nothing in the folder is changed."""
    found = stored_items(run / "items.sqlite", _BEGINNING)
    return {key.removeprefix(_BEGINNING): _spending(value) for key, value in found.items()}


def _spending(value: bytes) -> Spending:
    content: list[Any] = json.loads(value)
    return Spending(Tokens(*content[:3]), content[3])
