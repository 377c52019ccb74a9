"""`report.html` of `tamis evaluate`: whether to deploy, the figures of each set, and what the models cost."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from markupsafe import Markup

from tamis.building.origin import shown_path
from tamis.evaluation.figures import GROUPINGS, MODELS
from tamis.evaluation.samples import Samples
from tamis.evaluation.tables import TITLES
from tamis.stages.report import plots
from tamis.stages.report.answer import Change, Part, Verdict, change_of, listed, move, verdict
from tamis.stages.report.rendering import render
from tamis.stages.report.wording import LEVEL, direction, p_value, points

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
    said, answer, reservations = _answer(results)
    sections = {name: title for name, title in _SECTIONS.items() if views[name]}
    title = f"Evaluation on {listed(list(results['sets']))}"
    page = render(
        "evaluation.html.j2",
        title=title,
        sections=sections,
        results=results,
        verdict=said,
        answer=answer,
        reservations=reservations,
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
    """Colours of a table; all alike where all figures are."""
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


class Row(NamedTuple):
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


def _rows(found: Mapping[str, Any], results: Results) -> list[Row]:
    measures = results["measures"]
    ranking = [system["name"] for system in found["systems"] if system["group"] != "oracle"]
    highest = {m: max((found["figures"][name][m] for name in ranking), default=0.0) for m in measures}
    compared = {(one["system"], one["baseline"]): one for one in found["comparisons"]}
    rows = []
    for system in found["systems"]:
        name = system["name"]
        model = model_of_system(name) if system["group"] in MODELS else ""
        lineage = _lineage(results["models"][model]) if model else {}
        own = [found["figures"][name][measure] for measure in measures]
        best = [name in ranking and value == highest[m] for value, m in zip(own, measures, strict=True)]
        rows.append(
            Row(
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


def model_of_system(name: str) -> str:
    """The model of `MODEL@FIRST_STAGE` or `MODEL+FIRST_STAGE`; names of models hold neither sign."""
    return name.replace("+", "@").partition("@")[0]


def _group_rows(groups: Mapping[str, Any], shown: Sequence[str]) -> list[tuple[str, list[Heat]]]:
    values = [[group["figures"][name] for group in groups.values()] for name in shown]
    return list(zip(shown, heats(values), strict=True))


def _matrices(matrix: Mapping[str, Any], shown: Sequence[str]) -> list[dict[str, Any]]:
    """Of each system the language of the question by that of the documents; none where no two languages meet."""
    if not any(asked != told for asked, row in matrix.items() for told in row):
        return []
    told = sorted({language for row in matrix.values() for language in row})
    tables = []
    for system in shown:
        values = [[row[one]["figures"][system] if one in row else None for one in told] for row in matrix.values()]
        tables.append({"system": system, "told": told, "rows": list(zip(matrix, heats(values), strict=True))})
    return tables


def _changes(found: Mapping[str, Any], measure: str) -> list[Change]:
    """The best system of each model against its first stage."""
    own = {one["name"]: one for one in found["systems"] if one["group"] in MODELS}
    best: dict[str, Mapping[str, Any]] = {}
    for entry in found["comparisons"]:
        system = own.get(entry["system"])
        if system and system["baseline"] == entry["baseline"]:
            model = model_of_system(entry["system"])
            kept = best.get(model)
            if kept is None or _figure(found, entry, measure) > _figure(found, kept, measure):
                best[model] = entry
    return [_change(found, entry, measure) for entry in best.values()]


def _figure(found: Mapping[str, Any], entry: Mapping[str, Any], measure: str) -> float:
    return float(found["figures"][entry["system"]][measure])


def _change(found: Mapping[str, Any], entry: Mapping[str, Any], measure: str) -> Change:
    figures, languages = found["figures"], found["groups"]["language"]
    return change_of(
        entry,
        entry["baseline"],
        lambda system: figures[system][measure],
        lambda system, language: languages[language]["figures"][system],
        entry["per_language"],
    )


def _answer(results: Results) -> tuple[Verdict, list[Part], list[str]]:
    """The verdict on the system that ranks best of all that a model has a part in, and what speaks against it."""
    measure = results["main_measure"]
    ranked = sorted(results["means"], key=lambda name: -results["means"][name][measure])
    kinds = {one["name"]: one for found in results["sets"].values() for one in found["systems"]}
    ranked = [name for name in ranked if kinds[name]["group"] != "oracle"]
    best = next((name for name in ranked if kinds[name]["group"] in MODELS and kinds[name]["baseline"]), None)
    changes = {
        name: _change(found, entry, measure)
        for name, found in results["sets"].items()
        for entry in found["comparisons"]
        if best and (entry["system"], entry["baseline"]) == (best, kinds[best]["baseline"])
    }
    if best is None or not changes:
        if not ranked:
            return Verdict("No system ranks all sets.", "same"), [], []
        figure = points(results["means"][ranked[0]][measure])
        return Verdict(f"{ranked[0]} ranks best.", "same"), [Part(f"Its {measure} is {figure} points.")], []
    said = f"{best} ranks best of the models. It "
    return _verdict(best, changes), [Part(said), *_clauses(changes, measure)], _against(results, best, ranked, kinds)


def _verdict(best: str, changes: Mapping[str, Change]) -> Verdict:
    """Of one set language by language, of several set by set."""
    if len(changes) == 1:
        (change,) = changes.values()
        parts = [(one.language, one.difference, one.beyond_chance) for one in change.languages]
        found = verdict(change.difference, change.p, parts)
    else:
        sure = [(name, change.difference, change.p < LEVEL) for name, change in changes.items()]
        everywhere = all(chance and gain > 0 for _, gain, chance in sure)
        mean = sum(gain for _, gain, _ in sure) / len(sure)
        found = verdict(mean, 0.0 if everywhere else 1.0, sure)
    return Verdict(found.text.replace(" it", f" {best}", 1), found.way)


def _clauses(changes: Mapping[str, Change], measure: str) -> list[Part]:
    parts: list[Part] = []
    for number, (name, change) in enumerate(changes.items()):
        way = direction(change.difference)
        verb = {"gain": "raises", "loss": "lowers", "same": "leaves"}[way]
        where = f" on {name}" if len(changes) > 1 else ""
        figures = f"({move(change)}, {p_value(change.p)}"
        figures += ")" if change.p < LEVEL else ", which may be chance)"
        parts.append(Part(f"{'; it ' if number else ''}{verb} {measure}{where} "))
        if way == "same":
            parts.append(Part(f"where {change.title} has it "))
        else:
            parts += [Part("by "), Part(f"{points(abs(change.difference))} points", way)]
            parts.append(Part(f" {'over' if way == 'gain' else 'below'} {change.title} "))
        parts.append(Part(figures))
    return [*parts, Part(".")]


def _against(results: Results, best: str, ranked: Sequence[str], kinds: Mapping[str, Any]) -> list[str]:
    """What a reader should weigh before following the verdict."""
    measure = results["main_measure"]
    found = [
        f"{name} has {points(results['means'][name][measure])} without a model of this call."
        for name in ranked[: ranked.index(best)]
        if kinds[name]["group"] not in MODELS
    ]
    model = model_of_system(best)
    seen = [name for name, one in results["sets"].items() if one["adapted_to_corpus"].get(model)]
    unsaid = [name for name, one in results["sets"].items() if one["adapted_to_corpus"].get(model) is None]
    if seen:
        found.append(f"Transductive: {model} learnt from documents of {listed(seen)}, the same that it ranks here.")
    elif unsaid:
        found.append(f"Its checkpoint does not say whether {model} learnt from these documents.")
    if cost := results["models"][model]["cost"]:
        found.append(
            f"It takes {cost['milliseconds_per_100']:,.0f} ms for a question and 100 documents ({cost['device']})."
        )
    return found
