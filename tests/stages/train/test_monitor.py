import pytest
import torch

from tamis.models.precision import product_rate
from tamis.progress import Advance
from tamis.stages.train.monitor import watching


def test_the_line_beside_the_bar_says_what_a_step_came_to():
    advance = Advance(lambda *_: None)
    with watching(None, advance, rate=2e9) as watch:
        watch(1, {"loss": 0.5, "gradient_norm": 1.0, "tokens_per_second": 1234.0, "operations_per_second": 5e8})
        assert advance.note == "loss 0.500, 1,234 tokens/s, 25% of the product rate"
        watch(2, {"agreement": 0.75})
        assert advance.note == "loss 0.500, agreement 0.7500, 1,234 tokens/s, 25% of the product rate"


def test_a_training_that_is_faster_than_the_measured_rate_corrects_it():
    advance = Advance(lambda *_: None)
    with watching(None, advance, rate=2e9) as watch:
        watch(1, {"operations_per_second": 4e9})
        assert advance.note == "100% of the product rate"
        watch(2, {"operations_per_second": 2e9})
        assert advance.note == "50% of the product rate"


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
