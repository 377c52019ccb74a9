"""What the benchmarks of a recipe's choices have in common: three corpora that nothing is reported on, and one student.

Queries are written from their documents and scored by the demo's teacher without tamis-base, since the student starts
from the encoder; every variant of the recipe learns for the same number of steps, the checkpoint is chosen by agreement
as always, and the corpus' own questions measure it.
"""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from safetensors.torch import load_file

from judged import DEPLOYED, Values, compare_sets, judged, language_of_row, languages_of, macro_mean, mean_over_seeds
from results import publish
from tamis.artifacts import read_json
from tamis.evaluation.judged import Question, draw_questions, read_questions
from tamis.pipeline.reading import read_recipe
from tamis.pipeline.recipe import Recipe
from tamis.pipeline.run import run_recipe

CORPORA = {"gnomehelp": ("de", "en", "ru"), "tydiqa-ko": ("ko",), "xquad-hi": ("hi",)}
"""Corpora and their languages; many documents and titles, native questions, translated questions."""

EXTRACTS = (
    "queries.written=[]",
    "queries.generator=extractive",
    "queries.per_document=1",
    "scores.use=0.5",
    "scores.seed_bonus=0.5",
    "lists.documents=8",
    "lists.near=0",
    "lists.round_trip=10",
    "train.loss=margin-mse",
    "train.temperature=0.5",
    "train.learning_rate=2e-4",
    "train.lists_per_step=4",
    "train.passes=0",
)
"""How the demo learnt from extracts, which these benchmarks go on with."""

WEIGHTS = {"bm25": 1.0, "hybrid": 1.0}
"""Of the first stage's score beside each student's, the same for all."""


