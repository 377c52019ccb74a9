"""The table of Querit-Reranker (arXiv 2606.19037): its columns and published figures, with our rows below.

    python benchmarks/paper.py DIR/results.json

DIR is what `tamis evaluate` wrote, measured by nDCG@10, AP and RR@10 at least, as it does by default. Published rows
are marked. A column has a mean only where all its sets are there, a row only where all its columns are.

A set counts by its name as a folder, of ir_datasets or of mteb: `scifact`, `irds:beir/scifact/test` or `mteb:SciFact`;
`miracl-ar`, `irds:miracl/ar/dev` or `mteb:MIRACLRetrieval:ar`; `mteb:AlloprofReranking`. cqadupstack is the mean of its
twelve forums (`cqadupstack-android`), msmarco its development questions (`msmarco:dev`). The subsets and splits of a
task of mteb are averaged first, and it counts by its main score (MAP; WebLINX: MRR@10).
"""

import argparse
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Final

BEIR: Final = "BEIR"
MIRACL: Final = "MIRACL"
_MIRACL: Final = "ar bn de en es fa fi fr hi id ja ko ru sw te th yo zh"

TASKS: Final = "MTEB Multilingual v2"
"""The column whose sets are tasks of mteb, with subsets and a main score of their own."""

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    BEIR: (
        "arguana",
        "climate-fever",
        "cqadupstack",
        "dbpedia-entity",
        "fever",
        "fiqa",
        "hotpotqa",
        "msmarco",
        "nfcorpus",
        "nq",
        "quora",
        "scidocs",
        "scifact",
        "trec-covid",
        "webis-touche2020",
    ),
    MIRACL: tuple(f"miracl-{language}" for language in _MIRACL.split()),
    TASKS: (
        "AlloprofReranking",
        "RuBQReranking",
        "T2Reranking",
        "VoyageMMarcoReranking",
        "WebLINXCandidatesReranking",
        "WikipediaRerankingMultilingual",
    ),
}
"""Sets of each column, by the name of their folder; `names_of` knows others. The paper gives means only and does not
list its sets: these are the public ones of BEIR, the development sets of MIRACL, and the benchmark's six tasks."""

BEIR_TASKS: Final[Mapping[str, str]] = {
    "arguana": "ArguAna",
    "climate-fever": "ClimateFEVER",
    "dbpedia-entity": "DBPedia",
    "fever": "FEVER",
    "fiqa": "FiQA2018",
    "hotpotqa": "HotpotQA",
    "msmarco": "MSMARCO",
    "nfcorpus": "NFCorpus",
    "nq": "NQ",
    "quora": "QuoraRetrieval",
    "scidocs": "SCIDOCS",
    "scifact": "SciFact",
    "trec-covid": "TRECCOVID",
    "webis-touche2020": "Touche2020",
}
"""What mteb calls the sets of BEIR."""

FORUMS: Final = (
    "android", "english", "gaming", "gis", "mathematica", "physics", "programmers", "stats", "tex", "unix",
    "webmasters", "wordpress",
)  # fmt: skip
"""The parts of cqadupstack, whose figure is their mean."""

MEASURES: Final = ("nDCG@10", "AP", "RR@10")
"""nDCG@10, and of the tasks of mteb their main scores: MAP, and of WebLINX MRR@10."""

PUBLISHED: Final[Mapping[str, Mapping[str, float]]] = {
    "first stage, Qwen3-Embedding-0.6B": {BEIR: 54.11, MIRACL: 59.87, TASKS: 61.41},
    "Querit A0.4B": {BEIR: 59.28, MIRACL: 67.70, TASKS: 65.84},
    "Querit-4B": {BEIR: 62.29, MIRACL: 71.13, TASKS: 71.08},
}
"""In points."""

TIES: Final = "Querit-4B's 71.08 is about 68 once ties are scored fairly."

NOT_RUN: Final = "published, not run here"


@dataclass(frozen=True)
class PaperRow:
    """A row of the table.

    Attributes:
        name: System.
        note: `published, not run here`, or empty.
        means: Points of each column; None where a set of it is missing.
        counts: How many of each column's sets the row has; all where it is published.
        mean: Mean of the columns; None where one is missing.
    """

    name: str
    note: str
    means: Mapping[str, float | None]
    counts: Mapping[str, int]
    mean: float | None


