"""What is to be pooled, and the questions of a file in the languages of the documents."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tamis.errors import InputError, SettingsError
from tamis.formats.trec import named_run
from tamis.labelling.pools import DEPTH, Passage
from tamis.labelling.questions import Asked, questions_of_file
from tamis.languages import language_identifier, primary
from tamis.records import Document
from tamis.retrievers.given_run import GivenRun
from tamis.section import NAME
from tamis.stages.evaluate.settings import FIRST_STAGE_NAMES
from tamis.text import normalise, quoted


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


def own_of(asked: Asked, documents: Mapping[str, Document]) -> frozenset[str]:
    """The questions that are documents, as in Quora, by their ids; none finds itself.

    Where one has the id of a document that says something else, both are numbered apart, from 1 for instance: no
    question is a document then, and all that is found is graded.

    Args:
        asked: The questions.
        documents: Those that are searched, by id.
    """
    same = [(one, Passage.of(documents[one.query_id])) for one in asked.questions if one.query_id in documents]
    if any(normalise(one.text) not in (normalise(of.body), normalise(of.text)) for one, of in same):
        return frozenset()
    return frozenset(one.query_id for one, _ in same)


def notes_of_run(name: str, run: GivenRun, wanted: Wanted, asked: Asked, source: Path) -> list[str]:
    """What a reader should know about a given run: what it names that is not there, and what it is silent about.

    Args:
        name: Of the run.
        run: What it says.
        wanted: Where it is from.
        asked: The questions.
        source: The documents or the run that they are in.

    Raises:
        InputError: It ranks nothing for any question, so that nothing of it would be in the pools.
    """
    silent = [one.query_id for one in asked.questions if not run.scores.get(one.query_id)]
    if len(silent) == len(asked.questions):
        first = next(iter(run.scores))
        raise InputError(
            f"--runs {name}={wanted.runs[name]}: it ranks nothing for any of the questions; its query ids (the first "
            f"is {quoted(first)}) have to be those of the questions (the first is {quoted(silent[0])})"
        )
    notes = [unknown_note(name, run.unknown, source)] if run.unknown else []
    if silent:
        notes.append(f"the run {name} ranks nothing for {len(silent):,} of {len(asked.questions):,} questions")
    return notes


def unknown_note(name: str, count: int, source: Path) -> str:
    """What is said of a run that names documents which are not there."""
    return f"{count:,} lines of the run {name} name documents that {source} does not have; they are left out"
