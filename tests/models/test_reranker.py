import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from scipy.special import expit
from scipy.stats import zscore
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from tamis.errors import InputError, ModelError
from tamis.models.checkpoint import Deployment
from tamis.models.encoder import Encoder
from tamis.models.first_stage import FirstStage, doubt, weight_of
from tamis.models.reranker import Reranker
from tamis.models.saving import save_student
from tests.conftest import TOPICS
from tests.families import build_causal
from tests.rerankers import DEPLOYMENT, new_stock, new_warm, refused

PAIRS = [(question, answer) for topics in TOPICS.values() for question, answer in topics]
QUERY = PAIRS[0][0]
DOCUMENTS = [answer for _, answer in PAIRS]
LONG = "install the package " * 30
TEXT = st.text(st.characters(), max_size=50)
MEGABYTE = "Install a package with the package manager. " * 24_000


@pytest.fixture(scope="module")
def warm(warm_folder):
    return Reranker(warm_folder)


@pytest.fixture(scope="module")
def stock(stock_folder):
    return Reranker(stock_folder)


@pytest.fixture(scope="module", params=["warm", "stock"])
def reranker(request):
    return request.getfixturevalue(request.param)


# Scores


def test_a_list_of_pairs_gives_float32_scores_from_0_to_1_in_input_order(reranker):
    scores = reranker.predict(PAIRS)
    assert scores.dtype == np.float32
    assert scores.shape == (len(PAIRS),)
    assert scores.min() >= 0
    assert scores.max() <= 1
    assert np.ptp(scores) > 0.01
    alone = [reranker.predict([pair])[0] for pair in PAIRS]
    np.testing.assert_allclose(scores, alone, atol=1e-5)


def test_a_single_pair_gives_a_single_score(reranker):
    score = reranker.predict(PAIRS[0])
    assert np.ndim(score) == 0
    assert isinstance(score, np.float32)
    assert score == pytest.approx(reranker.predict(PAIRS[:1])[0], abs=1e-6)
    assert reranker.predict(list(PAIRS[0])) == score


def test_two_pairs_are_not_taken_for_a_single_one(reranker):
    assert reranker.predict(PAIRS[:2]).shape == (2,)
    assert reranker.predict(np.array(PAIRS[:2])).shape == (2,)


def test_no_pairs_give_no_scores(reranker):
    assert reranker.predict([]).shape == (0,)


def test_the_score_is_the_sigmoid_of_the_logit(reranker):
    logits = reranker.predict(PAIRS, activation_fn=torch.nn.Identity())
    np.testing.assert_allclose(reranker.predict(PAIRS), 1 / (1 + np.exp(-logits.astype(float))), atol=1e-6)


@pytest.mark.parametrize("budget", [1, 50, 100_000])
def test_scores_do_not_depend_on_the_token_budget(warm_folder, warm, budget):
    scores = Reranker(warm_folder, token_budget=budget).predict(PAIRS)
    np.testing.assert_allclose(scores, warm.predict(PAIRS), atol=1e-5)


@given(order=st.permutations(range(len(PAIRS))))
@settings(max_examples=20)
def test_the_order_of_the_pairs_only_reorders_the_scores_bit_by_bit(warm, order):
    assert warm.predict([PAIRS[i] for i in order]).tolist() == warm.predict(PAIRS)[order].tolist()


def test_a_stream_of_documents_is_scored_lazily_and_in_order(reranker):
    taken = 0

    def documents():
        nonlocal taken
        for document in DOCUMENTS:
            taken += 1
            yield document

    scores = reranker.score(QUERY, documents(), window=3)
    assert taken == 0
    first = [next(scores), next(scores)]
    assert taken == 6  # one window is tokenised while another is scored
    expected = reranker.predict([(QUERY, document) for document in DOCUMENTS], activation_fn=torch.nn.Identity())
    np.testing.assert_allclose([*first, *scores], expected, atol=1e-5)
    assert taken == len(DOCUMENTS)


# Ranking


