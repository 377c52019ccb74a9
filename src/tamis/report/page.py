"""The page of a run and of an evaluation: what stands in which section, and the one file that comes of it."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup

from tamis.records import WAYS
from tamis.report import plots, wording
from tamis.report.answer import adaptation_changes, answer_of, headline_changes
from tamis.report.changes import Change, Results, of_a_run, parts_of, set_of_run, split_comparisons
from tamis.report.data import ReportData
from tamis.report.examples import ChangedQuestions, sample_queries
from tamis.report.rendering import render
from tamis.report.sets import lineage, set_views
from tamis.report.tables import agreement_rows, flows, package_versions, result_tables, stage_costs, students, yields

__all__ = ["ReportData", "write_report"]

_SECTIONS: Final = {
    "since": "What changed since the run before",
    "results": "Results",
    "means": "All sets together",
    "sets": "Set by set",
    "languages": "Language by language",
    "labels": "What the teacher gave",
    "training": "How the students learnt",
    "merging": "How they were merged",
    "weights": "Weight of the first stage",
    "flow": "What was kept and what was dropped",
    "samples": "Queries it wrote",
    "questions": "Where it helped and where it hurt",
    "stages": "What each stage cost",
    "models": "What each model costs",
    "lineage": "Where the models come from",
    "again": "Run it again",
    "details": "Versions and settings",
}
"""Each section's template, in the order of the page, and its heading."""

_FOLDERS: Final = re.compile(r"""(^|[\s='"])/(?:[^\s='"]*/)""")
"""The folders of an absolute path: a page is handed on, and where things lie on a machine is nobody's business."""


def write_report(data: ReportData, path: Path) -> None:
    """Write the report: one HTML file that needs no other file and no network.

    The same data gives the same bytes. Every text from outside is escaped.

    Args:
        data: What to show; parts that are empty leave their section out.
        path: The file; its folder must be there.

    Raises:
        OSError: The file cannot be written.
    """
    path.write_text(_render(data), encoding="utf-8")


def _render(data: ReportData) -> str:
    views = _views(data)
    answer = answer_of(data.results)
    return render(
        "page.html.j2",
        title=data.title,
        over=_over(data.results),
        sections={name: title for name, title in _SECTIONS.items() if _holds(views[name])},
        views=views,
        data=data,
        results=data.results,
        of_run=of_a_run(data.results),
        answer=answer,
        reservations=[*(answer.reservations if answer else ()), *_warnings(data.manifests)],
        cards=_cards(data.results),
    )


def _over(results: Results) -> str:
    """What stands above the title."""
    if of_a_run(results):
        return f"tamis report · recipe {results['run']['recipe']} · seed {results['run']['seed']}"
    if not results:
        return "tamis report"
    sets = len(results["sets"])
    return f"tamis evaluate · first {results['depth']} candidates · {sets} {'set' if sets == 1 else 'sets'}"


def _holds(view: Any) -> bool:
    """Whether a section has something to show."""
    return any(view.values()) if isinstance(view, dict) else bool(view)


def _views(data: ReportData) -> dict[str, Any]:
    """What each section shows, by its name."""
    return {**_measured_views(data), **_made_views(data), **_origin_views(data)}


def _measured_views(data: ReportData) -> dict[str, Any]:
    """What was measured: of a run system by system and language, of an evaluation set by set."""
    results = data.results
    sets, models = results.get("sets", {}), results.get("models", {})
    return {
        "results": _results_view(data) if of_a_run(results) else {},
        "means": results["means"] if len(sets) > 1 else {},
        "sets": [] if of_a_run(results) else set_views(results),
        "languages": [
            (_arrow(results, one), Markup(plots.language_changes(one, f"change-{number}", results["main_measure"])))
            for number, one in enumerate(headline_changes(results))
        ],
        "questions": [(_arrow(results, one), one) for one in data.changed if one.helped or one.hurt],
        "models": {name: model["cost"] for name, model in models.items() if model["cost"]},
    }


def _made_views(data: ReportData) -> dict[str, Any]:
    """How the students of a run were made."""
    return {
        "labels": _label_plots(data),
        "training": {
            name: Markup(plots.training_curve(curve, f"curve-{number}"))
            for number, (name, curve) in enumerate(data.curves.items())
        },
        "merging": {"agreements": agreement_rows(data.merge_path), "plots": _merge_plots(data.merge_path)},
        "weights": _weight_plot(data.merge_path),
        "flow": {"stages": flows(data.manifests), "writers": yields(data.manifests)},
        "samples": sample_queries(data.queries.values(), data.documents),
        "stages": stage_costs(data.manifests),
        "since": data.since,
    }


