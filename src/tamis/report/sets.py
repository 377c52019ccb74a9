"""The tables of `tamis evaluate`, set by set: every system, groups of questions, languages against languages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tamis.records import MODELS
from tamis.report.changes import Results, parts_of, split_comparisons
from tamis.report.wording import GROUPINGS, shown_path


class Heat(NamedTuple):
    """A figure and how high it stands between the lowest and the highest of its table, 0 to 1; None: not measured."""

    value: float | None
    height: float


def heats(rows: Sequence[Sequence[float | None]]) -> list[list[Heat]]:
    """Background of each cell, darker for higher figures; one colour where all figures are equal."""
    known = [value for row in rows for value in row if value is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    width = (high - low) or 1.0
    return [[Heat(value, 0.0 if value is None else (value - low) / width) for value in row] for row in rows]


class SystemRow(NamedTuple):
    """A system of a set.

    Attributes:
        name: Its name.
        group: What kind of system it is.
        initialiser: What its model started from, as far as the checkpoint says.
        teacher: What its model learnt from, likewise.
        transductive: Whether its model learnt from the documents that it ranks here.
        figures: A figure of each measure.
        best: Whether no other system but the oracle has a higher one, of each measure.
        tie_rate: Share of questions whose best score is shared; None where no score ranks.
        comparison: With its baseline; None without one.
    """

    name: str
    group: str
    initialiser: str
    teacher: str
    transductive: bool
    figures: list[float]
    best: list[bool]
    tie_rate: float | None
    comparison: Mapping[str, Any] | None


class GroupTable(NamedTuple):
    """The main measure by group of questions.

    Attributes:
        caption: How the questions are grouped.
        headings: Each group and how many questions it has.
        rows: Systems, and a figure for each group.
    """

    caption: str
    headings: list[tuple[str, int]]
    rows: list[tuple[str, list[Heat]]]


class MatrixTable(NamedTuple):
    """The main measure of a system by language of the question (rows) and of the documents (columns).

    Attributes:
        system: Its name.
        told: Languages of the documents.
        rows: Languages of the questions, and a figure for each language of the documents.
    """

    system: str
    told: list[str]
    rows: list[tuple[str, list[Heat]]]


@dataclass(frozen=True)
class SetView:
    """What the page shows of a set.

    Attributes:
        name: Its name.
        found: Its part of the results.
        rows: Every system.
        groups: A table for each way to group the questions that makes several groups.
        matrices: A table for each system but the oracle; none where no two languages meet.
    """

    name: str
    found: Mapping[str, Any]
    rows: list[SystemRow]
    groups: list[GroupTable]
    matrices: list[MatrixTable]


def set_views(results: Results) -> list[SetView]:
    """What the page shows of each set of an evaluation."""
    return [_set_view(name, found, results) for name, found in results.get("sets", {}).items()]


def _set_view(name: str, found: Mapping[str, Any], results: Results) -> SetView:
    shown = [system["name"] for system in found["systems"] if system["group"] != "oracle"]
    groups = [
        GroupTable(caption, [(name, one["questions"]) for name, one in groups.items()], _group_rows(groups, shown))
        for grouping, caption in GROUPINGS.items()
        if len(groups := found["groups"][grouping]) > 1
    ]
    return SetView(name, found, _system_rows(found, results), groups, _matrices(found["matrix"], shown))


def lineage(model: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint says of itself, as a page may show it that is handed on."""
    start = model["lineage"]["start"]
    return {**model["lineage"], "start": shown_path(Path(start)) if start else None}


def _system_rows(found: Mapping[str, Any], results: Results) -> list[SystemRow]:
    measures = results["measures"]
    ranking = [system["name"] for system in found["systems"] if system["group"] != "oracle"]
    highest = {m: max((found["figures"][name][m] for name in ranking), default=0.0) for m in measures}
    compared = {one["system"]: one for one in split_comparisons(found)[0]}
    rows = []
    for system in found["systems"]:
        name = system["name"]
        model = parts_of(name)[0] if system["group"] in MODELS else ""
        told = lineage(results["models"][model]) if model else {}
        own = [found["figures"][name][measure] for measure in measures]
        best = [name in ranking and value == highest[m] for value, m in zip(own, measures, strict=True)]
        rows.append(
            SystemRow(
                name,
                system["group"],
                told.get("start") or "",
                told.get("teacher") or "",
                bool(found["adapted_to_corpus"].get(model)),
                own,
                best,
                found["tie_rate"][name],
                compared.get(name),
            )
        )
    return rows


def _group_rows(groups: Mapping[str, Any], shown: Sequence[str]) -> list[tuple[str, list[Heat]]]:
    values = [[group["figures"][name] for group in groups.values()] for name in shown]
    return list(zip(shown, heats(values), strict=True))


def _matrices(matrix: Mapping[str, Any], shown: Sequence[str]) -> list[MatrixTable]:
    """For each system a table of the question's language by the documents'; none where no two languages meet."""
    if not any(asked != told for asked, row in matrix.items() for told in row):
        return []
    told = sorted({language for row in matrix.values() for language in row})
    tables = []
    for system in shown:
        values = [[row[one]["figures"][system] if one in row else None for one in told] for row in matrix.values()]
        tables.append(MatrixTable(system, told, list(zip(matrix, heats(values), strict=True))))
    return tables
