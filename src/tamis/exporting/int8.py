"""Int8 for processors: OpenVINO's graphs, rounded by NNCF with pairs of the user's own, and checked on others of them.

SmoothQuant (arXiv:2211.10438) moves outliers of the inputs into the weights before both are rounded: the bodies of
encoders have such outliers, and one scale for all inputs cannot hold them. What is rounded are the products of all
tokens with weights, which is where the time goes, and the embeddings. What is computed once a pair (the head), products
of states with states, and whatever is between stays float32.

The check decides: half of the queries calibrate, the other half is scored in float32 by torch and in int8 by the files
that were written. Where it fails NNCF looks for the products that do the harm and leaves them in float32; where that
fails, too, nothing is written.
"""

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from tamis.errors import InputError, ModelError
from tamis.extras import missing_package
from tamis.formulas.ranking import agreement, kendall_tau
from tamis.models.checkpoint import find_checkpoint
from tamis.models.engines.choosing import PROBE, graphs_of, scorer_by
from tamis.models.engines.engine import (
    OPENVINO,
    RunGraph,
    compile_openvino,
    openvino_model,
    quiet_openvino,
    save_openvino,
)
from tamis.models.engines.graphs import Graph
from tamis.models.engines.int8 import FORMAT, GRAPHS, int8_scorer, open_graphs, table_of
from tamis.models.folders import INT8_FILE, check_folder
from tamis.models.reranker import Reranker
from tamis.models.rows import Pair
from tamis.models.saving import prepare_to_save, save_tokenizer, warm_head, write_facts, write_json
from tamis.models.sequence import ClassifierModel, SequenceScorer
from tamis.models.serializer import Apart, Serializer
from tamis.models.stream import Scorer
from tamis.models.warm import WarmCrossEncoder
from tamis.models.warm_scorer import WarmScorer

logger = logging.getLogger(__name__)

TARGET: Final = "openvino-int8"
"""What `tamis export --to` calls it."""

DEPTH: Final = 10
"""Documents of each query: as many as nDCG@10 looks at."""

LEAST_QUERIES: Final = 20
"""Fewer queries say too little, half of them being checked."""

MOST_QUERIES: Final = 200
"""More are not read: a hundred that are checked show a thousandth of nDCG@10."""

CALIBRATING: Final = 300
"""Pairs that calibrate, as many as NNCF takes by default."""

LEAST_TAU: Final = 0.9
"""Least mean of Kendall's tau of int8 and float32 within a query: one pair of documents in twenty may change places.

bfloat16 has .993, torch's int8 with one scale for all inputs had .44 (docs/log.md); what changes places at .9 are
neighbours of nearly equal scores, if nDCG agrees.
"""

LARGEST_LOSS: Final = 0.01
"""Largest mean loss of nDCG@10 with float32's scores as gains: a point, beyond which a smaller model is the better way.

It is measured against float32's order, not against judgements: those are too few to see a point (docs/log.md), and no
judgement is lost where the order is kept.
"""

