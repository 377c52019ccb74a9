"""What `predict` and `rank` are given: as sentence-transformers' `CrossEncoder` takes it, or refused in one line."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from sentence_transformers import CrossEncoder

from tamis import Reranker
from tamis.errors import InputError
from tamis.models.batching import token_batches
from tests.conftest import TOPICS

PAIRS = [(question, answer) for topics in TOPICS.values() for question, answer in topics]
QUERY = PAIRS[0][0]
DOCUMENTS = [answer for _, answer in PAIRS]


@pytest.fixture(scope="module")
def reranker(stock_folder):
    return Reranker(stock_folder)


@pytest.fixture(scope="module")
def peer(stock_folder):
    return CrossEncoder(str(stock_folder), device="cpu")


# Texts

LISTS = {
    "tuple": tuple,
    "generator": lambda texts: (text for text in texts),
    "array of strings": np.array,
    "array of objects": lambda texts: np.array(texts, dtype=object),
    "series": pd.Series,
    "series with an index of its own": lambda texts: pd.Series(texts, index=range(100, 100 + len(texts))),
    "series of pyarrow's strings": lambda texts: pd.Series(texts, dtype="string"),
    "pyarrow": pa.array,
    "keys": lambda texts: dict.fromkeys(texts).keys(),
    "mappings": lambda texts: [{"text": text, "id": number} for number, text in enumerate(texts)],
}


@pytest.mark.parametrize("form", LISTS)
def test_documents_may_come_in_any_form_of_a_list(reranker, form):
    given = LISTS[form](DOCUMENTS)
    expected = reranker.rank(QUERY, DOCUMENTS, return_documents=True)
    assert reranker.rank(QUERY, given, return_documents=True) == expected
    logits = reranker.predict([(QUERY, text) for text in DOCUMENTS], activation_fn=torch.nn.Identity())
    np.testing.assert_allclose(list(reranker.score(QUERY, LISTS[form](DOCUMENTS))), logits, atol=1e-6)


@pytest.mark.parametrize(
    "form",
    [
        tuple,
        iter,
        np.array,
        lambda pairs: np.array(pairs, dtype=object),
        lambda pairs: pd.DataFrame(pairs).to_numpy(),
        lambda pairs: pd.Series(pairs),
        lambda pairs: zip(*zip(*pairs, strict=True), strict=True),
        lambda pairs: [list(pair) for pair in pairs],
        lambda pairs: pd.DataFrame(pairs).itertuples(index=False),
    ],
)
def test_pairs_may_come_in_any_form_of_a_list(reranker, peer, form):
    np.testing.assert_allclose(reranker.predict(form(PAIRS)), peer.predict(PAIRS), atol=1e-5)


@pytest.mark.parametrize("form", [tuple, list, np.array, lambda pair: pd.Series(pair, index=["a", "b"])])
def test_one_pair_gives_one_score(reranker, peer, form):
    assert reranker.predict(form(PAIRS[3])) == pytest.approx(peer.predict(list(PAIRS[3])), abs=1e-5)


@pytest.mark.parametrize(
    "nothing", [[], (), np.array([]), np.empty((0, 2), dtype=str), pd.Series([], dtype=str), iter([])]
)
def test_nothing_gives_nothing(reranker, nothing):
    assert reranker.predict(nothing).shape == (0,)
    assert reranker.rank(QUERY, nothing) == []


FRAME = pd.DataFrame({"text": DOCUMENTS, "title": ""})
NO_LISTS = [
    ("text", "got a single string"),
    ({"a": "one", "b": "two"}, r"got a dict; give its values as a list, list\(values\)"),
    ({"text": "one"}, "got a dict"),
    ({"one", "two"}, "got a set, which has no order"),
    (FRAME, "got a DataFrame; give one column, or the rows of several as a list"),
    (pa.table({"text": DOCUMENTS}), "got a Table; give one column"),
    (b"bytes", "got bytes"),
    (None, "got NoneType"),
    (3, "got int"),
    (np.array("text"), "got ndarray"),
    (torch.ones(2), "got Tensor"),
]


@pytest.mark.parametrize(("given", "message"), NO_LISTS)
def test_what_is_no_list_is_refused_in_one_line(reranker, given, message):
    for call in (
        lambda: reranker.rank(QUERY, given),
        lambda: reranker.predict(given),
        lambda: reranker.score(QUERY, given),
        lambda: reranker.score_pairs(given),
    ):
        with pytest.raises(InputError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        (pd.Series(["a", None], dtype=object), "document 1: expected a string, .*; got NoneType"),
        (pd.Series(["a", float("nan")], dtype=object), "document 1: .*; got float"),
        (pd.Series(["a", pd.NA], dtype="string"), "document 1: .*; got NAType"),
        ([{"text": "a"}, {"content": "b", "id": 3}], "document 1: .*; got dict with content, id"),
        ([["a"]], "document 0: .*; got list"),
        (np.array([["a", "b"]]), "document 0: .*; got list"),
        (np.array([b"a"]), "document 0: .*; got bytes"),
        (np.arange(3), "document 0: .*; got int"),
    ],
)
def test_a_document_that_is_no_text_is_named_by_its_number(reranker, documents, message):
    with pytest.raises(InputError, match=message):
        reranker.rank(QUERY, documents)


# Settings


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"convert_to_tensor": True},
        {"convert_to_numpy": False},
        {"convert_to_numpy": False, "convert_to_tensor": True},
        {"activation_fn": torch.nn.Tanh()},
        {"activation_fn": torch.nn.Softmax(dim=1)},
        {"activation_fn": lambda logits: -logits, "convert_to_tensor": True},
        {"apply_softmax": True, "num_workers": 2, "batch_size": 3, "show_progress_bar": False},
        {"activation_fct": torch.nn.Identity()},
        {"device": "cpu", "pool": None, "chunk_size": 5, "prompt_name": None, "prompt": None},
    ],
)
@pytest.mark.parametrize("inputs", [PAIRS, PAIRS[0], PAIRS[:1]])
def test_predict_returns_what_sentence_transformers_returns(reranker, peer, how, inputs):
    ours, theirs = reranker.predict(inputs, **how), peer.predict(list(inputs), **how)
    assert type(ours) is type(theirs)
    if isinstance(theirs, list):
        assert [(type(one), one.dtype, one.shape) for one in ours] == [(type(o), o.dtype, o.shape) for o in theirs]
        ours, theirs = torch.stack(ours), torch.stack(theirs)
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    torch.testing.assert_close(torch.as_tensor(ours), torch.as_tensor(theirs), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "how",
    [
        {"top_k": np.int64(3), "return_documents": True, "batch_size": 4},
        {"activation_fn": torch.nn.Identity()},
        {"activation_fn": lambda logits: -logits},
        {"num_workers": 0, "convert_to_numpy": True, "convert_to_tensor": True, "apply_softmax": False},
    ],
)
def test_rank_returns_what_sentence_transformers_returns(reranker, peer, how):
    ours, theirs = reranker.rank(QUERY, DOCUMENTS, **how), peer.rank(QUERY, DOCUMENTS, **how)
    assert [entry["corpus_id"] for entry in ours] == [entry["corpus_id"] for entry in theirs]
    assert [entry.get("text") for entry in ours] == [entry.get("text") for entry in theirs]
    assert [entry["score"] for entry in ours] == pytest.approx([entry["score"] for entry in theirs], abs=1e-5)


def test_older_names_are_taken(reranker, peer):
    np.testing.assert_allclose(reranker.predict(sentences=PAIRS), peer.predict(sentences=PAIRS), atol=1e-5)


@pytest.mark.parametrize("folder", ["stock_folder", "warm_folder"])
def test_no_forward_pass_holds_more_pairs_than_batch_size(folder, request, monkeypatch):
    reranker = Reranker(request.getfixturevalue(folder))
    expected = reranker.predict(PAIRS)
    seen = []

    def watched(*given, **named):
        for batch in token_batches(*given, **named):
            seen.append(len(batch))
            yield batch

    for module in ("sequence", "student"):
        monkeypatch.setattr(f"tamis.models.{module}.token_batches", watched)
    np.testing.assert_allclose(reranker.predict(PAIRS, batch_size=3), expected, atol=1e-5)
    assert max(seen) == 3


def test_progress_is_shown_only_where_it_is_asked_for(reranker, capsys, monkeypatch):
    monkeypatch.setattr("tamis.progress.PLAIN_EVERY", 0)
    reranker.predict(PAIRS, show_progress_bar=False)
    reranker.rank(QUERY, DOCUMENTS)
    assert capsys.readouterr().err == ""
    reranker.predict(PAIRS, show_progress_bar=True)
    assert f"scoring: {len(PAIRS)} of {len(PAIRS)}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0, expected at least 1"),
        ({"batch_size": 2.5}, "batch_size is 2.5, expected at least 1, a whole number"),
        ({"device": "cuda:7"}, r"device is 'cuda:7', but the model lies on cpu; give it to Reranker\(...\)"),
        ({"device": ["cpu", "cpu"]}, r"device is \['cpu', 'cpu'\]"),
        ({"pool": {"processes": []}}, "pool is not taken"),
        ({"prompt_name": "query"}, "prompt_name is 'query', but prompts have no names here; give prompt its text"),
        ({"processing_kwargs": {}}, "no argument 'processing_kwargs'"),
        ({"activation_fn": torch.nn.Sigmoid}, r"activation_fn is Sigmoid, expected a function of a tensor, such as"),
        ({"activation_fn": "sigmoid"}, "activation_fn is 'sigmoid', expected a function of a tensor"),
        ({"activation_fn": torch.mean}, "activation_fn gave 1 scores for 20 pairs, expected one of each"),
    ],
)
def test_a_setting_that_cannot_be_followed_is_refused(reranker, how, message):
    with pytest.raises(InputError, match=message):
        reranker.predict(PAIRS, **how)
    with pytest.raises(InputError, match=message):
        reranker.rank(QUERY, DOCUMENTS, **how)


@pytest.mark.parametrize("top_k", [2.0, "3", True, np.float64(2)])
def test_a_top_k_that_is_no_number_of_documents_is_refused(reranker, top_k):
    with pytest.raises(InputError, match=r"top_k is .*, expected at least 1, a whole number"):
        reranker.rank(QUERY, DOCUMENTS, top_k)


@pytest.mark.parametrize("level", [float("nan"), 10**400, True, "0.4", [0.4], np.float32("inf")])
def test_a_lowest_score_that_is_no_number_is_refused(reranker, level):
    for documents in (DOCUMENTS, []):
        with pytest.raises(InputError, match=r"min_score is .*, expected a finite number or 'model'"):
            reranker.rank(QUERY, documents, min_score=level)


def test_a_lowest_score_may_be_numpys(reranker):
    level = reranker.rank(QUERY, DOCUMENTS)[3]["score"]
    expected = reranker.rank(QUERY, DOCUMENTS, min_score=level)
    assert len(expected) >= 4
    assert reranker.rank(QUERY, DOCUMENTS, min_score=np.float32(level)) == expected


@pytest.mark.parametrize("long", ["last", ["windows"], {}, None])
def test_what_says_nothing_about_long_documents_is_refused(reranker, long):
    message = r"long is .*, expected first or windows"
    for documents in (DOCUMENTS, []):
        with pytest.raises(InputError, match=message):
            reranker.rank(QUERY, documents, long=long)
        with pytest.raises(InputError, match=message):
            reranker.predict([(QUERY, document) for document in documents], long=long)


def test_scores_of_a_first_stage_may_come_in_any_form_of_a_list(reranker):
    scores = np.arange(len(DOCUMENTS), dtype=float)
    expected = reranker.rank(QUERY, DOCUMENTS, first_stage=("bm25", scores.tolist()))
    series = pd.Series(scores, index=range(7, 7 + len(scores)))
    for given in (scores, series, torch.from_numpy(scores), iter(scores.tolist())):
        assert reranker.rank(QUERY, DOCUMENTS, first_stage=("bm25", given)) == expected


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"precision": "bf16"}, "precision is 'bf16', expected one of float32, bfloat16, auto"),
        ({"precision": torch.float16}, "precision is torch.float16, expected one of"),
        ({"device": "gpu"}, "device is 'gpu', which cannot be used here: Expected one of cpu, cuda"),
        ({"device": "meta"}, "device is 'meta', which cannot be used here: "),
        ({"device": ["cpu"]}, r"device is \['cpu'\], which cannot be used here: "),
        ({"token_budget": -1}, "token_budget is -1, expected at least 1, a whole number"),
        ({"max_tokens": "64"}, "max_tokens is '64', expected at least 1, a whole number"),
        ({"max_tokens": 0}, "max_tokens is 0, expected at least 1"),
    ],
)
def test_a_model_is_loaded_as_it_was_asked_for_or_not_at_all(stock_folder, how, message):
    """Any other number format was float32 without a word."""
    with pytest.raises(InputError, match=message):
        Reranker(stock_folder, **how)


def test_devices_and_limits_may_be_torchs_and_numpys(reranker, stock_folder):
    found = Reranker(stock_folder, device=torch.device("cpu"), max_tokens=np.int64(40), token_budget=np.int32(64))
    np.testing.assert_allclose(found.predict(PAIRS), reranker.predict(PAIRS), atol=1e-6)
