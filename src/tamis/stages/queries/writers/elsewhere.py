"""Writers that run where the executor runs."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice

from tamis.executors.local import Executor, Mapped
from tamis.records import QueryAnswer, QueryRequest
from tamis.stages.queries.write import Generate
from tamis.stages.queries.writers.extractive import ExtractiveGenerator

EXTRACTIVE_BLOCK, LLAMA_BLOCK = 1024, 16
"""Requests that go to a generator elsewhere together; it answers them one by one."""


def extracting(extract: ExtractiveGenerator, engine: Executor) -> Generate:
    """The generator itself, or where it extracts elsewhere."""
    if not engine.elsewhere:
        return extract
    answer = partial(_extracts, extract)
    return FarGenerator(extract.name, extract.model, answer, EXTRACTIVE_BLOCK, engine.mapped)


def _extracts(extract: ExtractiveGenerator, requests: Sequence[QueryRequest]) -> list[QueryAnswer]:
    return list(extract.write(requests))


class FarGenerator:
    """A generator that writes where the engine runs, a block of requests at a time.

    Attributes:
        name: The same as of the generator in this process.
        model: The same, too.
    """

    def __init__(
        self,
        name: str,
        model: str,
        answer: Callable[[Sequence[QueryRequest]], list[QueryAnswer]],
        size: int,
        mapped: Mapped,
    ) -> None:
        """Send nothing yet.

        Args:
            name: As in the attributes.
            model: As in the attributes.
            answer: Answers a block of requests.
            size: Requests of a block.
            mapped: Where to run it.
        """
        self.name, self.model = name, model
        self._answer, self._size, self._mapped = answer, size, mapped

    def write(self, requests: Iterable[QueryRequest]) -> Iterator[QueryAnswer]:
        """Answer block by block; an engine may read requests ahead."""
        todo = iter(requests)
        blocks = iter(lambda: list(islice(todo, self._size)), [])
        return itertools.chain.from_iterable(self._mapped(self._answer, blocks))

    def __enter__(self) -> "FarGenerator":
        return self

    def __exit__(self, *exception: object) -> None:
        """Nothing is open in this process."""