def _origin_views(data: ReportData) -> dict[str, Any]:
    """Where models and figures come from, and how to have them again."""
    results = data.results
    models = {} if of_a_run(results) else results.get("models", {})
    merged = next((one["key"] for one in data.manifests if one["stage"] == "merge" and "key" in one), "KEY")
    command = _FOLDERS.sub(r"\1…/", results.get("command", ""))
    return {
        "lineage": {
            "origin": data.origin,
            "students": students(results, data.merge_path, data.origin),
            "stages": data.manifests if any("key" in manifest for manifest in data.manifests) else [],
            "checkpoints": {name: lineage(model) for name, model in models.items()},
        },
        "again": {"recipe": data.recipe, "merged": merged, "command": command} if data.recipe or command else {},
        "details": {"versions": package_versions([results, *data.manifests]), "stages": data.manifests},
    }


def _results_view(data: ReportData) -> dict[str, Any]:
    """The tables of a run: systems side by side, language by language."""
    measured = set_of_run(data.results)
    own, others = split_comparisons(measured)
    return {
        "tables": result_tables(data.results),
        "with_first_stages": own,
        "with_untrained": others,
        "titles": {system["name"]: system["title"] for system in measured["systems"]},
        "seen": any(measured["adapted_to_corpus"].values()),
        "weight_of_order": _weight_of_order(data.merge_path),
    }


def _cards(results: Results) -> list[tuple[str, Change]]:
    """The changes to see at a glance, each with its title."""
    added = [one for one in adaptation_changes(results) if one.way != "alone"]
    return [
        *((_arrow(results, one), one) for one in headline_changes(results)),
        *((f"What adaptation itself added, {one.way} on {one.place}", one) for one in added),
    ]


def _arrow(results: Results, change: Change | ChangedQuestions) -> str:
    """From a first stage to a model, as a title; with the set, where there are several."""
    model, sign, _ = parts_of(change.system)
    titles = {one["name"]: one["title"] for one in results["sets"][change.set]["systems"]}
    where = f"{change.set}: " if len(results["sets"]) > 1 else ""
    who = f"{model} student" if of_a_run(results) else model
    return f"{where}{titles[change.baseline]} → {who} {WAYS[sign]}"


def _warnings(manifests: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the stages warned of, as sentences."""
    told = [warning for manifest in manifests for warning in manifest.get("warnings", ())]
    return [f"{warning[:1].upper()}{warning[1:]}." for warning in told]


def _label_plots(data: ReportData) -> dict[str, Markup]:
    if not data.lists:
        return {}
    return {
        "Teacher’s labels of all drawn documents": Markup(plots.label_histogram(data.lists, "labels")),
        "Documents drawn from each score bin": Markup(plots.documents_per_bin(data.lists, "bins")),
    }


def _merge_plots(merge_path: Mapping[str, Any]) -> dict[str, Markup]:
    """A plot for each step and domain, by caption."""
    steps: dict[str, list[Mapping[str, Any]]] = {}
    for curve in merge_path.get("t_curves", []):
        steps.setdefault(" + ".join(curve["merged"]), []).append(curve)
    plotted = {}
    for number, (merged, curves) in enumerate(steps.items()):
        for place, domain in enumerate(merge_path["domains"]):
            of_domain = {
                curve["with"]: [(point["t"], point["agreement"][domain], point["outcome"]) for point in curve["points"]]
                for curve in curves
            }
            plot = plots.merge_curves(of_domain, f"merge-{number}-{place}")
            plotted[f"From {merged}: agreement on {domain}"] = Markup(plot)
    return plotted


def _weight_of_order(merge_path: Mapping[str, Any]) -> str:
    """How far the merged student trusts an order without scores, in words."""
    general = merge_path.get("first_stage_weights", {}).get("order", 0)
    own = merge_path.get("weights_by_language", {}).get("order", {})
    if not general:
        return "a server of this model does not count the order of itself, so that is the student alone"
    others = "".join(f", {language} {wording.number(weight)}" for language, weight in sorted(own.items()))
    return f"weight of the order in this model: {wording.number(general)}{others}"


def _weight_plot(merge_path: Mapping[str, Any]) -> Markup:
    curves = merge_path.get("weight_curves", {})
    if not curves:
        return Markup()
    return Markup(plots.weight_curves(curves, merge_path.get("first_stage_weights", {}), "weights-plot"))
