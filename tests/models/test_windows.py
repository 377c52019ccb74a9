"""Long documents in windows, against the same texts given alone."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tamis import Reranker
from tamis.errors import InputError
from tamis.models.windows import room_for_document, windows_of
from tests.conftest import TOPICS

WORDS = " ".join(answer for topics in TOPICS.values() for _, answer in topics).split()
QUERY = TOPICS["en"][0][0]
LONG = " ".join(WORDS * 6)


@pytest.fixture(params=["warm_folder", "stock_folder"])
def reranker(request: pytest.FixtureRequest) -> Reranker:
    return Reranker(request.getfixturevalue(request.param))


def windows(reranker: Reranker, document, query: str = QUERY):
    room = room_for_document(reranker.serializer, reranker.tokenizer, query)
    return windows_of(document, reranker.tokenizer, room)


@given(words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=400))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_together_they_hold_every_word_and_each_is_read_whole(reranker, words):
    parts = windows(reranker, " ".join(words))
    assert " ".join(parts).split() == words
    assert reranker.score_pairs([(QUERY, part) for part in parts]).cut == 0


def test_a_text_that_fits_is_its_only_window(reranker):
    assert windows(reranker, "Mit apt.  \n") == ["Mit apt.  \n"]


def test_text_without_spaces_is_cut_between_tokens(reranker):
    text = ",".join(WORDS * 6)
    parts = windows(reranker, text)
    assert len(parts) > 1
    assert "".join(parts) == text


def test_every_window_keeps_the_title(reranker):
    parts = windows(reranker, {"title": "Install", "text": LONG, "id": 7})
    assert len(parts) > 1
    assert {part["title"] for part in parts} == {"Install"}
    assert reranker.score_pairs([(QUERY, part) for part in parts]).cut == 0


def test_the_best_window_counts(reranker):
    documents = [LONG, "Mit apt.", TOPICS["en"][0][1], {"title": "Install", "text": LONG}]
    best = [reranker.score_pairs([(QUERY, part) for part in windows(reranker, one)]).logits.max() for one in documents]
    ranked = reranker.rank(QUERY, documents, long="windows")
    told = {hit["corpus_id"]: hit["logit"] for hit in ranked}
    np.testing.assert_allclose([told[n] for n in range(len(documents))], best, atol=1e-4)
    assert [hit["corpus_id"] for hit in ranked] == list(np.argsort(-np.array(best), kind="stable"))


def test_a_query_may_take_most_of_the_room(reranker):
    assert reranker.rank(" ".join(WORDS * 3), [LONG], long="windows")


def test_cut_documents_are_told_once(reranker, caplog: pytest.LogCaptureFixture):
    for _ in range(2):
        reranker.rank(QUERY, [LONG, "Mit apt."])
    told = [record.getMessage() for record in caplog.records if "longer than" in record.getMessage()]
    assert told == ["1 of 2 documents are longer than the model reads, the rest is not ranked: see long='windows'"]
    caplog.clear()
    reranker.rank(QUERY, [LONG], long="windows")
    assert not caplog.records


def test_another_word_for_long_is_refused(reranker):
    with pytest.raises(InputError, match=r"^long is 'max', expected first or windows$"):
        reranker.rank(QUERY, ["Mit apt."], long="max")
