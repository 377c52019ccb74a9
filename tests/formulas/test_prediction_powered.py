import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, t, ttest_1samp

from tamis.formulas.prediction_powered import (
    FOLLOWED,
    MeanInterval,
    expected_half_width,
    mean_interval,
    ordinary_change,
    powered_interval,
    questions_to_decide,
    tuned_weight,
)

DIFFERENCES = st.lists(st.floats(-1, 1), min_size=5, max_size=40)


def sample(rng, questions, noise):
    """A person's differences, and those of a model that is off by noise and by a constant."""
    person = rng.choice([-1, -0.4, 0, 0, 0, 0.3, 0.6, 1], questions) * rng.uniform(0.5, 1, questions)
    return person, 0.8 * person + 0.1 + rng.normal(0, noise, questions)


@given(DIFFERENCES, st.sampled_from([0.8, 0.95]))
def test_the_person_alone_has_students_interval_of_one_more_changed_question(differences, level):
    values = np.array(differences)
    changed = values[values != 0]
    mean, ordinary = values.mean(), np.sqrt((changed**2).mean()) if changed.size else 0.0
    found = mean_interval(values, level)
    # Each question twice, and one that rises and one that falls beside the mean: half a question each.
    doubled = np.concatenate([values, values, [mean + ordinary, mean - ordinary]])
    error = np.sqrt(((doubled - mean) ** 2).sum() / 2 / (values.size - 1) / values.size)
    assert found.mean == pytest.approx(mean)
    assert (found.lower, found.upper) == pytest.approx(t.interval(level, values.size - 1, mean, error or 1e-300))


def test_of_many_changed_questions_the_interval_is_scipys():
    values = np.random.default_rng(1).normal(0.02, 0.3, 5000)
    found, expected = mean_interval(values), ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.lower, found.upper) == pytest.approx(tuple(expected), abs=1e-5)


def test_of_rare_changes_the_guard_keeps_the_coverage():
    rng = np.random.default_rng(2)
    drawn = rng.choice([0, 0.5, -0.4], (4000, 30), p=[0.8, 0.12, 0.08])
    found = [mean_interval(sample) for sample in drawn]
    held = np.mean([one.lower <= 0.028 <= one.upper for one in found])
    assert held == pytest.approx(0.95, abs=0.02)


# What ppi-python 0.2.3 makes of these: ppi_mean_pointestimate and ppi_mean_ci(alpha=0.05), weight as it tunes it.
PERSON = [0.0, 0.5, -0.1, 0.0, 0.3, 0.0, 0.7, -0.4, 0.2, 0.0, 0.1, 0.6]
MODEL = [0.1, 0.4, 0.0, 0.0, 0.2, -0.1, 0.5, -0.2, 0.3, 0.0, 0.0, 0.4]
OTHERS = [0.0, 0.2, 0.1, -0.3, 0.4, 0.0, 0.0, 0.6, 0.1, 0.2, -0.1, 0.0, 0.5, 0.3, 0.0, 0.2, -0.2, 0.1, 0.0, 0.4]
ESTIMATE, ENDS = 0.15191666, (0.03507792, 0.26875541)


def test_the_estimate_is_that_of_ppi_python_and_the_interval_as_much_wider_as_few_questions_ask_for():
    found = powered_interval(np.array(PERSON), np.array(MODEL), np.array(OTHERS))
    assert found.mean == pytest.approx(ESTIMATE, abs=1e-7)
    # Theirs is for many questions: a normal quantile, and variances that divide by n.
    guard = (1 - FOLLOWED * found.weight) * ordinary_change(np.array(PERSON))
    more = 1 + guard / (12 * np.var(np.array(PERSON) - found.weight * np.array(MODEL)))
    wider = t.ppf(0.975, 10) / norm.ppf(0.975) * math.sqrt(12 / 10 * more)
    assert 1 < (found.upper - found.lower) / (ENDS[1] - ENDS[0]) <= wider


def test_the_weight_is_the_one_that_makes_the_variance_least():
    person, model = sample(np.random.default_rng(4), 200, 0.3)
    others = sample(np.random.default_rng(5), 900, 0.3)[1]
    pooled = np.concatenate([model, others]).var(ddof=1)
    covariance = np.cov(person, model, ddof=0)[0, 1]

    def variance(weight):  # of the estimate, up to what does not depend on the weight
        return (weight**2 * pooled - 2 * weight * covariance) / 200 + weight**2 * pooled / 900

    weights = np.linspace(0, 1, 10_001)
    assert tuned_weight(person, model, others) == pytest.approx(weights[np.argmin(variance(weights))], abs=1e-3)


