"""`tamis export`: write another engine's form of a reranker, load it there, and compare its scores with ours."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tamis.errors import InputError, ModelError
from tamis.exporting.folders import score_in_transformers, write_classifier, written_activation
from tamis.exporting.graphs import score_in_onnxruntime, score_in_openvino, write_onnx, write_openvino
from tamis.exporting.parity import LARGEST, Parity, parity
from tamis.models.reranker import Reranker
from tamis.models.rows import Pair, TokenRow
from tamis.models.sequence import SequenceScorer
from tamis.whole_folder import whole_folder

Write = Callable[[Reranker, SequenceScorer, Path], None]
ScoreExported = Callable[[Path, SequenceScorer, Sequence[TokenRow]], np.ndarray]

# vLLM does not run on every machine: its folder is read by transformers, whose names and shapes it shares.
ENGINES: dict[str, tuple[Write, ScoreExported]] = {
    "transformers": (write_classifier, score_in_transformers),
    "vllm": (write_classifier, score_in_transformers),
    "onnx": (write_onnx, score_in_onnxruntime),
    "openvino": (write_openvino, score_in_openvino),
}


def export(model: str | Path, out: Path, to: str, pairs: Sequence[Pair]) -> Parity:
    """Export a reranker and prove the export.

    Args:
        model: Folder or hub name, as for `Reranker`.
        out: New folder; it appears when the export was loaded again and scored the same.
        to: One of `ENGINES`.
        pairs: Pairs to compare on.

    Returns:
        How far the scores agree; also written to `parity.json` in `out`.

    Raises:
        InputError: an unknown engine, or a folder that is there already.
        ModelError: a checkpoint with no form for that engine, or one whose scores there are others.
    """
    if to not in ENGINES:
        raise InputError(f"--to {to}: expected one of {', '.join(ENGINES)}")
    reranker = Reranker(model, device="cpu")
    scorer = reranker.scorer
    if not isinstance(scorer, SequenceScorer):
        raise ModelError(
            f"{model}: a warm checkpoint has no form that {to} loads: its two texts are read apart; "
            "train with student.head: stock, or use it through tamis or sentence-transformers"
        )
    write, score = ENGINES[to]
    rows = scorer.encode(pairs)
    with whole_folder(out) as folder:
        write(reranker, scorer, folder)
        activations = reranker.activation, written_activation(folder)
        found = parity(scorer.logits(rows), score(folder, scorer, rows), to, activations)
        (folder / "parity.json").write_text(json.dumps(found.as_dict(), indent=2) + "\n", encoding="utf-8")
        if not found.largest <= LARGEST:
            raise ModelError(
                f"{out}: {to} scores differ by up to {found.largest:.2g} (allowed {LARGEST:g}); nothing was written"
            )
        if not found.bounded <= LARGEST:
            raise ModelError(
                f"{out}: {to} makes bounded scores by {found.activation}, {model} by {reranker.activation}: they "
                f"differ by up to {found.bounded:.2g} (allowed {LARGEST:g}); nothing was written"
            )
    return found
