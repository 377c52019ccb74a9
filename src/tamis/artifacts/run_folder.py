"""The folder of one recipe's runs: a folder per stage and key, written whole or not at all."""

import platform
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from tamis.artifacts.disk import read_json, write_json, writing
from tamis.artifacts.keys import file_hash
from tamis.errors import RunError
from tamis.whole_folder import locked, unfinished, whole_file

VERSIONS_OF = ("tamis", "torch", "transformers", "numpy", "bm25s", "ir-measures", "pyarrow")
"""Packages whose versions are written into each manifest."""

FORMAT: Final = 1
"""Version of the layout of a run folder; a folder that names none has the first one."""


class RunFolder:
    """The folder of one recipe's runs."""

    def __init__(self, root: Path, recipe_name: str) -> None:
        """Open or make the folder.

        Raises:
            RunError: it belongs to another recipe, holds something else, or cannot be written.
        """
        self.root = root
        marker = root / "run.json"
        with writing(root):
            if root.exists() and not root.is_dir():
                raise RunError(f"{root}: a file, not a run folder; choose another one with --out")
            if not marker.exists():
                root.mkdir(parents=True, exist_ok=True)
                with locked(root, wait=True):  # of two runs that come at once, the first one names the folder
                    if not marker.exists():
                        _mark(marker, recipe_name)
            owner = _owner(marker)
        if owner != recipe_name:
            raise RunError(
                f"{root}: this folder holds runs of the recipe {owner!r}, not of {recipe_name!r}; "
                "choose another one with --out"
            )

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes out while this one runs: they would build the same stage in the same temporary folder.

        The system lets go of the folder when the process ends, however it ends.

        Raises:
            RunError: another process is at work in it.
        """
        with ExitStack() as until_then:
            try:
                until_then.enter_context(locked(self.root / "run.json", wait=False))
            except BlockingIOError:
                raise RunError(
                    f"{self.root}: another run is at work in this folder; wait for it, or choose another one with --out"
                ) from None
            yield

    def folder(self, stage: str, key: str) -> Path:
        """Where the result of a stage lies or will lie."""
        return self.root / stage / key

    def finished(self, stage: str, key: str) -> bool:
        """Whether that result is there, whole."""
        return (self.folder(stage, key) / "manifest.json").exists()

    def build(self, stage: str, key: str, facts: Mapping[str, Any], fill: Callable[[Path], Mapping[str, Any]]) -> Path:
        """Fill a temporary folder, write its manifest, rename it into place.

        Args:
            stage: Name of the stage.
            key: Key of the result.
            facts: Settings and keys, for the manifest.
            fill: Writes the files and returns counts and whatever else the manifest should say.

        Raises:
            RunError: the disk is full or the folder cannot be written.
        """
        final = self.folder(stage, key)
        temporary = final.with_name(f".{key}.part")
        with writing(final):
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            start = time.monotonic()
            found = fill(temporary)
            files = {str(p.relative_to(temporary)): file_hash(p) for p in sorted(temporary.rglob("*")) if p.is_file()}
            manifest = {
                "stage": stage,
                "key": key,
                **facts,
                **found,
                "files": files,
                "versions": versions(),
                "seconds": round(time.monotonic() - start, 2),
            }
            write_json(temporary / "manifest.json", manifest)
            temporary.rename(final)
        return final


def newest_results(run: Path, stage: str) -> dict[str, Path]:
    """Folder of the newest result of a stage, and of every result that it was made from, by stage.

    Raises:
        RunError: that stage was never finished in this folder, or something it was made from is gone.
    """
    manifests = finished_results(run, stage)
    if not manifests:
        raise RunError(f"{run}: no finished stage {stage} in it; expected the folder of a run, as --out names it")
    return results_behind(manifests[-1])


def finished_results(run: Path, stage: str) -> list[Path]:
    """Folders of every finished result of a stage in a run folder, the newest last."""
    manifests = sorted(run.glob(f"{stage}/*/manifest.json"), key=lambda file: file.stat().st_mtime)
    return [file.parent for file in manifests]


def results_behind(folder: Path) -> dict[str, Path]:
    """Folder of a stage's result, and of every result that it was made from, by stage.

    Raises:
        RunError: something that it was made from is gone.
    """
    run = folder.parent.parent
    found = {folder.parent.name: folder}
    ahead = [folder.parent.name]
    while ahead:
        folder = found[ahead.pop()]
        try:
            reads = {name: run / name / key for name, key in read_json(folder / "manifest.json")["reads"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise RunError(f"{folder}: no manifest that is understood; run the recipe again") from None
        ahead += reads.keys() - found.keys()
        found |= reads
    return found


def _mark(marker: Path, recipe_name: str) -> None:
    """Make a run folder of an empty one."""
    if any(path != unfinished(marker) for path in marker.parent.iterdir()):
        raise RunError(f"{marker.parent}: not empty and not a run folder; choose another one with --out")
    with whole_file(marker) as partial:
        write_json(partial, {"recipe": recipe_name, "format": FORMAT})


def _owner(marker: Path) -> str:
    """Name of the recipe that a run folder belongs to."""
    try:
        found = read_json(marker)
        name, layout = str(found["recipe"]), found.get("format", 1)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise RunError(f"{marker}: not written by tamis; choose another folder with --out") from None
    if layout != FORMAT:
        raise RunError(
            f"{marker}: a run folder of format {layout!r}, expected {FORMAT}: another version of tamis made it; use "
            "that version, or choose another folder with --out"
        )
    return name


def folder_bytes(folder: Path) -> int:
    """Size of all files below a folder, in bytes; 0 where there is none."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that shape the results."""
    found = {"python": platform.python_version()}
    for package in VERSIONS_OF:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
