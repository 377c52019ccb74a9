"""`tamis merge`: checkpoint folders in, one new folder out, a stretch of a tensor at a time."""

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from tamis.artifacts import versions, write_json
from tamis.errors import InputError, ModelError
from tamis.formulas.merging import weighted_sum
from tamis.formulas.slerp import Arc, layer_of
from tamis.merging.checkpoints import INDEX, WEIGHTS, Checkpoint, check_alike, is_made_anew, open_checkpoint
from tamis.merging.methods import THINNED, TURNS, Method, Sources, prepare, straight_weights
from tamis.models.checkpoint import FORMAT, CheckpointFacts, read_facts
from tamis.models.encoder import loading
from tamis.models.families import stored_activation
from tamis.models.peer_files import peer_facts
from tamis.progress import track
from tamis.whole_folder import require_free, whole_folder

FACTS = "tamis.json"
COPIED = ("*config*.json", "*token*.json", "modules.json", INDEX, "merges.txt", "vocab*", "*.jinja", "*.model", "*.py")
"""The files that belong to a model beside its weights: configuration, tokenizer, code that we never run."""

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True, slots=True)
class MergedTensor:
    """What became of one tensor.

    Attributes:
        name: Name of the tensor.
        equal: The same in all models and copied.
        arcs: slerp: the arc of each join; empty for an equal tensor and for other methods.
    """

    name: str
    equal: bool
    arcs: tuple[Arc, ...]

    @property
    def linear(self) -> bool:
        """Whether some join took the straight line instead of an arc."""
        return any(arc.linear for arc in self.arcs)


@dataclass(frozen=True, slots=True)
class LayerRow:
    """The tensors of one layer together.

    Attributes:
        layer: Its number; None for all tensors outside the layers.
        tensors: How many there are.
        equal: How many were copied.
        linear: How many fell back to the straight line.
        angles: slerp: the mean angle of each join, degrees in [0, 180]; None where no tensor has one.
    """

    layer: int | None
    tensors: int
    equal: int
    linear: int
    angles: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class MergeReport:
    """What a merge did.

    Attributes:
        method: How it was merged.
        models: The folders, in the order in which they were joined.
        base: The folder of their parent, or None.
        tensors: What became of each.
    """

    method: Method
    models: tuple[str, ...]
    base: str | None
    tensors: tuple[MergedTensor, ...]

    @property
    def equal(self) -> int:
        """Tensors that were the same in all models."""
        return sum(one.equal for one in self.tensors)

    @property
    def linear(self) -> int:
        """Tensors that fell back to the straight line."""
        return sum(one.linear for one in self.tensors)

    @property
    def linear_share(self) -> float:
        """Share of the tensors that differ which fell back to the straight line, in [0, 1]."""
        return self.linear / max(1, len(self.tensors) - self.equal)

    def by_layer(self) -> list[LayerRow]:
        """A row for each layer, in order, and one for the tensors outside."""
        by_layer: dict[int | None, list[MergedTensor]] = {}
        for one in self.tensors:
            by_layer.setdefault(layer_of(one.name), []).append(one)
        numbered = sorted(layer for layer in by_layer if layer is not None)
        return [self._row(layer, by_layer[layer]) for layer in (*numbered, None) if layer in by_layer]

    def _row(self, layer: int | None, tensors: list[MergedTensor]) -> LayerRow:
        joins = len(self.models) - 1 if self.method.name == "slerp" else 0
        found = [[one.arcs[join].angle for one in tensors if one.arcs] for join in range(joins)]
        known = [[math.degrees(angle) for angle in angles if angle is not None] for angles in found]
        angles = tuple(fmean(degrees) if degrees else None for degrees in known)
        counts = sum(one.equal for one in tensors), sum(one.linear for one in tensors)
        return LayerRow(layer, len(tensors), *counts, angles)


