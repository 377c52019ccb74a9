import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from tamis.formulas.slerp import merge_state_dicts
from tamis.stages.merge.merge import between, judgements, mean_agreements, merge_specialists, refuse
from tamis.stages.merge.settings import MergeSettings
from tamis.stages.merge.stage import left_out_specialists

DOMAINS = ("east", "north", "south", "west")


def tensors(*numbers):
    return {"weight": torch.tensor(numbers, dtype=torch.float32)}


class NearnessJudge:
    """Agreement by domain: how near the weights are to what would be best for that domain. Counts its calls."""

    def __init__(self, best):
        self.best = best
        self.calls = 0

    def __call__(self, given):
        self.calls += 1
        return {d: np.array([1 / (1 + float((given["weight"] - best).norm()))]) for d, best in self.best.items()}


def random_case(seed, count):
    """Specialists on their way from a parent to what is best for their domain, the parent, what it was before its
    training, and a judge who knows what is best."""
    generator = torch.Generator().manual_seed(seed)
    parent = torch.randn(6, generator=generator)
    best = {domain: parent + torch.randn(6, generator=generator) for domain in DOMAINS[:count]}
    specialists = {
        domain: {"weight": parent + 0.8 * (target - parent) + 0.1 * torch.randn(6, generator=generator)}
        for domain, target in best.items()
    }
    untrained = parent + torch.randn(6, generator=generator)
    return specialists, {"weight": parent}, {"weight": untrained}, NearnessJudge(best)


def mean(agreement):
    return math.fsum(agreement.values()) / len(agreement)


CASES = {
    "seed": st.integers(0, 10_000),
    "count": st.integers(1, 4),
    "tolerance": st.sampled_from([0.0, 0.005, 0.05, 0.3, 1.0]),
    "on": st.sampled_from(["differences", "weights"]),
    "refine": st.integers(0, 2),
}


def run(case, progress=lambda _: None, **chosen):
    return merge_specialists(*case, MergeSettings(**chosen), progress)


@given(**CASES)
@settings(max_examples=60)
def test_no_accepted_step_costs_a_domain_more_than_the_tolerance(seed, count, tolerance, on, refine):
    case = random_case(seed, count)
    _, path = run(case, tolerance=tolerance, on=on, refine=refine)
    standing = {(name,): found for name, found in path.agreement.items()}
    for step in path.steps:
        bounds = [standing[step.merged], path.agreement[step.other], path.agreement["untrained"]]
        fall = max(bound[domain] - step.agreement[domain] for bound in bounds for domain in step.agreement)
        assert (fall > tolerance) == bool(step.reason)
        if step.accepted:
            assert not step.reason
            standing[*step.merged, step.other] = step.agreement


@given(**CASES)
@settings(max_examples=60)
def test_the_result_is_in_mean_no_worse_than_any_single_model_or_accepted_step(seed, count, tolerance, on, refine):
    case = random_case(seed, count)
    model, path = run(case, tolerance=tolerance, on=on, refine=refine)
    judge = case[-1]
    assert mean_agreements(judge(model)) == path.agreement["merged"]
    others = [*path.agreement.values(), *(step.agreement for step in path.steps if step.accepted)]
    assert mean(path.agreement["merged"]) == max(map(mean, others))


@given(**CASES)
@settings(max_examples=60)
def test_the_path_can_be_walked_again_from_its_record(seed, count, tolerance, on, refine):
    specialists, parent, untrained, _ = case = random_case(seed, count)
    model, path = run(case, tolerance=tolerance, on=on, refine=refine)
    singles = {**specialists, "general": parent, "untrained": untrained}
    if len(path.order) == 1:
        assert torch.equal(model["weight"], singles[path.order[0]]["weight"])
        return
    accepted = [step for step in path.steps if step.accepted][: len(path.order) - 1]
    assert path.order == [accepted[0].merged[0], *(step.other for step in accepted)]
    walked = specialists[path.order[0]]
    for step in accepted:
        walked, _ = merge_state_dicts(walked, specialists[step.other], step.t, parent if on == "differences" else None)
    assert torch.equal(walked["weight"], model["weight"])


