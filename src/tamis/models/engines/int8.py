"""A reranker as graphs in int8 and nothing else: what `tamis export --to openvino-int8` writes, loaded to score.

The folder holds OpenVINO's graphs (`tamis.models.engines.graphs`: `model`, or `states` and `joint` of a warm student),
tokenizer, configuration and `tamis.json`, no weights for torch, and `int8.json`:

    format       of this file
    parameters   how many weights a token passes, and how many there are, before they were rounded
    checked      how far the scores agree with those of float32, see `tamis.exporting.int8`
    probe        logits of `PROBE` where it was written: another processor must come to the same
"""

import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from tamis.errors import InputError, ModelError
from tamis.models.checkpoint import CheckpointFacts
from tamis.models.encoder import loading
from tamis.models.engines.choosing import HALF, PROBE, ScoringEngine
from tamis.models.engines.compiled import CompiledScorer, CompiledWarm, RowText, WarmText
from tamis.models.engines.engine import OPENVINO, RunGraph, compile_openvino, quiet_openvino
from tamis.models.families import make_rows
from tamis.models.folders import INT8_FILE
from tamis.models.padding import usable_padding
from tamis.models.precision import Precision
from tamis.models.rows import tells_segments
from tamis.models.serializer import Apart, Serializer
from tamis.models.shared_tokenizers import load_tokenizer
from tamis.models.stream import Scorer
from tamis.models.warm_scorer import WarmScorer

logger = logging.getLogger(__name__)

FORMAT: Final = 1
"""Of `int8.json`."""

GRAPHS: Final = {"encoder": ("model",), "warm": ("states", "joint")}
"""Families that have a form in int8, and the graphs by which each is scored."""


@dataclass(frozen=True, slots=True)
class Int8Model:
    """A reranker in int8.

    Attributes:
        scorer: Tokenises and scores pairs.
        family: One of `GRAPHS`.
        serializer: How texts become tokens.
        tokenizer: The model's own.
        parameters: How many weights a token passes, and how many there are.
    """

    scorer: Scorer
    family: str
    serializer: Serializer
    tokenizer: Any
    parameters: tuple[int, int]


def load_int8(
    path: Path, facts: CheckpointFacts, precision: Precision, token_budget: int, max_tokens: int | None
) -> Int8Model:
    """Load a folder that `tamis export --to openvino-int8` wrote.

    Args:
        path: The folder.
        facts: Its `tamis.json`.
        precision: Number format of what is not in int8.
        token_budget: Most tokens per forward pass, padding included.
        max_tokens: In place of the serializer's own limit, and no more than it; not for warm models.

    Raises:
        MissingPartError: OpenVINO is not installed.
        ModelError: files that are missing or broken, or scores that are others than where it was written.
    """
    OPENVINO.require(f"{path} (int8)")
    record = read_record(path)
    if facts.family not in GRAPHS or facts.serializer is None:
        raise ModelError(f"{path}: tamis.json names the family {facts.family!r}, expected one of {', '.join(GRAPHS)}")
    serializer = _limited(path, facts.serializer, max_tokens)
    _say_without_int8(path)
    with loading(path, "graphs in int8"):
        tokenizer = load_tokenizer(path)
        runs, tokens = open_graphs(path, facts.family, precision), table_of(path)
    scorer = int8_scorer(runs, serializer, tokenizer, tokens, token_budget)
    if max_tokens is None:
        _compare(path, scorer, np.array(record["probe"], np.float32))
    active, total = record["parameters"]
    return Int8Model(scorer, facts.family, serializer, tokenizer, (int(active), int(total)))


def refuse_elsewhere(path: Path, engine: ScoringEngine, device: str | None) -> None:
    """Refuse another engine or device than those that compute int8.

    Raises:
        InputError: names the argument.
    """
    if engine == "onnx":
        raise InputError(f"engine is 'onnx', but {path} holds graphs of OpenVINO in int8; leave it out")
    if device is not None and torch.device(device).type != "cpu":
        raise InputError(f"device is {device!r}, but {path} is in int8 for processors; leave it out")


