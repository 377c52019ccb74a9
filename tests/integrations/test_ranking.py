"""Which first stage the frameworks' rerankers tell the model about; no framework is needed."""

import pytest

from tamis import Reranker
from tamis.errors import InputError
from tamis.integrations.ranking import loaded, rank_found
from tests.integrations.found import QUERY, SCORES, TEXTS, ranked

NONE = [None] * len(TEXTS)


@pytest.mark.parametrize(
    ("scores", "said", "meant"),
    [
        (SCORES, None, ("other", SCORES)),
        (SCORES, "bm25", ("bm25", SCORES)),
        (SCORES, "none", None),
        (SCORES, "order", "order"),
        (NONE, None, "order"),  # this model has a weight for it
        (NONE, "none", None),
    ],
)
def test_scores_count_where_there_are_some_and_else_the_order_as_the_model_says(weighed_folder, scores, said, meant):
    assert rank_found(weighed_folder, QUERY, TEXTS, scores, None, said) == ranked(weighed_folder, meant)


def test_a_model_without_a_weight_for_the_order_ranks_alone(warm_folder):
    assert rank_found(warm_folder, QUERY, TEXTS, NONE, None, None) == ranked(warm_folder, None)


def test_the_first_stage_changes_the_order(weighed_folder):
    orders = [ranked(weighed_folder, meant) for meant in (None, "order", ("other", SCORES), ("bm25", SCORES))]
    assert len({tuple(place for place, _ in one) for one in orders}) == 4


def test_so_many_come_back_and_nothing_of_nothing(warm_folder):
    model = loaded(warm_folder)
    assert loaded(model) is model
    assert rank_found(model, QUERY, TEXTS, SCORES, 3, None) == ranked(warm_folder, ("other", SCORES))[:3]
    assert rank_found(model, QUERY, [], [], 3, "bm25") == []


def test_a_document_without_text_counts_as_empty(warm_folder):
    found = rank_found(warm_folder, QUERY, [None, *TEXTS], [*NONE, None], None, None)
    assert found == ranked(warm_folder, None, ["", *TEXTS])


@pytest.mark.parametrize(
    ("scores", "said", "message"),
    [
        (
            [1.0, None],
            None,
            "document 1 has no score of the search, others have; give each one, or say first_stage='none'",
        ),
        ([None, None], "bm25", "first_stage 'bm25': no document has a score of it; say 'order' or 'none'"),
        ([1.0, float("nan")], "bm25", "first_stage 'bm25': score 1 is not finite"),
    ],
)
def test_scores_that_say_nothing_are_refused_in_one_line(warm_folder, scores, said, message):
    with pytest.raises(InputError) as caught:
        rank_found(warm_folder, QUERY, TEXTS[:2], scores, None, said)
    assert str(caught.value) == message


def test_reranker_of_a_name_is_loaded(warm_folder):
    assert isinstance(loaded(str(warm_folder)), Reranker)
