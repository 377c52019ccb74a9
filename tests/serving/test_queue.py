import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.serving.engine import IN_TIME, TAKEN
from tamis.serving.queue import OLDEST, FairQueue, Waiting


def waiting(lengths: list[int], due: float = math.inf) -> Waiting:
    return Waiting([None] * len(lengths), lengths, due)


LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=30)


@given(st.lists(LENGTHS, min_size=1, max_size=5), st.integers(1, 100))
def test_every_row_is_drawn_once_and_batches_stay_within_the_budget(requests: list[list[int]], budget: int):
    queue = FairQueue(budget)
    waits = [waiting(lengths) for lengths in requests]
    for one in waits:
        queue.add(one)
    drawn: dict[int, list[int]] = {number: [] for number in range(len(waits))}
    while batch := queue.next_batch():
        lengths = []
        for one, places in batch:
            number = waits.index(one)
            drawn[number] += places
            lengths += [requests[number][place] for place in places]
        assert sum(lengths) <= budget or len(lengths) == 1
    assert [sorted(places) for places in drawn.values()] == [list(range(len(lengths))) for lengths in requests]
    assert not len(queue)


@given(st.integers(1, 8), st.integers(1, 12), st.integers(200, 400))
def test_a_small_request_overtakes_large_ones_and_a_quarter_of_the_work_stays_with_the_oldest(
    others: int, small: int, large: int
):
    queue = FairQueue(40)  # four rows of ten tokens a batch
    for _ in range(others):
        queue.add(waiting([10] * large))
    one = waiting([10] * small)
    queue.add(one)
    batches = 0
    while one.count:
        queue.next_batch()
        batches += 1
    own = -(-small // 4)
    assert batches <= own + own // 3


@given(st.lists(st.integers(1, 60), min_size=1, max_size=4), st.integers(1, 400), st.integers(1, 8))
def test_no_request_starves_whatever_comes_after_it(before: list[int], large: int, small: int):
    queue = FairQueue(40)
    for rows in before:
        queue.add(waiting([10] * rows))
    one = waiting([10] * large)
    queue.add(one)
    work = 0
    while one.count:
        queue.add(waiting([10] * small))  # one more before each batch, for ever
        work += sum(10 * len(places) for _, places in queue.next_batch())
    turns = sum(-(-rows // 4) for rows in [*before, large])
    assert work <= OLDEST * 40 * (turns + 1)


@pytest.mark.parametrize("rows", [4, 40, 120, 190])
@pytest.mark.parametrize("before", [0, 1, 3])
def test_none_is_late_where_no_more_is_taken_than_the_engine_takes(rows: int, before: int):
    seconds, now = 4000.0, 0.0  # a token a second
    queue = FairQueue(40)
    came: dict[Waiting, float] = {}
    late: list[float] = []

    def ask(one: Waiting) -> bool:
        if queue.work + one.work > TAKEN * seconds:
            return False
        queue.add(one)
        came[one] = now
        return True

    while now < 4 * seconds:
        for each in range(1 + before):
            ask(waiting([10] * (rows // (1 + each)), now + IN_TIME * seconds))
        while ask(waiting([10] * 4, now + IN_TIME * seconds)):
            pass
        now += sum(10 * len(places) for _, places in queue.next_batch(now, 1.0))
        late += [now - came.pop(one) - seconds for one in list(came) if not one.count]
    assert len(late) > 100
    assert max(late) <= 0
    assert max(now - since for since in came.values()) <= seconds


def test_requests_of_like_size_are_served_in_the_order_in_which_they_came():
    queue = FairQueue(40)
    crowd = [waiting([10] * (8 + place % 3)) for place in range(10)]
    for one in crowd:
        queue.add(one)
    done: list[Waiting] = []
    while queue.next_batch():
        done += [one for one in crowd if not one.count and one not in done]
    assert done == crowd


def test_large_requests_do_not_fill_up_the_batches_of_small_ones():
    queue = FairQueue(40)
    large, small, like = waiting([10] * 50), waiting([10, 10]), waiting([10])
    for one in (large, small, like):
        queue.add(one)
    assert queue.next_batch() == [(small, [0, 1]), (like, [0])]
    assert queue.next_batch() == [(large, [0, 1, 2, 3])]
    large, small = waiting([10] * 30), waiting([10] * 2)
    queue = FairQueue(40)
    queue.add(large)
    queue.next_batch()
    queue.add(small)
    while small.count:
        queue.next_batch()
    assert large.count == 26


def p99_of_small_requests(clients: list[int]) -> float:
    """What clients of so many documents each wait that ask again at once, in tokens of work."""
    generator = np.random.default_rng(0)
    queue = FairQueue(2048)
    now, found = 0, []
    lengths_of: dict[Waiting, list[int]] = {}
    asked: dict[Waiting, tuple[int, int]] = {}

    def ask(count: int) -> None:
        lengths = np.exp(generator.normal(4.6, 0.6, count)).clip(15, 256).astype(int).tolist()
        one = waiting(lengths)
        lengths_of[one], asked[one] = lengths, (count, now)
        queue.add(one)

    for count in clients:
        ask(count)
    while len(found) < 400:
        batch = queue.next_batch()
        now += 50 + sum(lengths_of[one][place] for one, places in batch for place in places)
        for one, places in batch:
            one.left -= len(places)
            if not one.left:
                count, begun = asked.pop(one)
                del lengths_of[one]
                if count == 20:
                    found.append(now - begun)
                ask(count)
    return float(np.percentile(found, 99))


@pytest.mark.parametrize(("small", "large", "bound"), [(1, 1, 3), (1, 8, 3), (2, 8, 3), (8, 0, 8), (8, 8, 12)])
def test_small_requests_are_slowed_down_by_one_another_and_little_by_large_ones(small: int, large: int, bound: float):
    alone = p99_of_small_requests([20])
    assert p99_of_small_requests([20] * small + [200] * large) <= bound * alone


def test_what_fits_into_one_batch_becomes_one():
    queue = FairQueue(40)
    first, second = waiting([10]), waiting([3, 5])
    queue.add(first)
    queue.add(second)
    assert queue.next_batch() == [(first, [0]), (second, [1, 0])]
    assert queue.next_batch() == []


def test_rows_of_other_requests_fill_a_batch_up_the_longest_that_fits_first():
    queue = FairQueue(40)
    first, second = waiting([10, 9]), waiting([2, 30, 20, 9])
    queue.add(first)
    queue.add(second)
    assert queue.next_batch() == [(first, [0, 1]), (second, [2])]
    assert queue.next_batch() == [(second, [1, 3])]
    assert queue.next_batch() == [(second, [0])]


def test_a_row_that_is_longer_than_a_batch_travels_alone():
    queue = FairQueue(40)
    first = waiting([10, 50, 30])
    queue.add(first)
    assert [queue.next_batch() for _ in range(3)] == [[(first, [1])], [(first, [2, 0])], []]


def test_a_request_that_is_taken_out_is_not_drawn_from():
    queue = FairQueue(4)
    first, second = waiting([4, 4]), waiting([4])
    queue.add(first)
    queue.add(second)
    queue.remove(first)
    queue.remove(first)
    assert queue.next_batch() == [(second, [0])]
    assert not len(queue)
