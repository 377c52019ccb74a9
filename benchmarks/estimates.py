"""What `--estimate` says a run will take, against what it then takes: ten small corpora that have little in common.

    make bench-estimates
    python benchmarks/estimates.py --only short     # those whose name holds it; the other rows stay

Writes benchmarks/results/estimates.json and estimates.md, and the table in docs/trust.md. Each run is a process of its
own with one thread. It asks for its estimate as `tamis run` does, after the corpus, and goes on to the report. Both
times are processor time, which other work on the machine does not stretch; the time on the clock stands beside them.
`tamis adapt` starts from `tamis-base`, all other runs from a smaller body, so that the ten take minutes.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from machine import DOCS, commit, machine
from results import checked, earlier_results, print_targets, show_in_readme, targets_table, write_results

DATA = Path("demo/data")
FAQ, MANUAL, HELP = (DATA / name for name in ("debian-faq", "debian-reference", "gnome-help"))
WRITTEN = Path("recipes/queries/debian-faq.tsv")
ENCODER = Path("demo/models/e5-small")
BOUND = 2.0
"""Largest ratio of the estimate to the truth, and of the truth to the estimate."""

HERE = {"threads": 1, "device": "cpu"}
SHORT = {"lists_per_step": 4, "checkpoints": 2}

Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A corpus and what is done with it.

    Attributes:
        name: In the table.
        what: Corpus and recipe, in a few words.
        make: Writes the corpus into a folder and gives the recipe's content.
    """

    name: str
    what: str
    make: Callable[[Path], Row]


def rows(source: Path, languages: Sequence[str], each: int, least: int = 200) -> list[Row]:
    """The first `each` documents of every language that have at least `least` characters."""
    with (source / "corpus.jsonl").open(encoding="utf-8") as stream:
        found = [json.loads(line) for line in stream]
    return [
        row
        for language in languages
        for row in islice((r for r in found if r["metadata"]["lang"] == language and len(r["text"]) >= least), each)
    ]


def corpus(folder: Path, documents: Iterable[Row], judged: Path | None = None) -> Path:
    """A BEIR folder of some documents, with the questions of `judged` about them."""
    documents = list(documents)
    (folder / "qrels").mkdir(parents=True)
    lines(folder / "corpus.jsonl", documents)
    if judged:
        own = {row["_id"] for row in documents}
        header, *qrels = (judged / "qrels" / "test.tsv").read_text("utf-8").splitlines()
        kept = [line for line in qrels if line.split("\t")[1] in own]
        asked = {line.split("\t")[0] for line in kept}
        (folder / "qrels" / "test.tsv").write_text("\n".join([header, *kept]) + "\n", "utf-8")
        questions = map(json.loads, (judged / "queries.jsonl").read_text("utf-8").splitlines())
        lines(folder / "queries.jsonl", [row for row in questions if row["_id"] in asked])
    return folder


def encoder(folder: Path) -> Path:
    """A body of a fifth of e5-small's work a token, with random weights: what a run takes does not depend on them."""
    from tests.conftest import build_tiny_encoder

    found = folder / "encoder"
    return found if found.exists() else build_tiny_encoder(found, hidden=256, layers=6)


def lines(file: Path, content: Iterable[Row]) -> None:
    """Write rows as JSON lines."""
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content), "utf-8")


def written(folder: Path, documents: Iterable[Row]) -> list[str]:
    """The queries that were written elsewhere about some documents of the FAQ."""
    header, *found = WRITTEN.read_text("utf-8").splitlines()
    own = {row["_id"] for row in documents}
    file = folder / "written.tsv"
    file.write_text("\n".join([header, *(line for line in found if line.split("\t")[0] in own)]) + "\n", "utf-8")
    return [str(file)]


def recipe(target: Path, **sections: Row) -> Row:
    """A recipe with short training; sections add to it or replace what it says."""
    content: dict[str, Row] = {
        "corpus": {"target": str(target)},
        "queries": {} if "queries" in sections else {"generator": "extractive"},
        "candidates": {"dense": {"path": str(encoder(target.parent)), "max_length": 128}},
        "lists": {"domains": {"all": "*"}, "documents": 8},
        "student": {"head": "warm"},
        "train": {"general_steps": 0, "specialist_steps": 8, **SHORT},
        "machine": dict(HERE),
    }
    merged = {name: {**content.get(name, {}), **sections.get(name, {})} for name in {**content, **sections}}
    return {"name": "estimates", **merged}


