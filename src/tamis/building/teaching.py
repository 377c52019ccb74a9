"""Teachers that are asked about every pair: rerankers, and what answers through a network.

What they said lies in the cache that all runs share, by content: the same query and the same text of a document are
scored once, whatever run, stage or folder asks again.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from tamis.artifacts import ItemStore, item_key
from tamis.building.ledger import Ledger
from tamis.errors import ModelError
from tamis.records import Document, Tokens
from tamis.remote.attempts import Answer
from tamis.remote.budget import Wording
from tamis.remote.endpoint import Endpoint, Protocol
from tamis.settings import (
    PLACE_AND_PRICE,
    JudgeTeacher,
    RemoteEncoderTeacher,
    RemoteRerankerTeacher,
    RequestsSettings,
)
from tamis.stages.scores import Asked
from tamis.teachers.group import Group, Scores
from tamis.teachers.judge import Judge, load_judge_prompt
from tamis.teachers.remote_encoder import Texts, encoder_protocol
from tamis.teachers.remote_reranker import reranker_protocol

OnServer = JudgeTeacher | RemoteRerankerTeacher | RemoteEncoderTeacher

Score = Callable[[Iterable[Group]], Iterator[Answer[Group, Scores]]]
"""Scores groups, in any order."""

SPEED: Final = PLACE_AND_PRICE | {"weight", "batch"}
"""Settings of a teacher behind a server that change none of its scores."""


def teacher_facts(teacher: OnServer) -> dict[str, Any]:
    """Everything but the texts that a score by a server depends on; the length at which texts are cut is seen in them.

    Raises:
        InputError: The judge's template cannot be read.
    """
    facts = teacher.model_dump(mode="json", exclude=set(SPEED | {"template", "max_chars"}))
    if isinstance(teacher, JudgeTeacher):
        facts["prompt"] = load_judge_prompt(teacher.template).model_dump(mode="json")
    return facts


def open_teacher(
    teacher: OnServer, requests: RequestsSettings, ledger: Ledger, section: str
) -> "Endpoint[Group, Scores] | Endpoint[Texts, np.ndarray]":
    """Read the key and start the client of a teacher; nothing is sent yet.

    Args:
        teacher: Its settings.
        requests: How servers are asked.
        ledger: What it has cost so far.
        section: Where the recipe names it, for messages.

    Raises:
        SettingsError: The key cannot be sent in a header.
        InputError: The judge's template cannot be read.
    """

    def wording(hint: str, others: str) -> Wording:
        return Wording(section, "scores", "candidates.depth", hint, others)

    if isinstance(teacher, JudgeTeacher):
        judge: Protocol[Group, Scores] = Judge(teacher, load_judge_prompt(teacher.template)).protocol
        words = wording("most end with /v1", "max_chars and extra")
        return Endpoint(teacher, judge, requests, ledger.spent, words)
    if isinstance(teacher, RemoteRerankerTeacher):
        words = wording("without /rerank", f"protocol ({teacher.protocol}), batch, max_chars and extra")
        return Endpoint(teacher, reranker_protocol(teacher), requests, ledger.spent, words)
    words = wording("most end with /v1", "batch, max_chars and extra")
    return Endpoint(teacher, encoder_protocol(teacher), requests, ledger.spent, words)


class RememberedScores:
    """Scores of documents for queries, from the cache where they are known. Each finished group is kept at once."""

    def __init__(
        self,
        score: Score,
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

    def __call__(self, asked: Sequence[Asked]) -> list[np.ndarray]:
        """float32 [documents] for each query; not a number where no score came.

        Raises:
            TamisError: What `score` raises; what was finished before is kept.
        """
        texts = [[self._documents[doc_id].text[: self._max_chars] for doc_id in doc_ids] for _, doc_ids in asked]
        keys = [
            [item_key(self._identity, query.text, text) for text in shown]
            for (query, _), shown in zip(asked, texts, strict=True)
        ]
        known = self._cache.get([key for row in keys for key in row])
        groups = self._missing(asked, texts, keys, known)
        for answer in self._score(groups):
            if self._ledger and answer.tokens != Tokens():
                # Before the scores: a kill between the two must not let the budget forget what was paid.
                self._ledger.items.put([self._ledger.entry(answer.tokens)])
            if answer.value is not None:
                fresh = {
                    item_key(self._identity, answer.request.query, text): np.float32(score).tobytes()
                    for text, score in zip(answer.request.documents, answer.value, strict=True)
                }
                self._cache.put(fresh.items())
                known |= fresh
        nothing = np.float32(np.nan).tobytes()
        return [np.frombuffer(b"".join(known.get(key, nothing) for key in row), np.float32) for row in keys]

    def _missing(
        self,
        asked: Sequence[Asked],
        texts: Sequence[Sequence[str]],
        keys: Sequence[Sequence[str]],
        known: Mapping[str, bytes],
    ) -> Iterator[Group]:
        """Groups of what has no score yet, each pair once."""
        seen = set(known)
        for (query, _), shown, row in zip(asked, texts, keys, strict=True):
            new = {key: text for key, text in zip(row, shown, strict=True) if key not in seen}
            seen |= new.keys()
            left = list(new.values())
            most = self._most or max(1, len(left))
            for start in range(0, len(left), most):
                yield Group(query.text, tuple(left[start : start + most]))


class RememberedVectors:
    """Vectors of an encoder behind a server, from the cache where they are known. Each answer is kept at once."""

    def __init__(
        self, endpoint: Callable[[], Endpoint[Texts, np.ndarray]], identity: str, cache: ItemStore, ledger: Ledger
    ) -> None:
        """Wrap a server.

        Args:
            endpoint: Opens it, or gives the one that is open.
            identity: Names everything but the text that a vector depends on.
            cache: Where vectors are kept.
            ledger: Where to write down what was paid.
        """
        self._endpoint, self._identity, self._cache, self._ledger = endpoint, identity, cache, ledger

    def embed(self, texts: Sequence[str], batch: int) -> np.ndarray:
        """float32 [texts, dimensions], rows of norm 1.

        Args:
            texts: As they are sent.
            batch: Texts of one request at most.

        Raises:
            ModelError: A text got no vector, or vectors have different lengths.
        """
        keys = [item_key(self._identity, text) for text in texts]
        known = self._cache.get(keys)
        missing = list(dict.fromkeys(text for key, text in zip(keys, texts, strict=True) if key not in known))
        groups = [tuple(missing[start : start + batch]) for start in range(0, len(missing), batch)]
        failed = ""
        for answer in self._endpoint().ask(groups) if groups else ():
            if answer.tokens != Tokens():
                self._ledger.items.put([self._ledger.entry(answer.tokens)])
            if answer.value is None:
                failed = answer.reason
                continue
            rows = zip(answer.request, answer.value, strict=True)
            fresh = {item_key(self._identity, text): vector.astype("<f4").tobytes() for text, vector in rows}
            self._cache.put(fresh.items())
            known |= fresh
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
