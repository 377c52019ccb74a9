"""`report.html` of `tamis evaluate`: whether to deploy, the figures of each set, and what the models cost."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from markupsafe import Markup

from tamis.evaluation.answer import answer_of
from tamis.evaluation.figures import CLIENTS, GROUPINGS, MODELS
from tamis.evaluation.samples import Samples
from tamis.evaluation.tables import TITLES
from tamis.report import plots
from tamis.report.answer import Change, change_of, listed, parts_of
from tamis.report.rendering import render
from tamis.report.wording import shown_path

Results = Mapping[str, Any]

_FOLDERS: Final = re.compile(r"""(^|[\s='"])/(?:[^\s='"]*/)""")
"""The folders of an absolute path: a page is handed on, and where things lie on a machine is nobody's business."""

_SECTIONS: Final = {
    "means": "All sets together",
    "sets": "Set by set",
    "questions": "Where models helped and where they hurt",
    "cost": "What each model costs",
    "lineage": "Where the models come from",
    "again": "Run it again",
    "versions": "Versions",
}


def write_evaluation_report(results: Results, samples: Sequence[Samples], path: Path) -> None:
    """Write the page: one HTML file that needs no other file and no network.

    Args:
        results: Content of results.json.
        samples: Questions to read, of the sets that have some.
        path: The file; its folder must be there.

    Raises:
        OSError: The file cannot be written.
    """
    views = {
        "means": results["means"] if len(results["sets"]) > 1 else {},
        "sets": [_set_view(name, found, results, number) for number, (name, found) in enumerate(_sets(results))],
        "questions": [one for one in samples if one.helped or one.hurt],
        "cost": {name: model["cost"] for name, model in results["models"].items() if model["cost"]},
        "lineage": {name: _lineage(model) for name, model in results["models"].items()},
        "again": _FOLDERS.sub(r"\1…/", results["command"]),
        "versions": list(results["versions"].items()),
    }
    answer = answer_of(results)
    sections = {name: title for name, title in _SECTIONS.items() if views[name]}
    title = f"Evaluation on {listed(list(results['sets']))}"
    page = render(
        "evaluation.html.j2",
        title=title,
        sections=sections,
        results=results,
        verdict=answer.verdict,
        answer=answer.sentence,
        reservations=answer.reservations,
        **views,
    )
    path.write_text(page, encoding="utf-8")


def _sets(results: Results) -> Sequence[tuple[str, Mapping[str, Any]]]:
    return list(results["sets"].items())


def _lineage(model: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint says of itself, as a page may show it that is handed on."""
    start = model["lineage"]["start"]
    return {**model["lineage"], "start": shown_path(Path(start)) if start else None}


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


def _set_view(name: str, found: Mapping[str, Any], results: Results, number: int) -> dict[str, Any]:
    """What the page shows of a set."""
    ranking = [system for system in found["systems"] if system["group"] != "oracle"]
    shown = [system["name"] for system in ranking]
    changes = _changes(found, results["main_measure"])
    return {
        "name": name,
        "found": found,
        "rows": _rows(found, results),
        "changes": [
            (change, Markup(plots.language_changes(change, f"set-{number}-{place}", results["main_measure"])))
            for place, change in enumerate(changes)
        ],
        "groups": [
            (TITLES[grouping], found["groups"][grouping], _group_rows(found["groups"][grouping], shown))
            for grouping in GROUPINGS
            if len(found["groups"][grouping]) > 1
        ],
        "matrices": _matrices(found["matrix"], shown),
    }


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


def _rows(found: Mapping[str, Any], results: Results) -> list[SystemRow]:
    measures = results["measures"]
    ranking = [system["name"] for system in found["systems"] if system["group"] != "oracle"]
    highest = {m: max((found["figures"][name][m] for name in ranking), default=0.0) for m in measures}
    compared = {(one["system"], one["baseline"]): one for one in found["comparisons"]}
    rows = []
    for system in found["systems"]:
        name = system["name"]
        model = parts_of(name)[0] if system["group"] in MODELS else ""
        lineage = _lineage(results["models"][model]) if model else {}
        own = [found["figures"][name][measure] for measure in measures]
        best = [name in ranking and value == highest[m] for value, m in zip(own, measures, strict=True)]
        rows.append(
            SystemRow(
                name,
                system["group"],
                lineage.get("start") or "",
                lineage.get("teacher") or "",
                bool(found["adapted_to_corpus"].get(model)),
                own,
                best,
                found["tie_rate"][name],
                compared.get((name, system["baseline"])),
            )
        )
    return rows


def _group_rows(groups: Mapping[str, Any], shown: Sequence[str]) -> list[tuple[str, list[Heat]]]:
    values = [[group["figures"][name] for group in groups.values()] for name in shown]
    return list(zip(shown, heats(values), strict=True))


def _matrices(matrix: Mapping[str, Any], shown: Sequence[str]) -> list[dict[str, Any]]:
    """For each system a table of the question's language by the documents'; none where no two languages meet."""
    if not any(asked != told for asked, row in matrix.items() for told in row):
        return []
    told = sorted({language for row in matrix.values() for language in row})
    tables = []
    for system in shown:
        values = [[row[one]["figures"][system] if one in row else None for one in told] for row in matrix.values()]
        tables.append({"system": system, "told": told, "rows": list(zip(matrix, heats(values), strict=True))})
    return tables


def _changes(found: Mapping[str, Any], measure: str) -> list[Change]:
    """The best system of each model and each way of use, compared with its first stage."""
    own = {one["name"]: one for one in found["systems"] if one["group"] in CLIENTS}
    best: dict[tuple[str, str], Mapping[str, Any]] = {}
    for entry in found["comparisons"]:
        system = own.get(entry["system"])
        if system and system["baseline"] == entry["baseline"]:
            kind = (parts_of(entry["system"])[0], system["group"])
            kept = best.get(kind)
            if kept is None or _figure(found, entry, measure) > _figure(found, kept, measure):
                best[kind] = entry
    return [change_of(found, entry, measure) for entry in best.values()]


def _figure(found: Mapping[str, Any], entry: Mapping[str, Any], measure: str) -> float:
    return float(found["figures"][entry["system"]][measure])