def test_documents_are_ranked_by_their_scores(reranker):
    expected = reranker.predict([(QUERY, document) for document in DOCUMENTS])
    ranked = reranker.rank(QUERY, DOCUMENTS, return_documents=True)
    assert [entry["score"] for entry in ranked] == sorted(expected.tolist(), reverse=True)
    assert all(entry["score"] == expected[entry["corpus_id"]] for entry in ranked)
    assert all(entry["text"] == DOCUMENTS[entry["corpus_id"]] for entry in ranked)
    assert sorted(entry["corpus_id"] for entry in ranked) == list(range(len(DOCUMENTS)))
    assert all(entry.keys() == {"corpus_id", "score", "logit"} for entry in reranker.rank(QUERY, DOCUMENTS))


@pytest.mark.parametrize("top_k", [1, 3, 100])
def test_top_k_is_the_head_of_the_ranking(warm, top_k):
    assert warm.rank(QUERY, DOCUMENTS, top_k) == warm.rank(QUERY, DOCUMENTS)[:top_k]


def test_no_documents_make_an_empty_ranking(reranker):
    assert reranker.rank(QUERY, []) == []


@given(order=st.permutations(range(8)))
@settings(max_examples=20)
def test_ties_are_ordered_by_content_and_not_by_input_order(warm, order):
    # The tokenizer folds case: these score alike, and every one is there twice.
    alike = ["Set the clock", "set the CLOCK", "SET THE CLOCK", "set the clock"]
    documents = [alike[i % 4] for i in order]
    ranked = warm.rank(QUERY, documents, return_documents=True)
    assert len({entry["logit"] for entry in ranked}) == 1
    assert [entry["text"] for entry in ranked] == [e["text"] for e in warm.rank(QUERY, alike * 2, None, True)]


def test_copies_of_a_document_get_the_same_score_among_others(reranker):
    ranked = reranker.rank(QUERY, [*DOCUMENTS, *DOCUMENTS[::-1]])
    scores = {entry["corpus_id"]: entry["score"] for entry in ranked}
    last = len(scores) - 1
    assert all(scores[i] == scores[last - i] for i in range(len(DOCUMENTS)))


@pytest.mark.parametrize(("name", "weight"), [("bm25", 0.5), ("hybrid", 2.0)])
def test_the_first_stage_is_added_by_its_z_score_and_stored_weight(reranker, name, weight):
    given = np.random.default_rng(0).normal(size=len(DOCUMENTS))
    logits = reranker.predict([(QUERY, document) for document in DOCUMENTS], activation_fn=torch.nn.Identity())
    fused = zscore(logits.astype(float)) + weight * zscore(given)
    ranked = reranker.rank(QUERY, DOCUMENTS, first_stage=(name, given.tolist()))
    assert [entry["corpus_id"] for entry in ranked] == np.argsort(-fused).tolist()
    assert [entry["logit"] for entry in ranked] == [logits[entry["corpus_id"]] for entry in ranked]
    # The score is that of the sum, brought back to mean and spread of the logits.
    summed = logits.mean(dtype=float) + logits.std(dtype=float) * fused
    assert [entry["score"] for entry in ranked] == pytest.approx(expit(np.sort(summed)[::-1]), abs=1e-5)


@pytest.fixture(scope="module")
def by_weight(weighed_folder):
    return Reranker(weighed_folder)


SCORES = st.floats(-1e308, 1e308) | st.sampled_from([0.0, 1.0, 2.0])


@settings(max_examples=60, deadline=None)
@given(
    chosen=st.lists(st.sampled_from(range(len(DOCUMENTS))), min_size=1, max_size=12),
    said=st.sampled_from(["order", "bm25", "elastic", "other", "none"]),
    data=st.data(),
)
def test_scores_never_rise_down_the_ranking(by_weight, chosen, said, data):
    documents = [DOCUMENTS[i] for i in chosen]
    if said not in ("order", "none"):
        said = said, data.draw(st.lists(SCORES, min_size=len(chosen), max_size=len(chosen)))
    ranked = by_weight.rank(QUERY, documents, first_stage=said)
    scores = [entry["score"] for entry in ranked]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert sorted(entry["corpus_id"] for entry in ranked) == list(range(len(documents)))


