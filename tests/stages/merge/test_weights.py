"""What queries with a document of their own say of weights: by first stage, for any, for an order, by language."""

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from tamis.formulas.weights import steady_weight
from tamis.stages.merge.weights import (
    FOLDS,
    RerankedHead,
    WeightChoice,
    WeightSample,
    best_stage,
    choice_by_order,
    choice_by_scores,
    choose_weights,
    cross_fitted,
    deal_folds,
    sample_of,
    weight_of_order,
    weights_by_language,
)

CHOICES = (0.0, 0.25, 0.5, 1.0, 2.0)
DOCUMENTS = 12


def heads(
    seed: int, queries: int, model: float, engine: float, language: str = "de", prefix: str = ""
) -> list[RerankedHead]:
    """Heads whose model and first stage see the own document that many standard deviations above the others."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(queries):
        own = np.zeros(DOCUMENTS)
        own[rng.integers(DOCUMENTS)] = 1
        logits, first = (mean * own + rng.standard_normal(DOCUMENTS) for mean in (model, engine))
        order = np.argsort(-first)
        found.append(
            RerankedHead(f"{prefix}{language}{number}", language, 3 * logits[order] + 7, first[order], own[order])
        )
    return found


def test_each_weight_is_worth_the_ndcg_of_the_sum_of_z_scores():
    some = heads(0, 5, 1, 1)
    sample = sample_of(some, CHOICES)
    for number, head in enumerate(some):
        for weight, values in zip(CHOICES, sample.values, strict=True):
            summed = (head.logits - head.logits.mean()) / head.logits.std()
            summed = summed + weight * (head.first - head.first.mean()) / head.first.std()
            assert values[number] == pytest.approx(ndcg_score([head.own], [summed], k=10))


def test_a_head_without_the_own_document_is_worth_nothing_whatever_the_weight():
    (head,) = heads(0, 1, 1, 1)
    lost = head._replace(own=np.zeros(DOCUMENTS))
    assert not sample_of([lost], CHOICES).values.any()


def test_a_first_stage_that_sees_what_the_model_misses_gets_a_weight_and_so_does_its_order():
    good = {name: heads(seed, 150, 1.5, 1.5) for seed, name in enumerate(("bm25", "hybrid"))}
    found = choose_weights(good, CHOICES)
    assert list(found.general) == ["bm25", "hybrid", "other", "order"]
    assert min(found.general.values()) > 0
    for name, curve in found.curves.items():
        assert dict(curve)[found.general[name]] > dict(curve)[0.0]


def test_an_order_that_says_nothing_counts_nothing():
    blind = {name: heads(seed, 150, 2, 0) for seed, name in enumerate(("bm25", "hybrid"))}
    found = choose_weights(blind, CHOICES)
    assert found.general["order"] == 0.0
    assert max(found.general["other"], found.general["bm25"]) <= 0.25


@pytest.mark.parametrize("seed", range(8))
def test_an_order_that_counts_helps_the_best_first_stage_and_makes_none_worse_than_it_was(seed):
    samples = [sample_of(heads(seed, 150, 1, 3), CHOICES, True), sample_of(heads(seed + 50, 150, 1, 1), CHOICES, True)]
    weight = weight_of_order(samples)
    place = CHOICES.index(weight)
    best = best_stage(samples)
    assert best.itself.mean() == max(sample.itself.mean() for sample in samples)
    if weight:
        assert best.values[place].mean() > best.values[0].mean()
        for sample in samples:
            lost = sample.itself - sample.values[place]
            assert lost.mean() <= lost.std(ddof=1) / np.sqrt(lost.size)


def test_an_order_does_not_count_where_the_best_first_stage_would_do_better_without_the_model():
    better_alone = sample_of(heads(0, 200, 0, 3), CHOICES, True)
    assert better_alone.itself.mean() > better_alone.values.mean(axis=1).max()
    assert weight_of_order([better_alone]) == 0.0


def test_a_language_gets_a_weight_of_its_own_where_there_is_evidence_and_queries_enough():
    german, japanese = heads(0, 200, 2, 2), heads(1, 60, 3, -1, "ja")
    sample = sample_of([*german, *japanese], CHOICES)
    general = steady_weight(CHOICES, sample.values)
    found = weights_by_language(sample, general)
    assert general > 0
    assert found["ja"] == 0.0
    values = sample.with_weights(general, {"ja": 0.0})
    assert values.mean() > sample.values[CHOICES.index(general)].mean()
    assert np.array_equal(values[200:], sample.values[0, 200:])
    few = sample_of([*german, *japanese[:29]], CHOICES)
    assert "ja" not in weights_by_language(few, general)
    unknown = sample_of([*german, *(head._replace(language="und") for head in japanese)], CHOICES)
    assert "und" not in weights_by_language(unknown, general)


def test_a_languages_weight_for_any_first_stage_makes_none_of_them_worse():
    better, worse = sample_of(heads(0, 100, 1, 4), CHOICES), sample_of(heads(1, 100, 1, -1), CHOICES)
    assert weights_by_language(better, 0.0, [better, better])
    assert weights_by_language(better, 0.0, [better, worse]) == {}


def test_without_queries_nothing_is_said_of_orders_and_others():
    assert choose_weights({"bm25": [], "hybrid": []}, CHOICES).general == {"bm25": 1.0, "hybrid": 1.0}
    assert choose_weights({"bm25": []}, (0.0, 0.5)).general == {"bm25": 0.5}


KNOWN = {"bm25": 0.25, "order": 0.5, "other": 0.25, "elastic": 0.5}
"""Weights of a model before it is adapted."""


def test_what_a_model_knew_of_first_stages_stays_where_they_say_nothing():
    found = choose_weights({"bm25": heads(4, 60, 2.0, -1.0)}, CHOICES, KNOWN)
    assert found.general == KNOWN
    assert found.by_language == {}


def test_what_a_model_knew_of_first_stages_is_raised_where_that_surely_helps():
    found = choose_weights({"bm25": heads(4, 60, 0.0, 3.0)}, CHOICES, KNOWN)
    assert all(found.general[name] > KNOWN[name] for name in ("bm25", "order", "other"))
    assert found.general["elastic"] == KNOWN["elastic"]


@pytest.mark.parametrize("seed", range(8))
def test_a_weight_above_the_known_one_is_better_by_more_than_a_standard_error(seed):
    some = heads(seed, 60, 1.0, 1.0)
    weight = choose_weights({"bm25": some}, CHOICES, KNOWN).general["bm25"]
    sample = sample_of(some, CHOICES)
    gain = sample.values[CHOICES.index(weight)] - sample.values[CHOICES.index(KNOWN["bm25"])]
    assert weight == KNOWN["bm25"] or gain.mean() > gain.std(ddof=1) / np.sqrt(len(some))


def test_nothing_known_and_no_queries_leave_the_usual_weight():
    assert choose_weights({"bm25": []}, CHOICES, {"bm25": 0.25, "elastic": 0.5}).general == {
        "bm25": 0.25,
        "elastic": 0.5,
    }
    some = {"bm25": heads(1, 60, 1.0, 1.0)}
    assert (
        choose_weights(some, CHOICES, {})
        == choose_weights(some, CHOICES)
        == choose_weights(some, CHOICES, {"order": 0.0})
    )


def noise(seed: int, queries: int = 60) -> WeightSample:
    """Values of weights none of which is better than another."""
    rng = np.random.default_rng(seed)
    itself = rng.random(queries)
    values = itself + 0.2 * rng.standard_normal((len(CHOICES), queries))
    return WeightSample(CHOICES, tuple(f"q{n}" for n in range(queries)), ("de",) * queries, values, itself)


def best_mean(samples):
    (sample,) = samples
    return WeightChoice(sample.weights[int(sample.values.mean(axis=1).argmax())], {})


@pytest.mark.parametrize("choose", [choice_by_scores, best_mean])
def test_each_query_counts_with_the_weight_that_all_queries_of_other_folds_choose(choose):
    sample = sample_of([*heads(0, 40, 1, 2), *heads(1, 20, 3, -1, "ja")], CHOICES)
    fold_of = deal_folds({query_id: query_id for query_id in sample.query_ids})
    (found,) = cross_fitted([sample], choose, fold_of)
    for number, query_id in enumerate(sample.query_ids):
        others = [i for i, other in enumerate(sample.query_ids) if fold_of[other] != fold_of[query_id]]
        languages = tuple(sample.languages[i] for i in others)
        rest = WeightSample(
            CHOICES, tuple(map(str, others)), languages, sample.values[:, others], sample.itself[others]
        )
        choice = choose([rest])
        weight = choice.by_language.get(sample.languages[number], choice.general)
        assert found[number] == sample.values[CHOICES.index(weight), number]


def test_the_gain_of_a_choice_is_none_where_noise_alone_chose():
    chosen, crossed = [], []
    for seed in range(60):
        sample = noise(seed)
        fold_of = deal_folds({query_id: query_id for query_id in sample.query_ids})
        alone = sample.values[0].mean()
        chosen.append(sample.with_weights(best_mean([sample]).general, {}).mean() - alone)
        crossed.append(cross_fitted([sample], best_mean, fold_of)[0].mean() - alone)
    error = np.std(crossed, ddof=1) / np.sqrt(len(crossed))
    assert np.mean(crossed) == pytest.approx(0, abs=3 * error)
    assert np.mean(chosen) > 5 * error


def test_an_order_is_chosen_by_all_first_stages_and_measured_on_each():
    samples = [sample_of(heads(seed, 150, 1.5, 1.5), CHOICES, True) for seed in (0, 50)]
    fold_of = deal_folds({query_id: query_id for query_id in samples[0].query_ids})
    found = cross_fitted(samples, choice_by_order, fold_of)
    assert choice_by_order(samples).general > 0
    for sample, values in zip(samples, found, strict=True):
        assert values.mean() > sample.values[0].mean()


@pytest.mark.parametrize("choose", [choice_by_scores, choice_by_order])
def test_queries_that_share_one_document_say_nothing_of_each_other(choose):
    sample = sample_of(heads(0, 40, 0, 3), CHOICES)
    (found,) = cross_fitted([sample], choose, deal_folds(dict.fromkeys(sample.query_ids, "one")))
    without_evidence = 1.0 if choose is choice_by_scores else 0.0
    assert found.tolist() == sample.values[CHOICES.index(without_evidence)].tolist()


@pytest.mark.parametrize("groups", [1, 4, 5, 23])
def test_folds_hold_whole_groups_and_about_as_many_of_them(groups):
    group_of = {f"q{n}": f"d{n % groups}" for n in range(100)}
    fold_of = deal_folds(group_of)
    by_group = {group: {fold_of[q] for q, of in group_of.items() if of == group} for group in group_of.values()}
    assert all(len(folds) == 1 for folds in by_group.values())
    sizes = np.bincount([*(next(iter(folds)) for folds in by_group.values())], minlength=FOLDS)
    assert sizes.max() - sizes.min() <= 1
    assert deal_folds(dict(reversed(group_of.items()))) == fold_of
