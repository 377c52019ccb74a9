"""The engines themselves: how each writes a graph to a file, and opens the file for the processor."""

import logging
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from tamis.extras import missing_package
from tamis.models.engines.graphs import Graph
from tamis.models.precision import Precision

RunGraph = Callable[[Mapping[str, np.ndarray]], np.ndarray]
"""Takes the arrays of a batch by name, gives the graph's only output, float32."""


@dataclass(frozen=True, slots=True)
class GraphEngine:
    """One engine.

    Attributes:
        name: As the user names it, and its extra of this package.
        title: As its authors name it.
        packages: Modules that writing and opening need; the first one's version is the engine's.
        file: Pattern of a graph's file, by the graph's name.
        precisions: Number formats that it computes in.
        write: Writes a graph to a file.
        open: Loads a file, to be run by some threads in a precision.
    """

    name: str
    title: str
    packages: tuple[str, ...]
    file: str
    precisions: tuple[Precision, ...]
    write: Callable[[Graph, Path], None]
    open: Callable[[Path, int, Precision], RunGraph]

    def file_of(self, graph: str) -> str:
        """Name of a graph's file in its folder."""
        return self.file.format(graph)

    @property
    def version(self) -> str:
        """Of the engine as it is installed; empty where it is not."""
        try:
            return version(self.packages[0])
        except PackageNotFoundError:
            return ""

    def require(self, where: str) -> None:
        """Refuse to go on without its packages.

        Args:
            where: Option or setting that needs them.

        Raises:
            MissingPartError: names the first that is not installed, and the extra that brings it.
        """
        for package in self.packages:
            if find_spec(package) is None:
                raise missing_package(where, package, self.name)


def _write_onnx(graph: Graph, file: Path) -> None:
    import torch

    names: dict[str, Any] = {"input_names": list(graph.example), "output_names": [graph.output]}
    # torch says on every export that torchvision's operators are not there.
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    with warnings.catch_warnings(action="ignore"):  # torch's own deprecations
        torch.onnx.export(graph.program(), f=str(file), **names, dynamo=True, verbose=False)


def _open_onnx(file: Path, threads: int, precision: Precision) -> RunGraph:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])
    return lambda arrays: np.asarray(session.run(None, dict(arrays))[0])


def quiet_openvino() -> Any:
    """The module `openvino`, which tells nobody that it is used.

    Where openvino-telemetry can be imported, OpenVINO and NNCF report to their makers how they are used, unless they
    were told not to. Both do without it.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # what is None cannot be imported
    import openvino

    return openvino


def openvino_model(graph: Graph) -> Any:
    """A graph as OpenVINO has it, in float32."""
    openvino = quiet_openvino()
    with warnings.catch_warnings(action="ignore"):  # torch's own deprecations
        converted = openvino.convert_model(graph.program())
    for place, (name, example) in zip(converted.inputs, graph.example.items(), strict=True):
        place.get_node().set_friendly_name(name)
        place.set_names({name})
        place.get_node().set_partial_shape(openvino.PartialShape([-1, -1, *example.shape[2:]]))
    converted.outputs[0].set_names({graph.output})
    converted.validate_nodes_and_infer_types()
    return converted


def save_openvino(model: Any, file: Path) -> None:
    """Write a model of OpenVINO as it is, weights beside it."""
    quiet_openvino().save_model(model, file, compress_to_fp16=False)


def _write_openvino(graph: Graph, file: Path) -> None:
    save_openvino(openvino_model(graph), file)


def compile_openvino(model: Any, threads: int, precision: Precision) -> RunGraph:
    """A model of OpenVINO, or a file of one, to be run by some threads (0: all) in a precision."""
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = quiet_openvino().Core().compile_model(model, "CPU", settings)
    return lambda arrays: np.asarray(compiled(dict(arrays))[0])


OPENVINO = GraphEngine(
    "openvino",
    "OpenVINO",
    ("openvino",),
    "openvino_{}.xml",
    ("float32", "bfloat16"),
    _write_openvino,
    compile_openvino,
)
ONNX = GraphEngine(
    "onnx",
    "ONNX Runtime",
    ("onnxruntime", "onnxscript"),
    "{}.onnx",
    ("float32",),
    _write_onnx,
    _open_onnx,
)
ENGINES = {engine.name: engine for engine in (OPENVINO, ONNX)}
"""By name, the one that is mostly the fastest first."""
