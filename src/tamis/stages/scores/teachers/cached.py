"""Teachers that are asked about every pair: rerankers, and what answers through a network.

What they said lies in the cache that all runs share, by content: the same query and the same text of a document are
scored once, whatever run, stage or folder asks again.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

import numpy as np

from tamis.artifacts import ItemStore, item_key
from tamis.errors import ModelError
from tamis.records import Document, Tokens
from tamis.remote.attempts import Answer
from tamis.remote.spending import Ledger
from tamis.stages.scores.score import Unscored
from tamis.stages.scores.settings import RemoteEncoderTeacher
from tamis.stages.scores.teachers.group import Group, GroupScores
from tamis.stages.scores.teachers.identity import teacher_facts
from tamis.stages.scores.teachers.remote_encoder import TextBatch

ScoreGroups = Callable[[Iterable[Group]], Iterator[Answer[Group, GroupScores]]]
"""Scores groups, in any order."""


class CachedScores:
    """Scores of documents for queries, from the cache where they are known. Each finished group is kept at once."""

    def __init__(
        self,
        score: ScoreGroups,
        identity: str,
        documents: Mapping[str, Document],
        cache: ItemStore,
        most: int | None = None,
        max_chars: int | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        """Wrap what scores.

        Args:
            score: Asked about what is not known.
            identity: Names everything but the two texts that a score depends on.
            documents: By id.
            cache: Where scores are kept.
            most: Documents of a group, None for all of a query.
            max_chars: Characters of a document that are shown, None for all.
            ledger: Where to write down what was paid.
        """
        self._score, self._identity, self._documents = score, identity, documents
        self._cache, self._most, self._max_chars, self._ledger = cache, most, max_chars, ledger

    def __call__(self, asked: Sequence[Unscored]) -> list[np.ndarray]:
        """float32 [documents] for each query; not a number where no score came.

        Raises:
            TamisError: What `score` raises; what was finished before is kept.
        """
        keys = [self._keys(query.text, self._shown(doc_ids)) for query, doc_ids in asked]
        every = list({key for row in keys for key in row})
        known = self._cache.get(every)
        if len(known) < len(every):
            self.ask(asked)
            known = self._cache.get(every)
        nothing = np.float32(np.nan).tobytes()
        return [np.frombuffer(b"".join(known.get(key, nothing) for key in row), np.float32) for row in keys]

    def ask(self, asked: Iterable[Unscored], advance: Callable[[int], object] = lambda count: None) -> None:
        """Have scored what the cache does not know.

        Args:
            asked: Read as they are needed.
            advance: Told how many pairs are known or were just finished.

        Raises:
            TamisError: What `score` raises; what was finished before is kept.
        """
        under_way: set[str] = set()

        def groups() -> Iterator[Group]:
            for one in asked:
                left = self._left(one, under_way)
                advance(len(one[1]) - sum(len(group.documents) for group in left))
                for group in left:
                    under_way.update(self._keys(group.query, group.documents))
                    yield group

        for answer in self._score(groups()):
            if self._ledger and answer.tokens != Tokens():
                # Before the scores: a kill between the two must not let the budget forget what was paid.
                self._ledger.items.put([self._ledger.entry(answer.tokens)])
            if answer.value is not None:
                keys = self._keys(answer.request.query, answer.request.documents)
                self._cache.put((k, np.float32(v).tobytes()) for k, v in zip(keys, answer.value, strict=True))
                under_way.difference_update(keys)  # what failed stays: it is not asked again in this pass
            advance(len(answer.request.documents))

    def missing(self, asked: Iterable[Unscored]) -> Iterator[Group]:
        """Groups of the documents that have no score for a query yet."""
        return (group for one in asked for group in self._left(one, frozenset()))

    def _left(self, asked: Unscored, under_way: AbstractSet[str]) -> list[Group]:
        """Groups of one query's documents that have neither a score nor a key that is under way."""
        query, doc_ids = asked
        shown = self._shown(doc_ids)
        keys = self._keys(query.text, shown)
        known = self._cache.get(keys)
        new = {k: text for k, text in zip(keys, shown, strict=True) if k not in known and k not in under_way}
        left = tuple(new.values())
        most = self._most or max(1, len(left))
        return [Group(query.text, left[start : start + most]) for start in range(0, len(left), most)]

    def _shown(self, doc_ids: Sequence[str]) -> list[str]:
        return [self._documents[doc_id].text[: self._max_chars] for doc_id in doc_ids]

    def _keys(self, query: str, documents: Sequence[str]) -> list[str]:
        return [item_key(self._identity, query, document) for document in documents]


