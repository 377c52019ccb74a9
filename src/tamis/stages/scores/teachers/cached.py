"""Teachers that are asked about every pair: rerankers, and what answers through a network.

What they said lies in the cache that all runs share, by content: the same query and the same text of a document are
scored once, whatever run, stage or folder asks again.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import tee

import numpy as np

from tamis.artifacts import ItemStore, Kept, item_key, kept_in
from tamis.context import RunContext
from tamis.executors.local import Executor
from tamis.progress import track
from tamis.records import Candidates, Document
from tamis.remote.attempts import Answer
from tamis.stages.scores.score import Unscored

GroupScores = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """A query and documents that are scored for it in one request.

    Attributes:
        query: Its text.
        documents: Their texts, at least one.
    """

    query: str
    documents: tuple[str, ...]


ScoreGroups = Callable[[Iterable[Group]], Iterator[Answer[Group, GroupScores]]]
"""Scores groups, in any order."""

Pair = tuple[str, str]
"""Texts of a query and of a document, as they are shown."""

Scored = Sequence[tuple[Pair, np.float32 | None]]


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
    ) -> None:
        """Wrap what scores, in groups of at most `most` documents (None: all of a query), cut at `max_chars`.

        Beside the two texts a score depends on what `identity` names.
        """
        self._score, self._documents, self._most, self._max_chars = score, documents, most, max_chars
        self._kept: Kept[Pair, np.float32] = kept_in(
            cache,
            lambda pair: item_key(identity, *pair),
            lambda score: score.tobytes(),
            lambda found: np.frombuffer(found, np.float32)[0],
        )

    def __call__(self, asked: Sequence[Unscored]) -> list[np.ndarray]:
        """float32 [documents] for each query; not a number where no score came.

        Raises:
            TamisError: What `score` raises; what was finished before is kept.
        """
        every = {pair: None for one in asked for pair in self._pairs(one)}
        found = self._kept.find(list(every))
        if None in found:
            self.ask(asked)
            found = self._kept.find(list(every))
        score = dict(zip(every, found, strict=True))
        return [np.array([score[pair] for pair in self._pairs(one)], np.float32) for one in asked]

    def ask(self, asked: Iterable[Unscored], advance: Callable[[int], object] = lambda count: None) -> None:
        """Have scored what the cache does not know.

        Args:
            asked: Read as they are needed.
            advance: Told how many pairs are known or were just finished.

        Raises:
            TamisError: What `score` raises; what was finished before is kept.
        """
        under_way: set[Pair] = set()

        def groups() -> Iterator[list[Pair]]:
            for one in asked:
                pairs = self._pairs(one)
                new = [pair for pair in dict.fromkeys(pairs) if pair not in under_way]
                under_way.update(new)
                advance(len(pairs) - len(new))
                yield new

        def tell(scored: Scored) -> None:
            # What failed stays under way: it is not asked again in this pass.
            under_way.difference_update(pair for pair, score in scored if score is not None)
            advance(len(scored))

        for scored in self._kept.complete(groups(), self._scored, tell):
            tell(scored)

    def ask_ahead(self, name: str, executor: Executor, ahead: Callable[[], Iterable[Unscored]]) -> "CachedScores":
        """Have a model elsewhere score all that the cache lacks, so that it is started and loaded once for it.

        In this process nothing is done: there it is asked when its scores are needed.
        """
        if executor.elsewhere:
            with track(f"scoring with {name}", sum(len(doc_ids) for _, doc_ids in ahead())) as advance:
                self.ask(ahead(), advance)
        return self

    def unscored(self, context: RunContext) -> Iterator[Group]:
        """What is missing of the candidates that there are."""
        found = context.stream("candidates", Candidates)
        return self.missing((context.queries[one.query_id], one.doc_ids) for one in found)

    def missing(self, asked: Iterable[Unscored]) -> Iterator[Group]:
        """Groups of the documents that have no score for a query yet."""
        return self._groups(self._kept.missing(list(dict.fromkeys(self._pairs(one))) for one in asked))

    def _scored(self, missing: Iterable[Sequence[Pair]]) -> Iterator[Scored]:
        """Scores of the pairs of each group, None where none came."""
        for answer in self._score(self._groups(missing)):
            pairs = [(answer.request.query, document) for document in answer.request.documents]
            nothing = np.float32(np.nan) if answer.final else None  # what brings no other answer is not asked again
            scores = map(np.float32, answer.value) if answer.value else [nothing] * len(pairs)
            yield list(zip(pairs, scores, strict=True))

    def _groups(self, missing: Iterable[Sequence[Pair]]) -> Iterator[Group]:
        """The pairs of each query as they are scored together."""
        for pairs in missing:
            most = self._most or len(pairs)
            for start in range(0, len(pairs), most):
                yield Group(pairs[0][0], tuple(document for _, document in pairs[start : start + most]))

    def _pairs(self, asked: Unscored) -> list[Pair]:
        query, doc_ids = asked
        return [(query.text, self._documents[doc_id].text[: self._max_chars]) for doc_id in doc_ids]


def on_executor(executor: Executor, score: Callable[[Group], GroupScores]) -> ScoreGroups:
    """A function of one group, run for many where an executor runs."""

    def scored(groups: Iterable[Group]) -> Iterator[Answer[Group, GroupScores]]:
        asked, sent = tee(groups)
        for scores, group in zip(executor.mapped(score, sent), asked, strict=True):
            yield Answer(group, scores)

    return scored
