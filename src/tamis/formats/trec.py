"""TREC runs, read and written in one place."""

import math
from collections.abc import Collection, Iterable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import IO

import numpy as np

from tamis.errors import InputError, SettingsError
from tamis.formats.lines import columns_of, filled_lines
from tamis.formats.query_logs import log_side, read_side
from tamis.formulas.ranking import rank_order, tie_key
from tamis.records import Candidates
from tamis.text import quoted

_COLUMNS = "query id, Q0, document id, rank, score and tag"


def read_run(file: Path) -> dict[str, Candidates]:
    """Read a TREC run, or what a model has ranked by the log of a server, see `tamis.formats.query_logs`.

    The score ranks, whatever the rank column says, and ties are broken by hash: neither the order of the lines nor a
    rank that was written for show decides.

    Args:
        file: A line holds query id, `Q0`, document id, rank, score and tag, between tabs (ids may then hold spaces) or
            white space. Lines may be compressed (`.gz`, `.zst`). Or `LOG` or `LOG:MODEL`.

    Returns:
        Documents of each query, best first, in the order in which the queries first come.

    Raises:
        InputError: A line without six columns or with a score that is no finite number, or a document that comes twice
            for a query, named by its number; or no line at all.
    """
    if side := log_side(file):
        return {query_id: _ranked(query_id, found) for query_id, found in read_side(file, *side).items()}
    scores: dict[str, dict[str, float]] = {}
    for number, line in filled_lines(file):
        where = f"{file}, line {number}"
        query_id, doc_id, _, score = _fields(line, where)
        found = scores.setdefault(query_id, {})
        if doc_id in found:
            raise InputError(f"{where}: document {doc_id!r} comes twice for query {query_id!r}; remove one")
        found[doc_id] = score
    if not scores:
        raise InputError(f"{file}: no run in it; expected lines of {_COLUMNS}")
    return {query_id: _ranked(query_id, found) for query_id, found in scores.items()}


def named_run(option: str, given: str) -> tuple[str, Path]:
    """Name and path of a run on the command line, `NAME=FILE`.

    Raises:
        SettingsError: It is written otherwise.
        InputError: The path leads nowhere.
    """
    name, _, path = given.partition("=")
    if not path:
        raise SettingsError(
            f"{option} {given}: expected NAME=FILE, a TREC run (or a folder with SET.trec for each set)"
        )
    if not run_exists(Path(path)):
        raise InputError(f"{option} {given}: {path} is not there")
    return name, Path(path)


def run_exists(path: Path) -> bool:
    """Whether a path leads to a run, a folder of runs, or a model's side of a server's log."""
    return path.exists() or log_side(path) is not None


def contradicted(file: Path) -> set[str]:
    """Ids of the queries whose rank column puts a document before another one with a higher score.

    Args:
        file: As for `read_run`. Ranks that are no numbers say nothing; nor does one that all documents share.

    Raises:
        InputError: A line without six columns or with a score that is no finite number.
    """
    ranked: dict[str, list[tuple[float, float]]] = {}
    if log_side(file):
        return set()  # it has no ranks
    for number, line in filled_lines(file):
        query_id, _, rank, score = _fields(line, f"{file}, line {number}")
        with suppress(ValueError):
            ranked.setdefault(query_id, []).append((float(rank), -score))
    # Within a rank the scores fall, so where they rise the rank does too.
    return {
        query_id
        for query_id, found in ranked.items()
        if any(after < before for (_, before), (_, after) in pairwise(sorted(found)))
    }


def contradictions(file: Path, asked: Collection[str]) -> list[str]:
    """A note where a run's ranks contradict its scores for some of the queries, as those of distances do."""
    against = contradicted(file) & {*asked}
    what = f"{file.name}: for {len(against):,} of {len(asked):,} queries the ranks contradict the scores"
    return [f"{what}; the scores count, so negate distances"] if against else []


def write_run(file: Path, found: Iterable[Candidates], tag: str) -> None:
    """Write a TREC run, with tabs between the columns: ids are often file names, with spaces in them.

    Args:
        file: The file to write.
        found: Documents of each query, best first; scores are written so that they are read back as they are.
        tag: Name of the system.
    """
    with file.open("w", encoding="utf-8", newline="\n") as stream:
        for each in found:
            write_ranking(stream, each, tag)


def write_ranking(stream: IO[str], found: Candidates, tag: str) -> None:
    """Write one query's part of a TREC run, see `write_run`."""
    pairs = enumerate(zip(found.doc_ids, found.scores, strict=True), 1)
    stream.writelines(f"{found.query_id}\tQ0\t{doc}\t{rank}\t{score}\t{tag}\n" for rank, (doc, score) in pairs)


def by_rank(query_id: str, ranked: Iterable[str]) -> Candidates:
    """A ranking whose scores are its negative ranks, so that no tool breaks ties its own way."""
    doc_ids = tuple(ranked)
    return Candidates(query_id, doc_ids, tuple(-rank for rank in range(1, len(doc_ids) + 1)))


def _fields(line: str, where: str) -> tuple[str, str, str, float]:
    columns = line.split("\t")
    if len(columns) != 6:
        columns = columns_of(line)
    if len(columns) != 6:
        raise InputError(f"{where}: got {len(columns)} columns ({quoted(line)}), expected {_COLUMNS}")
    query_id, _, doc_id, rank, written, _ = columns
    try:
        score = float(written)
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise InputError(f"{where}: the score is {quoted(written, 40)}, expected a finite number")
    return query_id, doc_id, rank, score


def _ranked(query_id: str, scores: dict[str, float]) -> Candidates:
    doc_ids, values = list(scores), np.array(list(scores.values()))
    tied = len(set(scores.values())) < len(scores)
    keys = [tie_key(query_id, doc_id) for doc_id in doc_ids] if tied else range(len(doc_ids))
    order = rank_order(values, keys).tolist()
    return Candidates(
        query_id, tuple(doc_ids[place] for place in order), tuple(float(values[place]) for place in order)
    )
