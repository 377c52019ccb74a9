"""Do the intervals of `tamis evaluate` hold, and what do a model's grades add to 30 of a person?

    make bench-proof                                      # fifteen sets below ../shared/data
    python benchmarks/proof.py --data DIR --draws 1000

On judged sets the truth is known: the mean difference of two systems over all questions. Each draw takes 30 questions
with the set's own judgements for the person's, and 300 with the grades of a judge. Judges err at stated rates: of the
relevant documents in the pool they see so many, and call so many of the others relevant.

BM25 over whole words is compared with BM25 over pieces of four letters, and with BM25 over the first 40 words of each
document. Where grades of a strong language model are there (DIR/graded), they are a fourth judge, and two rankings of
its pools the systems. Writes benchmarks/results/proof.json, proof-comparisons.md with a row for each set, comparison
and judge, and proof.md, which sums them up by judge, into the docs as well.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from command_line import data_parser
from machine import DOCS, commit
from results import RESULTS, checked, publish, targets_table
from tamis.evaluation.graded import WORTH, decide
from tamis.evaluation.reading import read_set
from tamis.evaluation.sets import JudgedSet
from tamis.formulas.arrays import FloatArray, IndexArray
from tamis.formulas.measures import Grades, measure_rankings, parse_measures
from tamis.formulas.prediction_powered import MeanInterval, mean_interval, powered_interval
from tamis.formulas.ranking import tie_key
from tamis.retrievers.bm25 import Bm25
from tamis.retrievers.dense import TieKeys
from tamis.text import terms, words

SETS = (
    "scifact",
    "debianfaq",
    "piaf-fr",
    "xquad-ar",
    "xquad-de",
    "xquad-es",
    "xquad-hi",
    "tydiqa-ar",
    "tydiqa-bn",
    "tydiqa-en",
    "tydiqa-fi",
    "tydiqa-id",
    "tydiqa-ko",
    "tydiqa-ru",
    "tydiqa-sw",
)
PERSON, MODEL = 30, 300
"""Questions that a person and a model grade in a draw."""

QUESTIONS = 300
"""Of a set at most; the systems search for these."""

CHANGED = 0.25
"""Share of questions that two systems rank differently from which a comparison counts for the target."""

TIMES = 8
"""How often a simulated judge grades each pool: a question that is drawn gets one of these grades."""

DEPTH = 10
PIECE = 4
WORDS = 40
SEED = 0
LEVELS = (0.93, 0.97)


AVERAGED = (
    "coverage_alone",
    "coverage",
    "width_alone",
    "width",
    "narrower",
    "wrong_of_none",
    "wrong_of_three",
    "asked_of_three",
)
"""What the summary takes the mean of."""


class Quality(NamedTuple):
    """How a simulated judge errs: shares of the relevant documents that it sees, and of the others that it likes."""

    name: str
    sees: float
    likes: float


JUDGES = (Quality("good", 0.95, 0.01), Quality("fair", 0.85, 0.05), Quality("poor", 0.70, 0.15))


class Differences(NamedTuple):
    """One number a question: by the set's judgements, [questions], and by a judge's grades, [times, questions]."""

    person: FloatArray
    model: FloatArray


@dataclass(frozen=True)
class Outcome:
    """What came of all draws of a set with a judge.

    Attributes:
        coverage: Share of the intervals that hold the truth, of the person's grades alone and with the judge's.
        width: Mean width of both.
        wrong: Share of verdicts that are wrong with the judge's: of no true difference *deploy*, of 3 points *do not*.
        asked: Share of verdicts that ask for more, of a true difference of 3 points.
    """

    coverage: tuple[float, float]
    width: tuple[float, float]
    wrong: tuple[float, float]
    asked: float


def pieces(text: str) -> list[str]:
    """Words as pieces of four letters, shorter ones whole."""
    return [word[start : start + PIECE] for word in words(text) for start in range(max(1, len(word) - PIECE + 1))]


def beginning(text: str) -> list[str]:
    """The first words, as terms of the index."""
    return terms(text)[:WORDS]


OTHERS = {"pieces": pieces, "beginnings": beginning}


def rankings(judged: JudgedSet, index: Bm25) -> dict[str, list[str]]:
    """The best documents of each question."""
    doc_ids = list(judged.documents)
    return {
        query_id: [doc_ids[place] for place in index.head(question.text, DEPTH, _keys(query_id, doc_ids)).places]
        for query_id, question in judged.questions.items()
    }


def _keys(query_id: str, doc_ids: Sequence[str]) -> TieKeys:
    return lambda places: np.array([tie_key(query_id, doc_ids[place]) for place in places], np.int64)


def judged_by(quality: Quality, grades: Grades, pools: Mapping[str, Sequence[str]], rng: np.random.Generator) -> Grades:
    """The pools' grades by a judge that errs."""
    found: dict[str, dict[str, int]] = {}
    for query_id, pool in pools.items():
        luck = rng.random(len(pool))
        true = [grades[query_id].get(doc_id, 0) for doc_id in pool]
        found[query_id] = {
            doc_id: (grade if chance < quality.sees else 0) if grade else int(chance < quality.likes)
            for doc_id, grade, chance in zip(pool, true, luck, strict=True)
        }
    return found


