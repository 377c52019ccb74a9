"""Which loss, and which start: equal budgets, three corpora, three seeds; what the defaults rest on.

    make bench-ablation                                    # the sets below ../shared/data, seeds 17, 18, 19
    python benchmarks/ablation.py --data DIR --seeds 17 --steps 20 --questions 20

None of the corpora is one on which results are reported. Queries are written from their documents and scored by the
demo's teacher; every variant learns the same lists in the same order for the same number of steps, the checkpoint is
chosen by agreement as always, and the corpus' own questions measure it. `stock` starts from a new head of one label,
learns all layers and is trained with the first seed only; `distilled` learns from the warm student's scores instead of
the teacher's. Writes benchmarks/results/ablation.json and
ablation.md.
"""

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from safetensors.torch import load_file

from judged import DEPLOYED, Values, compare_means, judged, language_of_row, languages_of, mean_over_seeds
from machine import commit, machine, write_results
from tamis.artifacts import read_json
from tamis.pipeline import run_recipe
from tamis.settings import Recipe, read_recipe
from tamis.stages.evaluate import Question, draw_questions, macro_mean, read_questions

ROOT = Path(__file__).resolve().parent
OUT = Path("demo") / "bench-ablation"
CORPORA = {"gnomehelp": ("de", "en", "ru"), "tydiqa-ko": ("ko",), "xquad-hi": ("hi",)}
"""Corpora and their languages; many documents and titles, native questions, translated questions."""

LOSSES = {
    "margin-mse": [],
    "gap-hinge": ["train.loss=gap-hinge", "lists.rescale=min-max"],
    "gap-hinge, doubled": ["train.loss=gap-hinge", "lists.rescale=min-max", "train.double_hard_margins=true"],
    "listwise": ["train.loss=listwise"],
    "ranknet": ["train.loss=ranknet"],
    "lambda": ["train.loss=lambda"],
    "pointwise-mse": ["train.loss=pointwise-mse"],
    "pointwise-bce": ["train.loss=pointwise-bce"],
}
"""What each variant of the warm start changes in the recipe."""

DEFAULT = "margin-mse"

STOCK = ["student.head=stock", "student.document_tokens=128"]
STARTS = {"stock, margin-mse": STOCK, "stock, gap-hinge": [*STOCK, *LOSSES["gap-hinge"]]}
DISTILLED = "stock, distilled from warm"
STRONG = {"kind": "reranker", "path": "tamis-base", "weight": 2}
TAUGHT = {
    "margin-mse, tamis-base teaches too": ["candidates.depth=30", f"scores.teachers={json.dumps([STRONG])}"],
}
"""A teacher that is stronger than the student that it teaches."""

WEIGHTS = {"bm25": 1.0, "hybrid": 1.0}
"""Of the first stage's score beside each student's, the same for all."""


def recipe_for(name: str, seed: int, steps: int, changes: Sequence[str]) -> Recipe:
    """The demo's recipe on one corpus without general documents, one student."""
    folder = OUT / "corpora" / name
    languages = json.dumps(list(CORPORA[name]))
    return read_recipe(
        Path("recipes/demo.yaml"),
        [
            f"name={name}",
            f"seed={seed}",
            f"corpus.target={folder}",
            "corpus.general=[]",
            f"corpus.languages={languages}",
            f"lists.domains={{all: {languages}}}",
            f"train.general_steps={steps}",
            "train.specialist_steps=0",
            "student.start=null",
            "student.head=warm",
            f"evaluate.queries={folder / 'queries.jsonl'}",
            f"evaluate.qrels={folder / 'qrels.tsv'}",
            *changes,
        ],
    )


