"""`tamis export`: write another engine's form of a reranker, load it there, and compare its scores with ours."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from tamis.errors import InputError, ModelError
from tamis.exporting.folders import score_in_transformers, write_classifier, written_activation
from tamis.exporting.gguf import Form, certain, score_in_llama, write_gguf
from tamis.exporting.graphs import score_in_engine, write_graph
from tamis.exporting.int8 import TARGET as INT8
from tamis.exporting.int8 import Checked, export_int8
from tamis.exporting.parity import LARGEST, LARGEST_OF_GGUF, LARGEST_OF_WARM, Parity, parity
from tamis.exporting.warm import score_in_parts, score_whole, write_warm
from tamis.models.checkpoint import find_checkpoint
from tamis.models.engines.engine import ENGINES as GRAPH_ENGINES
from tamis.models.engines.engine import ONNX, OPENVINO
from tamis.models.folders import check_folder
from tamis.models.reranker import Reranker
from tamis.models.rows import Pair, TokenRow
from tamis.models.sequence import SequenceScorer
from tamis.models.warm import WarmCrossEncoder
from tamis.models.warm_scorer import WarmScorer
from tamis.whole_folder import whole_folder

Write = Callable[[Reranker, SequenceScorer, Path], None]
ScoreExported = Callable[[Path, SequenceScorer, Sequence[TokenRow]], np.ndarray]

# vLLM does not run on every machine: its folder is read by transformers, whose names and shapes it shares.
ENGINES: dict[str, tuple[Write, ScoreExported]] = {
    "transformers": (write_classifier, score_in_transformers),
    "vllm": (write_classifier, score_in_transformers),
    "onnx": (partial(write_graph, ONNX), partial(score_in_engine, ONNX)),
    "openvino": (partial(write_graph, OPENVINO), partial(score_in_engine, OPENVINO)),
}


GGUF: dict[str, Form] = {"gguf": "float16", "gguf-q8_0": "q8_0"}
"""llama.cpp's files, which it scores from texts: it has the tokenizer, too."""

TARGETS = (*ENGINES, INT8, *GGUF)


def export(model: str | Path, out: Path, to: str, pairs: Sequence[Pair]) -> Parity | Checked:
    """Export a reranker and prove the export.

    Args:
        model: Folder or hub name, as for `Reranker`.
        out: New folder; it appears when the export was loaded again and scored the same.
        to: One of `TARGETS`.
        pairs: Pairs to compare on; those of int8 calibrate it, too.

    Returns:
        How far the scores agree; also written to `parity.json` in `out`, of int8 to `int8.json`.

    Raises:
        InputError: an unknown engine, or a folder that is there already.
        ModelError: a checkpoint with no form for that engine, or one whose scores there are others.
    """
    if to not in TARGETS:
        raise InputError(f"--to {to}: expected one of {', '.join(TARGETS)}")
    if to == INT8:
        with whole_folder(out) as folder:
            return export_int8(model, folder, pairs)
    check_folder(find_checkpoint(model))
    reranker = Reranker(model, device="cpu")
    scorer = reranker.scorer
    with whole_folder(out) as folder:
        if isinstance(scorer, WarmScorer):
            found, allowed = _export_warm(reranker, scorer, folder, to, pairs), LARGEST_OF_WARM
        else:
            assert isinstance(scorer, SequenceScorer), "there are two kinds of scorers"
            found, allowed = _export_sequence(reranker, scorer, folder, to, pairs)
        (folder / "parity.json").write_text(json.dumps(found.as_dict(), indent=2) + "\n", encoding="utf-8")
        # A constant is nothing that a warm graph may leave out.
        apart = found.largest + (abs(found.offset) if isinstance(scorer, WarmScorer) else 0.0)
        if not apart <= allowed:
            raise ModelError(
                f"{out}: {found.engine} scores differ by up to {apart:.2g} (allowed {allowed:g}); nothing was written"
            )
        if not found.bounded <= (LARGEST if to in ENGINES else allowed):
            raise ModelError(
                f"{out}: {to} makes bounded scores by {found.activation}, {model} by {reranker.activation}: they "
                f"differ by up to {found.bounded:.2g} (allowed {LARGEST:g}); nothing was written"
            )
    return found


def _export_sequence(
    reranker: Reranker, scorer: SequenceScorer, folder: Path, to: str, pairs: Sequence[Pair]
) -> tuple[Parity, float]:
    """How far the scores agree, and the largest difference that is allowed."""
    if to in GGUF:
        return _export_gguf(reranker, scorer, folder, to, pairs)
    write, score = ENGINES[to]
    rows = scorer.encode(pairs)
    write(reranker, scorer, folder)
    activations = reranker.activation, written_activation(folder)
    return parity(scorer.logits(rows), score(folder, scorer, rows), to, activations), LARGEST


def _export_gguf(
    reranker: Reranker, scorer: SequenceScorer, folder: Path, to: str, pairs: Sequence[Pair]
) -> tuple[Parity, float]:
    write_gguf(GGUF[to], reranker, scorer, folder)
    whole = [
        pair for pair, row in zip(pairs, scorer.encode(pairs), strict=True) if not row.cut
    ]  # llama.cpp cuts nothing
    if len(whole) < 2:
        raise ModelError(
            f"{reranker.path}: {len(whole)} of {len(pairs)} pairs fit into the model; give others by --pairs"
        )
    ours = certain(scorer, scorer.logits(scorer.encode(whole)))
    theirs = certain(scorer, score_in_llama(folder, scorer, whole))
    activations = reranker.activation, reranker.activation  # whoever asks llama.cpp bounds the logit, or not
    return parity(ours, theirs, to, activations), LARGEST_OF_GGUF[GGUF[to]] * max(1.0, float(np.ptp(ours)))


def _export_warm(reranker: Reranker, scorer: WarmScorer, folder: Path, to: str, pairs: Sequence[Pair]) -> Parity:
    """The parity of the form that agrees less: one graph, or two."""
    student = scorer.student
    assert isinstance(student, WarmCrossEncoder), "torch scores what is exported"
    if to not in GRAPH_ENGINES:
        raise ModelError(
            f"{reranker.path}: a warm checkpoint has no form that {to} loads: its two texts are read apart; export it "
            "to onnx or openvino, train with student.head: stock, or use it through tamis or sentence-transformers"
        )
    engine = GRAPH_ENGINES[to]
    rows = scorer.encode(pairs)
    write_warm(engine, reranker, student, folder)
    logits, padding = scorer.logits(rows), student.encoder.padding
    in_parts = score_in_parts(engine, folder, student, rows, scorer.token_budget)
    activations = reranker.activation, reranker.activation  # graphs.json names it
    whole = parity(logits, score_whole(engine, folder, rows, padding), f"{to}, one graph", activations)
    parts = parity(logits, in_parts, f"{to}, two graphs", activations)
    return max(whole, parts, key=lambda one: one.largest + abs(one.offset))
