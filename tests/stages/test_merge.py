import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.formulas.slerp import merge_state_dicts
from tamis.settings import MergeSettings
from tamis.stages.merge import judgements, merge_specialists, refuse

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
        return {domain: 1 / (1 + float((given["weight"] - best).norm())) for domain, best in self.best.items()}


def random_case(seed, count):
    """A parent, specialists on their way to what is best for their domain, and a judge who knows that."""
    generator = torch.Generator().manual_seed(seed)
    parent = torch.randn(6, generator=generator)
    best = {domain: parent + torch.randn(6, generator=generator) for domain in DOMAINS[:count]}
    specialists = {
        domain: {"weight": parent + 0.8 * (target - parent) + 0.1 * torch.randn(6, generator=generator)}
        for domain, target in best.items()
    }
    return specialists, {"weight": parent}, NearnessJudge(best)


def mean(agreement):
    return sum(agreement.values()) / len(agreement)


CASES = {
    "seed": st.integers(0, 10_000),
    "count": st.integers(1, 4),
    "tolerance": st.sampled_from([0.0, 0.005, 0.05, 0.3, 1.0]),
    "on": st.sampled_from(["differences", "weights"]),
}


@given(**CASES)
@settings(max_examples=60)
def test_no_step_of_the_accepted_path_costs_a_domain_more_than_the_tolerance(seed, count, tolerance, on):
    specialists, parent, judge = random_case(seed, count)
    chosen = MergeSettings(tolerance=tolerance, on=on)
    model, path = merge_specialists(specialists, parent, judge, chosen, lambda _: None)
    standing = path.agreement[path.order[0]]
    for step in path.steps:
        if step.accepted:
            assert all(standing[domain] - step.agreement[domain] <= tolerance for domain in standing)
            standing = step.agreement
    assert judge(model) == path.agreement["merged"] == standing


@given(**CASES)
@settings(max_examples=60)
def test_the_path_can_be_walked_again_from_its_record(seed, count, tolerance, on):
    specialists, parent, judge = random_case(seed, count)
    chosen = MergeSettings(tolerance=tolerance, on=on)
    model, path = merge_specialists(specialists, parent, judge, chosen, lambda _: None)
    walked, order = specialists[path.order[0]], path.order[:1]
    for step in path.steps:
        assert step.merged == tuple(order[: len(step.merged)])
        if step.accepted:
            base = parent if on == "differences" else None
            walked, _ = merge_state_dicts(walked, specialists[step.other], step.t, base)
            order.append(step.other)
    assert order == path.order
    assert torch.equal(walked["weight"], model["weight"])


@given(**CASES)
@settings(max_examples=60)
def test_each_round_tries_every_specialist_left_at_every_t_and_takes_the_best_admissible(seed, count, tolerance, on):
    specialists, parent, judge = random_case(seed, count)
    chosen = MergeSettings(tolerance=tolerance, on=on)
    _, path = merge_specialists(specialists, parent, judge, chosen, lambda _: None)
    assert path.order[0] == max(specialists, key=lambda name: mean(path.agreement[name]))
    standing, merged = path.agreement[path.order[0]], list(path.order[:1])
    steps = list(path.steps)
    while len(merged) < len(specialists):
        left = [name for name in specialists if name not in merged]
        tried, steps = steps[: len(left) * len(chosen.t)], steps[len(left) * len(chosen.t) :]
        assert {(step.other, step.t) for step in tried} == {(name, t) for name in left for t in chosen.t}
        admissible = [step for step in tried if not refuse(standing, step.agreement, tolerance)]
        accepted = [step for step in tried if step.accepted]
        assert all(bool(step.reason) == (step not in admissible) for step in tried)
        if not admissible:
            assert accepted == []
            break
        assert len(accepted) == 1
        assert mean(accepted[0].agreement) == max(mean(step.agreement) for step in admissible)
        standing = accepted[0].agreement
        merged.append(accepted[0].other)
    assert steps == []
    assert merged == path.order


@given(**CASES)
@settings(max_examples=60)
def test_every_judged_model_is_told_and_there_are_never_more_than_announced(seed, count, tolerance, on):
    specialists, parent, judge = random_case(seed, count)
    told = []
    chosen = MergeSettings(tolerance=tolerance, on=on)
    _, path = merge_specialists(specialists, parent, judge, chosen, told.append)
    assert sum(told) == judge.calls <= judgements(count, len(chosen.t))
    if len(path.order) == count:
        assert judge.calls == judgements(count, len(chosen.t))


