"""What a warm model made of texts is kept within its bound, and changes no score."""

import asyncio

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tamis.artifacts import ItemStore
from tamis.evaluation.reading import read_set
from tamis.evaluation.scores import model_of, read_logits, score_missing
from tamis.models.remembered import CachedStates
from tamis.models.reranker import Reranker
from tamis.records import Candidates
from tamis.serving.engine import Engine
from tamis.serving.request import RerankRequest
from tests.conftest import TOPICS, write_beir

QUERIES = [question for topics in TOPICS.values() for question, _ in topics]
DOCUMENTS = [answer for topics in TOPICS.values() for _, answer in topics]


@given(
    asked=st.lists(st.sets(st.integers(1, 9), max_size=4), max_size=20),
    most_tokens=st.integers(0, 20),
)
def test_the_memory_is_a_list_of_what_was_used_last_cut_at_its_bound(asked, most_tokens):
    memory = CachedStates(most_tokens * 4)
    used: list[int] = []  # last used last; a text of n tokens takes n floats
    for texts in asked:
        known = {ids[0] for ids in memory.known([(n,) for n in sorted(texts)])}
        assert known == texts & set(used)
        memory.keep({(n,): torch.zeros(n, 1) for n in sorted(texts - known)})
        used = [n for n in used if n not in texts] + sorted(known) + sorted(texts - known)
        while sum(used) > most_tokens:
            used.pop(0)
        assert memory.size == 4 * sum(used)


@pytest.fixture
def read(monkeypatch):
    """Texts that the lower layers read, in the order in which they did."""
    found = []

    def watched(reranker):
        student = reranker.scorer.student
        original = student.read
        monkeypatch.setattr(student, "read", lambda ids, *more: found.extend(ids) or original(ids, *more))
        return reranker

    return found, watched


def test_each_text_is_read_once_while_it_fits_and_the_scores_stay(warm_folder, read):
    found, watched = read
    forgetful, mindful = Reranker(warm_folder), watched(Reranker(warm_folder))
    mindful.remember()
    for query in QUERIES[:5]:
        pairs = [(query, document) for document in DOCUMENTS]
        assert mindful.score_pairs(pairs).logits == pytest.approx(forgetful.score_pairs(pairs).logits, abs=5e-6)
        assert mindful.predict(pairs) == pytest.approx(forgetful.predict(pairs), abs=1e-6)
    assert len(found) == len(set(found)) == 5 + len(DOCUMENTS)


@pytest.mark.parametrize("most_bytes", [0, 20_000])
def test_a_small_memory_gives_the_same_scores(warm_folder, read, most_bytes):
    found, watched = read
    forgetful, mindful = Reranker(warm_folder), watched(Reranker(warm_folder))
    mindful.remember(most_bytes)
    for query in QUERIES[:5]:
        pairs = [(query, document) for document in DOCUMENTS]
        assert mindful.predict(pairs) == pytest.approx(forgetful.predict(pairs), abs=1e-6)
        assert mindful.scorer.memory.size <= most_bytes
    assert len(found) > 5 + len(DOCUMENTS)


def test_read_alone_a_teachers_scores_are_the_same_bits_in_any_order_of_its_queries(warm_folder, read):
    found, watched = read
    groups = [[(query, document) for document in DOCUMENTS[n:]] for n, query in enumerate(QUERIES[:5])]
    teachers = [watched(Reranker(warm_folder)), Reranker(warm_folder)]
    for teacher, order in zip(teachers, (groups, groups[::-1]), strict=True):
        teacher.remember(alone=True)
        scores = {group[0][0]: teacher.score_pairs(group).logits for group in order}
        if teacher is teachers[0]:
            expected = scores
    for query, values in scores.items():
        np.testing.assert_array_equal(values, expected[query])
    assert len(found) == len(set(found)) == 5 + len(DOCUMENTS)


@given(places=st.sets(st.integers(0, len(DOCUMENTS) - 1), min_size=1))
def test_the_states_of_a_text_do_not_depend_on_the_texts_read_beside_it(encoder, places):
    ids = [encoder.tokenise([DOCUMENTS[place]], "passage: ", 24)[0] for place in sorted(places)]
    together = encoder.states(ids, 2)
    for one, states in zip(ids, together, strict=True):
        np.testing.assert_allclose(states, encoder.states([one], 2)[0], atol=5e-6)


def test_the_server_reads_a_document_once_for_all_requests(warm_folder, read):
    found, watched = read
    with Engine(watched(Reranker(warm_folder)), 1000) as engine:
        for query in QUERIES[:4]:
            values = asyncio.run(engine.score(RerankRequest(None, [query], DOCUMENTS))).values
            expected = Reranker(warm_folder).predict([(query, document) for document in DOCUMENTS])
            assert values == pytest.approx(expected, abs=1e-6)
    assert len(found) == len(set(found)) == 4 + len(DOCUMENTS)


def test_an_evaluation_reads_a_document_once_however_many_questions_ask_for_it(
    warm_folder, tmp_path, read, monkeypatch
):
    found, watched = read
    (judged,) = read_set(str(write_beir(tmp_path / "set")))
    model = model_of(f"m={warm_folder}", "float32")
    reranker = watched(model.reranker)
    windows = reranker.score_windows
    monkeypatch.setattr(
        reranker,
        "score_windows",
        lambda pairs, *more, **named: found.clear() or windows(pairs, *more, window=16, **named),
    )
    everything = {q: Candidates(q, tuple(judged.documents), (0.0,) * len(judged.documents)) for q in judged.questions}
    items = ItemStore(tmp_path / "items.sqlite")
    score_missing(model, judged, {"full": everything}, items)
    assert len(found) == len(set(found)) == len(judged.questions) + len(judged.documents)
    for query_id, logits in read_logits(model, judged, everything, items):
        pairs = [(judged.questions[query_id].text, document.text) for document in judged.documents.values()]
        assert logits == pytest.approx(Reranker(warm_folder).score_pairs(pairs).logits, abs=5e-6)
    items.close()


def test_models_that_read_both_texts_together_have_nothing_to_remember(stock_folder):
    reranker = Reranker(stock_folder)
    reranker.remember()
    pairs = [(QUERIES[0], document) for document in DOCUMENTS[:3]]
    assert (reranker.score_pairs(pairs).logits == Reranker(stock_folder).score_pairs(pairs).logits).all()
