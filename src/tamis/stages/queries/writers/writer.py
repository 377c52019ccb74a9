"""What every writer that a recipe names as a generator answers for itself, and how models of this machine do."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import chain, islice
from typing import Final, Protocol

from tamis.costs.work import Work
from tamis.executors.local import Executor, Mapped
from tamis.records import Document, Facts, QueryAnswer, QueryRequest
from tamis.remote.settings import ServerSettings
from tamis.stages.queries.prompts.templates import Mode
from tamis.stages.queries.write import Generate

Opened = AbstractContextManager[Generate]

_TRIED: Final = 4  # queries that a model is tried on for an estimate; they are kept


class QueryWriter(Protocol):
    """A generator of a recipe. It is made of its section, if it has one, how servers are asked, and the run.

    Attributes:
        mode: How it is prompted; None: it reads all documents itself, and what it takes from them is not kept.
        server: The server that it asks and its prices; None for this machine.
        own_temperature: Whether requests name no temperature, since its server chooses one.
    """

    mode: Mode | None = None
    server: ServerSettings | None = None
    own_temperature: bool = False

    def identity(self) -> Facts:
        """Everything but the request that its queries depend on, for keys."""
        return {}

    def open(self, documents: Sequence[Document]) -> Opened:
        """Load or connect what writes, given all documents that are adapted to; a TamisError where it cannot be."""

    def cost(self, left: Iterator[QueryRequest], cached: Callable[[Generate], Generate]) -> Iterator[Work]:
        """What the requests that are left will cost; `cached` keeps the answers to those that it is tried on."""
        return iter(())

    def money(self) -> float:
        """What it has cost this run folder so far."""
        return 0.0

    def spent(self) -> Facts:
        """The same, with what it was for, told when it is done; nothing for what is free."""
        return {}


@dataclass
class FarGenerator:
    """A generator that writes where the executor runs, `size` requests at a time; some may be read ahead."""

    name: str
    model: str
    answer: Callable[[Sequence[QueryRequest]], list[QueryAnswer]]
    size: int
    mapped: Mapped

    def write(self, requests: Iterable[QueryRequest]) -> Iterator[QueryAnswer]:
        """Answer block by block."""
        todo = iter(requests)
        return chain.from_iterable(self.mapped(self.answer, iter(lambda: list(islice(todo, self.size)), [])))


class LoadedOnce:
    """A language model that is loaded when it is first asked. A copy in another process has none yet."""

    def __init__(self, load: Callable[[], Opened]) -> None:
        """Load nothing yet."""
        self._load = load
        self._model: Generate | None = None

    def __reduce__(self) -> tuple[object, ...]:
        return LoadedOnce, (self._load,)

    def write(self, requests: Sequence[QueryRequest]) -> list[QueryAnswer]:
        """Queries by the model, which stays loaded."""
        self._model = self._model or self._load().__enter__()
        return list(self._model.write(requests))


class LocalModel(QueryWriter):
    """What the language models of this machine have in common."""

    def __init__(self, mode: Mode, model: str, load: Callable[[], Opened], block: int, executor: Executor) -> None:
        """Load nothing yet; `load` can be sent to other processes, whose models are given `block` requests at once."""
        self.mode, self._model, self._load, self._block, self._executor = mode, model, load, block, executor

    def open(self, documents: Sequence[Document]) -> Opened:
        """The model, or what asks it elsewhere."""
        if not self._executor.elsewhere:
            return self._load()
        write, name = LoadedOnce(self._load).write, self._model.replace("/", "--")
        return nullcontext(FarGenerator(name, self._model, write, self._block, self._executor.mapped))

    def cost(self, left: Iterator[QueryRequest], cached: Callable[[Generate], Generate]) -> Iterator[Work]:
        """Queries to write, timed on a few."""
        if first := list(islice(left, _TRIED)):
            with self._load() as model:
                start = time.monotonic()  # once: what is written is known the second time
                answers = list(cached(model).write(first))
                seconds = (time.monotonic() - start) / len(answers)
            count = sum(1 for _ in left)
            yield Work("queries", f"queries to write ({model.name})", count, seconds=count * seconds)
