import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tamis.models.precision import product_rate
from tamis.progress import Advance
from tamis.stages.train.monitor import WINDOW, watching


def took(seconds, tokens_per_second, operations_per_second):
    return {
        "seconds": seconds,
        "tokens_per_second": tokens_per_second,
        "operations_per_second": operations_per_second,
    }


def test_the_line_beside_the_bar_says_what_a_step_came_to():
    advance = Advance(lambda *_: None)
    with watching(None, advance, rate=2e9) as watch:
        watch(1, {"loss": 0.5, "gradient_norm": 1.0} | took(2.0, 1234.0, 5e8))
        assert advance.note == "loss 0.500, 1,234 tokens/s, 25% of the matrix-product rate"
        watch(2, {"agreement": 0.75})
        assert advance.note == "loss 0.500, agreement 0.7500, 1,234 tokens/s, 25% of the matrix-product rate"


@given(st.lists(st.tuples(st.floats(0.01, 30), st.floats(0, 1e5)), min_size=1, max_size=40))
def test_speed_is_all_tokens_of_the_last_minute_by_all_its_seconds(steps):
    advance = Advance(lambda *_: None)
    with watching(None, advance, rate=1e15) as watch:
        for number, (seconds, speed) in enumerate(steps):
            watch(number, took(seconds, speed, speed))
    latest: list[tuple[float, float]] = []
    while steps and sum(seconds for seconds, _ in latest) < WINDOW:
        latest.append(steps.pop())
    mean = np.average([speed for _, speed in latest], weights=[seconds for seconds, _ in latest])
    told = float(advance.note.split(" tokens/s")[0].replace(",", ""))
    assert told == pytest.approx(mean, abs=0.51)


def test_one_step_that_looks_too_fast_spoils_no_other():
    """As was seen: 11,388 tokens/s and all of the product rate for a step, and a tenth of it ever after."""
    advance = Advance(lambda *_: None)
    with watching(None, advance, rate=2e9) as watch:
        watch(1, took(0.01, 11_388.0, 2e10))
        for step in range(2, 40):
            watch(step, took(2.0, 1000.0, 1e9))
        assert advance.note == "1,000 tokens/s, 50% of the matrix-product rate"


def test_a_training_that_is_faster_than_the_measured_rate_corrects_it():
    advance = Advance(lambda *_: None)
    with watching(None, advance, rate=2e9) as watch:
        watch(1, took(60.0, 1.0, 4e9))
        assert advance.note == "1 tokens/s, 100% of the matrix-product rate"
        watch(2, took(60.0, 1.0, 2e9))
        assert advance.note == "1 tokens/s, 50% of the matrix-product rate"


def test_the_product_rate_is_that_of_a_product():
    import time

    rate = product_rate(torch.device("cpu"), "float32", size=512, seconds=0.2)
    a, b = torch.randn(512, 512), torch.randn(512, 512)
    start = time.perf_counter()
    for _ in range(20):
        a @ b
    mean = 20 * 2 * 512**3 / (time.perf_counter() - start)
    assert rate > 0.3 * mean
    assert rate < 1e15


@pytest.mark.gpu
def test_a_gpu_multiplies_faster():
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    assert product_rate(cuda, "bfloat16") > product_rate(cpu, "float32")
