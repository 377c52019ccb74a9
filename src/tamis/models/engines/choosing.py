"""Which engine scores: the one that is asked for where it can be had and agrees with torch, else torch, which is said.

`auto` takes the first engine that is installed, OpenVINO before ONNX Runtime, where it agrees with torch and is faster
by a short race, both on the texts that are scored first. ONNX Runtime does not race against OpenVINO: it was never the
faster one of the two (docs/models.md), and its graph would have to be made to find out.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import torch

from tamis.errors import ModelError, TamisError
from tamis.models.engines.cached import cached_graphs
from tamis.models.engines.compiled import BUCKET, CompiledScorer, CompiledWarm
from tamis.models.engines.engine import ENGINES, OPENVINO, GraphEngine, RunGraph
from tamis.models.engines.graphs import Graph, sequence_graph, warm_parts
from tamis.models.precision import Precision
from tamis.models.rows import Pair
from tamis.models.sequence import SequenceScorer
from tamis.models.stream import Scorer
from tamis.models.warm import WarmCrossEncoder
from tamis.models.warm_scorer import WarmScorer

logger = logging.getLogger(__name__)

ScoringEngine = Literal["auto", "torch", "openvino", "onnx"]

NAMES: Final[tuple[ScoringEngine, ...]] = ("auto", "torch", "openvino", "onnx")

EXACT: Final = 1e-4
"""Largest difference to torch of float32 logits."""

HALF: Final = 0.1
"""Largest difference to torch of bfloat16 logits, as a share of their range: both round, each in its own places."""

FASTER: Final = 1.05
"""As many times as fast as torch `auto` wants an engine to be."""

AT_HAND: Final = 32
"""Pairs of those at hand on which `auto` compares, at most."""

SENTENCES: Final = ("A package is installed with the package manager.", "Interest rates rose again in March, by 0.5 %.")
PROBE: Final[list[Pair]] = [
    (query, sentence * times)
    for times in (1, 4, 12)
    for sentence in SENTENCES
    for query in ("How do I install a package?", "rates")
]
"""Pairs of several lengths, on which engines are compared."""


@dataclass(frozen=True, slots=True)
class InTorch:
    """A reranker as torch scores it on a processor.

    Attributes:
        model: As the user names it.
        family: One of `tamis.models.families.FAMILIES`.
        scorer: Scores with torch.
        precision: Number format of its body.
        identity: Gives the hash of the model's files.
        exact: Gives the same in float32.
    """

    model: str
    family: str
    scorer: Scorer
    precision: Precision
    identity: Callable[[], str]
    exact: Callable[[], Scorer]


def engine_scorer(wanted: ScoringEngine, given: InTorch) -> tuple[str, Scorer]:
    """The name of the engine that scores, and its scorer; where it is torch though another one was wanted, a line why.

    Of `auto` this is an engine that agrees with torch on the probe, or torch: `faster` decides between the two, on
    texts that are to be scored.

    Args:
        wanted: `auto` for the first of `ENGINES` that is installed.
        given: What scores otherwise.
    """
    if wanted == "torch":
        return "torch", given.scorer
    engine = _installed() if wanted == "auto" else ENGINES[wanted]
    try:
        scorer = _compiled(engine, given)
    except TamisError as error:
        say = logger.info if wanted == "auto" else logger.warning
        say("%s: torch scores instead of %s: %s", given.model, engine.title, error)
        return "torch", given.scorer
    return engine.name, scorer


def _installed() -> GraphEngine:
    """The first engine that is installed; OpenVINO where none is."""
    return next((engine for engine in ENGINES.values() if engine.version), OPENVINO)


def faster(name: str, scorer: Scorer, given: InTorch, pairs: Sequence[Pair]) -> bool:
    """Whether an engine agrees with torch on texts and wins a race against it; says how it ended.

    Args:
        name: Of the engine.
        scorer: By which it scores.
        given: What scores otherwise.
        pairs: Texts at hand; where they are fewer than the probe has, some of the probe are added.
    """
    engine = ENGINES[name]
    texts = [*pairs[:AT_HAND], *PROBE[len(pairs) :]]
    precision = given.precision if given.precision in engine.precisions else "float32"
    apart, allowed = _difference(scorer, given, precision, texts)
    if not apart <= allowed:
        what = "its scores of the texts at hand differ"
        logger.warning(
            "%s: torch scores instead of %s: %s by up to %.2g (allowed %.2g)",
            given.model,
            engine.title,
            what,
            apart,
            allowed,
        )
        return False
    return _is_faster(engine, scorer, given, texts)


def _compiled(engine: GraphEngine, given: InTorch) -> Scorer:
    """A scorer by an engine, which agrees with torch.

    Raises:
        MissingPartError: the engine is not installed.
        RunError: its graph is not there, and cannot be written to the cache.
        ModelError: a family that is not compiled, or a graph that the engine cannot run or that scores otherwise.
    """
    engine.require(f"engine {engine.name}")
    if given.family not in ("encoder", "warm"):
        raise ModelError(f"a checkpoint of the family {given.family} is scored by torch only")
    precision = given.precision if given.precision in engine.precisions else "float32"
    with _one_line("the graph cannot be made"):
        folder = cached_graphs(given.model, given.identity(), engine, lambda: graphs_of(given.exact()))
    names = ("states", "joint") if given.family == "warm" else ("model",)
    with _one_line(f"the graph in {folder} cannot be run; delete it"):
        runs = [engine.open(folder / engine.file_of(name), torch.get_num_threads(), precision) for name in names]
        scorer = scorer_by(given.scorer, runs)
        apart, allowed = _difference(scorer, given, precision, PROBE)
    if not apart <= allowed:
        raise ModelError(f"its scores differ by up to {apart:.2g} (allowed {allowed:.2g}); delete {folder}")
    return scorer


@contextmanager
def _one_line(what: str) -> Iterator[None]:
    """Turn whatever torch's tracing and the engines raise into a `ModelError` of one line."""
    try:
        yield
    except TamisError:
        raise
    except Exception as error:
        raise ModelError(f"{what}: {' '.join(str(error).split())[:300]}") from None


