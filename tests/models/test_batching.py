from hypothesis import given
from hypothesis import strategies as st

from tamis.models.batching import token_batches

LENGTHS = st.lists(st.integers(1, 60), max_size=40)
BUDGETS = st.integers(1, 400)


@given(lengths=LENGTHS, budget=BUDGETS)
def test_every_item_is_in_exactly_one_batch(lengths, budget):
    assert sorted(i for batch in token_batches(lengths, budget) for i in batch) == list(range(len(lengths)))


@given(lengths=LENGTHS, budget=BUDGETS)
def test_a_padded_batch_stays_within_the_budget_unless_one_item_alone_exceeds_it(lengths, budget):
    for batch in token_batches(lengths, budget):
        assert len(batch) == 1 or max(lengths[i] for i in batch) * len(batch) <= budget


@given(lengths=LENGTHS, budget=BUDGETS)
def test_items_come_from_the_longest_to_the_shortest_and_equal_ones_in_their_order(lengths, budget):
    flat = [i for batch in token_batches(lengths, budget) for i in batch]
    assert flat == sorted(flat, key=lambda i: (-lengths[i], i))


@given(lengths=LENGTHS, budget=BUDGETS)
def test_no_batch_could_have_taken_the_next_item_as_well(lengths, budget):
    batches = list(token_batches(lengths, budget))
    for batch in batches[:-1]:
        assert lengths[batch[0]] * (len(batch) + 1) > budget


def test_nothing_makes_no_batch():
    assert list(token_batches([], 100)) == []
