"""Paths of a command line or a recipe that lead nowhere: told at once, before the libraries that take seconds to load.

What is found wrong here would be found later, too, in the same words.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from tamis.complaints import apply_changes, parsed_yaml
from tamis.errors import InputError, SettingsError
from tamis.formats.beir import folder_and_split
from tamis.formats.documents import document_files
from tamis.formats.queries import query_log_files
from tamis.formats.written_queries import written_query_files
from tamis.models.folders import check_folder, check_scored

ELSEWHERE: Final = ("irds:", "mteb:")
"""What names of sets begin with that lie in no folder."""


def check_models(given: Iterable[str]) -> None:
    """Look for models, each a folder, a hub name or `NAME=FOLDER`; what is called like a recipe is passed over.

    Raises:
        ModelError: one of them can be none.
    """
    for one in given:
        _, named, path = one.partition("=")
        if not one.endswith((".yaml", ".yml")):
            check_scored(path if named and path and not Path(one).exists() else one)


def check_sets(given: Iterable[str]) -> None:
    """Look for the folders of judged sets, each as `tamis evaluate --on` has it.

    Raises:
        InputError: one of them is not there.
    """
    for one in given:
        if not one.startswith(ELSEWHERE):
            folder_and_split(one)


def check_runs(option: str, given: Iterable[str]) -> None:
    """Look for the files of runs, each `NAME=FILE`; what names no file is passed over.

    Raises:
        InputError: one of them is not there.
    """
    from tamis.formats.trec import named_run  # brings numpy, which `tamis --help` can do without

    for one in given:
        if "=" in one:
            named_run(option, one)


def check_documents(path: Path) -> None:
    """Look for documents, see `document_files`.

    Raises:
        InputError: there is nothing that can be read.
    """
    document_files(path)


def check_corpus(path: Path) -> None:
    """Look for documents that a recipe names.

    Raises:
        InputError: there is nothing, or nothing that can be read.
    """
    if not path.exists():
        from tamis.artifacts.inputs import check_files  # brings pyarrow

        check_files([path], "corpus")
    document_files(path)


def check_recipe(recipe: Path, changes: Sequence[str] = ()) -> None:
    """Look for a recipe and for the documents, queries and models that it names.

    Args:
        recipe: YAML. One that is not understood is passed over: whoever reads it says why.
        changes: As for `read_recipe`; what is not understood there is passed over, too.

    Raises:
        TamisError: the first thing that is not there.
    """
    if not recipe.exists():
        raise SettingsError(f"{recipe}: no such recipe")
    content: Any = None
    with suppress(OSError, UnicodeDecodeError, SettingsError):
        content = parsed_yaml(recipe.read_text(encoding="utf-8"), str(recipe))
        if isinstance(content, dict):
            apply_changes(content, changes)
    for section, name, check in _NAMED:
        for path in _paths(_at(_at(content, section), name)):
            check(path)


def _at(content: Any, name: str) -> Any:
    return content.get(name) if isinstance(content, Mapping) else None


def _paths(value: Any) -> list[Path]:
    """A path, or several, each alone or with settings beside it."""
    named = [_at(one, "path") or one for one in (value if isinstance(value, list) else [value])]
    return [Path(one) for one in named if isinstance(one, str) and one and "\0" not in one]


_NAMED: Final[Sequence[tuple[str, str, Callable[[Path], object]]]] = (
    ("corpus", "target", check_corpus),
    ("corpus", "general", check_corpus),
    ("queries", "written", written_query_files),
    ("queries", "logs", query_log_files),
    ("candidates", "dense", check_folder),
    ("scores", "teachers", check_scored),
    ("student", "start", check_folder),
)
"""Section, setting, and what looks for the path there."""


def check_rankings(*paths: Path) -> None:
    """Look for what is to be compared, runs or folders of evaluations.

    Raises:
        InputError: one of them is not there.
    """
    from tamis.formats.trec import run_exists

    for path in paths:
        if not run_exists(path):
            raise InputError(f"{path}: not there; expected a TREC run, LOG:MODEL or the folder of an evaluation")