@given(DIFFERENCES, st.integers(0, 1000))
def test_a_model_that_says_nothing_leaves_the_persons_interval(differences, seed):
    person = np.array(differences)
    silent = powered_interval(person, np.zeros(person.size), np.zeros(50))
    against = powered_interval(person, -person, np.random.default_rng(seed).normal(0, 1, 50))
    assert silent == against == mean_interval(person)
    assert powered_interval(person, person, np.zeros(1)) == mean_interval(person)


def test_a_perfect_model_is_followed_and_its_other_questions_decide():
    rng = np.random.default_rng(6)
    person, others = rng.normal(0.1, 0.3, 30), rng.normal(0.1, 0.3, 3000)
    found, alone = powered_interval(person, person, others), mean_interval(person)
    assert found.weight == pytest.approx(1 / (1 + 30 / 3000), abs=0.02)
    assert found.upper - found.lower < 0.25 * (alone.upper - alone.lower)


def test_no_constant_error_of_the_model_moves_the_estimate():
    person, model = sample(np.random.default_rng(7), 30, 0.2)
    others = sample(np.random.default_rng(8), 100, 0.2)[1]
    found, moved = powered_interval(person, model, others), powered_interval(person, model + 5, others + 5)
    assert tuple(moved) == pytest.approx(tuple(found))


@pytest.mark.parametrize("noise", [0.05, 0.4, 3.0])
def test_the_interval_holds_the_truth_as_often_as_it_says_and_is_narrower_with_a_good_model(noise):
    rng = np.random.default_rng(9)
    person, model = sample(rng, 4000, noise)
    truth, held, widths = person.mean(), 0, []
    for _ in range(1500):
        own, others = rng.integers(0, 4000, 30), rng.integers(0, 4000, 200)
        found, alone = powered_interval(person[own], model[own], model[others]), mean_interval(person[own])
        held += found.lower <= truth <= found.upper
        widths.append((found.upper - found.lower) / (alone.upper - alone.lower))
    assert 0.93 <= held / 1500 <= 0.985  # a model that is nearly right is guarded against more than it needs
    assert np.mean(widths) < {0.05: 0.6, 0.4: 0.9, 3.0: 1.03}[noise]


def test_the_width_that_is_expected_is_the_one_that_comes():
    rng = np.random.default_rng(10)
    shared = rng.normal(0, 1, 100_000)
    person = 0.25 * (0.8 * shared + 0.6 * rng.normal(0, 1, 100_000))
    widths = []
    for _ in range(300):
        own, others = rng.integers(0, 100_000, 50), rng.integers(0, 100_000, 300)
        found = powered_interval(person[own], shared[own], shared[others])
        widths.append((found.upper - found.lower) / 2)
    assert np.mean(widths) == pytest.approx(expected_half_width(50, 0.25, 300, 0.8), rel=0.06)
    assert expected_half_width(50, 0.25) == pytest.approx(2.0096 * 0.25 / math.sqrt(50), rel=1e-4)


def test_questions_are_asked_until_the_interval_tells_a_gain_from_none():
    worth = 0.03
    assert questions_to_decide(MeanInterval(0.05, 0.01, 0.09), 30, worth) == 0
    assert questions_to_decide(MeanInterval(0.0, -0.02, 0.02), 30, worth) == 0
    # Half the width is .06; .02 from zero, .01 from the gain: at 9 times the questions it is .02 and excludes 0.
    assert questions_to_decide(MeanInterval(0.02, -0.04, 0.08), 30, worth) == 240
    assert questions_to_decide(MeanInterval(0.015, -0.0001, 0.0301), 30, worth) == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (([0.1] * 3, [0.1] * 3, [0.1] * 9), "person: expected at least 4 finite numbers, got 3"),
        (([0.1] * 5, [0.1] * 4, [0.1] * 9), "person has 5 differences, model 4"),
        (([0.1] * 5, [math.nan] * 5, [0.1] * 9), "model: expected at least 4 finite numbers"),
        (([0, 1, 0, 1], [0, 1, 0, 1], [0, 1], 1.0), "level is 1.0"),
    ],
)
def test_what_cannot_be_estimated_is_told(arguments, told):
    with pytest.raises(ValueError, match=told):
        powered_interval(*arguments)


def test_a_plan_needs_numbers_in_their_ranges():
    with pytest.raises(ValueError, match=r"correlation 1\.2"):
        expected_half_width(30, 0.2, 100, 1.2)