def test_nothing_is_added_unless_asked(by_weight):
    alone = by_weight.rank(QUERY, DOCUMENTS)
    assert by_weight.rank(QUERY, DOCUMENTS, first_stage=None) == alone
    assert by_weight.rank(QUERY, DOCUMENTS, first_stage="none") == alone
    assert [entry["score"] for entry in alone] == pytest.approx([expit(entry["logit"]) for entry in alone], abs=1e-6)


def test_an_order_counts_by_its_ranks(by_weight):
    logits = by_weight.score_pairs([(QUERY, document) for document in DOCUMENTS]).logits.astype(float)
    fused = zscore(logits) + 0.75 * zscore([-np.log(rank) for rank in range(1, len(DOCUMENTS) + 1)])
    ranked = by_weight.rank(QUERY, DOCUMENTS, first_stage="order")
    assert [entry["corpus_id"] for entry in ranked] == np.argsort(-fused).tolist()


@pytest.mark.parametrize(("said", "best"), [("order", [0, 1, 2, 3]), (("bm25", [1.0, 3.0, 2.0, 3.5]), [3, 1, 2, 0])])
def test_where_the_model_sees_no_difference_the_first_stage_decides(by_weight, said, best):
    ranked = by_weight.rank(QUERY, ["Set the clock"] * 4, first_stage=said)
    assert [entry["corpus_id"] for entry in ranked] == best
    assert len({entry["score"] for entry in ranked}) == 1


def test_an_unknown_first_stage_counts_as_any_other_and_is_told_once(weighed_folder, caplog):
    reranker, given = Reranker(weighed_folder), list(range(len(DOCUMENTS)))
    as_other = reranker.rank(QUERY, DOCUMENTS, first_stage=("other", given))
    assert not caplog.records
    for _ in range(2):
        assert reranker.rank(QUERY, DOCUMENTS, first_stage=("splade", given)) == as_other
    assert [record.getMessage() for record in caplog.records] == [
        "first_stage 'splade': this model has no weight for it, so that of any other was taken, 0.3; "
        "it knows bm25, order, other"
    ]


def test_an_order_without_a_weight_adds_nothing_and_is_told_once(warm_folder, caplog):
    reranker = Reranker(warm_folder)
    for _ in range(2):
        assert reranker.rank(QUERY, DOCUMENTS, first_stage="order") == reranker.rank(QUERY, DOCUMENTS)
    assert [record.getMessage() for record in caplog.records] == [
        "first_stage 'order': this model has no weight for the order of documents, so nothing was added"
    ]


@pytest.mark.parametrize(
    ("query", "name", "weight"),
    [
        ("Wie kann ich ein Paket auf meinem Rechner installieren?", "bm25", 3.0),
        ("How can I install a package on my computer?", "bm25", 0.5),
        ("Wie kann ich ein Paket auf meinem Rechner installieren?", "elastic", 1.5),
        ("Wie kann ich ein Paket auf meinem Rechner installieren?", "order", 0.75),
    ],
)
def test_a_weight_of_the_querys_language_goes_before(by_weight, query, name, weight):
    given = np.random.default_rng(1).normal(size=len(DOCUMENTS))
    said = name if name == "order" else (name, given.tolist())
    first = -np.log(np.arange(1, len(DOCUMENTS) + 1)) if name == "order" else given
    logits = by_weight.score_pairs([(query, document) for document in DOCUMENTS]).logits.astype(float)
    summed = logits + weight * logits.std() * zscore(first)
    ranked = by_weight.rank(query, DOCUMENTS, first_stage=said)
    assert [entry["score"] for entry in ranked] == pytest.approx(expit(np.sort(summed)[::-1]), abs=1e-5)


def test_an_order_that_counts_in_one_language_only_is_no_doubt():
    assert doubt(Deployment({"order": 0.0}, {}, {"order": {"de": 0.5}}), "order") is None
    assert "nothing was added" in (doubt(Deployment({"order": 0.0}, {}), "order") or "")


def test_with_english_weights_alone_other_languages_have_the_general_one():
    deployment = Deployment({"bm25": 0.5}, {}, {"bm25": {"en": 2.0}})
    first = FirstStage("bm25", np.arange(3.0))
    assert weight_of(deployment, first, "How can I install a package on my computer?") == 2
    assert weight_of(deployment, first, "Wie kann ich ein Paket auf meinem Rechner installieren?") == 0.5


