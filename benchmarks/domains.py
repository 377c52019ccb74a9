"""Six domains, one model: does the merged student keep what every specialist learnt, and was it rightly chosen?

    make bench-domains                                     # the sets below ../shared/data, seeds 17, 18, 19
    python benchmarks/domains.py --data DIR --questions 20 --seeds 17

The documents of a set and the part of the Debian FAQ in its language are a domain; queries are written from them, one
specialist a domain learns from those, and all are merged. The judged questions measure and nothing else. Every
specialist is measured on every domain, and so are merges at fixed t: what a choice without labels gains is compared
with what the best choice on the judgements would have gained. Writes benchmarks/results/domains.json and domains.md.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from choices import EXTRACTS
from command_line import data_parser
from judged import DEPLOYED, FIRST, compare_means, judged, language_of_row, languages_of, macro_mean
from machine import commit
from results import checked, publish, targets_table
from tamis.artifacts import read_json
from tamis.context import RunContext
from tamis.evaluation.judged import draw_questions, read_questions
from tamis.formulas.slerp import merge_state_dicts
from tamis.pipeline.reading import read_recipe
from tamis.pipeline.recipe import Recipe
from tamis.pipeline.run import run_recipe
from tamis.stages.merge.judge import judge_students
from tamis.stages.merge.merge import mean_agreements
from tamis.stages.train.stage import training_texts

OUT = Path("demo") / "bench-domains"
SETS = {
    "piaf-fr": "fr",
    "tydiqa-ru": "ru",
    "cmrc2018-zh": "zh-cn",
    "jsquad-ja": "ja",
    "tydiqa-te": "te",
    "tydiqa-sw": "sw",
}
"""Set and language of each domain; the FAQ has a part in the first four."""

FAQ = "debianfaq"
FIXED_T = (0.25, 0.5, 0.75)


def build_corpus(data: Path, folder: Path, questions: int) -> None:
    """One BEIR folder of all domains: every document, and at most `questions` of each set and language."""
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    with (
        (folder / "corpus.jsonl").open("w", encoding="utf-8") as corpus,
        (folder / "queries.jsonl").open("w", encoding="utf-8") as asked,
        (folder / "qrels" / "test.tsv").open("w", encoding="utf-8") as qrels,
    ):
        qrels.write("query-id\tcorpus-id\tscore\n")
        for name in (*SETS, FAQ):
            languages = {}
            for row in _rows(data / name / "corpus.jsonl"):
                language = SETS.get(name) or language_of_row(row)
                if language not in SETS.values():
                    continue
                languages[row["_id"]] = language
                text = {"title": row.get("title", ""), "text": row["text"], "metadata": {"lang": language}}
                corpus.write(json.dumps({"_id": f"{name}/{row['_id']}", **text}, ensure_ascii=False) + "\n")
            found, _ = read_questions(data / name / "queries.jsonl", data / name / "qrels" / "test.tsv", languages)
            for question in draw_questions(found, questions):
                metadata = {"lang": question.language}
                row = {"_id": f"{name}/{question.query_id}", "text": question.text, "metadata": metadata}
                asked.write(json.dumps(row, ensure_ascii=False) + "\n")
                for doc_id, grade in question.relevant.items():
                    qrels.write(f"{name}/{question.query_id}\t{name}/{doc_id}\t{grade}\n")


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def recipe_for(folder: Path, seed: int) -> Recipe:
    """The demo's recipe with these domains."""
    domains = {name: [language] for name, language in SETS.items()}
    return read_recipe(
        Path("recipes/demo.yaml"),
        [
            "name=domains",
            f"seed={seed}",
            f"corpus.target={folder}",
            f"corpus.languages={json.dumps(list(SETS.values()))}",
            f"lists.domains={json.dumps(domains)}",
            f"evaluate.queries={folder / 'queries.jsonl'}",
            f"evaluate.qrels={folder / 'qrels' / 'test.tsv'}",
            *EXTRACTS,
        ],
    )


def candidates_of(context: RunContext) -> dict[str, Mapping[str, Tensor]]:
    """Every model that could have been chosen: all that were trained, the merged one, and merges at a fixed t."""
    trained: dict[str, Mapping[str, Tensor]] = {
        p.stem: load_file(p) for p in context.folders["train"].glob("*.safetensors")
    }
    models = {name: trained[name] for name in ("untrained", "general", *SETS)}
    for t in FIXED_T:
        merged = models[next(iter(SETS))]
        for name in list(SETS)[1:]:
            merged, _ = merge_state_dicts(merged, models[name], t, models["general"])
        models[f"t={t:g}"] = merged
    return {**models, "merged": load_file(context.folders["merge"] / "merged.safetensors")}


