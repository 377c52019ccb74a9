"""The tables of the page as rows and cells; the template only sets them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Final, NamedTuple

from tamis.records import WAYS, Way
from tamis.report.changes import parts_of, set_of_run, split_comparisons
from tamis.report.wording import LEVEL

_TITLES: Final[Mapping[Way, tuple[str, str]]] = {
    "as served": ("As served, what a client gets who sends documents in the first stage’s order", "Served behind"),
    "alone": ("Student alone, without the first stage’s order", "Reordering"),
    "with scores": ("Student + first stage, what a client gets who sends its scores too", "Added to"),
}
"""Title of the table of each way, and what stands above its columns, before the first stage."""


class Cell(NamedTuple):
    """One figure of the results table.

    Attributes:
        value: nDCG@10 in [0, 1], None where it was not measured.
        difference: To the column's first stage, None for columns without one.
        beyond_chance: Whether that difference has a corrected p-value below 0.05.
        best: Whether no other column of the row is higher.
    """

    value: float | None
    difference: float | None
    beyond_chance: bool
    best: bool


class TableRow(NamedTuple):
    """One language, or the mean of all."""

    label: str
    questions: int
    cells: list[Cell]


class Column(NamedTuple):
    """One system.

    Attributes:
        name: As in the results.
        title: Short, to stand below its group.
        opens_group: Whether it is the first of its group.
        transductive: Whether it learnt from the documents that it ranks here.
        tie_rate: Share of queries with a tie at the top, None where it was not measured.
        comparison: With its first stage, None where there is none.
    """

    name: str
    title: str
    opens_group: bool
    transductive: bool
    tie_rate: float | None
    comparison: Mapping[str, Any] | None


@dataclass(frozen=True)
class ResultTable:
    """First stages, teacher, and one of the ways to use the students.

    Attributes:
        title: Which way, and who gets that.
        groups: (title, number of columns) over the columns.
        columns: Systems from left to right.
        rows: Languages.
        domains: Means over the languages of each domain; none where every domain has one language, or all have one.
        mean: Mean over languages.
    """

    title: str
    groups: list[tuple[str, int]]
    columns: list[Column]
    rows: list[TableRow]
    domains: list[TableRow]
    mean: TableRow


def result_tables(results: Mapping[str, Any]) -> list[ResultTable]:
    """One table per way to use the students; the first stages and the teacher stand in each.

    Args:
        results: Of a run, see `ReportData.results`.
    """
    found, measure, domains = set_of_run(results), results["main_measure"], results["run"]["domains"]
    systems = found["systems"]
    fixed = [one for one in systems if not of_student(one)]
    by_way: dict[Way, list[dict[str, Any]]] = {}
    for one in filter(of_student, systems):
        by_way.setdefault(WAYS[parts_of(one["name"])[1]], []).append(one)
    return [_table(found, measure, domains, [*fixed, *students], way) for way, students in by_way.items()]


def of_student(system: Mapping[str, Any]) -> bool:
    """Whether a student has a part in a system of a run."""
    return system["group"] not in ("first stage", "teacher")


def _table(
    found: Mapping[str, Any],
    measure: str,
    domains: Mapping[str, Sequence[str]],
    systems: Sequence[Mapping[str, Any]],
    way: Way,
) -> ResultTable:
    titles = {one["name"]: one["title"] for one in found["systems"]}
    title, above = _TITLES[way]
    students = sorted(filter(of_student, systems), key=lambda one: list(titles).index(one["baseline"]))
    grouped = [(one, one["group"].capitalize()) for one in systems if not of_student(one)]
    grouped += [(one, f"{above} {titles[one['baseline']]}") for one in students]
    groups = Counter(group for _, group in grouped)
    before = [None, *(group for _, group in grouped)]
    columns = [_column(found, one, group != last) for (one, group), last in zip(grouped, before, strict=False)]
    rows = [_language_row(columns, language, group) for language, group in found["groups"]["language"].items()]
    joined = len(domains) > 1 and any(len(languages) > 1 for languages in domains.values())
    of_domains = [_domain_row(found, columns, *one) for one in domains.items()] if joined else []
    means = [found["figures"][column.name][measure] for column in columns]
    mean = TableRow("Mean", found["questions"], _marked(means, [_tested(column.comparison) for column in columns]))
    return ResultTable(title, list(groups.items()), columns, rows, of_domains, mean)


def _column(found: Mapping[str, Any], system: Mapping[str, Any], opens_group: bool) -> Column:
    name = system["name"]
    comparison = next((one for one in split_comparisons(found)[0] if one["system"] == name), None)
    title = parts_of(name)[0] if of_student(system) else system["title"]
    transductive = bool(of_student(system) and found["adapted_to_corpus"].get(title))
    return Column(name, title, opens_group, transductive, found["tie_rate"].get(name), comparison)


def _language_row(columns: Sequence[Column], language: str, group: Mapping[str, Any]) -> TableRow:
    tested = [column.comparison and column.comparison["per_language"].get(language) for column in columns]
    values = [group["figures"].get(column.name) for column in columns]
    return TableRow(language, group["questions"], _marked(values, [_tested(one) for one in tested]))


def _tested(comparison: Mapping[str, Any] | None) -> tuple[float | None, bool]:
    """The difference, and whether it is more than chance."""
    return (comparison["difference"], comparison["p_holm"] < LEVEL) if comparison else (None, False)


def _domain_row(found: Mapping[str, Any], columns: Sequence[Column], domain: str, languages: Sequence[str]) -> TableRow:
    """Means over the languages of a domain; their differences were not tested."""
    group = found["groups"]["domain"][domain]
    values = [group["figures"].get(column.name) for column in columns]
    differences = [
        fmean(column.comparison["per_language"][language]["difference"] for language in languages)
        if column.comparison
        else None
        for column in columns
    ]
    label = f"{domain} ({', '.join(languages)})"
    return TableRow(label, group["questions"], _marked(values, [(one, False) for one in differences]))


def _marked(values: Sequence[float | None], differences: Sequence[tuple[float | None, bool]]) -> list[Cell]:
    """Cells of a row, the best of them marked."""
    highest = max((round(value, 3) for value in values if value is not None), default=None)
    return [
        Cell(value, difference, sure, value is not None and round(value, 3) == highest)
        for value, (difference, sure) in zip(values, differences, strict=True)
    ]


class Flow(NamedTuple):
    """What went into a stage and what became of it.

    Attributes:
        stage: Its name.
        entered: Records that came in.
        kept: Records that it kept.
        dropped: (reason, number), most frequent first.
        adds_up: Whether kept and dropped are what came in.
        languages: (language, records kept).
    """

    stage: str
    entered: int
    kept: int
    dropped: list[tuple[str, int]]
    adds_up: bool
    languages: list[tuple[str, int]]


def flows(manifests: Sequence[Mapping[str, Any]]) -> list[Flow]:
    """One row per stage that counted what came in; see `ReportData.manifests`."""
    return [_flow(manifest) for manifest in manifests if "in" in (manifest.get("counts") or {})]


def _flow(manifest: Mapping[str, Any]) -> Flow:
    counts = manifest["counts"]
    dropped = sorted(counts.get("dropped", {}).items(), key=lambda item: (-item[1], item[0]))
    total = counts["kept"] + sum(number for _, number in dropped)
    languages = sorted(manifest.get("languages", {}).items())
    return Flow(manifest["stage"], counts["in"], counts["kept"], dropped, total == counts["in"], languages)


class Yield(NamedTuple):
    """What came of the queries of one writer.

    Attributes:
        generator: Its name; `given` for queries that came with documents, `log` for those of a log.
        written: Queries that it wrote.
        filtered: Queries that passed the filters.
        lists: Queries that became training lists, so passed the round trip.
        share: `lists` of `written`, 0 to 1.
        dropped: (reason, number) over both stages, most frequent first.
    """

    generator: str
    written: int
    filtered: int
    lists: int
    share: float
    dropped: list[tuple[str, int]]


def yields(manifests: Sequence[Mapping[str, Any]]) -> list[Yield]:
    """One row per query writer; none where the stages queries and lists did not count by writer."""
    of_stage = {manifest["stage"]: manifest.get("generators", {}) for manifest in manifests}
    rows = []
    for name, first in of_stage.get("queries", {}).items():
        last = of_stage.get("lists", {}).get(name, {"kept": 0, "dropped": {}})
        dropped = Counter(first["dropped"]) + Counter(last["dropped"])
        share = last["kept"] / first["in"] if first["in"] else 0.0
        rows.append(Yield(name, first["in"], first["kept"], last["kept"], share, dropped.most_common()))
    return rows


class StageCost(NamedTuple):
    """Seconds of a stage, their share of the dearest stage's in percent, and the most bytes it held if it says so."""

    stage: str
    seconds: float
    share: float
    memory: int | None