def test_the_inputs_are_left_as_they_were():
    specialists, parent, judge = random_case(1, 3)
    before = {name: given["weight"].clone() for name, given in {**specialists, "parent": parent}.items()}
    merge_specialists(specialists, parent, judge, MergeSettings(tolerance=1.0), lambda _: None)
    assert all(torch.equal(given["weight"], before[name]) for name, given in {**specialists, "parent": parent}.items())


def test_a_single_specialist_is_the_merged_model():
    judge = NearnessJudge({"east": torch.tensor([1.0, 0.0])})
    only = tensors(1.0, 0.2)
    model, path = merge_specialists({"east": only}, tensors(0.0, 0.0), judge, MergeSettings(), lambda _: None)
    assert torch.equal(model["weight"], only["weight"])
    assert path.steps == []
    assert path.order == ["east"]
    assert path.agreement.keys() == {"general", "east", "merged"}
    assert path.agreement["merged"] == path.agreement["east"]


def test_the_specialist_with_the_best_mean_over_all_domains_comes_first():
    best = {"east": (10.0, 0.0), "west": (0.0, 0.0), "south": (0.0, 0.5)}
    judge = NearnessJudge({domain: torch.tensor(numbers) for domain, numbers in best.items()})
    specialists = {"east": tensors(10.0, 0.0), "west": tensors(0.0, 0.3)}
    _, path = merge_specialists(specialists, tensors(1.0, 1.0), judge, MergeSettings(tolerance=1.0), lambda _: None)
    assert path.agreement["east"]["east"] == 1.0 > path.agreement["west"]["west"]
    assert path.order == ["west", "east"]


def test_a_specialist_that_would_harm_a_domain_is_left_out_and_the_step_says_which_and_how_much():
    # Near is good for both, far is good for its own domain only.
    judge = NearnessJudge({"near": torch.tensor([1.0, 0.0]), "far": torch.tensor([1.0, 0.5])})
    specialists = {"near": tensors(1.0, 0.1), "far": tensors(-3.0, 8.0)}
    chosen = MergeSettings(t=(0.5,), tolerance=0.01)
    model, path = merge_specialists(specialists, tensors(0.0, 0.0), judge, chosen, lambda _: None)
    (step,) = path.steps
    assert torch.equal(model["weight"], specialists["near"]["weight"])
    assert path.order == ["near"]
    assert not step.accepted
    fall = path.agreement["near"]["near"] - step.agreement["near"]
    assert step.reason == f"near falls by {fall:.4f}, more than 0.01"
    assert path.agreement["merged"] == path.agreement["near"]


@pytest.mark.parametrize(("on", "base"), [("differences", tensors(0.5, 0.5, 0.0)), ("weights", None)])
def test_the_arc_is_over_differences_from_the_parent_or_over_weights(on, base):
    judge = NearnessJudge({"a": torch.tensor([1.0, 0.0, 0.0]), "b": torch.tensor([0.0, 1.0, 0.0])})
    specialists = {"a": tensors(2.0, 0.0, 0.1), "b": tensors(0.0, 2.5, 0.3)}
    chosen = MergeSettings(t=(0.4,), tolerance=1.0, on=on)
    model, path = merge_specialists(specialists, tensors(0.5, 0.5, 0.0), judge, chosen, lambda _: None)
    first, second = (specialists[name] for name in path.order)
    expected, statistics = merge_state_dicts(first, second, 0.4, base)
    assert torch.equal(model["weight"], expected["weight"])
    assert path.steps[0].statistics == statistics


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ({"a": 0.8, "b": 0.6}, {"a": 0.8, "b": 0.6}, ""),
        ({"a": 0.8, "b": 0.6}, {"a": 0.9, "b": 0.5}, "b falls by 0.1000, more than 0.01"),
        ({"a": 0.8, "b": 0.6}, {"a": 0.6, "b": 0.5}, "a falls by 0.2000, more than 0.01"),
        ({"a": 0.8, "b": 0.6}, {"a": 0.795, "b": 0.6}, ""),
    ],
)
def test_a_step_is_refused_for_the_domain_that_falls_most(before, after, reason):
    assert refuse(before, after, 0.01) == reason
