"""One model behind a queue: requests come from an event loop, one thread tokenises, another one scores batches.

The thread that scores is the only one that touches the weights. A request whose client has left, or whose time is up,
is taken out of the queue at once; at most one batch is computed for nothing. What could not be done in time is refused
before anything is scored, so that under too much load the work goes into requests that are answered.
"""

import asyncio
import logging
import math
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from tamis.errors import InputError
from tamis.formulas.ranking import rank_correlation, tie_key
from tamis.models.checkpoint import MinScore, lowest_score
from tamis.models.first_stage import FirstStage, default_of, doubt, first_stage_of, ranked_beside, weight_of
from tamis.models.known.documents import is_named, with_texts
from tamis.models.reranker import Reranker, bounded
from tamis.models.rows import plain_backend
from tamis.models.stream import best_of_each
from tamis.models.windows import Long
from tamis.process_memory import release_memory
from tamis.serving.queue import FairQueue, Waiting
from tamis.serving.reading import Reading
from tamis.serving.request import RefusedError, RerankRequest

logger = logging.getLogger(__name__)

LONGEST_WAIT = 60
"""Seconds: no client is told to wait longer before its next try."""

TAKEN = 0.4
"""Share of a request's time that the work before it and its own may take, at the present rate, for it to be taken."""

RELEASED_EVERY = 10
"""Seconds between two times that freed memory goes back to the system."""

MEMORY = 0.9
"""What a batch counts in the rate, for each batch after it: one is slow or fast by what is remembered of its texts."""

HEAD = 3
"""The first given document is counted where it is among so many best ones."""

IN_TIME = 0.8
"""Share of a request's time within which the queue sees to it that it is done; the rate is an estimate."""


@dataclass(frozen=True, slots=True)
class ScoredRequest:
    """The scores of a request's documents, with what computing them took.

    Attributes:
        values: What ranks, of each document: on the scale of the logits, or bounded.
        order: Indices of the documents that are not below the lowest score, best first, as of `Reranker.rank`.
        tokens: Number of tokens that were read of all pairs; a window's query counts with it.
        cut: Indices of documents of which something was not read.
        waited: Seconds before the first of its batches was begun.
        leading: Whether the model alone puts the first given document among the best `HEAD`.
        correlation: Rank correlation of the model's logits with the given order, see `rank_correlation`.
        doubt: What the client should know about its first stage.
    """

    values: list[float]
    order: list[int]
    tokens: int
    cut: list[int]
    waited: float
    leading: bool
    correlation: float
    doubt: str | None


@dataclass(frozen=True, slots=True)
class Batch:
    """What one forward pass did, for the metrics.

    Attributes:
        pairs: How many were scored.
        tokens: Their tokens, without padding.
        seconds: How long it took.
        failed: Whether the model raised.
    """

    pairs: int
    tokens: int
    seconds: float
    failed: bool