def questions(folder: Path, **more: Any) -> Row:
    """The section evaluate for the questions beside a corpus."""
    return {"queries": str(folder / "queries.jsonl"), "qrels": str(folder / "qrels" / "test.tsv"), **more}


# Ten corpora


def extracts(folder: Path) -> Row:
    """Answers of one language, extracts as queries, no questions."""
    return recipe(corpus(folder / "corpus", rows(FAQ, ["en"], 30)))


def languages(folder: Path) -> Row:
    """Ten languages, written queries, three domains, questions."""
    documents = rows(FAQ, ["de", "en", "fr", "it", "ja", "ko", "nl", "pt", "ru", "zh-cn"], 6)
    target = corpus(folder / "corpus", documents, FAQ)
    domains = {"latin": ["de", "en", "fr", "it", "nl", "pt"], "cyrillic": ["ru"], "cjk": ["ja", "ko", "zh-cn"]}
    return recipe(
        target,
        queries={"written": written(folder, documents)},
        lists={"domains": domains},
        train={"general_steps": 4, "specialist_steps": 2},
        evaluate=questions(target, depth=20),
    )


def adapted(folder: Path, documents: Sequence[Row], queries: Sequence[str] = ()) -> Row:
    """What `tamis adapt` runs, with fewer steps."""
    from tamis.adaptation import recipe_content

    target = corpus(folder / "corpus", documents)
    content = recipe_content("tamis-base", target, (), ENCODER, [Path(file) for file in queries])
    content["train"] |= {"specialist_steps": 8, **SHORT}
    content["lists"]["documents"] = 8
    return {"queries": {"generator": "extractive"}, **content, "machine": dict(HERE)}


def adapt(folder: Path) -> Row:
    """A Russian manual, adapted to without queries."""
    return adapted(folder, rows(HELP, ["ru"], 25))


def adapt_written(folder: Path) -> Row:
    """A German FAQ, adapted to with written queries."""
    documents = rows(FAQ, ["de"], 25)
    return adapted(folder, documents, written(folder, documents))


def short(folder: Path) -> Row:
    """Sentences as documents."""
    documents = [row | {"text": row["text"].split(". ")[0][:120]} for row in rows(HELP, ["en", "es"], 60)]
    return recipe(corpus(folder / "corpus", documents))


def long(folder: Path) -> Row:
    """Chapters of a reference, each longer than the student reads."""
    documents = rows(MANUAL, ["en"], 80)
    chapters = [
        documents[start] | {"text": "\n\n".join(row["text"] for row in documents[start : start + 8])}
        for start in range(0, len(documents), 8)
    ]
    return recipe(corpus(folder / "corpus", chapters), train={"specialist_steps": 4})


def new_label(folder: Path) -> Row:
    """A new classifier on the encoder, all layers learn."""
    return recipe(
        corpus(folder / "corpus", rows(FAQ, ["fr"], 20)),
        student={"head": "stock"},
        train={"specialist_steps": 4},
    )


def reranker_teaches(folder: Path) -> Row:
    """A reranker is a part of the teacher."""
    target = corpus(folder / "corpus", rows(FAQ, ["ja"], 20, least=60), FAQ)
    teacher = {"kind": "reranker", "path": "tamis-base"}
    return recipe(target, scores={"teachers": [teacher]}, train={"specialist_steps": 4})


def general(folder: Path) -> Row:
    """A judged set of another corpus is learnt from as well."""
    target = corpus(folder / "corpus", rows(MANUAL, ["en", "de"], 10))
    other = corpus(folder / "general", rows(FAQ, ["en", "de"], 20), FAQ)
    return recipe(
        target,
        corpus={"general": [str(other)]},
        lists={"solved": 0.5},
        train={"general_steps": 4, "specialist_steps": 2},
    )


def many_questions(folder: Path) -> Row:
    """A tiny corpus with all its questions, of which most of the time is evaluation."""
    target = corpus(folder / "corpus", rows(HELP, ["fr"], 20), HELP)
    return recipe(target, train={"specialist_steps": 3}, evaluate=questions(target))


CASES = (
    Case("extracts", "30 English answers, extracts as queries", extracts),
    Case("languages", "60 answers in ten languages, written queries, three domains, questions", languages),
    Case("adapt", "`tamis adapt` to 25 Russian pages", adapt),
    Case("adapt-written", "`tamis adapt --queries` to 25 German answers", adapt_written),
    Case("short", "120 single sentences in two languages", short),
    Case("long", "10 English chapters, longer than is read", long),
    Case("new-label", "20 French answers, a stock student", new_label),
    Case("reranker", "20 Japanese answers, a reranker teaches too", reranker_teaches),
    Case("general", "20 pages in two languages, 40 of a judged set, `lists.solved` 0.5", general),
    Case("questions", "20 French pages, their questions evaluated at depth 100", many_questions),
)