def measure_seed(folder: Path, seed: int) -> dict[str, Any]:
    """Run the recipe, then measure every candidate model on every question."""
    recipe, root = recipe_for(folder, seed), OUT / f"run-{seed}"
    start = time.monotonic()
    folders = run_recipe(recipe, root, until="merge")
    path = read_json(folders["merge"] / "path.json")
    agreement: dict[str, dict[str, float]] = {}
    with judged(recipe, root, folders) as run:
        students = run.parts.students
        how = (recipe.train, recipe.merge.held_out)
        judge = judge_students(students, students.untrained(), *training_texts(students), *how)
        values = dict(run.first)
        for name, tensors in candidates_of(run.parts.context).items():
            agreement[name] = mean_agreements(judge(tensors))
            values |= run.of(name, tensors, path["first_stage_weights"])
        questions = run.questions
    language_of = languages_of(questions)
    means = {name: macro_mean(own, language_of) for name, own in values.items()}
    return {
        "seed": seed,
        "seconds": time.monotonic() - start,
        "questions": {language: sum(q.language == language for q in questions) for language in SETS.values()},
        "first_stage_weights": path["first_stage_weights"],
        "order": path["order"],
        "steps": path["steps"],
        "agreement": agreement,
        "means": means,
        "p_values": _p_values(values, language_of, means),
        "choice": {stage: choice(means, agreement, sign) for stage, sign in DEPLOYED.items()},
    }


def _p_values(
    values: Mapping[str, Mapping[str, float]], language_of: Mapping[str, str], means: Mapping[str, Mapping[str, float]]
) -> dict[str, dict[str, float]]:
    """Paired tests of the merged student, on the mean over domains, against what it must not fall below."""
    found = {}
    for stage, sign in DEPLOYED.items():
        best = max((means[name + sign]["mean"], name + sign) for name in SETS)[1]
        for other in (stage, f"untrained{sign}", best):
            found[f"merged{sign} over {other}"] = compare_means(values[f"merged{sign}"], values[other], language_of)
    return found


def choice(
    means: Mapping[str, Mapping[str, float]], agreement: Mapping[str, Mapping[str, float]], sign: str
) -> dict[str, Any]:
    """What was chosen without labels, what the judgements would choose, and the share of the gain that is reached.

    The merged student is the choice of the search; the best single model by agreement is given beside it.
    """
    judged = {name: means[name + sign]["mean"] for name in agreement}
    best = max(judged, key=lambda name: judged[name])
    by_agreement = max(agreement, key=lambda name: mean(agreement[name].values()))
    gain, possible = judged["merged"] - judged["untrained"], judged[best] - judged["untrained"]
    return {
        "judged": judged,
        "best": best,
        "by_agreement": by_agreement,
        "share_of_value": judged["merged"] / judged[best],
        "share_of_gain": gain / possible if possible > 0 else 1.0,
    }


def targets_of(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What the issue asks of the merged student, the worst seed of each; a target is met when every seed meets it."""
    rows: list[tuple[str, list[float], str]] = []
    for stage, sign in DEPLOYED.items():
        over, home, untrained, first = [], [], [], []
        for run in runs:
            means = run["means"]
            merged = means[f"merged{sign}"]
            over.append(100 * (merged["mean"] - max(means[name + sign]["mean"] for name in SETS)))
            home.append(100 * min(merged[lang] - means[name + sign][lang] for name, lang in SETS.items()))
            untrained.append(100 * min(merged[lang] - means[f"untrained{sign}"][lang] for lang in SETS.values()))
            first.append(100 * min(merged[lang] - means[stage][lang] for lang in SETS.values()))
        rows += [
            (f"{stage}: merged over the best specialist, mean, points", over, "> 0"),
            (f"{stage}: merged against each specialist at home, worst, points", home, ">= -0.5"),
            (f"{stage}: merged against the untrained student, worst domain, points", untrained, ">= -0.3"),
            (f"{stage}: merged against the first stage, worst domain, points", first, ">= -0.3"),
            (
                f"{stage}: share of the best choice's gain",
                [one["choice"][stage]["share_of_gain"] for one in runs],
                ">= 0.9",
            ),
        ]
    worst = checked((name, min(values), bound) for name, values, bound in rows)
    return [{**found, "by_seed": values} for found, (_, values, _) in zip(worst, rows, strict=True)]


def table(runs: Sequence[Mapping[str, Any]], targets: Sequence[Mapping[str, Any]]) -> str:
    """A row per model, a column per domain, means over seeds; then the targets."""
    lines = [f"| nDCG@10 | {' | '.join(SETS)} | **mean** |", "|---|" + "---:|" * (len(SETS) + 1)]
    models = [*FIRST, *(f"{name}{sign}" for sign in DEPLOYED.values() for name in ("untrained", *SETS, "merged"))]
    for name in models:
        cells = [f"{mean(run['means'][name][lang] for run in runs):.3f}" for lang in (*SETS.values(), "mean")]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *targets_table(targets)]) + "\n"


def main() -> None:
    """Measure every seed, write the table."""
    parser = data_parser(__doc__)
    parser.add_argument("--questions", type=int, default=80, help="of each set and language, drawn by hash; 0 for all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[17, 18, 19])
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    found_commit = commit()
    folder = OUT / "corpus"
    build_corpus(chosen.data, folder, chosen.questions)
    runs = [measure_seed(folder, seed) for seed in chosen.seeds]
    targets = targets_of(runs)
    content = {"seeds": chosen.seeds, "questions_per_set": chosen.questions, "runs": runs, "targets": targets}
    publish("domains", found_commit, content, table(runs, targets))


if __name__ == "__main__":
    main()