def merge_checkpoints(models: Sequence[Path], out: Path, method: Method, base: Path | None = None) -> MergeReport:
    """Merge checkpoints of one architecture into a new folder.

    The folder is like the first model's: its shards, dtypes, configuration and tokenizer. Tensors that are equal in all
    models are copied. Of `tamis.json`, which must say the same in all models, the two numbers of a warm head are
    interpolated on the straight line whatever the method, weights of the first stage stay where all models agree on
    them, and the lineage is new.

    Args:
        models: At least two Hugging Face folders, in the order in which they are joined.
        out: New folder.
        method: How to merge.
        base: The model that all of them started from. slerp then interpolates the differences from it, and without it
            the weights themselves; linear gives the same either way; the others need it.

    Returns:
        What became of each tensor.

    Raises:
        InputError: fewer than two models, settings that do not fit, or a folder that is there already.
        ModelError: checkpoints that do not fit together or cannot be read.
        RunError: the disk cannot be written.
    """
    if len(models) < 2:
        raise InputError(
            f"merge needs two or more model folders, got {len(models)}; for the stage of a recipe use tamis run RECIPE "
            "--until merge"
        )
    method.check(base is not None)
    require_free(out)
    opened = tuple(open_checkpoint(folder) for folder in models)
    parent = None if base is None else open_checkpoint(base)
    check_alike(opened[0], list(opened[1:]), parent)
    facts = _facts_in_common(opened)
    start = None if method.name == "linear" else parent  # a mean is the same from wherever it is taken
    tensors: list[MergedTensor] = []
    with whole_folder(out) as folder:
        _copy_files(opened[0].folder, folder)
        with track("merging tensors", len(opened[0].tensors)) as advance:

            def merged(name: str) -> Iterator[Tensor]:
                one, stretches = _merge_tensor(
                    Sources(name, prod(opened[0].tensors[name].shape), opened, start), method
                )
                yield from stretches
                tensors.append(one)
                advance(1)

            for shard in opened[0].shards:
                _write_like(opened[0].folder / shard, folder / shard, merged)
        report = MergeReport(method, tuple(map(str, models)), None if base is None else str(base), tuple(tensors))
        _write_facts(folder, facts, opened, parent, report)
    return report


def _merge_tensor(sources: Sources, method: Method) -> tuple[MergedTensor, Iterator[Tensor]]:
    """What becomes of a tensor, and its merged stretches in the first model's dtype."""
    compared = sources.models
    if method.name not in TURNS and sources.base is not None:
        compared = (*compared, sources.base)  # what all models learnt alike is added up there
    if is_made_anew(sources.name) or all(map(_same, sources.stored(*compared))):
        return MergedTensor(sources.name, True, ()), (first for (first,) in sources.stored(sources.models[0]))
    _require_floats(sources)
    merge, arcs = prepare(method, sources)
    return MergedTensor(sources.name, False, tuple(arcs)), _merged(sources, merge)


def _merged(sources: Sources, merge: Callable[[list[Tensor]], Tensor]) -> Iterator[Tensor]:
    dtype = sources.models[0].read(sources.name, 0, 1).dtype
    for stretch in sources.stretches():
        result = merge(stretch).to(dtype)
        if not bool(result.isfinite().all()):
            raise ModelError(
                f"the merged tensor {sources.name!r} is too large for {dtype}; put a checkpoint in bfloat16 or float32 "
                "first"
            )
        yield result


def _same(stretches: list[Tensor]) -> bool:
    """Whether the same stretch is bit for bit equal in all checkpoints, or equal in value where their dtypes differ."""
    first, *others = stretches
    return all(
        torch.equal(first.view(torch.uint8), x.view(torch.uint8))
        if x.dtype == first.dtype
        else bool((x == first).all())
        for x in others
    )


def _require_floats(sources: Sources) -> None:
    for checkpoint in sources.everyone:
        dtype = checkpoint.read(sources.name, 0, 1).dtype
        if dtype not in FLOATS:
            raise ModelError(
                f"{checkpoint.folder}: the tensor {sources.name!r} holds {str(dtype).removeprefix('torch.')} values, "
                "which cannot be merged where they differ; give checkpoints in float32, bfloat16 or float16"
            )


def _write_like(source: Path, target: Path, stretches: Callable[[str], Iterator[Tensor]]) -> None:
    """Write a safetensors file with the header of another and new numbers.

    The format is eight bytes for the header's length, the header, and the tensors' bytes one after another, at the
    offsets that the header gives and without gaps; safetensors' own writer wants all of them in memory.
    """
    with source.open("rb") as given, target.open("wb") as written:
        length = given.read(8)
        header = given.read(int.from_bytes(length, "little"))
        written.write(length + header)
        places = {name: entry["data_offsets"] for name, entry in json.loads(header).items() if name != "__metadata__"}
        for name in sorted(places, key=lambda name: tuple(places[name])):
            for stretch in stretches(name):
                written.write(stretch.contiguous().view(torch.uint8).numpy().data)
        assert written.tell() == source.stat().st_size, "as many numbers as the header says"


