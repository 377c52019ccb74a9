"""What names a result: the hash of everything that determines it."""

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path


def stage_key(name: str, stage_version: int, settings: object, reads: Mapping[str, str]) -> str:
    """Key of a stage's result: 12 hex digits.

    Args:
        name: Name of the stage.
        stage_version: Raised whenever the stage's code changes its result.
        settings: JSON-like; only what changes the result, never batch sizes or devices.
        reads: Keys of the stages it reads, and hashes of the input files.
    """
    content = json.dumps([name, stage_version, settings, dict(reads)], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def item_key(*parts: object) -> str:
    """Key of an item: hash of everything that determines it."""
    return hashlib.sha256(json.dumps([str(part) for part in parts]).encode()).hexdigest()[:32]


def file_hash(path: Path, without: Collection[str] = ()) -> str:
    """sha256 of a file, or of all files below a folder with their relative names; hex.

    Args:
        path: The file or folder.
        without: Relative names of files in the folder that do not count.
    """
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    for file in files:
        if str(file.relative_to(path)) in without:
            continue
        digest.update(str(file.relative_to(path)).encode() + b"\0")
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
