"""Agreement against published examples and scikit-learn."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from tamis.formulas.agreement import cohen_kappa, krippendorff_alpha

NONE = math.nan
# Krippendorff 2011, section C: four observers, twelve units, five values, with gaps.
PUBLISHED = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NONE, NONE, NONE],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NONE, 3],
        [NONE, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NONE],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NONE],
    ]
)


@pytest.mark.parametrize(("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_of_the_published_example(level, alpha):
    assert krippendorff_alpha(PUBLISHED, level) == pytest.approx(alpha, abs=5e-4)


def test_alpha_of_two_raters_and_two_values_worked_out_by_hand():
    # Krippendorff 2011, section A: ten units, six agreements: 14 zeros, 6 ones; 1 - 19 * 8 / (2 * 14 * 6) = .095.
    ratings = np.array([[0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]], dtype=float)
    assert krippendorff_alpha(ratings, "nominal") == pytest.approx(0.0952, abs=5e-5)
    # With two values every level says the same.
    assert krippendorff_alpha(ratings, "ordinal") == pytest.approx(krippendorff_alpha(ratings, "nominal"))


def test_alpha_knows_no_order_of_raters_or_units_and_is_one_where_all_agree():
    rng = np.random.default_rng(0)
    shuffled = PUBLISHED[rng.permutation(4)][:, rng.permutation(12)]
    assert krippendorff_alpha(PUBLISHED) == krippendorff_alpha(PUBLISHED, "ordinal")
    assert krippendorff_alpha(shuffled) == pytest.approx(krippendorff_alpha(PUBLISHED))
    assert krippendorff_alpha(np.array([[0.0, 1, 2], [0, 1, 2]])) == 1
    assert math.isnan(krippendorff_alpha(np.array([[1.0, 1], [1, 1]])))
    assert math.isnan(krippendorff_alpha(np.array([[0.0, NONE], [NONE, 1]])))


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40), st.booleans())
def test_kappa_is_that_of_scikit_learn(pairs, weighted):
    a, b = (np.array(side) for side in zip(*pairs, strict=True))
    ours = cohen_kappa(a, b, weighted)
    if len({*a, *b}) < 2:
        assert math.isnan(ours)
        return
    theirs = cohen_kappa_score(a, b, weights="quadratic" if weighted else None)
    assert ours == pytest.approx(theirs, abs=1e-12)


def test_kappa_of_cohens_own_kind_of_table():
    # 20 both yes, 5 and 10 apart, 15 both no: (.7 - .5) / (1 - .5) = .4
    a = np.repeat([1, 1, 0, 0], [20, 5, 10, 15])
    b = np.repeat([1, 0, 1, 0], [20, 5, 10, 15])
    assert cohen_kappa(a, b) == pytest.approx(0.4)
    with pytest.raises(ValueError, match="3 grades and 2 others"):
        cohen_kappa(np.arange(3), np.arange(2))
