import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap, permutation_test, ttest_1samp

from tamis.formulas import significance
from tamis.formulas.significance import (
    bootstrap_interval,
    effect_interval,
    effect_size,
    holm,
    paired_comparison,
    paired_randomisation,
)

P_VALUES = st.lists(st.floats(0, 1), max_size=12)


@pytest.mark.parametrize("shift", [0.0, 0.3, 0.8])
def test_the_p_value_is_the_one_of_the_exact_permutation_test_of_scipy(shift):
    differences = np.random.default_rng(1).normal(shift, 1, size=11)
    exact = permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=math.inf)
    assert paired_randomisation(differences, np.random.default_rng(2), 20_000) == pytest.approx(exact.pvalue, abs=0.015)


def test_flips_that_reach_the_observed_mean_only_but_for_rounding_are_counted():
    differences = np.array([0.1, 0.2, 0.3, 0.1, 0.0, 0.7])
    flips = itertools.product((-1, 1), repeat=6)
    exact = np.mean([abs(np.dot(flip, differences * 10).round()) >= 14 for flip in flips])
    assert paired_randomisation(differences, np.random.default_rng(0), 20_000) == pytest.approx(exact, abs=0.01)


def test_the_p_value_is_never_zero_and_one_without_differences():
    rng = np.random.default_rng(0)
    assert paired_randomisation(np.ones(500), rng, 99) == 1 / 100
    assert paired_randomisation(np.zeros(5), rng, 99) == 1


def test_the_p_value_does_not_depend_on_the_sign_or_the_scale():
    differences = np.random.default_rng(1).normal(0.4, 1, size=30)
    values = [paired_randomisation(each, np.random.default_rng(3), 2000) for each in (differences, -5 * differences)]
    assert values[0] == values[1]


def test_memory_is_bounded_by_the_block_and_the_result_is_not(monkeypatch):
    differences = np.random.default_rng(1).normal(0.4, 1, size=30)
    whole = paired_randomisation(differences, np.random.default_rng(3), 4000)
    monkeypatch.setattr(significance, "BLOCK_NUMBERS", 100)
    assert paired_randomisation(differences, np.random.default_rng(3), 4000) == pytest.approx(whole, abs=0.02)
    assert bootstrap_interval(np.ones(1000), np.random.default_rng(0), rounds=7) == (1.0, 1.0)


def test_holm_on_the_example_worked_out_by_hand():
    # Sorted .005 .01 .03 .04 times 4 3 2 1: .02 .03 .06 .04, and none below the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


@given(p_values=P_VALUES)
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values):
    adjusted = holm(p_values)
    for level in (0.01, 0.05, 0.2):
        rejected = set()
        for step, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
            if p_values[index] * (len(p_values) - step) > level:
                break
            rejected.add(index)
        assert {i for i, value in enumerate(adjusted) if value <= level} == rejected


@given(p_values=P_VALUES)
def test_holm_keeps_the_order_and_never_lowers_a_p_value(p_values):
    adjusted = holm(p_values)
    assert len(adjusted) == len(p_values)
    assert all(raw <= value <= 1 for raw, value in zip(p_values, adjusted, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()


@pytest.mark.parametrize("wrong", [-0.1, 1.5, math.nan])
def test_holm_refuses_what_is_no_p_value(wrong):
    with pytest.raises(ValueError, match="expected numbers from 0 to 1"):
        holm([0.5, wrong])


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_the_interval_is_the_percentile_interval_of_scipy(level):
    differences = np.random.default_rng(1).exponential(size=40)
    ours = bootstrap_interval(differences, np.random.default_rng(2), level)
    reference = bootstrap(
        (differences,), np.mean, confidence_level=level, n_resamples=10_000, method="percentile", rng=3
    ).confidence_interval
    assert ours == pytest.approx((reference.low, reference.high), abs=0.02)


def test_the_interval_is_repeatable_and_holds_the_mean():
    differences = np.random.default_rng(1).normal(size=25)
    first, second = (bootstrap_interval(differences, np.random.default_rng(5), rounds=500) for _ in range(2))
    assert first == second
    assert first[0] < differences.mean() < first[1]


@pytest.mark.parametrize("differences", [[], [0.1, math.nan]])
def test_differences_that_cannot_be_tested_are_refused(differences):
    for test in (paired_randomisation, bootstrap_interval):
        with pytest.raises(ValueError, match="expected at least one difference and only finite ones"):
            test(np.array(differences), np.random.default_rng(0))


def test_rounds_and_level_are_checked():
    with pytest.raises(ValueError, match="rounds is 0, expected at least 1"):
        paired_randomisation(np.ones(2), np.random.default_rng(0), 0)
    with pytest.raises(ValueError, match=r"level is 95, expected a number between 0 and 1"):
        bootstrap_interval(np.ones(2), np.random.default_rng(0), level=95)


# Effect sizes


@pytest.mark.parametrize("shift", [0.0, 0.5, -2.0])
def test_the_effect_size_is_the_t_statistic_without_the_number_of_queries(shift):
    differences = np.random.default_rng(1).normal(shift, 1.5, size=40)
    assert effect_size(differences) == pytest.approx(ttest_1samp(differences, 0).statistic / math.sqrt(40))
    assert effect_size(100 * differences) == pytest.approx(effect_size(differences))


def test_the_interval_of_the_effect_is_that_of_scipys_bootstrap():
    differences = np.random.default_rng(1).normal(0.4, 1, size=60)
    theirs = bootstrap(
        (differences,), lambda x, axis: x.mean(axis) / x.std(axis, ddof=1), method="percentile", rng=5
    ).confidence_interval
    assert effect_interval(differences, np.random.default_rng(0)) == pytest.approx(tuple(theirs), abs=0.03)


def test_effects_of_constant_differences():
    assert effect_size(np.zeros(4)) == 0
    assert effect_size(np.full(7, 0.1)) == math.inf
    assert effect_interval(np.full(7, -0.1), np.random.default_rng(0)) == (-math.inf, -math.inf)
    assert effect_size(np.array([0.5])) == math.inf


def test_a_comparison_counts_every_query_once_and_says_no_number_where_there_is_none():
    differences = np.array([0.5, 0.5, 0.5, 0.5])
    groups = {"a": np.array([True, False, False, True]), "b": np.array([False, True, True, False])}
    found = paired_comparison(differences, np.ones(4), groups, np.random.default_rng(0), 1000)
    assert (found["wins"], found["ties"], found["losses"]) == (4, 0, 0)
    assert (found["effect_size"], found["effect_interval"]) == (None, [None, None])
    # All signs alike: two of the sixteen ways to flip four, and twice one half by Holm in the groups of two.
    assert found["p_value"] == pytest.approx(2 / 16, abs=0.03)
    assert {name: group["difference"] for name, group in found["groups"].items()} == {"a": 0.5, "b": 0.5}
    assert all(group["p_holm"] == pytest.approx(1.0, abs=0.1) for group in found["groups"].values())


def test_the_intervals_of_groups_are_scipys_bootstrap():
    differences = np.random.default_rng(1).normal(0.1, 0.2, size=80)
    groups = {"a": np.arange(80) < 50, "b": np.arange(80) >= 50}
    found = paired_comparison(differences, np.ones(80), groups, np.random.default_rng(0), 500)
    for name, mask in groups.items():
        theirs = bootstrap((differences[mask],), np.mean, method="percentile", rng=5).confidence_interval
        assert found["groups"][name]["interval"] == pytest.approx(list(theirs), abs=0.01)