def read_record(path: Path) -> dict[str, Any]:
    """`int8.json` of a folder.

    Raises:
        ModelError: it is not understood.
    """
    file = path / INT8_FILE
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        if found["format"] != FORMAT:
            raise ModelError(f"{file}: format {found['format']!r}, expected format {FORMAT}; export the model again")
        if len(found["parameters"]) != 2 or len(found["probe"]) != len(PROBE):
            raise ValueError("parameters or probe are not as long as they should be")
    except (OSError, ValueError, RecursionError, TypeError, KeyError) as error:
        raise ModelError(f"{file}: cannot be read ({error}); export the model again") from None
    return dict(found)


def open_graphs(path: Path, family: str, precision: Precision) -> list[RunGraph]:
    """The graphs of a folder, in the order of `GRAPHS`; what is written into their files later changes nothing."""
    core = quiet_openvino().Core()
    core.set_property({"ENABLE_MMAP": False})
    files = [path / OPENVINO.file_of(name) for name in GRAPHS[family]]
    return [compile_openvino(core.read_model(file), torch.get_num_threads(), precision) for file in files]


def int8_scorer(
    runs: Sequence[RunGraph], serializer: Serializer, tokenizer: Any, tokens: int, token_budget: int
) -> Scorer:
    """What scores by the graphs of `open_graphs`.

    Args:
        runs: The graphs.
        serializer: How texts become tokens.
        tokenizer: The model's own.
        tokens: How many tokens the body's table has, see `table_of`.
        token_budget: Most tokens per forward pass, padding included.
    """
    padding = usable_padding(tokenizer, tokens)
    if isinstance(serializer, Apart):
        states, joint = runs
        text = WarmText(serializer, tokenizer, padding, serializer.max_tokens, token_budget)
        return WarmScorer(CompiledWarm(states, joint, text), token_budget)
    (run,) = runs
    uses_types = tells_segments(tokenizer)
    return CompiledScorer(run, RowText(make_rows(tokenizer, serializer), padding, uses_types, token_budget))


def table_of(path: Path) -> int:
    """How many tokens the table of a folder's body has, by its configuration; any number where that does not say."""
    content = json.loads((path / "config.json").read_text(encoding="utf-8"))
    return int(content.get("vocab_size") or sys.maxsize)


def _limited(path: Path, serializer: Serializer, max_tokens: int | None) -> Serializer:
    if max_tokens is None:
        return serializer
    if isinstance(serializer, Apart):
        raise ModelError(f"{path}: max_tokens is set, but a warm checkpoint has a limit for each text")
    if max_tokens > serializer.max_tokens:
        raise ModelError(f"max_tokens is {max_tokens}, but {path} was exported for {serializer.max_tokens} tokens")
    return replace(serializer, max_tokens=max_tokens)


def _say_without_int8(path: Path) -> None:
    """Say where a processor multiplies no int8: OpenVINO then computes the same in float32."""
    able = quiet_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if "INT8" not in able:
        logger.warning(
            "%s: this processor does not multiply int8 (OpenVINO names %s): scores are right, but no faster than those "
            "of float32",
            path,
            ", ".join(able),
        )


def _compare(path: Path, scorer: Scorer, expected: np.ndarray) -> None:
    """Refuse graphs that score otherwise here than where they were written: sums of int8 may overflow.

    Raises:
        ModelError: says by how much.
    """
    found = scorer.logits(scorer.encode(PROBE))
    apart, allowed = float(np.abs(found - expected).max()), HALF * max(1.0, float(np.ptp(expected)))
    if not apart <= allowed:
        raise ModelError(
            f"{path}: scores on this processor differ from those where it was exported by up to {apart:.2g} (allowed "
            f"{allowed:.2g}); export the model again on a processor of this kind"
        )
