"""Checkpoints that differ as siblings do: the same folder with every weight moved a little."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.families import build_querit


def sibling(parent: Path, folder: Path, seed: int, step: float = 0.02) -> Path:
    """A copy of a checkpoint whose floating-point tensors have each made a random step."""
    generator = torch.Generator().manual_seed(seed)

    def moved(name: str, tensor: Tensor) -> Tensor:
        return (tensor.float() + step * torch.randn(tensor.shape, generator=generator)).to(tensor.dtype)

    return changed(parent, folder, moved)


def changed(parent: Path, folder: Path, change: Callable[[str, Tensor], Tensor]) -> Path:
    """A copy of a checkpoint with its floating-point tensors changed by name."""
    shutil.copytree(parent, folder)
    for file in folder.glob("*.safetensors"):
        tensors = load_file(file)
        new = {name: change(name, x).contiguous() if x.is_floating_point() else x for name, x in tensors.items()}
        save_file(new, file, metadata={"format": "pt"})
    return folder


def weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of a checkpoint."""
    return {name: tensor for file in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(file).items()}


def in_one_file(folder: Path) -> Path:
    """Join the shards of a checkpoint, in place."""
    tensors = weights(folder)
    for file in [*folder.glob("*.safetensors"), folder / "model.safetensors.index.json"]:
        file.unlink()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def edit(file: Path, **changes: object) -> None:
    """Put other values into a JSON file."""
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def querit_family(folder: Path, children: int = 3) -> tuple[Path, list[Path]]:
    """A parent of two shards and its children."""
    parent = build_querit(folder / "parent", "qwen3")
    return parent, [sibling(parent, folder / f"child{number}", number) for number in range(children)]