@given(**CASES)
@settings(max_examples=60)
def test_each_round_goes_from_coarse_to_fine_and_takes_the_best_admissible(seed, count, tolerance, on, refine):
    specialists, *_ = case = random_case(seed, count)
    _, path = run(case, tolerance=tolerance, on=on, refine=refine)
    coarse = MergeSettings().t
    merged = (max(specialists, key=lambda name: mean(path.agreement[name])),)
    steps = list(path.steps)

    def promise(step):
        return not step.reason, mean(step.agreement)

    while len(merged) < len(specialists):
        left = [name for name in specialists if name not in merged]
        tried, steps = steps[: len(left) * len(coarse)], steps[len(left) * len(coarse) :]
        assert {(step.other, step.t) for step in tried} == {(name, t) for name in left for t in coarse}
        for _ in range(refine):
            best = max(tried, key=promise)
            wanted = between(best.t, [step.t for step in tried if step.other == best.other])
            finer, steps = steps[: len(wanted)], steps[len(wanted) :]
            assert [(step.other, step.t) for step in finer] == [(best.other, t) for t in wanted]
            tried += finer
        assert {step.merged for step in tried} == {merged}
        accepted = [step for step in tried if step.accepted]
        if not any(not step.reason for step in tried):
            assert accepted == []
            break
        assert accepted == [max(tried, key=promise)]
        merged = (*merged, accepted[0].other)
    assert steps == []


@given(**CASES, order=st.permutations(range(4)))
@settings(max_examples=60)
def test_names_and_their_order_change_nothing(seed, count, tolerance, on, refine, order):
    specialists, parent, untrained, judge = case = random_case(seed, count)
    model, path = run(case, tolerance=tolerance, on=on, refine=refine)
    new = {old: f"name {order[number]}" for number, old in enumerate(specialists)}
    turned = {new[old]: specialists[old] for old in sorted(specialists, key=new.get)}
    again, other = run((turned, parent, untrained, judge), tolerance=tolerance, on=on, refine=refine)
    assert torch.equal(again["weight"], model["weight"])
    assert other.order == [new.get(name, name) for name in path.order]


@given(**CASES)
@settings(max_examples=60)
def test_every_judged_model_is_told_and_there_are_never_more_than_announced(seed, count, tolerance, on, refine):
    case = random_case(seed, count)
    told = []
    _, path = run(case, told.append, tolerance=tolerance, on=on, refine=refine)
    announced = judgements(count, len(MergeSettings().t), refine)
    assert sum(told) == case[-1].calls == 2 + count + len(path.steps) <= announced
    if sum(step.accepted for step in path.steps) == count - 1:
        assert sum(told) == announced


@given(**CASES)
@settings(max_examples=60)
def test_the_curves_hold_every_step_between_its_two_parents(seed, count, tolerance, on, refine):
    case = random_case(seed, count)
    _, path = run(case, tolerance=tolerance, on=on, refine=refine)
    curves = path.curves()
    assert sum(point.outcome != "parent" for curve in curves for point in curve.points) == len(path.steps)
    for merged, other, points in curves:
        assert [point.t for point in points] == sorted({point.t for point in points})
        assert (points[0].t, points[-1].t) == (0.0, 1.0)
        assert points[-1].agreement == path.agreement[other]
        own = {step.t: step for step in path.steps if (step.merged, step.other) == (merged, other)}
        for point in points[1:-1]:
            assert point.agreement == own[point.t].agreement
            assert (point.outcome == "accepted") == own[point.t].accepted
            assert (point.outcome == "refused") == bool(own[point.t].reason)
    for earlier, later in zip(path.steps, path.steps[1:], strict=False):
        if len(later.merged) > len(earlier.merged):
            start = next(curve.points[0] for curve in curves if curve.merged == later.merged)
            assert [
                step.agreement for step in path.steps if (*step.merged, step.other) == later.merged and step.accepted
            ] == [start.agreement]


@given(best=st.integers(0, 10), known=st.sets(st.integers(0, 10)))
def test_finer_values_lie_halfway_to_the_neighbours(best, known):
    values = [number / 10 for number in {*known, best}]
    found = between(best / 10, values)
    everything = sorted({0.0, 1.0, *values})
    place = everything.index(best / 10)
    neighbours = [everything[i] for i in (place - 1, place + 1) if 0 <= i < len(everything)]
    assert found == [pytest.approx((best / 10 + other) / 2) for other in neighbours]


