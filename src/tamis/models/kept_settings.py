"""What a command finds out about a model, kept in the model's own folder or in a copy of it."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from tamis.artifacts import writing
from tamis.errors import ModelError, RunError, SettingsError
from tamis.models.checkpoint import find_checkpoint, read_facts
from tamis.user_cache import user_cache
from tamis.weights.shipped import NAMES as SHIPPED
from tamis.whole_folder import require_free, whole_folder


def checked_model(model: str, out: Path | None, what: str) -> Path:
    """The model's folder, if something can be written where it is to lie.

    Args:
        model: Folder of a reranker, or `tamis-base` or `tamis-small`.
        out: Folder for a copy of it; None: it is put into the model.
        what: What is written, in the plural.

    Raises:
        TamisError: there is no such folder, or it or the copy cannot be written.
    """
    if not out and model in SHIPPED:
        raise _shared(model)
    folder = Path(find_checkpoint(model))
    if not folder.is_dir():
        raise ModelError(f"{model}: no folder here; {what} are written into the folder of a model")
    read_facts(folder)
    if out:
        require_free(out)
        if out.resolve().is_relative_to(folder.resolve()):
            raise SettingsError(f"--out {out} lies in the model that it is to be a copy of; name a folder elsewhere")
    elif folder.resolve().is_relative_to(user_cache().resolve()):
        raise _shared(model)
    elif (folder.resolve().parent / "manifest.json").exists():
        raise SettingsError(
            f"{folder} is a run's result, whose figures are about it as it is: give --out FOLDER for a copy"
        )
    elif not os.access(folder, os.W_OK):
        raise RunError(f"{folder}: cannot be written; give --out FOLDER for a copy")
    return folder


def _shared(model: str) -> SettingsError:
    return SettingsError(f"{model} is shared by all that use it here: give --out FOLDER for a copy of your own")


def keep_in(folder: Path, out: Path | None, write: Callable[[Path], None]) -> None:
    """Write into a model's folder, or into a copy, which appears whole or not at all.

    Args:
        folder: Folder of the model.
        out: Folder of the copy; None: the model itself.
        write: Called with the folder to write into.
    """
    if out is None:
        with writing(folder, "make room or name a copy with --out"):
            write(folder)
        return
    with whole_folder(out) as partial:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            copy = partial / file.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)  # contents alone: a copy of one's own has one's own modes
        write(partial)
