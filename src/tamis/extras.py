"""The extras of the package by what they are for, and the one line that a missing one ends with.

`pip install tamis` is enough to score, to export and to merge. Everything else is checked for before it begins, so that
nobody learns after an hour of work that the page at its end cannot be drawn.
"""

import importlib.util
from collections.abc import Mapping
from typing import Final

from tamis.errors import MissingPartError

PACKAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "train": (
        "bm25s",
        "charset_normalizer",
        "datasketch",
        "httpx2",
        "ir_measures",
        "jinja2",
        "matplotlib",
        "pathspec",
        "py3langid",
        "pyarrow",
        "scipy",
        "semantic_text_splitter",
    ),
    "evaluate": (
        "bm25s",
        "charset_normalizer",
        "ir_measures",
        "jinja2",
        "matplotlib",
        "pathspec",
        "py3langid",
        "pyarrow",
        "scipy",
    ),
    "serve": (
        "bm25s",
        "charset_normalizer",
        "jinja2",
        "pathspec",
        "prometheus_client",
        "py3langid",
        "regex",
        "starlette",
        "typing_extensions",
        "uvicorn",
    ),
}
"""Modules that a whole command needs, by the extra that brings them; pyproject.toml names the same."""


def require(command: str, extra: str) -> None:
    """Make sure that all packages of an extra can be imported, without importing any.

    Args:
        command: What needs them, as the user typed it: `tamis run`.
        extra: One of `PACKAGES`.

    Raises:
        MissingPartError: names the first package that is not there and what to type.
    """
    for package in PACKAGES[extra]:
        if importlib.util.find_spec(package) is None:
            raise missing_package(command, package, extra)


def missing_package(where: str, package: str, extra: str, instead: str = "") -> MissingPartError:
    """The error for a package that this machine lacks.

    Args:
        where: Command, option or setting that needs it.
        package: Its name.
        extra: The extra of tamis that brings it.
        instead: What the user may do without it, if anything.
    """
    way_out = f", or {instead}" if instead else ""
    return MissingPartError(f"{where}: {package} is not installed; pip install 'tamis[{extra}]'{way_out}")
