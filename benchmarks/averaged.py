"""Several adapted students as one, by the mean of their weights: called by `benchmarks/recipe.py`.

Students that start from one model and learn the same from other draws may be averaged weight by weight and rank better
than each (Wortsman et al. 2022, arXiv 2203.05482). Measured beside the mean figure of the students themselves.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from adapted_runs import PLACES, Measured, stage_folders
from judged import compare_means, in_points, judged, languages_of, macro_mean, mean_over_seeds
from tamis.pipeline.recipe import Recipe

WEIGHTS = {"bm25": 1.0, "hybrid": 1.0, "order": 0.75}
"""Of the first stages beside every student: those of tamis-base but for BM25."""


def measure_average(runs: Sequence[Measured], recipe: Recipe, root: Path) -> dict[str, Any]:
    """The specialists of several seeds as one, in each place where a student is used.

    Args:
        runs: One a seed.
        recipe: Of any of them.
        root: The run folder that they share.
    """
    folders = [stage_folders(root, one.facts["stages"]) for one in runs]
    trained = [load_file(of["train"] / "corpus.safetensors") for of in folders]
    together = {name: torch.stack([one[name] for one in trained]).mean(0) for name in trained[0]}
    with judged(recipe, root, folders[-1]) as run:
        values = run.of("averaged", together, WEIGHTS)
        each = [run.of("one", tensors, WEIGHTS) for tensors in trained]
        language = languages_of(run.questions)
    found: dict[str, Any] = {"students": len(trained), "seeds": [one.facts["seed"] for one in runs]}
    for place, (way, _) in PLACES.items():
        ours, theirs = values[f"averaged{way}"], mean_over_seeds(one[f"one{way}"] for one in each)
        found[place] = {
            "mean of each": macro_mean(theirs, language)["mean"],
            "averaged": macro_mean(ours, language)["mean"],
            **in_points(compare_means(ours, theirs, language)),
        }
    return found


def averaged_table(found: Mapping[str, Any]) -> list[str]:
    """Lines of a Markdown table, a row for each place; none where nothing was measured."""
    if not found:
        return []
    lines = [f"| {found['students']} students | mean of each | as one | difference | p |", "|---|---:|---:|---:|---:|"]
    for place in PLACES:
        of = found[place]
        cells = (f"{of['mean of each']:.3f}", f"{of['averaged']:.3f}", f"{of['points']:+.2f}", f"{of['p_value']:.2g}")
        lines.append(f"| {place} | " + " | ".join(cells) + " |")
    return ["", *lines]
