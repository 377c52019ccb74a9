"""What `tamis evaluate` (of results.json alone) and `tamis compare` say on the terminal."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tamis.evaluation.comparing import Comparison, QuestionChange, RankedPlace
from tamis.evaluation.graded import CORRELATIONS, WORTH, width_table
from tamis.formulas.significance import holm
from tamis.records import GROUPS, SERVED
from tamis.report.answer import answer_of
from tamis.report.changes import Results
from tamis.report.graded import MOST_UNGRADED
from tamis.report.wording import GROUPINGS, measured
from tamis.text import clip


class Titled:
    """A table with a title above and a caption below, each on a line of its own, however narrow the table is."""

    def __init__(self, title: str, headings: Sequence[str], caption: str = "") -> None:
        self._title, self.caption = title, caption
        self._table = Table("", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for heading in headings:
            self._table.add_column(escape(heading), justify="right")

    def add_row(self, *cells: str, style: str | None = None) -> None:
        """Add a row, its name first."""
        self._table.add_row(*map(escape, cells), style=style)

    def show(self, console: Console) -> None:
        """Print it."""
        console.print(f"\n[bold]{escape(self._title)}[/]", soft_wrap=True)
        console.print(self._table, end="")
        if self.caption:
            console.print(f"[dim]{escape(self.caption)}[/]", soft_wrap=True)


def print_evaluation(results: Results, console: Console | None = None) -> None:
    """Print a table for each set, the means over the sets, what each model costs, and the answer that opens the page.

    Args:
        results: Content of results.json.
        console: None is standard output.
    """
    console = console or Console(highlight=False, width=max(Console().width, 118))
    for name, found in results["sets"].items():
        for table in _set_tables(name, found, results):
            table.show(console)
        for note in found["notes"]:
            console.print(f"note: {escape(note)}", soft_wrap=True)
    if len(results["sets"]) > 1:
        _means_table(results).show(console)
    if results["models"]:
        _cost_table(results["models"]).show(console)
        print_answer(results, console)


def print_answer(results: Results, console: Console) -> None:
    """Print the verdict and the sentence that open the page, see `answer_of`; nothing where nothing was measured."""
    if answer := answer_of(results):
        said = "".join(part.text for part in answer.sentence)
        console.print(f"\n[bold]{escape(answer.verdict.text)}[/] {escape(said)}", soft_wrap=True)


def _set_tables(name: str, found: Mapping[str, Any], results: Results) -> Iterator[Titled]:
    main = results["main_measure"]
    yield _set_table(name, found, results)
    if found["comparisons"]:
        yield _tests_table(found["comparisons"], main)
    if found.get("grades"):
        yield _grades_table(found["grades"])
    for grouping, caption in GROUPINGS.items():
        if len(found["groups"][grouping]) > 1:
            yield _group_table(caption, found["groups"][grouping], main)
    if any(asked != told for asked, row in found["matrix"].items() for told in row):
        ranking = (system["name"] for system in found["systems"] if system["group"] != "oracle")
        yield from (_matrix_table(system, found["matrix"], main) for system in ranking)


def _set_table(name: str, found: Mapping[str, Any], results: Results) -> Titled:
    title = f"{name}: {found['questions']:,} questions, {found['documents']:,} documents"
    caption = (
        "MODEL~F: as served, what a client gets who sends F's documents in its order and nothing else. MODEL@F: the "
        "model alone. MODEL+F: with F's scores sent along.\ntied: questions whose best score is shared; a hash of the "
        "ids decides then. oracle: the best order there is."
    )
    table = Titled(title, [*results["measures"], "tied", "kind"], caption)
    beside = found["language_means"]
    if beside and found["mean_over"] == "questions":
        main = results["main_measure"]
        means = ", ".join(f"{name} {own[main]:.4f}" for name, own in beside["figures"].items())
        table.caption += f"\nmean of {len(beside['languages'])} languages with ten questions or more, {main}: {means}"
    for system in found["systems"]:
        own, tied = found["figures"][system["name"]], found["tie_rate"][system["name"]]
        figures = [f"{own[measure]:.4f}" for measure in results["measures"]]
        style = {"oracle": "dim", GROUPS[SERVED]: "bold"}.get(system["group"])
        table.add_row(system["name"], *figures, "" if tied is None else f"{tied:.3f}", system["group"], style=style)
    return table


def _tests_table(comparisons: Sequence[Mapping[str, Any]], main: str) -> Titled:
    headings = ("against", "difference", "95 % interval", "effect size", "p (Holm)", "wins", "ties", "losses")
    table = Titled(f"{main}, question by question", headings)
    for entry in comparisons:
        lower, upper = entry["interval"]
        table.add_row(
            entry["system"],
            entry["baseline"],
            f"{entry['difference']:+.4f}",
            f"{lower:+.4f} to {upper:+.4f}",
            "" if entry["effect_size"] is None else f"{entry['effect_size']:+.2f}",
            f"{entry['p_holm']:.4f}",
            *(f"{entry[outcome]:,}" for outcome in ("wins", "ties", "losses")),
        )
    return table


def _grades_table(grades: Mapping[str, Any]) -> Titled:
    headings = ("against", "measure", "person", "person and model", "weight", "model alone, unchecked", "verdict")
    caption = (
        f"95 % intervals. deploy: it lies above 0. do not: a gain of {grades['worth']:g} is excluded. ask: how "
        "many more questions a person should grade.\nweight: how far the model's grades were followed, 0 to 1."
    )
    if grades["lacking"]:
        caption += f"\nThe model lacks {grades['lacking']:,} of the person's questions, so its grades do not count."
    holes = {name: share for name, share in grades["ungraded"].items() if share > MOST_UNGRADED}
    if holes:
        told = ", ".join(f"{share:.0%} of {name}" for name, share in holes.items())
        caption += f"\nOf the best ten documents {told} have no grade and count as 0; pool them with tamis label."
    title = f"by grades of a person ({grades['person']:,} questions) and of a model ({grades['model']:,})"
    table = Titled(title, headings, caption)
    for one in grades["comparisons"]:
        both = one["both"]
        table.add_row(
            one["system"],
            one["baseline"],
            one["measure"],
            _estimate(one["alone"]),
            _estimate(both),
            f"{both['weight']:.2f}" if both else "",
            _estimate(one["model_alone"]),
            f"ask {one['more']:,}" if one["verdict"] == "ask" else one["verdict"],
        )
    return table


def _estimate(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "–"
    lower, upper = found["interval"]
    return f"{found['difference']:+.3f} ({lower:+.3f} to {upper:+.3f})"


def print_widths(modelled: int = 0, console: Console | None = None) -> None:
    """Print how sure a verdict will be by the number of questions that are graded, before anyone begins.

    Args:
        modelled: Further questions that a model grades; 0 for a person alone.
        console: None is standard output.
    """
    headings = ["a person alone", *(f"and a model ({r:g})" for r in CORRELATIONS)] if modelled else ["a person alone"]
    caption = f"Half of the 95 % interval's width, in points of nDCG@10. A gain of {100 * WORTH:g} is worth a change."
    if modelled:
        caption += f"\nIn brackets: how well the model agrees with the person (correlation), on {modelled:,} questions."
    table = Titled("how sure a verdict will be, by graded questions", headings, caption)
    for row in width_table(modelled):
        helped = [f"± {100 * half:.1f}" for half in row.helped.values()] if modelled else []
        table.add_row(f"{row.questions:,}", f"± {100 * row.alone:.1f}", *helped)
    table.show(console or Console(highlight=False))


def _group_table(title: str, groups: Mapping[str, Any], main: str) -> Titled:
    table = Titled(f"{main} {title}", list(groups))
    table.add_row("questions", *(f"{group['questions']:,}" for group in groups.values()), style="dim")
    for system in next(iter(groups.values()))["figures"]:
        table.add_row(system, *(f"{group['figures'][system]:.4f}" for group in groups.values()))
    return table


def _matrix_table(system: str, matrix: Mapping[str, Any], main: str) -> Titled:
    told = sorted({language for row in matrix.values() for language in row})
    table = Titled(f"{system}: {main}, language of the question (rows) and of the documents (columns)", told)
    for asked, row in matrix.items():
        cells = [f"{row[language]['figures'][system]:.3f}" if language in row else "–" for language in told]
        table.add_row(asked, *cells)
    return table


def _means_table(results: Results) -> Titled:
    measures = results["measures"]
    table = Titled(f"mean of {len(results['sets'])} sets; systems that lack one are left out", measures)
    for system, own in results["means"].items():
        table.add_row(system, *(f"{own[measure]:.4f}" for measure in measures))
    return table


def _cost_table(models: Mapping[str, Any]) -> Titled:
    headings = ("pairs/s", "ms for 100", "parameters", "active", "memory", "disk", "on", "measured")
    caption = (
        "measured: when, and the share of its threads' time that the processor gave it; low where the machine was busy"
    )
    table = Titled("cost, as measured when the model scored", headings, caption)
    for name, model in models.items():
        cost = model["cost"]
        if cost is None:
            table.add_row(name, *[""] * len(headings))
            continue
        memory = f"{cost['peak_memory_bytes'] / 2**30:.2f} GiB"
        if cost["device_memory_bytes"]:
            memory += f" + {cost['device_memory_bytes'] / 2**30:.2f} GiB GPU"
        table.add_row(
            name,
            f"{cost['pairs_per_second']:,.1f}",
            f"{cost['milliseconds_per_100']:,.0f}",
            _millions(cost["parameters"]),
            _millions(cost["active_parameters"]),
            memory,
            f"{cost['disk_bytes'] / 10**6:,.1f} MB",
            f"{cost['device']}, {cost['precision']}",
            measured(cost),
        )
    return table


def _millions(count: int) -> str:
    return f"{count / 10**6:,.1f} M" if count >= 10**5 else f"{count:,}"


def print_comparisons(comparisons: Iterable[Comparison]) -> None:
    """Print what changed between two runs, and the documents of the queries that changed most."""
    console = Console(highlight=False, width=max(Console().width, 118))
    found = list(comparisons)
    headings = (
        "measure",
        "queries",
        "A",
        "B",
        "difference",
        "95 % interval",
        "p (Holm)",
        "wins",
        "ties",
        "losses",
        "moved",
    )
    table = Titled("B against A", ["", *headings], "moved: queries whose best ten are others or in another order.")
    corrected = iter(holm([one.test["p_value"] for one in found if one.test]))
    for one in found:
        figures = (f"{one.queries:,}", f"{one.before:.4f}", f"{one.after:.4f}")
        tested = _tested(one.test, next(corrected)) if one.test else [""] * 6
        table.add_row(one.title, *figures, *tested, f"{one.moved:,}")
    table.show(console)
    # Among many systems the one that changed most.
    for one in sorted(found, key=lambda one: -abs(one.after - one.before))[:1]:
        for change in one.changes:
            _print_change(console, one, change)


def _tested(test: Mapping[str, Any], p: float) -> list[str]:
    lower, upper = test["interval"]
    counts = (f"{test[outcome]:,}" for outcome in ("wins", "ties", "losses"))
    return [f"{test['difference']:+.4f}", f"{lower:+.3f} {upper:+.3f}", f"{p:.4f}", *counts]


def _print_change(console: Console, one: Comparison, change: QuestionChange) -> None:
    text = escape(clip(change.text, 160)) if change.text else ""
    console.print(f"\n[bold]{escape(change.query_id)}[/]  {text}", soft_wrap=True)
    console.print(f"{one.measure} {change.before:.4f} → {change.after:.4f} ({change.after - change.before:+.4f})")
    table = Table("", "A", "B", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), expand=True)
    for column in table.columns[1:]:
        column.ratio, column.overflow = 1, "fold"
    for rank, pair in enumerate(zip_longest(*change.rankings), 1):
        table.add_row(str(rank), *(_place(place) if place else "" for place in pair))
    console.print(table)


def _place(place: RankedPlace) -> str:
    grade = "" if place.grade is None else f"[bold green]✓ {place.grade}[/] " if place.grade > 0 else "0 "
    where = "new" if place.elsewhere is None else f"other: {place.elsewhere}"
    text = escape(clip(place.text, 140))
    return f"{grade}[bold]{escape(place.doc_id)}[/] [dim]({where})[/]" + (f"\n{text}" if text else "")