def test_finer_and_finer_the_best_t_is_found():
    # East is best at 0.4 of the way from west, so that any finer search comes nearer to it.
    specialists = {"east": tensors(1.0, 0.0), "west": tensors(0.0, 0.0)}
    judge = NearnessJudge({"east": torch.tensor([0.4, 0.0])})
    nearest = []
    for refine in range(4):
        case = (specialists, tensors(0.0, 9.0), tensors(0.0, 9.0), judge)
        _, path = run(case, t=(0.5,), refine=refine, tolerance=1.0, on="weights")
        nearest.append(min(abs(step.t - 0.4) for step in path.steps))
    assert nearest == pytest.approx([0.1, 0.1, 0.025, 0.025])


def test_the_inputs_are_left_as_they_were():
    specialists, parent, untrained, judge = random_case(1, 3)
    everything = {**specialists, "parent": parent, "untrained": untrained}
    before = {name: given["weight"].clone() for name, given in everything.items()}
    run((specialists, parent, untrained, judge), tolerance=1.0)
    assert all(torch.equal(given["weight"], before[name]) for name, given in everything.items())


def test_a_single_specialist_is_the_merged_model_if_it_is_the_best():
    judge = NearnessJudge({"east": torch.tensor([1.0, 0.0])})
    only, parent, untrained = tensors(1.0, 0.2), tensors(0.5, 0.0), tensors(0.0, 0.0)
    model, path = run(({"east": only}, parent, untrained, judge))
    assert torch.equal(model["weight"], only["weight"])
    assert path.steps == []
    assert path.order == ["east"]
    assert list(path.agreement) == ["untrained", "general", "east", "merged"]
    assert path.agreement["merged"] == path.agreement["east"]


@pytest.mark.parametrize("best", ["east", "west", "general", "untrained"])
def test_where_no_merge_is_admissible_the_best_single_model_is_taken(best):
    places = {"east": (5.0, 0.0), "west": (-5.0, 0.0), "general": (0.0, 5.0), "untrained": (0.0, -5.0)}
    given = {name: tensors(*place) for name, place in places.items()}

    def judge(model):
        """Whatever is merged is bad for both domains."""
        value = next(
            (0.5 + 0.4 * (name == best) for name in given if torch.equal(model["weight"], given[name]["weight"])), 0.1
        )
        return {"east": np.array([value]), "west": np.array([value])}

    specialists = {name: given[name] for name in ("east", "west")}
    model, path = run((specialists, given["general"], given["untrained"], judge), tolerance=0.01, on="weights")
    assert all(step.reason and not step.accepted for step in path.steps)
    assert len(path.steps) == 5
    assert path.order == [best]
    assert torch.equal(model["weight"], given[best]["weight"])


def test_of_equal_models_the_most_merged_one_is_taken():
    judge = NearnessJudge({"east": torch.tensor([1.0, 0.0])})
    same = tensors(0.5, 0.5)
    _, path = run(({"east": same, "west": same}, same, same, judge))
    assert path.order == ["east", "west"]


def test_a_step_below_the_untrained_student_is_refused_even_if_both_parents_are_there():
    judge = NearnessJudge({"east": torch.tensor([1.0, 0.0]), "west": torch.tensor([1.0, 0.1])})
    specialists = {"east": tensors(-1.0, 0.0), "west": tensors(-1.1, 0.0)}
    _, path = run((specialists, tensors(0.0, 0.0), tensors(1.0, 0.0), judge), t=(0.5,), refine=0, tolerance=0.1)
    (step,) = path.steps
    fall = path.agreement["untrained"]["east"] - step.agreement["east"]
    assert step.reason == f"east falls {fall:.4f} below untrained, more than 0.1"
    assert path.order == ["untrained"]


def test_the_specialist_with_the_best_mean_over_all_domains_comes_first():
    best = {"east": (10.0, 0.0), "west": (0.0, 0.0), "south": (0.0, 0.5)}
    judge = NearnessJudge({domain: torch.tensor(numbers) for domain, numbers in best.items()})
    specialists = {"east": tensors(10.0, 0.0), "west": tensors(0.0, 0.3)}
    _, path = run((specialists, tensors(1.0, 1.0), tensors(3.0, 3.0), judge), tolerance=1.0)
    assert path.agreement["east"]["east"] == 1.0 > path.agreement["west"]["west"]
    assert {step.merged for step in path.steps} == {("west",)}


