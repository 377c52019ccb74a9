"""What a load needs: the arithmetic against a simulation, and the probe against what the model reads."""

import itertools
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tamis.errors import InputError
from tamis.models.reranker import Reranker
from tamis.serving import planning
from tamis.serving.planning import UTILISATION, Load, Probe, plan, requests_of
from tests.commands import tamis


def probe(seconds: float) -> Probe:
    return Probe(1, seconds, seconds, 10, 100.0, 2**30)


def waits(rate: float, seconds: float, count: int = 60_000) -> np.ndarray:
    """Times to an answer where requests come at random and all take the same (M/D/1), by Lindley's recursion."""
    gaps = np.random.default_rng(0).exponential(1 / rate, count)
    found, wait = np.empty(count), 0.0
    for place, gap in enumerate(gaps):
        found[place] = wait
        wait = max(0.0, wait + seconds - gap)
    return found + seconds


def test_at_three_quarters_of_the_plan_the_slowest_wait_less_than_three_times_the_median():
    planned = probe(0.2)
    times = waits(0.75 * planned.planned, 0.2)
    assert np.percentile(times, 99) <= 3 * np.median(times)
    crowded = waits(planned.planned, 0.2)
    assert np.percentile(crowded, 99) > 3 * np.median(crowded)


@pytest.mark.parametrize(("rate", "seconds"), [(1.0, 0.1), (10.0, 0.1), (6.0, 0.1), (7.5, 0.8), (0.01, 0.1)])
def test_replicas_are_as_few_as_keep_each_below_its_share(rate: float, seconds: float):
    count = probe(seconds).replicas(rate)
    assert rate / count * seconds <= UTILISATION + 1e-9
    assert count == 1 or rate / (count - 1) * seconds > UTILISATION


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_named(rate: float):
    with pytest.raises(InputError, match=r"--plan is .*, expected requests a second above 0"):
        Load(rate, 20, 100)


def test_texts_have_the_tokens_that_were_asked_for_and_never_come_twice(stock_folder):
    reranker = Reranker(stock_folder)
    asked = list(itertools.islice(requests_of(reranker, Load(1.0, 5, 30)), 4))
    assert len({text for one in asked for text in one.documents}) == 20
    rows = reranker.scorer.encode([pair for one in asked for pair in one.pairs()])
    assert np.mean([row.length for row in rows]) == pytest.approx(30, rel=0.1)


def test_of_a_pair_that_is_longer_than_the_model_reads_only_that_is_read(stock_folder):
    reranker = Reranker(stock_folder)
    asked = next(requests_of(reranker, Load(1.0, 5, 400)))
    rows = reranker.scorer.encode(asked.pairs())
    assert all(row.cut and row.length == 40 for row in rows)


def test_a_probe_measures_requests_one_after_the_other(warm_folder):
    (found,) = plan(lambda: Reranker(warm_folder), Load(2.0, 3, 25), seconds=0.1)
    assert found.cores == 1
    assert found.requests >= 3
    assert 0 < found.seconds <= found.slowest
    assert found.tokens == pytest.approx(25, rel=0.25)
    assert found.planned == pytest.approx(UTILISATION * found.most)


def test_the_command_says_how_many_replicas_a_load_needs_and_serves_nothing(
    warm_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(planning, "plan", partial(plan, seconds=0.1))
    told = tamis("serve", f"m={warm_folder}", "--plan", "3", "--documents", "3", "--tokens", "20")
    assert told.status == 0, told.err
    assert "3 requests a second of 3 documents" in told.out
    assert "of 1 core, measured on this machine by " in told.out.replace("\n", " ")
    assert "the model reads" not in told.out


def test_a_plan_without_a_model_is_refused():
    assert tamis("serve", "--plan", "3").complaint == "--plan: no model is named; name one behind the command"
