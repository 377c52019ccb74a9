"""The page: what stands in which section, and the one file that comes of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup

from tamis.report import plots, wording
from tamis.report.answer import (
    adaptation_changes,
    adaptation_sentence,
    answered_way,
    headline_changes,
    reservations,
    sentence,
    set_of_run,
    split_comparisons,
    verdict_of,
)
from tamis.report.data import ReportData
from tamis.report.examples import Case, QuestionRun, QuestionTexts, changed_questions, sample_queries
from tamis.report.rendering import render
from tamis.report.tables import agreement_rows, flows, package_versions, result_tables, stage_costs, students, yields

__all__ = ["ReportData", "write_report"]

_SECTIONS: Final = {
    "results": "Results",
    "languages": "Language by language",
    "labels": "What the teacher gave",
    "training": "How the students learnt",
    "merging": "How they were merged",
    "weights": "Weight of the first stage",
    "flow": "What was kept and what was dropped",
    "samples": "Queries it wrote",
    "questions": "Where it helped and where it hurt",
    "cost": "What each stage cost",
    "lineage": "Where the students come from",
    "again": "Run it again",
    "details": "Versions, seed and settings",
}


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
    shown = {name: title for name, title in _SECTIONS.items() if views[name]}
    return render("run.html.j2", title=data.title, data=data, sections=shown, **views)


def _views(data: ReportData) -> dict[str, Any]:
    """What each section shows, by its name; empty where there is nothing to show."""
    measured = set_of_run(data.results)
    changes = headline_changes(data.results)
    adapted = adaptation_changes(data.results)
    told = answered_way(changes, adapted) if changes else None
    helped, hurt = _changed(data, told.system, told.baseline) if told else ([], [])
    return {
        "verdict": verdict_of(told, adapted) if told else None,
        "answer": [*sentence(changes), *adaptation_sentence(adapted)] if changes else [],
        "reservations": [*(reservations(data.results, told) if told else ()), *_warnings(data.manifests)],
        "told": told,
        "weight_of_order": _weight_of_order(data.merge_path),
        "changes": changes,
        "adapted": adapted,
        "results": data.results,
        "tables": result_tables(data.results),
        "seen": any(measured.get("adapted_to_corpus", {}).values()),
        "compared": split_comparisons(measured),
        "titles": {system["name"]: system["title"] for system in measured.get("systems", [])},
        "languages": [
            (change, Markup(plots.language_changes(change, f"change-{number}")))
            for number, change in enumerate(changes)
        ],
        "labels": _label_plots(data),
        "training": {
            name: Markup(plots.training_curve(curve, f"curve-{number}"))
            for number, (name, curve) in enumerate(data.curves.items())
        },
        "merging": agreement_rows(data.merge_path),
        "merge_curves": _merge_plots(data.merge_path),
        "weights": _weight_plot(data.merge_path),
        "flow": flows(data.manifests),
        "yields": yields(data.manifests),
        "samples": sample_queries(data.queries.values(), data.documents),
        "questions": {"helped": helped, "hurt": hurt} if helped or hurt else {},
        "cost": stage_costs(data.manifests),
        "lineage": data.origin,
        "students": students(data.results, data.merge_path, data.origin),
        "again": data.recipe,
        "model_key": next((m["key"] for m in data.manifests if m["stage"] == "merge" and "key" in m), "KEY"),
        "details": data.manifests,
        "versions": package_versions(data.manifests),
    }


def _warnings(manifests: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the stages warned of, as sentences."""
    told = [warning for manifest in manifests for warning in manifest.get("warnings", ())]
    return [f"{warning[:1].upper()}{warning[1:]}." for warning in told]


def _changed(data: ReportData, system: str, baseline: str) -> tuple[list[Case], list[Case]]:
    """The test questions that changed most; none where a system was not evaluated."""
    if not {system, baseline} <= data.per_query.keys() & data.runs.keys():
        return [], []
    asked = QuestionTexts(data.questions, data.question_languages, data.relevant, data.documents)
    before, after = (QuestionRun(data.per_query[name], data.runs[name]) for name in (baseline, system))
    return changed_questions(asked, before, after)


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
