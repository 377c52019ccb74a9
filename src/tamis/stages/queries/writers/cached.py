"""Language models that keep every finished query."""

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from typing import Final

from tamis.artifacts import ItemStore, Kept, item_key
from tamis.records import QueryAnswer, QueryRequest, Tokens
from tamis.remote.spending import Ledger
from tamis.stages.queries.write import Generate

LOOKED_UP: Final = 256
"""Requests whose answers are looked up at a time."""


def answer_key(identity: str, request: QueryRequest) -> str:
    """Under which a finished query lies in the item store and in the cache."""
    return item_key("query", identity, request.prompt.text, request.seed, request.temperature)


def kept_answers(identity: str, ledger: Ledger, cache: ItemStore) -> Kept[QueryRequest, QueryAnswer]:
    """What a language model wrote: from this run folder where it is there, else from the cache of all; kept in both.

    What it cost is kept in one piece with it: a kill loses the requests under way, and a resumed run knows what it may
    still spend. Answers whose request may be sent again, for nothing, are not kept.

    Args:
        identity: Names everything but the request that a query depends on.
        ledger: The model's, in the item store of the run folder.
        cache: Of all runs.
    """

    def get(keys: Sequence[str]) -> dict[str, bytes]:
        stored = ledger.items.get(keys)
        return stored | cache.get([key for key in keys if key not in stored])

    def put(answers: Sequence[tuple[str, QueryAnswer]]) -> None:
        items = [(key, json.dumps([one.text, one.reason]).encode()) for key, one in answers if one.final]
        tokens = sum((one.tokens for _, one in answers), Tokens())
        ledger.items.put([*items, *([ledger.entry(tokens)] if tokens != Tokens() else [])])
        cache.put(items)

    return Kept(partial(answer_key, identity), get, lambda stored: QueryAnswer(0, *json.loads(stored)), put)


class CachedWriter:
    """A generator that keeps every finished query, and is asked for those only that are not known."""

    def __init__(
        self, generate: Generate, kept: Kept[QueryRequest, QueryAnswer], one_more: Callable[[], None] = lambda: None
    ) -> None:
        """Wrap what writes the queries that are not kept; `one_more` is called after each answer."""
        self.name, self.model = generate.name, generate.model
        self._generate, self._kept, self._one_more = generate, kept, one_more

    def write(self, requests: Iterable[QueryRequest]) -> Iterator[QueryAnswer]:
        """Answer from the store where it can, ask the generator about the rest."""
        answers: deque[QueryAnswer] = deque()

        def known(found: Sequence[tuple[QueryRequest, QueryAnswer]]) -> None:
            answers.extend(replace(answer, place=request.place) for request, answer in found)

        for asked in self._kept.complete(in_blocks(requests), self._ask, known):
            answers.extend(answer for _, answer in asked if answer)
            yield from self._counted(answers)
        yield from self._counted(answers)

    def _ask(self, missing: Iterator[list[QueryRequest]]) -> Iterator[list[tuple[QueryRequest, QueryAnswer]]]:
        under_way: dict[int, QueryRequest] = {}

        def new() -> Iterator[QueryRequest]:
            for request in chain.from_iterable(missing):
                under_way[request.place] = request
                yield request

        return ([(under_way.pop(answer.place), answer)] for answer in self._generate.write(new()))

    def _counted(self, answers: deque[QueryAnswer]) -> Iterator[QueryAnswer]:
        while answers:
            self._one_more()
            yield answers.popleft()


def in_blocks(requests: Iterable[QueryRequest]) -> Iterator[list[QueryRequest]]:
    """As many requests at a time as are looked up together."""
    todo = iter(requests)
    return iter(lambda: list(islice(todo, LOOKED_UP)), [])