def difference(before: Mapping[str, list[str]], after: Mapping[str, list[str]], grades: Grades) -> FloatArray:
    """NDCG@10 of each question after minus before, [questions]."""
    measures = parse_measures(["nDCG@10"])
    values = [measure_rankings(run.items(), grades, measures)["nDCG@10"] for run in (before, after)]
    return np.array([values[1][query_id] - values[0][query_id] for query_id in before])


def of_set(folder: Path) -> dict[tuple[str, str], Differences]:
    """The differences by comparison and judge."""
    (judged,) = read_set(str(folder))
    drawn = sorted(judged.questions.values(), key=lambda q: tie_key("question", q.query_id))[:QUESTIONS]
    judged = replace(judged, questions={q.query_id: q for q in drawn})
    texts = [document.text for document in judged.documents.values()]
    before = rankings(judged, Bm25(texts, 0.9, 0.4))
    rng = np.random.default_rng([SEED, tie_key("proof", judged.name)])
    found = {}
    for name, split in OTHERS.items():
        after = rankings(judged, Bm25(texts, 0.9, 0.4, split))
        pools = {q: list(dict.fromkeys([*before[q], *after[q]])) for q in before}
        person = difference(before, after, judged.grades)
        for one in JUDGES:
            times = [difference(before, after, judged_by(one, judged.grades, pools, rng)) for _ in range(TIMES)]
            found[name, one.name] = Differences(person, np.array(times))
    return found


class Draw(NamedTuple):
    """Intervals of the person alone and of both, and how many of the person's questions are changed."""

    alone: MeanInterval
    both: MeanInterval
    changed: int


def draws(found: Differences, count: int, rng: np.random.Generator) -> Iterator[Draw]:
    """Questions drawn with replacement, as from very many of their kind."""
    for _ in range(count):
        own, others = (rng.integers(0, found.person.size, number) for number in (PERSON, MODEL))
        person, model, more = found.person[own], _graded(found, own, rng), _graded(found, others, rng)
        both = powered_interval(person, model, more)
        yield Draw(mean_interval(person), both, int((person != 0).sum()))


def _graded(found: Differences, questions: IndexArray, rng: np.random.Generator) -> FloatArray:
    """The judge's differences of questions, each from one of the times that it graded."""
    graded: FloatArray = found.model[rng.integers(0, len(found.model), questions.size), questions]
    return graded


