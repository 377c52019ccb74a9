"""Long documents in windows, against the same texts given alone."""

from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tamis import Reranker
from tamis.errors import InputError
from tamis.models.windows import room_for_document, windows_of
from tests.conftest import TOPICS
from tests.families import build_querit

NOT_RANKED = "the rest is not ranked; long='windows' (--long windows) ranks all of it"
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
    assert told == [f"1 of 2 documents are longer than the model reads, {NOT_RANKED}"]
    caplog.clear()
    reranker.rank(QUERY, [LONG], long="windows")
    assert not caplog.records


def test_another_word_for_long_is_refused(reranker):
    with pytest.raises(InputError, match=r"^long is 'max', expected first or windows$"):
        reranker.rank(QUERY, ["Mit apt."], long="max")


# Windows of pairs


@given(words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=300), titled=st.booleans())
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_pair_scores_like_the_best_of_its_windows_given_alone(reranker, words, titled):
    text = " ".join(words)
    document = {"title": "Install", "text": text} if titled else text
    other = TOPICS["de"][0]
    alone = [reranker.predict((QUERY, part)) for part in windows(reranker, document)]
    found = reranker.predict([(QUERY, document), other], long="windows")
    assert found[0] == pytest.approx(max(alone), abs=1e-5)
    assert found[1] == pytest.approx(reranker.predict(other), abs=1e-5)
    assert reranker.predict((QUERY, document), long="windows") == pytest.approx(found[0], abs=1e-5)


@pytest.fixture(scope="module")
def instructed(tmp_path_factory: pytest.TempPathFactory) -> Reranker:
    return Reranker(build_querit(tmp_path_factory.mktemp("windows") / "querit", "qwen3"), max_tokens=96)


@pytest.mark.parametrize("prompt", [None, "Judge it.", "Judge with care whether the Content is of use. " * 2])
def test_the_prompt_that_is_given_takes_its_room(instructed: Reranker, caplog: pytest.LogCaptureFixture, prompt):
    template = instructed.serializer.template
    told = prompt or instructed.serializer.instruction
    room = room_for_document(instructed.serializer, instructed.tokenizer, QUERY, prompt)
    parts = windows_of(LONG, instructed.tokenizer, room)
    lengths = []
    for part in parts:  # as the published text has it, by transformers' tokenizer
        whole = template.format(instruction=told, query=QUERY, document=part) + instructed.serializer.suffix
        lengths.append(len(instructed.tokenizer(whole, add_special_tokens=False)["input_ids"]))
    assert 96 - 30 < max(lengths) <= 96  # a quarter is given up at most, to end between two words
    instructed.rank(QUERY, [LONG], prompt=prompt, long="windows")
    assert not caplog.records
    alone = instructed.predict([(QUERY, part) for part in parts], prompt=prompt)
    assert instructed.predict((QUERY, LONG), prompt=prompt, long="windows") == pytest.approx(alone.max(), abs=1e-5)


def test_empty_documents_are_counted_not_their_windows(reranker, caplog: pytest.LogCaptureFixture):
    documents = [LONG, "", " \n" * 400, LONG + " \n" * 400, "Mit apt."]
    reranker.rank(QUERY, documents, long="windows")
    assert [record.getMessage() for record in caplog.records] == ["2 of 5 documents are empty or did not fit"]
    assert reranker.score_pairs([(QUERY, one) for one in documents], long="windows").emptied == 2


def test_predict_tells_once_what_it_did_not_read(reranker, caplog: pytest.LogCaptureFixture):
    for _ in range(2):
        reranker.predict([(QUERY, LONG), (QUERY, "Mit apt."), ("Wie?", LONG)])
    told = f"2 of 3 documents are longer than the model reads, {NOT_RANKED}"
    assert [record.getMessage() for record in caplog.records] == [told]
    caplog.clear()
    reranker.predict([(" ".join(WORDS * 9), LONG)], long="windows")
    told = "1 of 1 documents were read beside a query that is longer than the model reads: its rest was left out"
    assert [record.getMessage() for record in caplog.records] == [told]


def test_a_pair_that_is_none_is_named_by_its_own_number(reranker):
    with pytest.raises(InputError, match=r"^pair 1: expected two strings, got str and int$"):
        reranker.predict([(QUERY, LONG), (QUERY, 3)], long="windows")
    with pytest.raises(InputError, match=r"^long is 'all', expected first or windows$"):
        reranker.predict([(QUERY, LONG)], long="all")


# Fewer tokens of a pair than the model reads


@cache
def reading(folder):
    reranker = Reranker(folder)
    return reranker.scorer, reranker.tokenizer


@given(query=st.integers(1, 40), document=st.integers(0, 40), longest=st.integers(6, 40))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_pair_is_cut_as_the_tokenizers_library_cuts_it(stock_folder, query, document, longest):
    scorer, words = reading(stock_folder)
    pair = " ".join(WORDS[:query]), " ".join(WORDS[5 : 5 + document])
    (row,) = scorer.encode([pair], longest=longest)
    theirs = words([pair], truncation="longest_first", max_length=longest)["input_ids"][0]
    assert row.ids.tolist() == theirs
    assert row.cut == (len(words(*pair)["input_ids"]) > longest)


@given(query=st.integers(1, 40), document=st.integers(1, 40), longest=st.integers(8, 60))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_texts_that_are_read_apart_are_cut_by_the_same_rule(warm_folder, query, document, longest):
    scorer, words = reading(warm_folder)
    pair = " ".join(WORDS[:query]), " ".join(WORDS[5 : 5 + document])
    (whole,) = scorer.encode([pair])
    (row,) = scorer.encode([pair], longest=longest)
    assert row.length == min(whole.length, longest)
    assert row.cut == (whole.cut or whole.length > longest)
    # Both sides begin as they did, end with the special token, and the longer one was cut, down to the other.
    for cut, full in ((row.query, whole.query), (row.document, whole.document)):
        assert cut[:-1] == full[: len(cut) - 1]
        assert cut[-1] == full[-1] == words.sep_token_id
    sides = sorted([(len(whole.query), len(row.query)), (len(whole.document), len(row.document))])
    assert sides[0][1] == sides[0][0] or abs(sides[0][1] - sides[1][1]) <= 1


def test_so_few_tokens_that_nothing_would_be_left_are_refused(reranker):
    with pytest.raises(InputError, match=r"^4 tokens of a pair are too few, expected at least [56]$"):
        reranker.scorer.encode([(QUERY, LONG)], longest=4)
