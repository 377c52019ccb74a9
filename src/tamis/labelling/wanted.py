"""What is to be pooled, and the questions of a file in the languages of the documents."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tamis.errors import SettingsError
from tamis.formats.trec import named_run
from tamis.labelling.pools import DEPTH
from tamis.labelling.questions import Asked, questions_of_file
from tamis.languages import language_identifier
from tamis.records import Document
from tamis.section import NAME
from tamis.stages.evaluate.settings import FIRST_STAGE_NAMES
from tamis.stages.queries.write import primary


@dataclass(frozen=True)
class Wanted:
    """What is to be pooled.

    Attributes:
        queries: File of questions; None for written ones of the run.
        most: Questions to draw by hash; 0 for all of a file.
        depth: Best documents of each system.
        runs: Files of TREC runs by name.
    """

    queries: Path | None = None
    most: int = 0
    depth: int = DEPTH
    runs: Mapping[str, Path] = field(default_factory=dict)


def runs_named(given: Sequence[str]) -> dict[str, Path]:
    """TREC runs of a command line by name, `NAME=FILE` each.

    Raises:
        SettingsError: One is written otherwise, or has a name that cannot be.
        InputError: A path that leads nowhere.
    """
    found: dict[str, Path] = {}
    for one in given:
        name, path = named_run("--runs", one)
        if name in FIRST_STAGE_NAMES or name in found or not re.fullmatch(NAME, name):
            raise SettingsError(
                f"--runs {one}: a run cannot be called {name!r}; use letters, digits, '.', '_' and '-', no name twice, "
                f"and none of {', '.join(FIRST_STAGE_NAMES)}"
            )
        found[name] = path
    return found


def is_run(source: Path) -> bool:
    """Whether a path is the folder of a run."""
    return (source / "run.json").is_file()


def asked_of(file: Path, most: int, documents: Iterable[Document]) -> Asked:
    """The questions of a file, in the languages of the documents as far as they are in one of them.

    Args:
        file: As for `questions_of_file`.
        most: Likewise.
        documents: Those that are searched.

    Raises:
        InputError: Likewise.
    """
    spoken = sorted({document.language for document in documents})
    nearest = {primary(tag): tag for tag in reversed(spoken)}  # `en` for documents in `en-us`
    asked = questions_of_file(file, most, language_identifier(spoken))
    told = [(one, nearest.get(primary(one.language), one.language)) for one in asked.questions]
    return replace(
        asked, questions=[one if one.language in spoken else one._replace(language=tag) for one, tag in told]
    )


def unknown_note(name: str, count: int, source: Path) -> str:
    """What is said of a run that names documents which are not there."""
    return f"{count:,} lines of the run {name} name documents that {source} does not have; they are left out"