def stage_costs(manifests: Sequence[Mapping[str, Any]]) -> list[StageCost]:
    """One row per stage that was timed."""
    timed = [manifest for manifest in manifests if "seconds" in manifest]
    dearest = max((float(manifest["seconds"]) for manifest in timed), default=0.0) or 1.0
    return [
        StageCost(
            manifest["stage"],
            float(manifest["seconds"]),
            round(100 * manifest["seconds"] / dearest, 1),
            manifest.get("peak_memory_bytes"),
        )
        for manifest in timed
    ]


class StudentRow(NamedTuple):
    """A student beside what it was made from.

    Attributes:
        name: As in the columns of the results.
        initialiser: What it started from.
        made: What was done to that.
        teacher: What it learnt from; empty for the untrained one.
        first_stages: Titles of the first stages whose candidates it reranks.
        transductive: Whether it learnt from the documents that it ranks here.
    """

    name: str
    initialiser: str
    made: str
    teacher: str
    first_stages: str
    transductive: bool


def students(results: Mapping[str, Any], merge_path: Mapping[str, Any], origin: Mapping[str, str]) -> list[StudentRow]:
    """One row per student of a run's results; none where the origin is not known."""
    if not origin:
        return []
    measured = set_of_run(results)
    titles = {one["name"]: one["title"] for one in measured.get("systems", [])}
    found: dict[str, dict[str, None]] = {}
    for one in filter(of_student, measured.get("systems", [])):
        found.setdefault(parts_of(one["name"])[0], {})[titles[one["baseline"]]] = None
    made = {
        "untrained": "as it came",
        "specialists": "trained on general, then on each domain’s lists",
        "merged": "merged from " + (" → ".join(merge_path.get("order", [])) or "the specialists"),
    }
    return [
        StudentRow(
            name,
            origin["Initialiser"],
            made.get(name, ""),
            "" if name == "untrained" else origin["Teacher"],
            ", ".join(first_stages),
            bool(measured["adapted_to_corpus"].get(name)),
        )
        for name, first_stages in found.items()
    ]


class Agreements(NamedTuple):
    """Agreement with the teacher of one model by domain; `best` marks the highest of each domain."""

    model: str
    values: list[float | None]
    best: list[bool]
    mean: float | None


def agreement_rows(merge_path: Mapping[str, Any]) -> list[Agreements]:
    """One row per model: untrained, general, the specialists, merged; see `ReportData.merge_path`."""
    domains = merge_path.get("domains", [])
    table = {
        model: [values.get(domain) for domain in domains] for model, values in merge_path.get("agreement", {}).items()
    }
    columns = zip(*table.values(), strict=True)
    highest = [max((value for value in column if value is not None), default=None) for column in columns]
    rows = []
    for model, values in table.items():
        known = [value for value in values if value is not None]
        best = [value is not None and value == top for value, top in zip(values, highest, strict=True)]
        rows.append(Agreements(model, values, best, sum(known) / len(known) if known else None))
    return rows


def package_versions(manifests: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Packages and their versions; a package that changed between stages shows all it had."""
    found: dict[str, dict[str, None]] = {}
    for manifest in manifests:
        for package, version in manifest.get("versions", {}).items():
            found.setdefault(package, {})[str(version)] = None
    return [(package, ", ".join(versions)) for package, versions in sorted(found.items())]