def outcome(found: Differences, count: int, seed: list[int]) -> Outcome:
    """Draw, and see how often the intervals hold the truth and what the verdicts would be."""
    truth = float(found.person.mean())
    all_draws = list(draws(found, count, np.random.default_rng(seed)))
    kinds = [one.alone for one in all_draws], [one.both for one in all_draws]
    coverage = [float(np.mean([one.lower <= truth <= one.upper for one in some])) for some in kinds]
    width = [float(np.mean([one.upper - one.lower for one in some])) for some in kinds]
    # The same draws, with all differences moved so that the true one is none, or 3 points.
    none, three = (
        [decide(_moved(one.both, gain - truth), PERSON, one.changed)[0] for one in all_draws] for gain in (0.0, WORTH)
    )
    wrong = none.count("deploy") / count, three.count("do not") / count
    return Outcome((coverage[0], coverage[1]), (width[0], width[1]), wrong, three.count("ask") / count)


def _moved(found: MeanInterval, by: float) -> MeanInterval:
    return found._replace(mean=found.mean + by, lower=found.lower + by, upper=found.upper + by)


def of_strong_judge(data: Path) -> Differences | None:
    """Pools that a strong language model graded, ranked by BM25's words and by its pieces; None without them.

    The person's grades are the set's own judgements. Both systems rank the pool, so that all is graded.
    """
    file = data / "graded" / "debianfaq.tsv"
    if not file.is_file():
        return None
    (judged,) = read_set(str(data / "debianfaq"))
    grades: dict[str, dict[str, int]] = {}
    for line in file.read_text(encoding="utf-8").splitlines()[1:]:
        query_id, doc_id, grade = line.split("\t")
        grades.setdefault(query_id, {})[doc_id] = int(grade)
    texts = {doc_id: judged.documents[doc_id].text for own in grades.values() for doc_id in own}
    doc_ids = list(texts)
    before, after = (
        _ranked_pools(judged, grades, doc_ids, Bm25(list(texts.values()), 0.9, 0.4, split)) for split in (terms, pieces)
    )
    person = {query_id: judged.questions[query_id].relevant for query_id in grades}
    return Differences(difference(before, after, person), difference(before, after, grades)[None])


def _ranked_pools(judged: JudgedSet, grades: Grades, doc_ids: list[str], index: Bm25) -> dict[str, list[str]]:
    found = {}
    for query_id, own in grades.items():
        scores = dict(zip(doc_ids, index.scores(judged.questions[query_id].text).tolist(), strict=True))
        found[query_id] = sorted(own, key=lambda doc_id: (-scores[doc_id], tie_key(query_id, doc_id)))
    return found


def row(name: str, against: str, judge: str, found: Differences, count: int) -> dict[str, Any]:
    """What the results say of a set, a comparison and a judge."""
    told = outcome(found, count, [SEED, tie_key(name, f"{against} {judge}")])
    agree = np.corrcoef(np.tile(found.person, len(found.model)), found.model.ravel())[0, 1]
    return {
        "set": name,
        "against": against,
        "judge": judge,
        "questions": int(found.person.size),
        "difference": float(found.person.mean()),
        "deviation": float(found.person.std(ddof=1)),
        "changed": float((found.person != 0).mean()),
        "correlation": float(agree),
        "coverage_alone": told.coverage[0],
        "coverage": told.coverage[1],
        "width_alone": told.width[0],
        "width": told.width[1],
        "narrower": 1 - told.width[1] / told.width[0],
        "wrong_of_none": told.wrong[0],
        "wrong_of_three": told.wrong[1],
        "asked_of_three": told.asked,
    }