def _copy_files(model: Path, folder: Path) -> None:
    """Copy what belongs to a model beside its weights; sentence-transformers keeps some of it in folders of modules.

    An index beside a single file of weights is of an older save, and nobody reads it.
    """
    modules = model / "modules.json"
    with loading(model, "a checkpoint"):
        listed = json.loads(modules.read_text(encoding="utf-8")) if modules.is_file() else []
        places = sorted({"", *(module["path"] for module in listed)})
        for place in places:
            inside = place == Path(place).name and (model / place).is_dir()
            if not inside or (place and any((model / place).glob("*.safetensors"))):
                raise ModelError(f"the module {place!r} lies elsewhere or has weights of its own; it cannot be merged")
    for place in places:
        (folder / place).mkdir(exist_ok=True)
        for file in sorted((model / place).iterdir()):
            stale = file.name == INDEX and (model / WEIGHTS).is_file()
            if file.is_file() and not stale and any(map(file.match, COPIED)):
                shutil.copyfile(file, folder / place / file.name)


def _facts_in_common(models: Sequence[Checkpoint]) -> list[CheckpointFacts]:
    """What `tamis.json` says in each model; the activation may stand in the files of sentence-transformers instead.

    Raises:
        ModelError: names the folder and the field in which one differs from the first.
    """
    facts = [read_facts(model.folder) for model in models]
    activations = [_activation(model.folder, found) for model, found in zip(models, facts, strict=True)]
    for model, found, activation in zip(models, facts, activations, strict=True):
        for field, expected, came in (
            ("family", facts[0].family, found.family),
            ("serializer", facts[0].serializer, found.serializer),
            ("activation", activations[0], activation),
            ("joint_layers and cross_bias", (facts[0].warm or ())[:2], (found.warm or ())[:2]),
        ):
            if came != expected:
                where = FACTS if field != "activation" or found.activation else "the files of sentence-transformers"
                raise ModelError(
                    f"{model.folder}: {field} is {came!r} in {where}, expected {expected!r} as in {models[0].folder}; "
                    "only models that read a pair in the same way can be merged"
                )
    return facts


def _activation(folder: Path, facts: CheckpointFacts) -> str | None:
    """What makes bounded scores of a model's logits: as `tamis.json` says, or as sentence-transformers stored it.

    None for models that are no classifiers: their family has an activation of its own.
    """
    if facts.activation is not None:
        return facts.activation
    with loading(folder, "a configuration"):
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(folder)
        classifier = (config.architectures or [""])[0].endswith("ForSequenceClassification")
        return stored_activation(folder, config, peer_facts(folder)) if classifier else None


def _write_facts(
    folder: Path,
    facts: list[CheckpointFacts],
    models: Sequence[Checkpoint],
    base: Checkpoint | None,
    report: MergeReport,
) -> None:
    """Write `tamis.json`: what the models have in common, and where the weights come from."""
    given = models[0].folder / FACTS
    content: dict[str, Any] = json.loads(given.read_text(encoding="utf-8")) if given.is_file() else {"format": FORMAT}
    fractions = report.method.fractions(len(models))
    if facts[0].warm is not None:
        heads = torch.tensor([one.warm[2:] for one in facts if one.warm is not None], dtype=torch.float64)
        content["scale"], content["bias"], content["match"] = weighted_sum(
            list(heads), straight_weights(fractions)
        ).tolist()
    if given.is_file():
        deployments = [one.deployment for one in facts]
        content["first_stage_weights"] = _common([one.first_stage_weights for one in deployments])
        content["weights_by_language"] = _common([one.weights_by_language for one in deployments])
    content["lineage"] = {
        **_method_facts(report.method, fractions),
        "parents": [_origin(model) for model in models],
        "base": None if base is None else _origin(base),
        "tensors": {"all": len(report.tensors), "equal": report.equal, "linear": report.linear},
        "versions": versions(),
    }
    write_json(folder / FACTS, content)


def _common(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What all say alike."""
    first, *others = found
    return {name: value for name, value in first.items() if all(other.get(name) == value for other in others)}


def _method_facts(method: Method, fractions: list[float]) -> dict[str, Any]:
    """The method with the settings that it used."""
    facts: dict[str, Any] = {"method": method.name}
    if method.name in TURNS:
        facts["t"] = fractions
    else:
        facts["weight"] = method.used_weight
    if method.name in THINNED:
        facts["density"] = method.used_density
    if method.name == "dare":
        facts["seed"] = method.seed
    return facts


def _origin(checkpoint: Checkpoint) -> dict[str, Any]:
    """Where weights came from: the folder as it was named, and the sha256 of its weight files."""
    hashes = {}
    with track(f"hashing {checkpoint.folder.name}", len(checkpoint.shards)) as advance:
        for shard in checkpoint.shards:
            with (checkpoint.folder / shard).open("rb") as stream:
                hashes[shard] = hashlib.file_digest(stream, "sha256").hexdigest()
            advance(1)
    return {"folder": str(checkpoint.folder), "sha256": hashes}