def graphs_of(exact: Scorer) -> Sequence[Graph]:
    """What an engine compiles of a reranker that torch scores in float32."""
    if isinstance(exact, WarmScorer) and isinstance(exact.student, WarmCrossEncoder):
        return warm_parts(exact.student)
    assert isinstance(exact, SequenceScorer), "there are two kinds of scorers"
    return [sequence_graph(exact)]


def scorer_by(torches: Scorer, runs: Sequence[RunGraph], bucket: int = BUCKET) -> Scorer:
    """A scorer by the graphs of `graphs_of`, with the texts of one in torch; for `bucket` see `BUCKET`."""
    if isinstance(torches, WarmScorer) and isinstance(torches.student, WarmCrossEncoder):
        states, joint = runs
        return WarmScorer(CompiledWarm(states, joint, torches.student, bucket), torches.token_budget)
    assert isinstance(torches, SequenceScorer), "there are two kinds of scorers"
    (run,) = runs
    return CompiledScorer(run, torches, bucket)


def _difference(scorer: Scorer, given: InTorch, precision: Precision, pairs: Sequence[Pair]) -> tuple[float, float]:
    """Largest difference to torch's logits of some pairs, and what is allowed."""
    rows = given.scorer.encode(pairs)
    ours, theirs = given.scorer.logits(rows), scorer.logits(rows)
    half = "bfloat16" in (precision, given.precision)
    return float(np.abs(ours - theirs).max()), HALF * max(1.0, float(np.ptp(ours))) if half else EXACT


def _is_faster(engine: GraphEngine, scorer: Scorer, given: InTorch, pairs: Sequence[Pair]) -> bool:
    """Whether an engine wins a race against torch; says how it ended."""
    rows = given.scorer.encode(pairs)
    ratio = _seconds(given.scorer, rows) / _seconds(scorer, rows)
    who = engine.title if ratio >= FASTER else "torch"
    logger.info("%s: scored by %s; %s is %.1f times as fast as torch here", given.model, who, engine.title, ratio)
    return ratio >= FASTER


def _seconds(scorer: Scorer, rows: Sequence[Any]) -> float:
    """Of scoring rows once more: the shorter of two times."""
    taken = []
    for _ in range(2):
        start = time.perf_counter()
        scorer.logits(rows)
        taken.append(time.perf_counter() - start)
    return min(taken)