def test_no_language_is_looked_at_where_none_has_a_weight_of_its_own(by_weight, monkeypatch):
    monkeypatch.setattr("tamis.models.first_stage.language_identifier", None)
    by_weight.rank(QUERY, DOCUMENTS, first_stage="order")


@pytest.mark.parametrize(
    ("first_stage", "message"),
    [
        (("bm25", [1.0]), "first_stage 'bm25': 1 scores for 2 documents, expected one of each"),
        (("bm25", [1.0, float("nan")]), "first_stage 'bm25': score 1 is not finite"),
        (("bm25", [1.0, None]), "first_stage 'bm25': expected a finite number of each document"),
        (("bm25", [1, 10**400]), "first_stage 'bm25': expected a finite number of each document"),
        (("order", [1.0, 2.0]), "first_stage 'order': takes no scores; name what made them, or call it 'other'"),
        (("none", [1.0, 2.0]), "first_stage 'none': takes no scores"),
        (("", [1.0, 2.0]), "first_stage: got .*, expected none, order, or a name and scores"),
        ("bm25", "first_stage: got 'bm25', expected none, order, or a name and scores"),
        (1.0, "first_stage: got 1.0, expected none, order, or a name and scores"),
        (np.zeros(2), "first_stage: got array.*, expected none, order, or a name and scores"),
        (("faiss", {17: 9.1, 42: 3.2}), "first_stage 'faiss': expected a list of scores, got a dict; give its values"),
        (("faiss", pd.DataFrame([1.0, 2.0])), "first_stage 'faiss': expected a list of scores, got a DataFrame; give"),
        (("faiss", torch.zeros(2, 1)), "first_stage 'faiss': expected a finite number of each document"),
        (("faiss", None), "first_stage 'faiss': expected a list of scores, got NoneType"),
        (("faiss", "12"), "first_stage 'faiss': expected a list of scores, got a single string"),
    ],
)
def test_a_first_stage_that_cannot_be_used_is_refused(warm, first_stage, message):
    with pytest.raises(InputError, match=message):
        warm.rank(QUERY, DOCUMENTS[:2], first_stage=first_stage)


# Input that is hard to read


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([("a", 1)], "pair 0: expected two strings, got str and int"),
        ([("a", "b"), ("a", None)], "pair 1: expected two strings, got str and NoneType"),
        ([("a",)], "pair 0: expected two strings, got str"),
        ([("a", "b", "c")], "pair 0: expected two strings, got str and str and str"),
        ([()], "pair 0: expected two strings, got nothing"),
        ([None], "pair 0: expected two strings, got NoneType"),
        ("text", r"inputs: expected a list of pairs \(query, document\), got a single string"),
        ([{"a", "b"}], "pair 0: expected two strings, got set"),
        ([("", "b")], "pair 0: the query is empty"),
        ([("a", "b"), (" \n", "b")], "pair 1: the query is empty"),
        ([("a\ud800", "b")], "pair 0: the query holds half of a surrogate pair at character 1"),
        ([("a", "bc\udfffd")], "pair 0: the document holds half of a surrogate pair at character 2"),
    ],
)
def test_what_is_no_pair_of_texts_is_refused_by_its_number(reranker, pairs, message):
    with pytest.raises(InputError, match=message):
        reranker.predict(pairs)


@pytest.mark.parametrize(
    ("query", "documents", "top_k", "message"),
    [
        ("", ["b"], None, "the query is empty"),
        (None, ["b"], None, "expected two strings, got NoneType and str"),
        ("a", ["b", 3], None, "document 1: expected a string, or a mapping with text .*; got int"),
        ("a", "bcd", None, "documents: expected a list of strings, got a single string"),
        ("a", ["b"], 0, "top_k is 0, expected at least 1"),
        ("a", ["b"], -1, "top_k is -1, expected at least 1"),
    ],
)
def test_what_cannot_be_ranked_is_refused(reranker, query, documents, top_k, message):
    with pytest.raises(InputError, match=message):
        reranker.rank(query, documents, top_k)