def paper_table(results: Mapping[str, Any]) -> list[PaperRow]:
    """Published rows, then every system of an evaluation; only complete columns are averaged.

    Args:
        results: As `tamis evaluate` wrote them. A set belongs to a column by its name; a task's subset and split
            as `TASK-SUBSET`.

    Returns:
        At least the published rows.
    """
    systems = dict.fromkeys(name for found in results["sets"].values() for name in found["figures"])
    ours = {name: _points(name, results["sets"]) for name in systems if not name.startswith("oracle@")}
    return [
        *(
            _row(name, NOT_RUN, figures, {c: len(sets) for c, sets in COLUMNS.items()})
            for name, figures in PUBLISHED.items()
        ),
        *(_own_row(name, points) for name, points in ours.items()),
    ]


def _points(system: str, sets: Mapping[str, Any]) -> dict[str, float]:
    """A system's points on each set of a column that it was run on; subsets and splits of a task are averaged."""
    found: dict[str, float] = {}
    for column, members in COLUMNS.items():
        for member in members:
            named = _named(column, member, sets)
            own = [sets[name]["figures"].get(system, {}).get(measure_of(column, member)) for name in named]
            if own and None not in own:
                found[member] = 100 * fmean(own)
    return found


def _named(column: str, member: str, sets: Collection[str]) -> list[str]:
    """The sets of an evaluation that a set of a column stands for; none where it, or a part of it, is missing."""
    if column == TASKS:
        return [name for name in sets if name == member or name.startswith(f"{member}-")]
    found = [next((name for name in names_of(column, member) if name in sets), None)]
    if found == [None] and member == "cqadupstack":
        found = [next((name for name in names_of_forum(forum) if name in sets), None) for forum in FORUMS]
    return [name for name in found if name] if None not in found else []


def names_of(column: str, member: str) -> tuple[str, ...]:
    """What a set of BEIR or MIRACL is called as a folder, by ir_datasets and by mteb; the first that is there counts.

    Of msmarco, BEIR's figure is that of the development questions.
    """
    if column == MIRACL:
        return member, f"{member}-dev", f"MIRACLRetrieval-{member.removeprefix('miracl-')}"
    task = (BEIR_TASKS[member],) if member in BEIR_TASKS else ()
    if member == "msmarco":
        return f"{member}-dev", f"beir-{member}-dev", *task, member
    return member, f"beir-{member}", f"beir-{member}-test", *task


def names_of_forum(forum: str) -> tuple[str, ...]:
    """Names of a part of cqadupstack as a folder, by ir_datasets and by mteb; the first that is there counts."""
    name = f"cqadupstack-{forum}"
    return name, f"beir-{name}", f"CQADupstack{forum.capitalize()}Retrieval"


def measure_of(column: str, member: str) -> str:
    """The measure of a set in the table."""
    if column != TASKS:
        return MEASURES[0]
    return MEASURES[2] if member == "WebLINXCandidatesReranking" else MEASURES[1]


def _own_row(name: str, points: Mapping[str, float]) -> PaperRow:
    there = {column: [points[member] for member in members if member in points] for column, members in COLUMNS.items()}
    means = {c: fmean(own) if len(own) == len(COLUMNS[c]) else None for c, own in there.items()}
    return _row(name, "", means, {column: len(own) for column, own in there.items()})


def _row(name: str, note: str, means: Mapping[str, float | None], counts: Mapping[str, int]) -> PaperRow:
    values = [value for value in means.values() if value is not None]
    return PaperRow(name, note, means, counts, fmean(values) if len(values) == len(COLUMNS) else None)


def print_paper(rows: Sequence[PaperRow]) -> None:
    """Print the paper's table, in points, with how many sets of a column are there where it is not complete."""
    width = max(len(row.name) for row in rows)
    print("as in arXiv 2606.19037, points: nDCG@10; of the tasks of MTEB their main scores")
    print(" " * width, *(f"{heading:>20}" for heading in (*COLUMNS, "mean")))
    for row in rows:
        means = ((column, row.means[column]) for column in COLUMNS)
        cells = [f"{row.counts[c]} of {len(COLUMNS[c])}" if mean is None else f"{mean:.2f}" for c, mean in means]
        cells.append("" if row.mean is None else f"{row.mean:.2f}")
        print(f"{row.name:<{width}}", *(f"{cell:>20}" for cell in cells), f" {row.note}".rstrip())
    print(f"A mean needs all sets of its column; where some are missing, it says how many are there. {TIES}")


def main() -> None:
    """Print the table of an evaluation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="results.json of `tamis evaluate`")
    results = json.loads(parser.parse_args().results.read_text("utf-8"))
    lacking = [name for name in MEASURES if name not in results["measures"]]
    if lacking:
        parser.error(f"the table needs {lacking[0]}, which was not measured: evaluate with --measure {lacking[0]}")
    print_paper(paper_table(results))


if __name__ == "__main__":
    main()