def build_corpus(data: Path, name: str, questions: int, documents: int) -> None:
    """The documents of one set in its languages and some of its questions, as a BEIR folder."""
    folder, languages = OUT / "corpora" / name, CORPORA[name]
    folder.mkdir(parents=True, exist_ok=True)
    rows = {}
    for line in (data / name / "corpus.jsonl").open(encoding="utf-8"):
        row = json.loads(line)
        language = languages[0] if len(languages) == 1 else language_of_row(row)
        if language in languages:
            rows[row["_id"]] = {**row, "metadata": {"lang": language}}
    language_of = {doc_id: row["metadata"]["lang"] for doc_id, row in rows.items()}
    found, _ = read_questions(data / name / "queries.jsonl", data / name / "qrels" / "test.tsv", language_of)
    asked = draw_questions(found, -(-questions // len(languages)))
    # Answers first, then others: a corpus of bounded size that holds what is asked for.
    needed = [doc_id for question in asked for doc_id in question.relevant]
    chosen = list(dict.fromkeys([*needed, *rows]))[: max(documents, len(set(needed)))]
    texts = [json.dumps(rows[doc_id], ensure_ascii=False) for doc_id in chosen]
    (folder / "corpus.jsonl").write_text("\n".join(texts) + "\n", "utf-8")
    lines = [
        json.dumps({"_id": q.query_id, "text": q.text, "metadata": {"lang": q.language}}, ensure_ascii=False)
        for q in asked
    ]
    (folder / "queries.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    judgements = [f"{q.query_id}\t{d}\t{g}" for q in asked for d, g in q.relevant.items() if d in set(chosen)]
    (folder / "qrels.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *judgements]) + "\n", "utf-8")


Measured = dict[str, tuple[Values, list[Question], dict[str, Any]]]
"""Figures by system and question, the questions, and facts of the training, by variant."""


def measure_variant(
    recipe: Recipe, root: Path, label: str, students: Sequence[str] = ("general",)
) -> tuple[Values, list[Question], dict[str, Any]]:
    """Train one student, measure it and what else is named: its start, `untrained`."""
    start = time.monotonic()
    folders = run_recipe(recipe, root, until="train")
    curve = read_json(folders["train"] / "curves.json")["general"]
    with judged(recipe, root, folders) as run:
        values = dict(run.first)
        for name in students:
            values |= run.of(name, load_file(folders["train"] / f"{name}.safetensors"), WEIGHTS)
        questions = run.questions
    facts = {
        "variant": label,
        "seconds": time.monotonic() - start,
        "chosen_step": curve["chosen"],
        "agreement": curve["agreement"],
        "means": {name: macro_mean(own, questions)["mean"] for name, own in values.items()},
    }
    print(label, recipe.name, recipe.seed, {k: round(v, 4) for k, v in facts["means"].items() if k[0] in "gub"})
    return values, questions, facts


def measure_losses(name: str, seed: int, steps: int) -> Measured:
    """Every loss on one corpus with one seed; the untrained student once, since all start from it."""
    found = {}
    for label, changes in LOSSES.items():
        students = ("untrained", "general") if label == DEFAULT else ("general",)
        found[label] = measure_variant(recipe_for(name, seed, steps, changes), OUT / f"{name}-{seed}", label, students)
    return found


def measure_starts(name: str, seed: int, steps: int) -> Measured:
    """Stock heads and a stronger teacher on one corpus with one seed."""
    root = OUT / f"{name}-{seed}"
    warm = run_recipe(recipe_for(name, seed, steps, []), root, until="merge")["merge"] / "model"
    alone = {"dense": 0, "bm25": 0, "use": 0, "teachers": [{"kind": "reranker", "path": str(warm)}]}
    distilled = [*STOCK, "candidates.depth=30", f"scores={json.dumps(alone)}"]
    wanted = {**STARTS, DISTILLED: distilled, **TAUGHT}
    return {
        label: measure_variant(recipe_for(name, seed, steps, changes), root, label) for label, changes in wanted.items()
    }


def summarise(found: Mapping[tuple[str, int], Measured]) -> dict[str, Any]:
    """Mean over corpora and seeds and spread over seeds, of each variant on each first stage.

    Beside them the paired differences to the untrained student and to the default loss, on questions whose figures are
    means over seeds.
    """
    names = sorted({name for name, _ in found})
    summary: dict[str, Any] = {}
    for variant in dict.fromkeys(variant for of in found.values() for variant in of):
        seeds = sorted({seed for (_, seed), of in found.items() if variant in of})
        for sign in DEPLOYED.values():
            by_seed = [
                mean(found[name, seed][variant][2]["means"][f"general{sign}"] for name in names) for seed in seeds
            ]
            pooled: dict[str, dict[str, float]] = {"general": {}, "untrained": {}, "default": {}}
            group_of: dict[str, str] = {}
            for name in names:
                questions = found[name, seeds[0]][variant][1]
                group_of |= {f"{name}/{q}": name for q in languages_of(questions)}
                for key, who, student in (
                    ("general", variant, "general"),
                    ("untrained", DEFAULT, "untrained"),
                    ("default", DEFAULT, "general"),
                ):
                    own = mean_over_seeds([found[name, seed][who][0][f"{student}{sign}"] for seed in seeds])
                    pooled[key] |= {f"{name}/{q}": value for q, value in own.items()}
            summary[f"{variant}{sign}"] = {
                "seeds": seeds,
                "mean": mean(by_seed),
                "stdev": stdev(by_seed) if len(seeds) > 1 else 0.0,
                "by_corpus": {
                    name: mean(found[name, seed][variant][2]["means"][f"general{sign}"] for seed in seeds)
                    for name in names
                },
                "over_untrained": compare_means(pooled["general"], pooled["untrained"], group_of),
                "over_default": compare_means(pooled["general"], pooled["default"], group_of),
            }
    return summary


def table(summary: Mapping[str, Any], untrained: Mapping[str, float]) -> str:
    """A row per variant: alone on BM25's candidates and beside the hybrid."""
    lines = [
        "| | on BM25 | ± | over untrained | p | + hybrid | ± | over untrained | p |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
        f"| untrained | {untrained['@bm25']:.3f} | | | | {untrained['+hybrid']:.3f} | | | |",
    ]
    for variant in dict.fromkeys(name.rsplit("@")[0].rsplit("+")[0] for name in summary):
        cells = []
        for sign in DEPLOYED.values():
            entry = summary[f"{variant}{sign}"]
            over = entry["over_untrained"]
            spread = f"{entry['stdev']:.3f}" if len(entry["seeds"]) > 1 else ""
            cells += [f"{entry['mean']:.3f}", spread, f"{100 * over['difference']:+.1f}"]
            cells += [f"{over['p_value']:.2g}"]
        lines.append(f"| {variant} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent.parent / "shared" / "data")
    parser.add_argument("--seeds", type=int, nargs="+", default=[17, 18, 19])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--questions", type=int, default=100, help="of each corpus, drawn by hash")
    parser.add_argument("--documents", type=int, default=500, help="of each corpus, those that answer included")
    parser.add_argument("--losses-only", dest="starts", action="store_false", help="leave the stock heads out")
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    facts = {
        "benchmark": "ablation",
        "commit": commit(),
        "machine": machine(),
        "steps": chosen.steps,
        "documents": chosen.documents,
    }
    for name in CORPORA:
        build_corpus(chosen.data, name, chosen.questions, chosen.documents)
    found: dict[tuple[str, int], Measured] = {}
    # Written after every seed: hours of work, of which a part says something already.
    for seed in chosen.seeds:
        found |= {(name, seed): measure_losses(name, seed, chosen.steps) for name in CORPORA}
        write(found, facts)
    if chosen.starts:
        first = chosen.seeds[0]
        for name in CORPORA:
            found[name, first] |= measure_starts(name, first, chosen.steps)
        write(found, facts)


def write(found: Mapping[tuple[str, int], Measured], facts: Mapping[str, Any]) -> None:
    """Write what was measured so far."""
    summary = summarise(found)
    untrained = {
        sign: mean(of[DEFAULT][2]["means"][f"untrained{sign}"] for of in found.values()) for sign in DEPLOYED.values()
    }
    content = {
        **facts,
        "seeds": sorted({seed for _, seed in found}),
        "questions": {name: len(of[DEFAULT][1]) for (name, _), of in found.items()},
        "untrained": untrained,
        "figures": summary,
        "runs": {f"{name}, seed {seed}": [one[2] for one in of.values()] for (name, seed), of in found.items()},
        "targets": [],
    }
    write_results("ablation", content, table(summary, untrained))
    print(table(summary, untrained), flush=True)


if __name__ == "__main__":
    main()