@pytest.mark.parametrize("text", ["", " ", "\0", "a\0b", "\u200b", "\U0001f600", "\ufffd", "\x1b[0m", MEGABYTE])
def test_strange_documents_get_a_finite_score(reranker, text):
    scores = reranker.predict([(QUERY, text), (QUERY, DOCUMENTS[0])])
    assert np.isfinite(scores).all()


def test_a_hundred_thousand_documents_are_ranked(reranker):
    documents = [DOCUMENTS[number % len(DOCUMENTS)] for number in range(100_000)]
    ranked = reranker.rank(QUERY, documents, top_k=3)
    assert [documents[entry["corpus_id"]] for entry in ranked] == [
        reranker.rank(QUERY, DOCUMENTS, 1, True)[0]["text"]
    ] * 3


def test_only_what_fits_of_a_long_text_counts(warm):
    scores = warm.predict([(QUERY, MEGABYTE), (QUERY, MEGABYTE[:2000]), (MEGABYTE, QUERY), (MEGABYTE[:2000], QUERY)])
    assert scores[0] == scores[1]
    assert scores[2] == scores[3]


@given(query=TEXT, document=TEXT)
@settings(max_examples=50)
def test_any_text_is_scored_unless_it_is_blank_or_broken(warm, query, document):
    broken = any("\ud800" <= character <= "\udfff" for character in query + document)
    if broken or not query.strip():
        with pytest.raises(InputError, match=r"pair 0: .*(empty|surrogate)"):
            warm.predict([(query, document)])
    else:
        assert 0 <= warm.predict([(query, document)])[0] <= 1


# Saved folders


@pytest.mark.parametrize("folder", ["warm_folder", "stock_folder"])
def test_a_saved_folder_holds_safetensors_and_no_pickle(request, folder):
    files = {path.name for path in request.getfixturevalue(folder).iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "tamis.json"} < files
    assert not [name for name in files if name.endswith((".bin", ".pt", ".pth", ".pkl", ".py"))]


@pytest.mark.parametrize("new", [new_warm, new_stock])
def test_what_was_saved_is_loaded_with_its_scores_weights_and_lineage(tiny_encoder, tmp_path, new):
    student = new(Encoder.load(tiny_encoder))
    torch.manual_seed(2)
    student.load_trained(
        {name: tensor + 0.02 * torch.randn(tensor.shape) for name, tensor in student.trained().items()}
    )
    save_student(student, tmp_path / "saved", DEPLOYMENT)
    reranker = Reranker(tmp_path / "saved")
    with torch.no_grad():
        queries = student.prepare_queries([query for query, _ in PAIRS])
        expected = student(queries, student.prepare_documents(DOCUMENTS)).numpy()
    np.testing.assert_allclose(reranker.predict(PAIRS, activation_fn=torch.nn.Identity()), expected, atol=1e-4)
    assert reranker.deployment == DEPLOYMENT
    assert reranker.serializer == student.serializer
    loaded = load_file(tmp_path / "saved" / "model.safetensors")
    head = {"scale", "bias", "match"} if new is new_warm else set()  # a warm head lies in tamis.json
    own = student.trained()
    if new is new_stock:
        own = {name.removeprefix("classifier."): tensor for name, tensor in own.items()}
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in own.items() if name not in head)


def test_a_warm_folder_is_an_ordinary_encoder_to_transformers(warm_folder, warm):
    body, report = AutoModel.from_pretrained(warm_folder, add_pooling_layer=False, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    expected = warm.scorer.student.whole_body().state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in body.state_dict().items())


