"""Whether a path can be a checkpoint at all; told without any library of models."""

from pathlib import Path

from tamis.errors import ModelError


def check_folder(path: str | Path) -> None:
    """Refuse what is plainly no checkpoint before transformers looks for it on a hub.

    Raises:
        ModelError: a path that does not exist, or a folder with pickled weights only.
    """
    folder = Path(path)
    if folder.is_dir():
        if not any(folder.glob("*.safetensors")):
            found = sorted(p.name for p in folder.iterdir())[:5]
            raise ModelError(f"{path}: no .safetensors weights in this folder (found {', '.join(found) or 'nothing'})")
    elif folder.exists() or str(path).startswith((".", "/")) or str(path).count("/") > 1:
        raise ModelError(f"{path}: not a model folder; give a Hugging Face folder or a hub name")
