"""Values by content: look up what is known, compute what is missing, keep it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from tamis.artifacts.item_store import ItemStore

Item = TypeVar("Item")
Value = TypeVar("Value")

Batch = Sequence[tuple[Item, Value]]
Compute = Callable[[Iterator[list[Item]]], Iterable[Batch[Item, Value | None]]]
"""Given groups of missing items, yields them with their values, in any order; None, where none came, is not kept."""
Told = Callable[[Batch[Item, Value]], object]
"""Told items that are known, with their values."""


@dataclass(frozen=True)
class Kept(Generic[Item, Value]):
    """Values that are made once and then known, whatever run or process asks.

    Attributes:
        key: Names everything that the value of an item depends on.
        get: Bytes of the values that are there, by key.
        read: The value in its bytes.
        put: Keeps values by key, in one piece.
    """

    key: Callable[[Item], str]
    get: Callable[[Sequence[str]], Mapping[str, bytes]]
    read: Callable[[bytes], Value]
    put: Callable[[Sequence[tuple[str, Value]]], object]

    def find(self, items: Sequence[Item]) -> list[Value | None]:
        """The value of each item, None where it is not known."""
        keys = [self.key(item) for item in items]
        known = self.get(keys)
        return [self.read(known[key]) if key in known else None for key in keys]

    def missing(self, groups: Iterable[Sequence[Item]], told: Told[Item, Value] | None = None) -> Iterator[list[Item]]:
        """The items of each group that are not known, where there are some; groups are read as they are needed."""
        for group in groups:
            found = list(zip(group, self.find(group), strict=True))
            if told:
                told([(item, value) for item, value in found if value is not None])
            if left := [item for item, value in found if value is None]:
                yield left

    def complete(
        self, groups: Iterable[Sequence[Item]], compute: Compute[Item, Value], told: Told[Item, Value] | None = None
    ) -> Iterator[Batch[Item, Value | None]]:
        """Compute what is missing; each batch is kept, then yielded. An error or a kill loses no earlier one."""
        for batch in compute(self.missing(groups, told)):
            self.put([(self.key(item), value) for item, value in batch if value is not None])
            yield batch

    def values(self, items: Sequence[Item], compute: Compute[Item, Value]) -> list[Value]:
        """The value of each item; those that are missing are computed, all of them, and kept."""
        for _ in self.complete([items], compute):
            pass
        return [value for value in self.find(items) if value is not None]


def kept_in(
    store: ItemStore, key: Callable[[Item], str], write: Callable[[Value], bytes], read: Callable[[bytes], Value]
) -> Kept[Item, Value]:
    """Values that all lie in one store, with what makes bytes of them."""
    return Kept(key, store.get, read, lambda batch: store.put((name, write(value)) for name, value in batch))