def test_a_stock_folder_is_an_ordinary_classifier_to_transformers(stock_folder, stock):
    classifier = AutoModelForSequenceClassification.from_pretrained(stock_folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(stock_folder)
    queries, documents = [*dict(PAIRS), "clock", LONG], [*DOCUMENTS, LONG, LONG]
    features = tokenizer(queries, documents, padding=True, truncation=True, return_tensors="pt")
    with torch.no_grad():
        expected = classifier(**features).logits[:, 0].numpy()
    ours = stock.predict(list(zip(queries, documents, strict=True)), activation_fn=torch.nn.Identity())
    np.testing.assert_allclose(ours, expected, atol=1e-4)


@pytest.mark.parametrize("encoder_folder", ["tiny_encoder", "bert_encoder"])
def test_a_stock_folder_scores_the_same_in_sentence_transformers_without_any_flag(request, tmp_path, encoder_folder):
    from sentence_transformers import CrossEncoder

    student = new_stock(Encoder.load(request.getfixturevalue(encoder_folder)))
    save_student(student, tmp_path / "saved", DEPLOYMENT)
    pairs = [*PAIRS, ("clock", LONG), (LONG, "clock"), (LONG, LONG)]
    peer = CrossEncoder(str(tmp_path / "saved"), device="cpu").predict(pairs)
    np.testing.assert_allclose(Reranker(tmp_path / "saved").predict(pairs), peer, atol=1e-4)


def test_a_warm_folder_scores_and_ranks_the_same_in_sentence_transformers(warm_folder, warm):
    from sentence_transformers import CrossEncoder

    peer = CrossEncoder(str(warm_folder), trust_remote_code=True, device="cpu")
    pairs = [*PAIRS, ("clock", LONG), (LONG, "clock"), (QUERY, "")]
    np.testing.assert_allclose(warm.predict(pairs), peer.predict(pairs, batch_size=4), atol=1e-4)
    ranked = [entry["corpus_id"] for entry in peer.rank(QUERY, DOCUMENTS)]
    assert ranked == [entry["corpus_id"] for entry in warm.rank(QUERY, DOCUMENTS)]


def test_a_warm_folder_goes_round_through_sentence_transformers(warm_folder, warm, tmp_path):
    from sentence_transformers import CrossEncoder

    CrossEncoder(str(warm_folder), trust_remote_code=True, device="cpu").save_pretrained(str(tmp_path / "again"))
    again = Reranker(tmp_path / "again")
    np.testing.assert_allclose(again.predict(PAIRS), warm.predict(PAIRS), atol=1e-6)
    assert again.deployment == warm.deployment


def test_sentence_transformers_says_what_a_warm_folder_needs(warm_folder):
    from sentence_transformers import CrossEncoder

    with pytest.raises(Exception, match="trust_remote_code=True"):
        CrossEncoder(str(warm_folder), device="cpu")


# Folders that cannot be used


@pytest.fixture(params=["warm_folder", "stock_folder"])
def copied(request, tmp_path):
    return shutil.copytree(request.getfixturevalue(request.param), tmp_path / "copy")


def rewrite(path, **changes):
    facts = json.loads((path / "tamis.json").read_text())
    facts.update(changes)
    (path / "tamis.json").write_text(json.dumps({k: v for k, v in facts.items() if v is not None}))


@pytest.mark.parametrize("name", ["warm_folder", "causal"])
def test_a_model_of_a_hub_reads_pairs_as_its_folder_says(request, tmp_path, monkeypatch, name):
    """The hub's cache as its client leaves it; without `tamis.json` a warm model is none, a template is not applied."""
    if name == "causal":
        folder = build_causal(tmp_path / "folder")
        serializer = {"kind": "template", "template": "{query} and {document}"}
        (folder / "tamis.json").write_text(json.dumps({"format": 2, "serializer": serializer, "activation": "tanh"}))
    else:
        folder = request.getfixturevalue(name)
    shutil.copytree(folder, tmp_path / "models--someone--model" / "snapshots" / ("a" * 40))
    (tmp_path / "models--someone--model" / "refs").mkdir()
    (tmp_path / "models--someone--model" / "refs" / "main").write_text("a" * 40)
    monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(tmp_path))
    found, expected = Reranker("someone/model"), Reranker(folder)
    assert (found.family, found.activation, found.serializer) == (
        expected.family, expected.activation, expected.serializer
    )  # fmt: skip
    np.testing.assert_array_equal(found.predict(PAIRS), expected.predict(PAIRS))