class CachedVectors:
    """Vectors of an encoder behind a server, from the cache where they are known. Each answer is kept at once."""

    def __init__(
        self,
        teacher: RemoteEncoderTeacher,
        ask: Callable[[Iterable[TextBatch]], Iterator[Answer[TextBatch, np.ndarray]]],
        cache: ItemStore,
        ledger: Ledger,
    ) -> None:
        """Wrap a server.

        Args:
            teacher: Its settings.
            ask: Asks it.
            cache: Where vectors are kept.
            ledger: Where to write down what was paid.
        """
        self._teacher, self._ask, self._cache, self._ledger = teacher, ask, cache, ledger
        facts = {name: value for name, value in teacher_facts(teacher).items() if not name.endswith("_prefix")}
        self._identity = item_key("remote-encoder", facts)

    def identity(self, kind: str) -> str:
        """Names everything but the text that a vector of a `query` or a `document` depends on."""
        return item_key(self._identity, self._prefix(kind), self._cut(kind))

    def missing(self, kind: str, texts: Sequence[str]) -> list[TextBatch]:
        """What is sent for these texts: those that the cache does not know, as many in a request as the recipe says."""
        shown = dict.fromkeys(self._shown(kind, texts))
        keys = {text: self._key(text) for text in shown}
        known = self._cache.get(list(keys.values()))
        new = [text for text, key in keys.items() if key not in known]
        batch = self._teacher.batch
        return [tuple(new[start : start + batch]) for start in range(0, len(new), batch)]

    def embed(self, kind: str, texts: Sequence[str]) -> np.ndarray:
        """float32 [texts, dimensions], rows of norm 1.

        Args:
            kind: `query` or `document`, which have prefixes of their own.
            texts: What is embedded.

        Raises:
            ModelError: A text got no vector, or vectors have different lengths.
        """
        failed = ""
        for answer in self._ask(self.missing(kind, texts)):
            if answer.tokens != Tokens():
                self._ledger.items.put([self._ledger.entry(answer.tokens)])
            if answer.value is None:
                failed = answer.reason
                continue
            rows = zip(answer.request, answer.value, strict=True)
            self._cache.put((self._key(text), vector.astype("<f4").tobytes()) for text, vector in rows)
        keys = [self._key(text) for text in self._shown(kind, texts)]
        known = self._cache.get(keys)
        if failed:
            raise ModelError(
                f"{self._ledger.name}: {sum(key not in known for key in keys)} texts got no vector ({failed}); those "
                "that came are kept, mend the server and run the same command again"
            )
        found = [np.frombuffer(known[key], "<f4") for key in keys]
        if len({len(vector) for vector in found}) > 1:
            raise ModelError(
                f"{self._ledger.name}: vectors of different lengths; set revision to a word of your own if the server "
                "has another model under this name now"
            )
        return np.stack(found)

    def _shown(self, kind: str, texts: Sequence[str]) -> list[str]:
        return [self._prefix(kind) + text[: self._cut(kind)] for text in texts]

    def _prefix(self, kind: str) -> str:
        return self._teacher.query_prefix if kind == "query" else self._teacher.document_prefix

    def _cut(self, kind: str) -> int | None:
        return None if kind == "query" else self._teacher.max_chars

    def _key(self, text: str) -> str:
        return item_key(self._identity, text)
