"""Language models that keep every finished query."""

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from tamis.artifacts import ItemStore, item_key
from tamis.records import QueryAnswer, QueryRequest, Tokens
from tamis.remote.spending import Ledger
from tamis.stages.queries.write import Generate

LOOKED_UP: Final = 256
"""Requests whose answers are looked up at a time."""


def answer_key(identity: str, request: QueryRequest) -> str:
    """Under which a finished query lies in the item store and in the cache."""
    return item_key("query", identity, request.prompt.text, request.seed, request.temperature)


def stored_answers(keys: Sequence[str], items: ItemStore, cache: ItemStore) -> dict[str, bytes]:
    """Finished answers by key, from this run folder where they are there, else from the cache of all."""
    stored = items.get(keys)
    return stored | cache.get([key for key in keys if key not in stored])


def keep_answers(answers: Sequence[tuple[str, QueryAnswer]], ledger: Ledger, cache: ItemStore) -> None:
    """Keep what is final of some answers, by key, in the run folder and in the cache of all, and what they cost."""
    items = [(key, json.dumps([one.text, one.reason]).encode()) for key, one in answers if one.final]
    tokens = sum((one.tokens for _, one in answers), Tokens())
    ledger.items.put([*items, *([ledger.entry(tokens)] if tokens != Tokens() else [])])
    cache.put(items)


class CachedWriter:
    """A generator that keeps every finished query in the item store, and beside it what was spent.

    Both are written in one piece: a kill loses the requests under way, and a resumed run knows what it may still spend.
    Queries lie in the cache of all runs besides, so that another folder does not pay for them again.
    """

    def __init__(
        self, generate: Generate, identity: str, ledger: Ledger, cache: ItemStore, one_more: Callable[[], None]
    ) -> None:
        """Wrap a generator.

        Args:
            generate: What writes the queries that are not there.
            identity: Names everything but the request that a query depends on.
            ledger: The model's ledger, in the item store where finished queries are kept.
            cache: Where they are kept for all runs.
            one_more: Called after each answer.
        """
        self.name, self.model = generate.name, generate.model
        self._generate, self._identity, self._one_more = generate, identity, one_more
        self._ledger, self._items, self._cache = ledger, ledger.items, cache

    def write(self, requests: Iterable[QueryRequest]) -> Iterator[QueryAnswer]:
        """Answer from the store where it can, ask the generator about the rest."""
        known: deque[QueryAnswer] = deque()
        keys: dict[int, str] = {}
        for answer in self._generate.write(self._unknown(iter(requests), known, keys)):
            keep_answers([(keys.pop(answer.place), answer)], self._ledger, self._cache)
            yield from self._counted(known)
            yield from self._counted(deque([answer]))
        yield from self._counted(known)

    def _unknown(
        self, requests: Iterator[QueryRequest], known: deque[QueryAnswer], keys: dict[int, str]
    ) -> Iterator[QueryRequest]:
        """The requests that the store has no answer to; the answers to the others are put into `known`."""
        while block := list(islice(requests, LOOKED_UP)):
            new = {request.place: answer_key(self._identity, request) for request in block}
            stored = stored_answers(list(new.values()), self._items, self._cache)
            for request in block:
                key = new[request.place]
                if key in stored:
                    text, reason = json.loads(stored[key])
                    known.append(QueryAnswer(request.place, text, reason))
                else:
                    keys[request.place] = key
                    yield request

    def _counted(self, answers: deque[QueryAnswer]) -> Iterator[QueryAnswer]:
        while answers:
            self._one_more()
            yield answers.popleft()