def test_a_path_that_is_no_folder_is_refused(tmp_path):
    assert "not a model folder" in refused(tmp_path / "nothing")
    (tmp_path / "file").write_text("text")
    assert "not a model folder" in refused(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    assert "no .safetensors weights in this folder (found nothing)" in refused(tmp_path / "empty")


def test_without_tamis_json_a_classifier_is_taken_as_it_is_and_a_body_is_no_reranker(
    warm_folder, stock_folder, tmp_path
):
    body, classifier = (shutil.copytree(f, tmp_path / f.name) for f in (warm_folder, stock_folder))
    (body / "tamis.json").unlink()
    assert "no score head (architecture BertModel)" in refused(body)
    (classifier / "tamis.json").unlink()
    np.testing.assert_array_equal(Reranker(classifier).predict(PAIRS), Reranker(stock_folder).predict(PAIRS))


def _template(template: str, **more: str) -> str:
    return json.dumps({"format": 2, "serializer": {"kind": "template", "template": template, **more}})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "expected format 2"),
        ('{"format": 1, "family": "warm"}', "expected format 2"),
        ('{"format": 2, "family": "cold"}', "family 'cold' is not one of encoder, causal, querit, yes-no, warm"),
        ('{"format": 2, "family": "warm"}', "a field is missing or of the wrong kind: 'cross_bias'"),
        ('{"format": 2, "activation": "relu"}', "activation 'relu' is not one of sigmoid, tanh, identity"),
        ('{"format": 2, "serializer": {"kind": "woven"}}', "kind 'woven', expected one of apart, joined, template"),
        ('{"format": 2, "serializer": {"kind": "joined", "max_token": 9}}', "unknown field 'max_token'"),
        ('{"format": 2, "serializer": {"kind": "joined", "max_tokens": "9"}}', "max_tokens is '9', expected int"),
        ('{"format": 2, "serializer": {"kind": "joined", "max_tokens": 2}}', "max_tokens is 2, expected at least 8"),
        ('{"format": 2, "serializer": {"kind": "template"}}', "the template is missing"),
        ('{"format": 2, "serializer": {"kind": "template", "template": "{query}"}}', "and {document} at its end"),
        (_template("{query:>5} {document}"), "serializer: template '{query:>5} {document}': expected one with {query}"),
        (_template("{query} {query} {document}"), "expected one with {query}, perhaps {instruction}, and {document}"),
        (_template("{query} {document}", title="{heading}: {text}"), "serializer: title '{heading}: {text}': expected"),
        (_template("{query} {document}", title="{text:>9000000000}"), "serializer: title '{text:>9000000000}': expec"),
        (_template("{query} {document}", title="{text.upper}"), "title '{text.upper}': expected {title} and {text}"),
        (_template("{query} {document}", title="{text"), "serializer: title '{text': expected {title} and {text}"),
        ("[" * 100_000, "cannot be read"),
    ],
)
def test_a_tamis_json_that_is_not_understood_is_refused(copied, content, message):
    (copied / "tamis.json").write_text(content)
    assert message in refused(copied)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"serializer": [1]}, ""),
        ({"first_stage_weights": [0.5]}, "first_stage_weights is [0.5], expected a JSON object"),
        *(
            ({"first_stage_weights": {"bm25": weight}}, f"first_stage_weights: the weight of 'bm25' is {shown}, expec")
            for weight, shown in [
                ("0.5", '"0.5"'),
                (True, "true"),
                (None, "null"),
                (-1, "-1"),
                (float("nan"), "NaN"),
                (float("inf"), "Infinity"),
                (10**400, "1" + 38 * "0" + "…"),
            ]
        ),
        ({"weights_by_language": {"de": 3.0}}, "weights_by_language.de is 3.0, expected a JSON object"),
        ({"weights_by_language": {"bm25": {"german": 3.0}}}, "weights_by_language.bm25: 'german' is no language tag; "),
        ({"weights_by_language": {"bm25": {"de": -3}}}, "weights_by_language.bm25: the weight of 'de' is -3, expected"),
        ({"min_score": 0.4}, "min_score is 0.4, expected a JSON object"),
        ({"min_score": {}}, "min_score.score is null, expected a finite number"),
        ({"lineage": 3}, "lineage is 3, expected a JSON object"),
    ],
)
def test_a_field_of_the_wrong_kind_is_refused(copied, changes, message):
    rewrite(copied, **changes)
    assert f"tamis.json: a field is missing or of the wrong kind: {message}" in refused(copied)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("first_stage_weight", "first_stage_weights"), ("weights_by_languages", "weights_by_language")],
)
def test_a_mistyped_field_is_refused_and_one_of_others_is_not(copied, typed, meant):
    rewrite(copied, notes="by hand")
    Reranker(copied)
    rewrite(copied, **{typed: {}})
    assert f"tamis.json: unknown field {typed!r}; did you mean {meant!r}?" in refused(copied)


