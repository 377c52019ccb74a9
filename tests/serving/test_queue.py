from hypothesis import given
from hypothesis import strategies as st

from tamis.serving.queue import FairQueue, Waiting


def waiting(lengths: list[int]) -> Waiting:
    return Waiting([None] * len(lengths), lengths)


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
        assert len(lengths) * max(lengths) <= budget or len(lengths) == 1
    assert [sorted(places) for places in drawn.values()] == [list(range(len(lengths))) for lengths in requests]
    assert not len(queue)


@given(st.integers(1, 8), st.integers(1, 20), st.integers(1, 400))
def test_a_small_request_waits_for_no_more_turns_of_the_others_than_it_takes_itself(
    others: int, small: int, large: int
):
    queue = FairQueue(40)  # four rows of ten tokens a batch
    crowd = [waiting([10] * (large + small)) for _ in range(others)]
    for one in crowd:
        queue.add(one)
    one = waiting([10] * small)
    queue.add(one)
    batches = 0
    while one.count:
        queue.next_batch()
        batches += 1
    own = -(-small // 4)
    assert batches <= own * (others + 1)


def test_what_fits_into_one_batch_becomes_one():
    queue = FairQueue(40)
    first, second = waiting([10]), waiting([3, 5])
    queue.add(first)
    queue.add(second)
    assert queue.next_batch() == [(first, [0]), (second, [1, 0])]
    assert queue.next_batch() == []


def test_rows_of_other_requests_fill_a_batch_up_only_where_they_are_about_as_long():
    queue = FairQueue(40)
    first, second = waiting([10, 9]), waiting([2, 10, 8, 9])
    queue.add(first)
    queue.add(second)
    assert queue.next_batch() == [(first, [0, 1]), (second, [1, 3])]
    assert queue.next_batch() == [(second, [2, 0])]


def test_a_request_that_is_taken_out_is_not_drawn_from():
    queue = FairQueue(4)
    first, second = waiting([4, 4]), waiting([4])
    queue.add(first)
    queue.add(second)
    queue.next_batch()
    queue.remove(first)
    queue.remove(first)
    assert queue.next_batch() == [(second, [0])]
    assert not len(queue)
