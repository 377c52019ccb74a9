"""What a training is fed: batches of lists, endless, in an order that the seed decides, from a file of any size."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from tamis.artifacts import read_groups
from tamis.records import TrainingList


def endless_batches(
    file: Path, weight: Callable[[TrainingList], float], per_step: int, seed: int
) -> Iterator[list[TrainingList]]:
    """Batches of a training, pass after pass over a file of lists in no particular order.

    A pass takes the row groups of the file in a random order and the lists of each in a random order, so that one
    group is all that is in memory.

    Args:
        file: Parquet file of `TrainingList` records, in an order that mixes languages and sources.
        weight: Probability, 0 to 1, of a list to be learnt from in a pass; at least one must be above 0.
        per_step: Lists a batch.
        seed: Seed of every choice made here.
    """
    rng = np.random.default_rng(seed)
    batch: list[TrainingList] = []
    while True:
        for group in read_groups(file, TrainingList, rng):
            for place in rng.permutation(len(group)):
                one, chance = group[place], rng.random()
                if chance < weight(one):
                    batch.append(one)
                if len(batch) == per_step:
                    yield batch
                    batch = []


def language_weights(counts: dict[str, int], balance: float) -> dict[str, float]:
    """Probability of a list by its language, 1 for the language with the fewest.

    A language with n lists is drawn in proportion to n ** balance, as multilingual models choose their training text.

    Args:
        counts: Lists of each language, at least 1.
        balance: In [0, 1]: 1 leaves them as they come, 0 draws every language alike.

    Source: Conneau and Lample 2019 (arXiv 1901.07291), section 3.1.
    """
    raw = {language: count ** (balance - 1) for language, count in counts.items()}
    most = max(raw.values(), default=1.0)
    return {language: value / most for language, value in raw.items()}