def recipe_for(out: Path, name: str, seed: int, steps: int, changes: Sequence[str]) -> Recipe:
    """The demo's recipe on one of the corpora below `out`, its teacher's scores of extracts, one student."""
    folder = out / "corpora" / name
    languages = json.dumps(list(CORPORA[name]))
    return read_recipe(
        Path("recipes/demo.yaml"),
        [
            f"name={name}",
            f"seed={seed}",
            f"corpus.target={folder}",
            *EXTRACTS,
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


def build_corpora(data: Path, out: Path, questions: int, documents: int) -> None:
    """Every set's documents in its languages and some of its questions, as BEIR folders below `out`.

    Args:
        data: Folder of the whole sets.
        out: Where to put the parts.
        questions: Of each set, the languages alike, drawn by hash.
        documents: Of each set, those that answer included and never left out.
    """
    for name, languages in CORPORA.items():
        _build_corpus(data / name, out / "corpora" / name, languages, questions, documents)


def _build_corpus(source: Path, folder: Path, languages: Sequence[str], questions: int, documents: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = {}
    for line in (source / "corpus.jsonl").open(encoding="utf-8"):
        row = json.loads(line)
        language = languages[0] if len(languages) == 1 else language_of_row(row)
        if language in languages:
            rows[row["_id"]] = {**row, "metadata": {"lang": language}}
    language_of = {doc_id: row["metadata"]["lang"] for doc_id, row in rows.items()}
    found, _ = read_questions(source / "queries.jsonl", source / "qrels" / "test.tsv", language_of)
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
    language_of = languages_of(questions)
    lists = read_json(folders["lists"] / "manifest.json")
    facts = {
        "variant": label,
        "seconds": time.monotonic() - start,
        "chosen_step": curve["chosen"],
        "agreement": curve["agreement"],
        "queries": read_json(folders["queries"] / "manifest.json")["counts"],
        "lists": lists["counts"] | {"by_split": lists["lists"]},
        "means": {name: macro_mean(own, language_of)["mean"] for name, own in values.items()},
    }
    print(label, recipe.name, recipe.seed, {k: round(v, 4) for k, v in facts["means"].items() if k[0] in "gub"})
    return values, questions, facts


def summarise(found: Mapping[tuple[str, int], Measured], default: str) -> dict[str, Any]:
    """Mean over corpora and seeds and spread over seeds, of each variant on each first stage.

    Beside them the paired differences to the untrained student and to the default, on questions whose figures are means
    over seeds.

    Args:
        found: By corpus and seed; every variant measured on all corpora, `default` with every seed.
        default: The variant beside which the untrained student was measured.
    """
    names = sorted({name for name, _ in found})
    summary: dict[str, Any] = {}
    for variant in dict.fromkeys(variant for of in found.values() for variant in of):
        seeds = sorted({seed for (_, seed), of in found.items() if variant in of})
        for sign in DEPLOYED.values():
            by_seed = [
                mean(found[name, seed][variant][2]["means"][f"general{sign}"] for name in names) for seed in seeds
            ]
            own = _over_seeds(found, variant, f"general{sign}", seeds)
            summary[f"{variant}{sign}"] = {
                "seeds": seeds,
                "mean": mean(by_seed),
                "stdev": stdev(by_seed) if len(seeds) > 1 else 0.0,
                "by_corpus": {
                    name: mean(found[name, seed][variant][2]["means"][f"general{sign}"] for seed in seeds)
                    for name in names
                },
                "over_untrained": compare_sets(own, _over_seeds(found, default, f"untrained{sign}", seeds)),
                "over_default": compare_sets(own, _over_seeds(found, default, f"general{sign}", seeds)),
            }
    return summary


def _over_seeds(found: Mapping[tuple[str, int], Measured], variant: str, system: str, seeds: Sequence[int]) -> Values:
    """A system's figures by corpus and question, means over seeds."""
    names = sorted({name for name, _ in found})
    return {name: mean_over_seeds(found[name, seed][variant][0][system] for seed in seeds) for name in names}


def untrained_means(found: Mapping[tuple[str, int], Measured], default: str) -> dict[str, float]:
    """Mean of the untrained student over corpora and seeds, by how it is used on a first stage."""
    return {
        sign: mean(of[default][2]["means"][f"untrained{sign}"] for of in found.values()) for sign in DEPLOYED.values()
    }


def table(summary: Mapping[str, Any], untrained: Mapping[str, float], beside: Mapping[str, str]) -> str:
    """A row per variant: alone on BM25's candidates and beside the hybrid.

    Args:
        summary: From `summarise`.
        untrained: From `untrained_means`.
        beside: Heading of what a variant is compared with -> its name in the summary.
    """
    compared = "".join(f" {heading} | p |" for heading in beside)
    columns = 2 + 2 * len(beside)
    lines = [
        f"| | on BM25 | ± |{compared} + hybrid | ± |{compared}",
        "|---|" + "---:|" * (2 * columns),
        f"| untrained | {untrained['@bm25']:.3f} |" + " |" * (columns - 1) + f" {untrained['+hybrid']:.3f} |"
        + " |" * (columns - 1),
    ]  # fmt: skip
    for variant in dict.fromkeys(name.rsplit("@")[0].rsplit("+")[0] for name in summary):
        cells = []
        for sign in DEPLOYED.values():
            entry = summary[f"{variant}{sign}"]
            spread = f"{entry['stdev']:.3f}" if len(entry["seeds"]) > 1 else ""
            cells += [f"{entry['mean']:.3f}", spread]
            for name in beside.values():
                cells += [f"{100 * entry[name]['difference']:+.1f}", f"{entry[name]['p_value']:.2g}"]
        lines.append(f"| {variant} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def write_choices(
    benchmark: str,
    at: str,
    found: Mapping[tuple[str, int], Measured],
    default: str,
    beside: Mapping[str, str],
    facts: Mapping[str, Any],
    more: str = "",
) -> None:
    """Write and show what was measured so far.

    Args:
        benchmark: Name of the results' files.
        at: The commit that was measured.
        found: See `summarise`.
        default: See `summarise`.
        beside: See `table`.
        facts: What else the results say.
        more: Text below the table.
    """
    summary, untrained = summarise(found, default), untrained_means(found, default)
    content = {
        **facts,
        "seeds": sorted({seed for _, seed in found}),
        "questions": {name: len(of[default][1]) for (name, _), of in found.items()},
        "untrained": untrained,
        "figures": summary,
        "runs": {f"{name}, seed {seed}": [one[2] for one in of.values()] for (name, seed), of in found.items()},
        "targets": [],
    }
    publish(benchmark, at, content, table(summary, untrained, beside) + more)