def test_pickled_weights_are_refused(copied):
    (copied / "model.safetensors").rename(copied / "pytorch_model.bin")
    assert "no .safetensors weights" in refused(copied)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_truncated_weights_are_refused(copied, share):
    content = (copied / "model.safetensors").read_bytes()
    (copied / "model.safetensors").write_bytes(content[: int(share * len(content))])
    assert "cannot be loaded as" in refused(copied)


def test_a_missing_tensor_is_refused_and_not_made_up(copied):
    tensors = load_file(copied / "model.safetensors")
    name = next(name for name in sorted(tensors) if name.endswith("layer.0.output.dense.weight"))
    del tensors[name]
    save_file(tensors, copied / "model.safetensors", metadata={"format": "pt"})
    assert f"lacks the tensor '{name}'" in refused(copied)


def test_weights_that_are_not_numbers_are_refused(copied):
    tensors = load_file(copied / "model.safetensors")
    name = next(name for name in tensors if name.endswith("layer.2.output.dense.weight"))
    tensors[name][0, 0] = float("nan")
    save_file(tensors, copied / "model.safetensors", metadata={"format": "pt"})
    assert "scores are not finite; the weights are broken" in refused(copied)


def test_a_head_without_its_tensors_is_refused(stock_folder, warm_folder, tmp_path):
    # The body of the warm model under the stock model's name: what an encoder without a trained head looks like.
    copy = shutil.copytree(stock_folder, tmp_path / "copy")
    shutil.copy(warm_folder / "model.safetensors", copy / "model.safetensors")
    assert "lacks the tensor '" in refused(copy)


def test_a_model_that_scores_all_alike_is_refused(warm_folder, stock_folder, tmp_path):
    warm, stock = tmp_path / "warm", tmp_path / "stock"
    shutil.copytree(warm_folder, warm)
    rewrite(warm, scale=0.0, match=0.0)
    assert "every pair gets the same score" in refused(warm)
    shutil.copytree(stock_folder, stock)
    tensors = load_file(stock / "model.safetensors")
    tensors["classifier.weight"].zero_()
    save_file(tensors, stock / "model.safetensors", metadata={"format": "pt"})
    assert "every pair gets the same score" in refused(stock)


@pytest.mark.parametrize("field", ["scale", "bias", "match", "cross_bias"])
def test_a_head_that_is_not_a_number_is_refused(warm_folder, tmp_path, field):
    copy = shutil.copytree(warm_folder, tmp_path / "copy")
    rewrite(copy, **{field: float("nan")})
    assert "the head is not finite" in refused(copy)
    rewrite(copy, **{field: 10**400})
    assert "tamis.json: a field is missing or of the wrong kind: int too large" in refused(copy)


def test_more_joint_layers_than_the_body_has_are_refused(warm_folder, tmp_path):
    copy = shutil.copytree(warm_folder, tmp_path / "copy")
    rewrite(copy, joint_layers=9)
    with pytest.raises(ModelError, match="joint_layers is 9, expected 1 to 3"):
        Reranker(copy)


def test_the_saved_tokenizer_has_a_class_that_older_transformers_know_too(encoder, warm_folder):
    settings = json.loads((warm_folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert settings["tokenizer_class"] == "PreTrainedTokenizerFast"  # transformers 4 has no TokenizersBackend
    again = AutoTokenizer.from_pretrained(warm_folder)
    assert again(DOCUMENTS)["input_ids"] == encoder.tokenizer(DOCUMENTS)["input_ids"]
