"""Where the published score is one half."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from tamis.formulas.calibration import balanced_level

LOGITS = st.lists(st.floats(-30, 30), min_size=1, max_size=20)


@given(LOGITS, LOGITS)
def test_both_sides_are_told_right_as_often(relevant: list[float], others: list[float]) -> None:
    level = balanced_level(relevant, others)
    right = expit(np.array(relevant) - level).mean()
    assert right == pytest.approx(1 - expit(np.array(others) - level).mean(), abs=1e-6)


@given(LOGITS, LOGITS, st.floats(-10, 10))
def test_the_level_moves_with_the_logits(relevant: list[float], others: list[float], shift: float) -> None:
    moved = balanced_level(np.array(relevant) + shift, np.array(others) + shift)
    assert moved == pytest.approx(balanced_level(relevant, others) + shift, abs=1e-6)


def test_many_others_count_as_much_as_one() -> None:
    assert balanced_level([2.0], [-2.0] * 50) == pytest.approx(0.0, abs=1e-9)


def test_a_side_without_documents_is_refused() -> None:
    with pytest.raises(ValueError, match="0 relevant logits and 1 others"):
        balanced_level([], [1.0])