# Measuring


def measured(case: Case, folder: Path) -> Row:
    """Estimate and truth of one run, in this process."""
    from tamis.costs.work import Estimate
    from tamis.pipeline.reading import recipe_from
    from tamis.pipeline.run import run_recipe
    from tamis.progress import listening

    content = case.make(folder)
    content["machine"]["cache"] = str(folder / "cache")
    found: Row = {"name": case.name, "what": case.what, "commit": commit()}
    clocks = {"processor": time.process_time, "clock": time.monotonic}
    corpus_read: dict[str, float] = {}
    told: dict[str, float] = {}

    def announce(stage: str, _: Path, __: bool) -> None:
        now = {name: clock() for name, clock in clocks.items()}
        since = corpus_read or now
        found.setdefault("stages", {})[stage] = {name: round(now[name] - since[name], 2) for name in now}
        corpus_read.update(now)

    def consider(estimate: Estimate) -> None:
        told.update({name: clock() for name, clock in clocks.items()})
        found["estimate_took"] = round(told["processor"] - corpus_read["processor"], 2)
        found["estimate"] = round(estimate.seconds, 2)
        found["works"] = [[w.stage, w.what, w.count, w.about, round(w.seconds or 0.0, 2)] for w in estimate.works]
        corpus_read.update(told)

    by_processor = SimpleNamespace(monotonic=time.process_time)
    work: dict[str, list[float]] = {}

    def listen(label: str, done: int, _: int) -> None:
        now = time.process_time()
        first = work.setdefault(label, [now, now, 0])
        work[label] = [first[0], now, done]

    with (
        mock.patch("tamis.costs.timing.time", by_processor),
        mock.patch("tamis.pipeline.estimate.time", by_processor),
        listening(listen),
    ):
        run_recipe(recipe_from(content, case.name), folder / "run", announce=announce, consider=consider)
    found["truth"] = round(time.process_time() - told["processor"], 2)
    found["truth_on_the_clock"] = round(time.monotonic() - told["clock"], 2)
    found["progress"] = {label: [round(last - first, 2), done] for label, (first, last, done) in work.items()}
    return found | {"ratio": round(found["estimate"] / found["truth"], 3)}


def in_a_process(name: str) -> Row:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--case", name]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{name}: ended with {done.returncode}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def targets_of(found: Mapping[str, Any]) -> list[Row]:
    """What has to hold."""
    worst = max(max(row["ratio"], 1 / row["ratio"]) for row in found["rows"])
    slowest = max(row["estimate_took"] for row in found["rows"])
    count = len(found["rows"])
    rows = [
        (f"estimate to truth or truth to estimate, the worst of {count} runs", worst, f"<= {BOUND:g}"),
        ("seconds that the estimate itself takes once the corpus is read, the slowest", slowest, "<= 15"),
    ]
    return checked(rows)


def table_of(found: Mapping[str, Any]) -> str:
    """A line a run."""
    head = [
        "| run | estimate, s | truth, s | ratio | on the clock, s | estimating took, s |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    body = [
        f"| {row['what']} | {row['estimate']:.0f} | {row['truth']:.0f} | {row['ratio']:.2f} "
        f"| {row['truth_on_the_clock']:.0f} | {row['estimate_took']:.1f} |"
        for row in found["rows"]
    ]
    return "\n".join([*head, *body, "", *targets_table(found["targets"]), ""])


def so_far(rows: Sequence[Row]) -> Row:
    """The results so far; written at once, so that what was done is kept."""
    found: Row = {"machine": machine(), "rows": list(rows)}
    found["targets"] = targets_of(found)
    table = table_of(found)
    write_results("estimates", found, table)
    show_in_readme(table, "estimates", DOCS / "trust.md")
    return found


def main() -> None:
    """Measure what is asked for, beside what earlier calls have found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="part of the name of the runs to make")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.case:
        case = next(case for case in CASES if case.name == asked.case)
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measured(case, Path(folder))))
        return
    known = {row["name"]: row for row in earlier_results("estimates").get("rows", [])}
    found: Row = {}
    for case in CASES:
        if asked.only in case.name:
            known[case.name] = in_a_process(case.name)
            print({name: known[case.name][name] for name in ("name", "estimate", "truth", "ratio")}, flush=True)
            found = so_far([known[case.name] for case in CASES if case.name in known])
    print_targets(found["targets"])


if __name__ == "__main__":
    main()