def targets_of(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Coverage on six sets by every judge, widths, verdicts."""
    counted = [one for one in rows if one["changed"] >= CHANGED and one["judge"] in {judge.name for judge in JUDGES}]
    sets = {one["set"] for one in counted}
    held = [all(LEVELS[0] <= one["coverage"] <= LEVELS[1] for one in counted if one["set"] == name) for name in sets]
    good = [one["narrower"] for one in rows if one["judge"] == JUDGES[0].name]
    wrong = [one[kind] for one in rows for kind in ("wrong_of_none", "wrong_of_three")]
    right = 1 - float(np.mean(wrong))
    found = [
        ("sets with 93 to 97 % coverage in every comparison and by every judge", sum(held), ">= 6"),
        ("narrower by a good judge, median of the sets, %", 100 * float(np.median(good)), ">= 25"),
        ("verdicts that are not wrong, %", 100 * right, ">= 95"),
        ("verdicts that are not wrong, worst row, %", 100 * (1 - max(wrong)), ">= 95"),
    ]
    return checked(found)


def comparisons_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A row for each set, comparison and judge."""
    lines = [
        "| set | against | changed | judge | correlation | coverage, person | both | half width, person | both "
        "| narrower | wrong, no gain | wrong, 3 points | asks, 3 points |",
        "|---|---|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for one in rows:
        cells = (
            one["set"],
            one["against"],
            f"{one['changed']:.0%}",
            one["judge"],
            f"{one['correlation']:.2f}",
            f"{one['coverage_alone']:.3f}",
            f"{one['coverage']:.3f}",
            f"{50 * one['width_alone']:.1f}",
            f"{50 * one['width']:.1f}",
            f"{one['narrower']:.0%}",
            f"{one['wrong_of_none']:.1%}",
            f"{one['wrong_of_three']:.1%}",
            f"{one['asked_of_three']:.0%}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def summary(rows: Sequence[Mapping[str, Any]]) -> str:
    """Means over the comparisons of a judge, those that count for the target and the others apart, and the targets."""
    lines = [
        "| questions that change | judge | comparisons | coverage, person | both | its lowest "
        "| half width, person | both | narrower | wrong, no gain | wrong, 3 points | asks, 3 points |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for changed, counts in ((f"{CHANGED:.0%} or more", True), ("fewer", False)):
        for judge in dict.fromkeys(one["judge"] for one in rows):
            own = [one for one in rows if one["judge"] == judge and (one["changed"] >= CHANGED) == counts]
            if own:
                lines.append(_summary_row(changed, judge, own))
    return "\n".join([*lines, "", *targets_table(targets_of(rows))]) + "\n"


def _summary_row(changed: str, judge: str, rows: Sequence[Mapping[str, Any]]) -> str:
    mean = {name: float(np.mean([one[name] for one in rows])) for name in AVERAGED}
    cells = (
        changed,
        judge,
        f"{len(rows)}",
        f"{mean['coverage_alone']:.3f}",
        f"{mean['coverage']:.3f}",
        f"{min(one['coverage'] for one in rows):.3f}",
        f"{50 * mean['width_alone']:.1f}",
        f"{50 * mean['width']:.1f}",
        f"{mean['narrower']:.0%}",
        f"{mean['wrong_of_none']:.1%}",
        f"{mean['wrong_of_three']:.1%}",
        f"{mean['asked_of_three']:.0%}",
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure every set and judge, write the table."""
    parser = data_parser(__doc__)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("sets", nargs="*", default=SETS)
    chosen = parser.parse_args()
    rows = []
    for name in chosen.sets:
        for (against, judge), found in of_set(chosen.data / name).items():
            rows.append(row(name, against, judge, found, chosen.draws))
            print(rows[-1])
    if strong := of_strong_judge(chosen.data):
        rows.append(row("debianfaq, pools", "pieces", "strong language model", strong, chosen.draws))
    content = {
        "seeds": [SEED],
        "judges": [one._asdict() for one in JUDGES],
        "figures": rows,
        "targets": targets_of(rows),
    }
    pages = [DOCS / "judging.md"] if tuple(chosen.sets) == SETS else []
    publish("proof", commit(), content, summary(rows), pages)
    (RESULTS / "proof-comparisons.md").write_text(comparisons_table(rows), "utf-8")


if __name__ == "__main__":
    main()
