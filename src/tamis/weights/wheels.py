"""Weights inside installed Python packages, found without running any code of those packages."""

import hashlib
import importlib.util
from pathlib import Path

from tamis.extras import missing_package


def wheel_folder(package: str, extra: str) -> Path:
    """Folder of an installed package; the package is not imported.

    Args:
        package: Name of a top-level package, with underscores.
        extra: The extra of tamis that brings it: `demo` or `llm`.

    Raises:
        MissingPartError: The package is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise missing_package("the weights", package.replace("_", "-"), extra)
    return Path(spec.submodule_search_locations[0])


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