ROUNDS: Final = 10
"""Most groups of products that are taken back into float32."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """A query and `DEPTH` documents."""

    query: str
    documents: tuple[str, ...]

    @property
    def pairs(self) -> list[Pair]:
        """The query with each document."""
        return [(self.query, document) for document in self.documents]


@dataclass(frozen=True, slots=True)
class Checked:
    """How far int8 agrees with float32 on queries that did not calibrate.

    Attributes:
        queries: How many were checked, each with `DEPTH` documents.
        calibrating: Pairs of other queries that calibrated.
        tau: Mean of Kendall's tau-b within a query.
        change: Mean change of nDCG@10 with float32's scores as gains, at most 0.
        in_int8: Products with weights that are computed in int8.
        products: Products with weights that could be.
    """

    queries: int
    calibrating: int
    tau: float
    change: float
    in_int8: int
    products: int

    @property
    def holds(self) -> bool:
        """Whether the order is kept, as `LEAST_TAU` and `LARGEST_LOSS` have it."""
        return self.tau >= LEAST_TAU and self.change >= -LARGEST_LOSS

    @property
    def told(self) -> str:
        """Both figures and their bounds."""
        return (
            f"Kendall's tau {self.tau:.3f} (at least {LEAST_TAU:g}), nDCG@10 {self.change:+.4f} (at least "
            f"{-LARGEST_LOSS:g}) on {self.queries} queries"
        )

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def require_int8() -> None:
    """Make sure that graphs can be written in int8.

    Raises:
        MissingPartError: names the package that is not there.
    """
    try:
        quiet_openvino()  # which NNCF imports
        import nncf  # its logger writes to standard output
    except ImportError as error:
        raise missing_package(f"--to {TARGET}", error.name or "nncf", "int8") from None
    logging.getLogger(nncf.__name__).setLevel(logging.ERROR)


def export_int8(model: str | Path, folder: Path, pairs: Sequence[Pair]) -> Checked:
    """Write a reranker as graphs in int8, and check what was written.

    Args:
        model: Folder or hub name, as for `Reranker`.
        folder: Empty folder.
        pairs: Queries and documents of the user's own.

    Returns:
        How far the scores agree; also written to `int8.json`.

    Raises:
        MissingPartError: NNCF or OpenVINO is not installed.
        InputError: too few pairs.
        ModelError: a family without a form in int8, or scores that order otherwise.
    """
    require_int8()
    lists = candidate_lists(pairs)
    check_folder(find_checkpoint(model))
    reranker = Reranker(model, device="cpu")
    if reranker.family not in GRAPHS:
        raise ModelError(
            f"{model}: int8 is for encoders with one label and for warm models; this one is of the family "
            f"{reranker.family}"
        )
    work = _Work(reranker, folder, lists[::2], lists[1::2])
    found = work.write(work.rounded())
    if not found.holds:
        logger.warning(
            "%s: int8 changes the order: %s; looking for the products that do so, to leave them in float32, which may "
            "take many minutes",
            model,
            found.told,
        )
        found = work.write(work.controlled())
    if not found.holds:
        raise ModelError(
            f"{model}: int8 changes the order: {found.told}, with {found.in_int8} of {found.products} products in "
            "int8; nothing was written. Engine openvino scores it in float32 or bfloat16"
        )
    return found


def candidate_lists(pairs: Sequence[Pair]) -> list[Candidates]:
    """`DEPTH` documents of each query, at most `MOST_QUERIES` queries in their order.

    A query's own documents come first; where they are fewer, those of the lines after its first one follow.

    Raises:
        InputError: too few queries or documents.
    """
    places: dict[str, int] = {}
    own: dict[str, dict[str, None]] = {}
    for place, (query, document) in enumerate(pairs):
        places.setdefault(query, place)
        own.setdefault(query, {})[document] = None
    different = len({document for _, document in pairs})
    if len(own) < LEAST_QUERIES or different < DEPTH:
        raise InputError(
            f"--pairs holds {len(own)} queries and {different} different documents, expected at least {LEAST_QUERIES} "
            f"and {DEPTH}: half of the queries calibrate int8, the others check it; some 300 pairs are enough"
        )
    documents = [document for _, document in pairs]
    return [_filled(query, own[query], documents, places[query]) for query in list(own)[:MOST_QUERIES]]


def _filled(query: str, own: Mapping[str, None], documents: Sequence[str], place: int) -> Candidates:
    found = dict(own)
    following = (documents[(place + step) % len(documents)] for step in range(len(documents)))
    while len(found) < DEPTH:
        found[next(following)] = None
    return Candidates(query, tuple(found)[:DEPTH])


def calibrating_pairs(lists: Sequence[Candidates]) -> list[Pair]:
    """`CALIBRATING` pairs of many queries: the first documents of all lists, then the second ones, and so on."""
    return [(one.query, one.documents[place]) for place in range(DEPTH) for one in lists][:CALIBRATING]


class _Work:
    """A reranker on its way into int8."""

    def __init__(
        self, reranker: Reranker, folder: Path, calibrating: Sequence[Candidates], checking: Sequence[Candidates]
    ) -> None:
        self._reranker, self._folder, self._checking = reranker, folder, checking
        self._torch = reranker.scorer
        self._ready = _save_text(reranker, folder)
        self._graphs = graphs_of(self._torch)
        self._pairs = calibrating_pairs(calibrating)
        self._inputs = _inputs(self._torch, self._graphs, self._pairs)
        # Fewer are enough to choose by: the others decide.
        self._choosing = calibrating[:LEAST_QUERIES]
        self._expected = _logits(self._torch, checking)

    def rounded(self) -> list[Any]:
        """All graphs in int8."""
        return [_rounded(openvino_model(graph), self._inputs[graph.name]) for graph in self._graphs]

    def controlled(self) -> list[Any]:
        """All graphs in int8, but for products that change the order of the calibrating queries."""
        models = [openvino_model(graph) for graph in self._graphs]
        expected = _logits(self._torch, self._choosing)
        for place, graph in enumerate(self._graphs):
            runs = [compile_openvino(model, torch.get_num_threads(), "float32") for model in models]

            def taus(
                run: RunGraph, lists: Sequence[int], place: int = place, runs: list[RunGraph] = runs
            ) -> list[float]:
                scorer = scorer_by(self._torch, [*runs[:place], run, *runs[place + 1 :]])
                found = _logits(scorer, [self._choosing[i] for i in lists])
                return [kendall_tau(ours, theirs) for ours, theirs in zip(expected[list(lists)], found, strict=True)]

            models[place] = _controlled(models[place], self._inputs[graph.name], len(self._choosing), taus)
        return models

    def write(self, models: Sequence[Any]) -> Checked:
        """Write graphs and `int8.json`; returns how far what was written agrees with torch."""
        for graph, model in zip(self._graphs, models, strict=True):
            save_openvino(model, self._folder / OPENVINO.file_of(graph.name))
        scorer = self._written()
        taus, changes = [], []
        for ours, theirs in zip(self._expected, _logits(scorer, self._checking), strict=True):
            taus.append(kendall_tau(ours, theirs))
            changes.append(agreement(theirs, ours, DEPTH) - 1)
        counts = np.sum([_counts(model) for model in models], 0)
        means = float(np.mean(taus)), round(float(np.mean(changes)), 9) + 0.0
        found = Checked(len(self._checking), len(self._pairs), *means, int(counts[0]), int(counts[1]))
        record = {
            "format": FORMAT,
            "parameters": list(self._reranker.parameters),
            "checked": found.as_dict(),
            "probe": scorer.logits(scorer.encode(PROBE)).tolist(),
        }
        write_json(self._folder / INT8_FILE, record)
        return found

    def _written(self) -> Scorer:
        """What scores by the files in the folder."""
        from transformers import AutoTokenizer

        runs = open_graphs(self._folder, self._reranker.family, "float32")
        tokenizer = AutoTokenizer.from_pretrained(self._folder)
        return int8_scorer(runs, self._ready, tokenizer, table_of(self._folder), self._torch.token_budget)


def _logits(scorer: Scorer, lists: Sequence[Candidates]) -> np.ndarray:
    """Logits of the documents of each query: float32 [queries, documents]."""
    rows = scorer.encode([pair for one in lists for pair in one.pairs])
    return scorer.logits(rows).reshape(len(lists), DEPTH)


def _save_text(reranker: Reranker, folder: Path) -> Serializer:
    """Write all but the graphs; returns the serializer as it is written, with the limits of the body."""
    scorer = reranker.scorer
    serializer, head = reranker.serializer, None
    if isinstance(scorer, WarmScorer):
        student = scorer.student
        assert isinstance(student, WarmCrossEncoder), "torch scores what is exported"
        assert isinstance(serializer, Apart), "a warm model has one"
        most = student.encoder.positions
        query, document = min(serializer.query_tokens, most), min(serializer.document_tokens, most)
        serializer = replace(serializer, query_tokens=query, document_tokens=document)
        config, tokenizer, head = student.body.config, reranker.tokenizer, warm_head(student)
    else:
        assert isinstance(scorer, SequenceScorer), "there are two kinds of scorers"
        assert isinstance(scorer.model, ClassifierModel), "the family is encoder"
        classifier, text = scorer.model.classifier, scorer.rows.serializer
        tokenizer = prepare_to_save(classifier, reranker.tokenizer, text, reranker.activation, False)
        config = classifier.config
    config.save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    write_facts(folder, reranker.family, serializer, reranker.activation, reranker.deployment, head)
    return serializer


class _Noted:
    """Runs a graph in torch, and keeps what it was given."""

    def __init__(self, graph: Graph) -> None:
        self._module, self.given = graph.module.eval(), list[dict[str, np.ndarray]]()

    def __call__(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        self.given.append(dict(arrays))
        with torch.inference_mode():
            found: torch.Tensor = self._module(**{name: torch.from_numpy(one) for name, one in arrays.items()})
        return found.numpy()


def _inputs(scorer: Scorer, graphs: Sequence[Graph], pairs: Sequence[Pair]) -> dict[str, list[dict[str, np.ndarray]]]:
    """What each graph is given while pairs are scored one by one, without padding, by its name."""
    runs = [_Noted(graph) for graph in graphs]
    noting = scorer_by(scorer, runs, bucket=1)
    for row in noting.encode(pairs):
        noting.logits([row])
    return {graph.name: run.given for graph, run in zip(graphs, runs, strict=True)}


def _products(model: Any) -> tuple[list[Any], list[Any]]:
    """Matrix products of all tokens with weights, and all other ones, which are few or small."""
    found = [op for op in model.get_ops() if op.get_type_name() == "MatMul"]
    of_tokens = [op for op in found if op.get_output_partial_shape(0).rank.get_length() > 2 and _has_weights(op)]
    names = {op.get_friendly_name() for op in of_tokens}
    return of_tokens, [op for op in found if op.get_friendly_name() not in names]


def _has_weights(op: Any) -> bool:
    """Whether the second factor does not depend on what comes in."""
    node = op.input_value(1).get_node()
    while node.get_type_name() != "Constant":
        if node.get_input_size() == 0 or node.get_type_name() not in (
            "Convert",
            "Multiply",
            "Subtract",
            "FakeQuantize",
        ):
            return False
        node = node.input_value(0).get_node()
    return True


def _counts(model: Any) -> tuple[int, int]:
    """How many products of tokens with weights have inputs in int8, and how many there are."""
    of_tokens, _ = _products(model)
    return sum(op.input_value(0).get_node().get_type_name() == "FakeQuantize" for op in of_tokens), len(of_tokens)


def _how(model: Any, inputs: Sequence[Mapping[str, np.ndarray]]) -> dict[str, Any]:
    """What NNCF is told in both of its ways."""
    import nncf

    names = [op.get_friendly_name() for op in _products(model)[1]]
    return {
        "calibration_dataset": nncf.Dataset(inputs),
        "subset_size": len(inputs),
        "preset": nncf.QuantizationPreset.MIXED,
        "model_type": nncf.ModelType.TRANSFORMER,
        "ignored_scope": nncf.IgnoredScope(names=names) if names else None,
    }


def _rounded(model: Any, inputs: Sequence[Mapping[str, np.ndarray]]) -> Any:
    """A graph of OpenVINO in int8, by SmoothQuant."""
    import nncf

    with redirect_stdout(sys.stderr):  # its progress
        return nncf.quantize(model, **_how(model, inputs))


def _controlled(
    model: Any,
    inputs: Sequence[Mapping[str, np.ndarray]],
    lists: int,
    taus: Callable[[RunGraph, Sequence[int]], list[float]],
) -> Any:
    """A graph in int8 but for the products without which Kendall's tau is high enough.

    SmoothQuant is left out: NNCF takes a product back with its weights of before, but leaves the scales in its inputs.

    Args:
        model: OpenVINO's, in float32.
        inputs: What calibrates.
        lists: How many queries there are to choose by.
        taus: Kendall's tau of some of them, by a way to run the graph.
    """
    import nncf

    def validate(compiled: Any, some: Sequence[int]) -> tuple[float, list[float]]:
        found = taus(lambda arrays: np.asarray(compiled(dict(arrays))[0]), list(some))
        return float(np.mean(found)), found

    plain = nncf.AdvancedQuantizationParameters(smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(matmul=-1))
    how = nncf.AdvancedAccuracyRestorerParameters(max_num_iterations=ROUNDS, num_ranking_workers=1)
    with redirect_stdout(sys.stderr):
        return nncf.quantize_with_accuracy_control(
            model,
            validation_dataset=nncf.Dataset(list(range(lists))),
            validation_fn=validate,
            max_drop=(1 - LEAST_TAU) / 2,  # other queries decide
            advanced_quantization_parameters=plain,
            advanced_accuracy_restorer_parameters=how,
            **_how(model, inputs),
        )
