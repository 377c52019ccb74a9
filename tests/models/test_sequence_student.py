import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from tamis.errors import ModelError
from tamis.models.encoder import Encoder
from tamis.models.rows import keep
from tamis.models.serializer import Joined
from tests.conftest import TOPICS
from tests.rerankers import PLAIN, logits, new_stock

PAIRS = [(question, answer) for topics in TOPICS.values() for question, answer in topics]
LONG = "install the package " * 30
AWKWARD = [*PAIRS[:6], (LONG, "clock"), ("clock", LONG), (LONG, LONG), (PAIRS[0][0], LONG), ("?", ""), ("root", " ")]


@pytest.fixture(scope="module", params=["tiny_encoder", "bert_encoder"])
def folder(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def student(folder):
    return new_stock(Encoder.load(folder))


def test_the_score_of_a_pair_is_that_of_the_classifier_on_the_tokenizers_own_pair(folder, student):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    expected = []
    for query, document in AWKWARD:
        # In a list: a bare "" as second text counts as no text.
        features = tokenizer([(query, document)], return_tensors="pt", truncation=True, max_length=40)
        assert ("token_type_ids" in features) == (folder.name == "bert-encoder")
        with torch.no_grad():
            expected.append(student.model.classifier(**features).logits.item())
    np.testing.assert_allclose(logits(student, AWKWARD), expected, atol=1e-5)
    assert np.ptp(expected) > 0.1


@given(first=st.integers(0, 80), second=st.integers(0, 80), limit=st.integers(4, 90))
def test_pairs_are_cut_as_the_tokenizers_library_cuts_them(tiny_encoder, first, second, limit):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tiny_encoder / "tokenizer.json"))
    tokenizer.enable_truncation(limit, strategy="longest_first")
    encoding = tokenizer.encode(" ".join(["clock"] * first), " ".join(["root"] * second))
    kept = tuple(encoding.tokens.count(word) for word in ("clock", "root"))
    assert keep(first, second, limit - 4) == kept


@given(
    pairs=st.lists(st.sampled_from(AWKWARD), min_size=1, max_size=8),
    budget=st.integers(1, 300),
)
@settings(max_examples=30)
def test_a_pair_gets_the_same_score_alone_and_in_any_batch_order_and_budget(student, pairs, budget):
    alone = np.concatenate([logits(student, [pair]) for pair in pairs])
    np.testing.assert_allclose(logits(student, pairs), alone, atol=1e-5)
    np.testing.assert_allclose(logits(student, pairs[::-1], budget)[::-1], alone, atol=1e-5)


def test_a_pair_is_never_longer_than_the_positions_of_the_body(encoder):
    student = new_stock(encoder, serializer=Joined(max_tokens=800))
    words = "install " * 500
    assert student.serializer.max_tokens == encoder.positions == 128
    assert np.isfinite(logits(student, [(words, words), ("clock", words)])).all()


def test_no_pairs_have_no_scores(student):
    assert student.prepare_queries([]) == student.prepare_documents([]) == []


def test_it_starts_on_the_body_of_its_encoder_with_a_head_drawn_from_the_seed(encoder):
    first, again, other = (new_stock(encoder, seed).model.classifier.state_dict() for seed in (1, 1, 2))
    body = {f"bert.{name}": tensor for name, tensor in encoder.body.state_dict().items()}
    assert all(torch.equal(tensor, first[name]) for name, tensor in body.items())
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())
    assert not torch.equal(first["classifier.weight"], other["classifier.weight"])


def test_drawing_the_head_leaves_the_global_random_state_alone(encoder):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    new_stock(encoder, seed=9)
    assert torch.equal(torch.rand(3), expected)


def test_gradients_reach_all_but_the_embeddings_and_the_encoder_stays(encoder):
    student = new_stock(encoder)
    before = {name: tensor.clone() for name, tensor in encoder.body.state_dict().items()}
    queries = student.prepare_queries([query for query, _ in PAIRS[:3]])
    student(queries, student.prepare_documents([document for _, document in PAIRS[:3]])).sum().backward()
    trained = {name for name, p in student.model.named_parameters() if p.grad is not None}
    assert trained == student.trained().keys()
    assert not any("embeddings" in name for name in trained)
    assert {"classifier.classifier.weight", "classifier.bert.encoder.layer.0.output.dense.weight"} < trained
    student.load_trained({name: tensor + 1 for name, tensor in student.trained().items()})
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.body.state_dict().items())


def test_trained_tensors_go_round_and_carry_the_scores(encoder):
    first, second = new_stock(encoder, 1), new_stock(encoder, 2)
    assert np.abs(logits(first, PAIRS) - logits(second, PAIRS)).max() > 0.1
    second.load_trained(first.trained())
    np.testing.assert_array_equal(logits(first, PAIRS), logits(second, PAIRS))


def test_tensors_of_another_model_are_refused_and_change_nothing(encoder):
    student = new_stock(encoder)
    before = student.trained()
    with pytest.raises(ModelError, match=r"do not fit this model: 'classifier\.classifier\.bias'"):
        student.load_trained({n: t + 1 for n, t in before.items() if n != "classifier.classifier.bias"})
    with pytest.raises(ModelError, match=r"'classifier.classifier.bias' has shape \(\), expected \(1,\)"):
        student.load_trained({**{n: t + 1 for n, t in before.items()}, "classifier.classifier.bias": torch.tensor(0.0)})
    assert all(torch.equal(tensor, before[name]) for name, tensor in student.trained().items())


def test_prefixes_of_the_serializer_are_put_before_the_texts(encoder):
    prefixed = new_stock(encoder, serializer=Joined("root ", "clock ", PLAIN.max_tokens))
    written_out = [(f"root {query}", f"clock {document}") for query, document in PAIRS]
    np.testing.assert_allclose(logits(prefixed, PAIRS), logits(new_stock(encoder), written_out), atol=1e-6)