class _Job(Waiting):
    """A request in the queue."""

    def __init__(
        self, rows: Sequence[Any], lengths: Sequence[int], seconds: float, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.entered = time.monotonic()
        super().__init__(rows, lengths, self.entered + IN_TIME * seconds)
        self.lengths = lengths
        self.logits = np.full(len(rows), np.nan, np.float32)
        self.loop = loop
        self.done: asyncio.Future[None] = loop.create_future()
        self.begun = 0.0

    def finish(self, error: RefusedError | None = None) -> None:
        """Wake the request up, from any thread."""

        def wake() -> None:
            if not self.done.done():
                if error:
                    self.done.set_exception(error)
                else:
                    self.done.set_result(None)

        with suppress(RuntimeError):  # the loop is closed: nobody waits
            self.loop.call_soon_threadsafe(wake)


class Engine:
    """A reranker that many requests share.

    Attributes:
        reranker: The model.
        most_pairs: Pairs that may wait at a time, those being scored included.
        pairs: How many do.
        seconds: Within which a request that is taken should be scored.
        first_stage: What is done with requests that say nothing of theirs: `order` or `none`.
        long: What becomes of long documents where a request does not say it.
        min_score: Lowest published score of a result where a request names none; minus infinity for all.
    """

    def __init__(
        self,
        reranker: Reranker,
        most_pairs: int,
        seconds: float = 60.0,
        watch: Callable[[Batch], None] = lambda batch: None,
        first_stage: str | None = None,
        long: Long = "first",
        min_score: MinScore | None = None,
    ) -> None:
        """Start the threads.

        Args:
            reranker: The model; nothing else may use it from now on.
            most_pairs: Pairs that may wait at a time.
            seconds: Within which a request should be scored. Where others wait, one is taken only if all of them and
                itself need at most `TAKEN` of that at the present rate.
            watch: Told of each batch, on the thread that scores.
            first_stage: What is done with requests that say nothing of theirs; None for what the model says.
            long: What becomes of long documents where a request does not say it, see `Reranker.rank`.
            min_score: Lowest published score of a result where a request names none, see `lowest_score`.
        """
        self.reranker = reranker
        self.long: Long = long
        self.most_pairs = most_pairs
        self.seconds = seconds
        self.pairs = 0
        self.first_stage = first_stage or default_of(reranker.deployment)
        self.min_score = lowest_score(min_score, reranker.deployment, reranker.path)
        self._watch = watch
        self._queue = FairQueue(reranker.scorer.token_budget)
        self._changed = threading.Condition()
        self._closed = False
        self._released = 0.0
        self._recent = np.zeros(3)  # pairs, tokens and seconds of the last batches
        self._batch_since = math.inf  # when the batch under way was begun
        self._failing_since = math.inf  # when the first of the last batches failed, where all of them did
        self._words = plain_backend(reranker.tokenizer)
        reranker.decide()
        reranker.remember()
        self._tokeniser = ThreadPoolExecutor(1, thread_name_prefix="tokenise")
        self._worker = threading.Thread(target=self._work, name="score", daemon=True)
        self._worker.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def rate(self) -> float:
        """Tokens a second over the last batches; infinite before the first one."""
        _, tokens, seconds = self._recent
        return float(tokens / seconds) if seconds else math.inf

    @property
    def alive(self) -> bool:
        """Whether the thread that scores runs."""
        return self._worker.is_alive()

    def trouble(self) -> tuple[str, float]:
        """What is wrong with it, and for how many seconds; empty where it scores or has nothing to do."""
        now = time.monotonic()
        if not self.alive:
            return "its thread has ended", math.inf
        if (seconds := now - self._batch_since) > self.seconds:
            return f"it has been at one batch for {seconds:.0f} seconds", seconds
        if (seconds := now - self._failing_since) >= 0:
            return f"it has failed on every batch for {seconds:.0f} seconds", seconds
        return "", 0.0

    async def with_texts(self, asked: RerankRequest) -> RerankRequest:
        """The request with the text of each document that is named by its id.

        Raises:
            RefusedError: one of them is not in the model's index.
        """
        if not any(map(is_named, asked.documents)):
            return asked
        try:
            return replace(asked, documents=await self._tokenise(with_texts, asked.documents, self.reranker.index))
        except InputError as error:
            raise RefusedError("malformed", str(error)) from None

    async def score(self, asked: RerankRequest) -> ScoredRequest:
        """Score a request beside all others; cancelling it frees its work.

        Raises:
            RefusedError: the queue is full, the texts cannot be scored, or the model failed.
        """
        count = len(asked.documents)
        pairs, tokens, _ = self._recent
        with self._admitted(count):
            with self._changed:
                self._check_time(count * tokens / max(pairs, 1))  # a guess: whoever is refused is not tokenised
            try:
                return await self._score(asked)
            except InputError as error:
                raise RefusedError("malformed", str(error)) from None

    async def _score(self, asked: RerankRequest) -> ScoredRequest:
        first = first_stage_of(asked.first_stage or self.first_stage, len(asked.documents))
        reading, weight = await self._read(asked, first)
        with self._admitted(max(0, len(reading.rows) - len(asked.documents))):
            return await self._score_read(asked, first, reading, weight)

    async def _score_read(
        self, asked: RerankRequest, first: FirstStage | None, reading: Reading, weight: float
    ) -> ScoredRequest:
        different = sorted(reading.rows)
        row_of = {pair: place for place, pair in enumerate(different)}
        rows = [reading.rows[pair] for pair in different]
        places = [[row_of[pair] for pair in pairs] for pairs in reading.windows]
        cut = [n for n, of in enumerate(places) if reading.left_out[n] or any(rows[place].cut for place in of)]
        if cut and not asked.cut:
            raise RefusedError("malformed", f"document {cut[0]} is too long, and truncation was not allowed")
        job = _Job(rows, [row.length for row in rows], self.seconds, asyncio.get_running_loop())
        with self._changed:
            self._check_time(job.work)
            self._queue.add(job)
            self._changed.notify()
        try:
            await job.done
        finally:
            with self._changed:
                self._queue.remove(job)
        logits = best_of_each(job.logits, places)
        ranking = ranked_beside(logits, first, weight, [tie_key(*pair) for pair in reading.texts])
        published = bounded(ranking.values, self.reranker.activation)
        values = ranking.values if asked.raw else published
        # A server's own level is one of published scores, whatever a request wants to see.
        enough = published >= self.min_score if asked.min_score is None else values >= asked.min_score
        return ScoredRequest(
            values=values.tolist(),
            order=ranking.order[enough[ranking.order]].tolist(),
            tokens=sum(job.lengths[place] for of in places for place in of),
            cut=cut,
            waited=job.begun - job.entered,
            leading=int((logits > logits[0]).sum()) < HEAD,
            correlation=rank_correlation(logits.astype(np.float64), -np.arange(len(logits), dtype=np.float64)),
            doubt=doubt(self.reranker.deployment, first.name) if first else None,
        )

    @contextmanager
    def _admitted(self, pairs: int) -> Iterator[None]:
        """Count so many pairs as waiting.

        Raises:
            RefusedError: of kind `overloaded`: there is no room for them.
        """
        if self.pairs + pairs > self.most_pairs:
            with self._changed:
                wait = self._queue.work / self.rate
            raise _overloaded(f"{self.pairs} pairs wait already, at most {self.most_pairs} may", wait)
        self.pairs += pairs
        try:
            yield
        finally:
            self.pairs -= pairs

    def _check_time(self, work: float) -> None:
        """Refuse a request of `work` tokens that would wait too long behind others; one that is alone may try.

        Raises:
            RefusedError: of kind `overloaded`.
        """
        seconds = (self._queue.work + work) / self.rate
        if len(self._queue) and seconds > TAKEN * self.seconds:
            what = f"what waits and this request take about {seconds:.0f} seconds"
            raise _overloaded(f"{what}, at most {TAKEN * self.seconds:g} may", seconds - TAKEN * self.seconds)

    async def _tokenise(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._tokeniser, work, *arguments)

    async def _read(self, asked: RerankRequest, first: FirstStage | None) -> tuple[Reading, float]:
        """What is read of a request, and the weight of its first stage; others are read in between.

        Raises:
            RefusedError: more windows than may wait.
        """
        reading, weight = await self._tokenise(self._begin, asked, first)
        while reading.unread and len(reading.rows) <= self.most_pairs:  # a cancelled one stops
            await self._tokenise(reading.read_block)
        if len(reading.rows) > self.most_pairs:
            what = f"the documents are read in more than {self.most_pairs} windows, as many as may wait"
            raise RefusedError("malformed", f"{what}; send fewer or shorter ones, or limit their windows")
        return reading, weight

    def _begin(self, asked: RerankRequest, first: FirstStage | None) -> tuple[Reading, float]:
        reading = Reading(self.reranker, self._words, asked, self.long)
        reading.read_block()
        weight = weight_of(self.reranker.deployment, first, asked.queries[0]) if first else 0.0
        return reading, weight

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._closed and not len(self._queue):
                    self._changed.wait()
                if self._closed:
                    return
                batch = self._queue.next_batch(time.monotonic(), self.rate)
            self._run(batch)

    def _run(self, batch: list[tuple[Waiting, list[int]]]) -> None:
        jobs = [(job, places) for job, places in batch if isinstance(job, _Job)]
        rows = [job.rows[place] for job, places in jobs for place in places]
        self._batch_since = start = time.monotonic()
        for job, _ in jobs:
            job.begun = job.begun or start
        error: Exception | None = None
        try:
            logits = self.reranker.scorer.logits(rows)
        except Exception as raised:  # whatever a model raises fails the requests of this batch, never the server
            error, logits = raised, np.full(len(rows), np.nan, np.float32)
            log_failure(raised, "a model failed")
        seconds = time.monotonic() - start
        self._batch_since = math.inf
        broken = error is not None or not np.isfinite(logits).all()
        self._failing_since = min(self._failing_since, start) if broken else math.inf
        offset = 0
        for job, places in jobs:
            self._give(job, places, logits[offset : offset + len(places)])
            offset += len(places)
        tokens = sum(row.length for row in rows)
        self._recent = MEMORY * self._recent + (len(rows), tokens, seconds)
        self._watch(Batch(len(rows), tokens, seconds, error is not None))
        if start - self._released > RELEASED_EVERY:
            release_memory()
            self._released = start

    def _give(self, job: _Job, places: list[int], logits: np.ndarray) -> None:
        """Write logits down; a request that has all, or one that is not finite, is woken up."""
        job.logits[places] = logits
        job.left -= len(places)
        if not np.isfinite(logits).all():
            with self._changed:
                self._queue.remove(job)
            job.finish(RefusedError("failed", "the model failed on this request or on one scored beside it"))
        elif not job.left:
            job.finish()

    def close(self) -> None:
        """Stop the threads after the batch under way."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._worker.join()
        self._tokeniser.shutdown(cancel_futures=True)


def _overloaded(why: str, wait: float) -> RefusedError:
    return RefusedError("overloaded", f"{why}; try again later", min(max(1, math.ceil(wait)), LONGEST_WAIT))


def log_failure(error: BaseException, what: str) -> None:
    """Say what failed and where; the error's own words might hold a request's text."""
    frames = traceback.extract_tb(error.__traceback__)
    where = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    logger.error(what, extra={"facts": {"error": type(error).__name__, "where": where}})
