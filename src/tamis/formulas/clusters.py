"""Which documents say the same: translations, near twins and close neighbours, by their vectors."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tamis.formulas.arrays import VectorArray


def directions(vectors: VectorArray, groups: Sequence[str], means: Mapping[str, VectorArray]) -> VectorArray:
    """Directions of vectors once what their group has in common is taken off.

    Texts of one language share a direction in the vectors of multilingual bi-encoders. With the mean of each language
    taken off, translations lie near each other and unrelated texts near 0, whatever the bi-encoder (docs/log.md).

    Args:
        vectors: [n, hidden].
        groups: Language of each text, [n].
        means: Mean vector of each group, [hidden]; of a sample, where groups are large.

    Returns:
        float32 [n, hidden] of norm 1; zeros where nothing is left, as of a text that is alone in its language, and
        where the group has no mean.
    """
    found = np.stack([v - means.get(group, v) for v, group in zip(vectors, groups, strict=True)]).astype(np.float32)
    norms = np.linalg.norm(found, axis=1, keepdims=True)
    unit: VectorArray = np.divide(found, norms, out=np.zeros_like(found), where=norms > 1e-6)
    return unit


def clusters(vectors: VectorArray, similarity: float) -> NDArray[np.int64]:
    """Group vectors in one pass: each joins the cluster with the nearest mean direction, or begins one.

    Leader clustering (Hartigan 1975) with the mean of a cluster as its leader: no chain of neighbours can tie all
    together, and nothing but the vectors and their order decides.

    Args:
        vectors: [n, hidden] of norm 1, or zeros for what is alone; the order counts.
        similarity: Cosine from which a vector joins, above 0 and at most 1.

    Returns:
        Number of the cluster of each vector, [n], counted from 0 in the order in which clusters begin.
    """
    sums = np.zeros_like(vectors)
    norms = np.ones(len(vectors), dtype=np.float32)
    labels = np.zeros(len(vectors), dtype=np.int64)
    count = 0
    for row, vector in enumerate(vectors):
        cosines = (sums[:count] @ vector) / norms[:count]
        nearest = int(cosines.argmax()) if count else -1
        if nearest < 0 or cosines[nearest] < similarity:
            nearest, count = count, count + 1
        sums[nearest] += vector
        norms[nearest] = max(float(np.linalg.norm(sums[nearest])), 1e-6)
        labels[row] = nearest
    return labels
