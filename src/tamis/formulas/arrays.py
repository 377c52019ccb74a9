"""Kinds of arrays, by what they hold; a docstring says the shape."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
"""Scores, labels, figures."""

VectorArray = NDArray[np.float32]
"""Embeddings, and what is computed with them in their own precision."""

IndexArray = NDArray[np.int64]
"""Places in another array."""