def test_a_specialist_that_would_harm_a_domain_is_left_out_and_the_step_says_which_and_how_much():
    # Near is good for both, far is good for its own domain only.
    judge = NearnessJudge({"near": torch.tensor([1.0, 0.0]), "far": torch.tensor([1.0, 0.5])})
    specialists = {"near": tensors(1.0, 0.1), "far": tensors(-3.0, 8.0)}
    case = (specialists, tensors(0.0, 0.0), tensors(0.0, 0.0), judge)
    model, path = run(case, t=(0.5,), refine=0, tolerance=0.01)
    (step,) = path.steps
    assert torch.equal(model["weight"], specialists["near"]["weight"])
    assert path.order == ["near"]
    assert not step.accepted
    fall = path.agreement["near"]["near"] - step.agreement["near"]
    assert step.reason == f"near falls {fall:.4f} below near, more than 0.01"
    assert path.agreement["merged"] == path.agreement["near"]
    (told,) = left_out_specialists(["far", "near"], path, "KEY")
    assert told.startswith("the specialist far is not in the model, which is made of near: ")
    assert told.endswith("its layers lie in train/KEY/far.safetensors of the run folder")


@pytest.mark.parametrize(("on", "base"), [("differences", tensors(0.5, 0.5, 0.0)), ("weights", None)])
def test_the_arc_is_over_differences_from_the_parent_or_over_weights(on, base):
    judge = NearnessJudge({"a": torch.tensor([1.0, 0.0, 0.0]), "b": torch.tensor([0.0, 1.0, 0.0])})
    specialists = {"a": tensors(2.0, 0.0, 0.1), "b": tensors(0.0, 2.5, 0.3)}
    case = (specialists, tensors(0.5, 0.5, 0.0), tensors(9.0, 9.0, 9.0), judge)
    _, path = run(case, t=(0.4,), refine=0, tolerance=1.0, on=on)
    (step,) = path.steps
    expected, statistics = merge_state_dicts(specialists[step.merged[0]], specialists[step.other], 0.4, base)
    assert step.agreement == mean_agreements(judge(expected))
    assert step.statistics == statistics


@pytest.mark.parametrize(
    ("bounds", "after", "reason"),
    [
        ({"x": {"a": 0.8, "b": 0.6}}, {"a": 0.8, "b": 0.6}, ""),
        ({"x": {"a": 0.8, "b": 0.6}}, {"a": 0.9, "b": 0.5}, "b falls 0.1000 below x, more than 0.01"),
        ({"x": {"a": 0.8, "b": 0.6}}, {"a": 0.6, "b": 0.5}, "a falls 0.2000 below x, more than 0.01"),
        ({"x": {"a": 0.8, "b": 0.6}}, {"a": 0.795, "b": 0.6}, ""),
        (
            {"x": {"a": 0.8, "b": 0.6}, "y": {"a": 0.1, "b": 0.8}},
            {"a": 0.8, "b": 0.6},
            "b falls 0.2000 below y, more than 0.01",
        ),
        ({"x": {"a": 0.8}, "y": {"a": 0.85}}, {"a": 0.7}, "a falls 0.1500 below y, more than 0.01"),
    ],
)
def test_a_step_is_refused_for_the_domain_that_falls_most(bounds, after, reason):
    def of_one_list(agreement):
        return {domain: np.array([value]) for domain, value in agreement.items()}

    found = {who: of_one_list(agreement) for who, agreement in bounds.items()}
    assert refuse(found, of_one_list(after), 0.01) == reason


@given(seed=st.integers(0, 10_000), lists=st.integers(2, 300), fall=st.floats(-0.05, 0.1))
@settings(max_examples=60)
def test_a_fall_counts_beyond_the_tolerance_and_one_standard_error_list_by_list(seed, lists, fall):
    drawn = np.random.default_rng(seed)
    before = drawn.uniform(0, 1, lists)
    after = before - fall + drawn.normal(0, 0.2, lists)
    found = ttest_rel(before, after)
    error = (before - after).mean() / found.statistic  # the t statistic is the mean difference in standard errors
    reason = refuse({"x": {"a": before}}, {"a": after}, 0.005)
    assert bool(reason) == ((before - after).mean() > 0.005 + error)
    if reason:
        assert reason.endswith(f"below x, more than 0.005 and the {error:.4f} of chance")


def test_the_more_lists_the_smaller_a_fall_is_refused():
    fall = np.tile([0.1, -0.06], 200)
    refused = [bool(refuse({"x": {"a": fall[:n]}}, {"a": 0 * fall[:n]}, 0.005)) for n in (20, 400)]
    assert refused == [False, True]
