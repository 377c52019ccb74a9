"""Computation graphs for engines that need no torch: ONNX Runtime and OpenVINO.

The graph takes `input_ids` and `attention_mask` (and `token_type_ids` where the body tells segments apart), padded on
the right, and gives `logits` [pairs, 1].
"""

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tamis.exporting.folders import in_batches, uses_types
from tamis.extras import missing_package
from tamis.models.reranker import Reranker
from tamis.models.rows import TokenRow
from tamis.models.saving import prepare_to_save, save_tokenizer
from tamis.models.sequence import ClassifierModel, LastTokenModel, SequenceScorer


class Graph(nn.Module):
    """The canonical form as one function of tensors."""

    def __init__(self, model: LastTokenModel | ClassifierModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """Logits [pairs, 1]."""
        if isinstance(self.model, ClassifierModel):
            given = {"input_ids": input_ids, "attention_mask": attention_mask}
            if token_type_ids is not None:
                given["token_type_ids"] = token_type_ids
            logits: Tensor = self.model.classifier(**given).logits
            return logits
        scores: Tensor = self.model(input_ids, attention_mask.sum(1), attention_mask)
        return scores[:, None]


def _example(scorer: SequenceScorer) -> dict[str, Tensor]:
    ids = torch.full((3, 7), 5)
    features = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    features["attention_mask"][1, 5:] = 0
    if uses_types(scorer):
        features["token_type_ids"] = torch.zeros_like(ids)
    return features


def _program(scorer: SequenceScorer, features: dict[str, Tensor]) -> torch.export.ExportedProgram:
    """The graph for any number of pairs and tokens."""
    sizes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    graph = Graph(scorer.model).eval()
    return torch.export.export(graph, (), kwargs=features, dynamic_shapes=dict.fromkeys(features, sizes))


def write_onnx(reranker: Reranker, scorer: SequenceScorer, folder: Path) -> None:
    """Write `model.onnx`, the tokenizer and the configuration.

    Raises:
        MissingPartError: the extra `onnx` is not installed.
    """
    try:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise missing_package("--to onnx", str(error.name), "onnx") from None
    tokenizer = _prepared(reranker, scorer)
    features = _example(scorer)
    names: dict[str, Any] = {"input_names": list(features), "output_names": ["logits"]}
    # torch says on every export that torchvision's operators are not there.
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    with warnings.catch_warnings(action="ignore"):  # torch's own deprecations
        program = _program(scorer, features)
        torch.onnx.export(program, f=str(folder / "model.onnx"), **names, dynamo=True, verbose=False)
    _write_beside(scorer, tokenizer, folder)


def write_openvino(reranker: Reranker, scorer: SequenceScorer, folder: Path) -> None:
    """Write `openvino_model.xml` with its weights, the tokenizer and the configuration.

    Raises:
        MissingPartError: the extra `openvino` is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise missing_package("--to openvino", str(error.name), "openvino") from None
    tokenizer = _prepared(reranker, scorer)
    features = _example(scorer)
    with warnings.catch_warnings(action="ignore"):  # torch's own deprecations
        converted = openvino.convert_model(_program(scorer, features))
    for place, name in zip(converted.inputs, features, strict=True):
        place.get_node().set_friendly_name(name)
        place.set_names({name})
        place.get_node().set_partial_shape(openvino.PartialShape([-1, -1]))
    converted.outputs[0].set_names({"logits"})
    converted.validate_nodes_and_infer_types()
    openvino.save_model(converted, folder / "openvino_model.xml", compress_to_fp16=False)
    _write_beside(scorer, tokenizer, folder)


def _whole(scorer: SequenceScorer) -> Any:
    """The model of transformers whose configuration is written."""
    return scorer.model.classifier if isinstance(scorer.model, ClassifierModel) else scorer.model.body


def _prepared(reranker: Reranker, scorer: SequenceScorer) -> Any:
    """The tokenizer to write, see `prepare_to_save`; the body may get a row for its padding token."""
    causal, serializer = isinstance(scorer.model, LastTokenModel), scorer.rows.serializer
    return prepare_to_save(_whole(scorer), reranker.tokenizer, serializer, reranker.activation, causal)


def _write_beside(scorer: SequenceScorer, tokenizer: Any, folder: Path) -> None:
    _whole(scorer).config.save_pretrained(folder)
    save_tokenizer(tokenizer, folder)


RunGraph = Callable[[dict[str, Tensor]], np.ndarray]
"""Takes the tensors of a batch by name, gives its logits: float32 [pairs]."""


def open_onnxruntime(folder: Path) -> RunGraph:
    """Load what `write_onnx` wrote."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    return lambda features: np.asarray(session.run(["logits"], _arrays(features))[0][:, 0])


def open_openvino(folder: Path, settings: Mapping[str, str] | None = None) -> RunGraph:
    """Load what `write_openvino` wrote, for the processor; without settings it may compute in less than float32."""
    import openvino

    model = openvino.Core().compile_model(folder / "openvino_model.xml", "CPU", dict(settings or {}))
    return lambda features: np.asarray(model(_arrays(features))["logits"][:, 0])


def _arrays(features: dict[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in features.items()}


def score_in_onnxruntime(folder: Path, scorer: SequenceScorer, rows: Sequence[TokenRow]) -> np.ndarray:
    """Logits of ONNX Runtime: float32 [rows]."""
    return in_batches(rows, scorer, folder, open_onnxruntime(folder))


def score_in_openvino(folder: Path, scorer: SequenceScorer, rows: Sequence[TokenRow]) -> np.ndarray:
    """Logits of OpenVINO on the processor, computed in float32: float32 [rows]."""
    return in_batches(rows, scorer, folder, open_openvino(folder, {"INFERENCE_PRECISION_HINT": "f32"}))
