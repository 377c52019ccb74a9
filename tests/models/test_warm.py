import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.errors import ModelError
from tamis.models.serializer import Apart
from tamis.models.warm import WarmCrossEncoder
from tests.conftest import TOPICS
from tests.rerankers import SERIALIZER, logits, new_warm

PAIRS = [(question, answer) for topics in TOPICS.values() for question, answer in topics]
QUERIES = [question for question, _ in PAIRS]
DOCUMENTS = [answer for _, answer in PAIRS]


class PlainAttention:
    """BERT written out for one text without padding; `cross` is added to the attention between two parts."""

    def __init__(self, body):
        self.weights = body.state_dict()
        self.heads, self.epsilon = body.config.num_attention_heads, body.config.layer_norm_eps

    def linear(self, name, x):
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def norm(self, name, x):
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / torch.sqrt((centred**2).mean(-1, keepdim=True) + self.epsilon)
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def embeddings(self, ids):
        tables = [f"embeddings.{name}_embeddings.weight" for name in ("word", "position", "token_type")]
        word, position, kind = (self.weights[name] for name in tables)
        return self.norm("embeddings.LayerNorm", word[ids] + position[: len(ids)] + kind[0])

    def layer(self, number, x, cross):
        name = f"encoder.layer.{number}"
        split = [self.linear(f"{name}.attention.self.{part}", x) for part in ("query", "key", "value")]
        query, key, value = (part.reshape(len(x), self.heads, -1).transpose(0, 1) for part in split)
        attention = torch.softmax(query @ key.transpose(1, 2) / math.sqrt(query.shape[-1]) + cross, -1)
        context = (attention @ value).transpose(0, 1).reshape(x.shape)
        x = self.norm(f"{name}.attention.output.LayerNorm", self.linear(f"{name}.attention.output.dense", context) + x)
        inner = torch.nn.functional.gelu(self.linear(f"{name}.intermediate.dense", x))
        return self.norm(f"{name}.output.LayerNorm", self.linear(f"{name}.output.dense", inner) + x)

    def logit(self, query_ids, document_ids, joint_layers, cross_bias, scale, bias, match, layers=3):
        query, document = self.embeddings(query_ids), self.embeddings(document_ids)
        for number in range(layers - joint_layers):
            query, document = self.layer(number, query, 0), self.layer(number, document, 0)
        both, length = torch.cat([query, document]), len(query)
        cross = torch.zeros(len(both), len(both))
        cross[:length, length:] = cross[length:, :length] = cross_bias
        for number in range(layers - joint_layers, layers):
            both = self.layer(number, both, cross)
        a, b = both[:length].mean(0), both[length:].mean(0)
        logit = scale * (a @ b) / (a.norm() * b.norm()) + bias
        for token in both[:length]:
            nearest = max(float(token @ other / (token.norm() * other.norm())) for other in both[length:])
            logit += match * nearest / length
        return float(logit)


@pytest.mark.parametrize("joint_layers", [1, 2, 3])
@pytest.mark.parametrize("cross_bias", [0.0, -1.5, -4.0])
@pytest.mark.parametrize("match", [0.0, 6.0])
def test_the_score_is_that_of_attention_written_out_over_both_texts(encoder, joint_layers, cross_bias, match):
    plain = PlainAttention(encoder.body)
    pairs = [*PAIRS[:4], (QUERIES[0], DOCUMENTS[5])]
    expected = [
        plain.logit(query, document, joint_layers, cross_bias, 8.0, -5.0 - match, match)
        for query, document in zip(
            encoder.tokenise([q for q, _ in pairs], "query: ", 16),
            encoder.tokenise([d for _, d in pairs], "passage: ", 24),
            strict=True,
        )
    ]
    np.testing.assert_allclose(logits(new_warm(encoder, joint_layers, cross_bias, match), pairs), expected, atol=1e-4)


@pytest.mark.parametrize("joint_layers", [1, 3])
def test_with_the_view_between_the_texts_closed_it_is_exactly_its_bi_encoder(encoder, joint_layers):
    student = WarmCrossEncoder(encoder, SERIALIZER, joint_layers, -1e9, scale=40.0, bias=-34.0).eval()
    cosines = (encoder.embed(QUERIES, "query: ", 16) * encoder.embed(DOCUMENTS, "passage: ", 24)).sum(1)
    np.testing.assert_allclose(logits(student, PAIRS), 40 * cosines - 34, atol=1e-4)


def test_with_the_view_open_the_same_texts_get_other_scores(encoder):
    closed, opened = new_warm(encoder, 2, -1e9), new_warm(encoder, 2, 0.0)
    assert np.abs(logits(closed, PAIRS) - logits(opened, PAIRS)).min() > 1e-3


@given(
    pairs=st.lists(
        st.tuples(st.sampled_from(QUERIES), st.sampled_from([*DOCUMENTS, "", "clock"])), min_size=1, max_size=8
    ),
    budget=st.integers(1, 300),
)
@settings(max_examples=30)
def test_a_pair_gets_the_same_score_alone_and_in_any_batch_order_and_budget(encoder, pairs, budget):
    student = new_warm(encoder)
    alone = np.concatenate([logits(student, [pair]) for pair in pairs])
    np.testing.assert_allclose(logits(student, pairs), alone, atol=1e-5)
    np.testing.assert_allclose(logits(student, pairs[::-1], budget)[::-1], alone, atol=1e-5)


def test_the_query_and_the_document_never_take_room_from_each_other(encoder):
    student = new_warm(encoder)
    long = "install the package " * 100
    assert [len(states) for states in student.prepare_queries([long, QUERIES[0]])] == [16, 11]
    assert [len(states) for states in student.prepare_documents([long, "clock"])] == [24, 5]


def test_gradients_reach_what_is_trained_and_nothing_else(encoder):
    student = new_warm(encoder)
    queries, documents = student.prepare_queries(QUERIES[:3]), student.prepare_documents(DOCUMENTS[:3])
    student(queries, documents).sum().backward()
    gradients = {name: p.grad for name, p in student.named_parameters() if p.requires_grad}
    assert {"scale", "bias", "match"} < gradients.keys()
    assert len(gradients) == 3 + 2 * len(list(encoder.body.encoder.layer[0].parameters()))
    # A key's bias adds the same to all attention of a query: softmax takes it off again.
    assert all(g is not None and (g.abs().max() > 0 or n.endswith("key.bias")) for n, g in gradients.items())
    assert all(parameter.grad is None for parameter in encoder.body.parameters())
    assert not any(states.requires_grad for states in [*queries, *documents])


def test_training_the_joint_layers_leaves_the_encoder_as_it_was(encoder):
    before = {name: tensor.clone() for name, tensor in encoder.body.state_dict().items()}
    student = new_warm(encoder)
    student.load_trained({name: tensor + 1 for name, tensor in student.trained().items()})
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.body.state_dict().items())


def test_trained_tensors_go_round_and_carry_the_scores(encoder):
    first, second = new_warm(encoder), new_warm(encoder)
    torch.manual_seed(1)
    changed = {name: tensor + 0.05 * torch.randn(tensor.shape) for name, tensor in first.trained().items()}
    first.load_trained(changed)
    assert all(torch.equal(tensor, changed[name]) for name, tensor in first.trained().items())
    assert np.abs(logits(first, PAIRS) - logits(second, PAIRS)).max() > 0.1
    second.load_trained(first.trained())
    np.testing.assert_array_equal(logits(first, PAIRS), logits(second, PAIRS))


def learning_apart(encoder, layers=1):
    student = new_warm(encoder, joint_layers=1)
    student.learn_apart(layers)
    return student


@pytest.mark.parametrize("layers", [1, 2])
def test_with_lower_layers_learning_the_scores_stay_the_same(encoder, layers):
    # Padding, repeated queries and a document that stands in two pairs.
    pairs = [*PAIRS, (QUERIES[0], DOCUMENTS[1]), (QUERIES[0], "clock")]
    frozen = logits(new_warm(encoder, joint_layers=1), pairs)
    np.testing.assert_allclose(logits(learning_apart(encoder, layers), pairs), frozen, atol=1e-5)


def test_gradients_of_lower_layers_are_those_of_pairs_read_one_by_one(encoder):
    def gradients(batches):
        student = learning_apart(encoder)
        queries, documents = student.prepare_queries(QUERIES[:2]), student.prepare_documents(DOCUMENTS[:3])
        for batch in batches:
            found = student([queries[q] for q, _ in batch], [documents[d] for _, d in batch])
            (found * torch.tensor([1.0 + q + 2 * d for q, d in batch])).sum().backward()
        return {name: p.grad for name, p in student.named_parameters() if p.requires_grad}

    pairs = [(0, 0), (0, 1), (1, 1), (1, 2)]
    together, alone = gradients([pairs]), gradients([[pair] for pair in pairs])
    assert len(together) == 3 + 2 * len(list(encoder.body.encoder.layer[0].parameters()))
    for name, gradient in together.items():
        torch.testing.assert_close(gradient, alone[name], atol=1e-4, rtol=1e-3)


def test_lower_layers_learn_in_copies_and_go_round(encoder):
    before = {name: tensor.clone() for name, tensor in encoder.body.state_dict().items()}
    student = learning_apart(encoder)
    names = student.trained().keys() - {"scale", "bias", "match"}
    assert names == {name for name in before if name.startswith(("encoder.layer.1.", "encoder.layer.2."))}
    torch.manual_seed(1)
    changed = {name: tensor + 0.05 * torch.randn(tensor.shape) for name, tensor in student.trained().items()}
    student.load_trained(changed)
    body = student.whole_body().state_dict()
    assert all(torch.equal(body[name], changed[name]) for name in names)
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.body.state_dict().items())


def test_a_body_to_save_copies_what_learns_and_shares_the_rest(encoder):
    student = new_warm(encoder, joint_layers=1)
    body = student.whole_body()
    shared = {name: p.data_ptr() for name, p in encoder.body.named_parameters()}
    copied = {name for name, p in body.named_parameters() if p.data_ptr() != shared[name]}
    assert copied == student.trained().keys() - {"scale", "bias", "match"}
    assert not {p.data_ptr() for p in body.parameters()} & {p.data_ptr() for p in student.joint.parameters()}


def test_more_lower_layers_than_there_are_are_refused(encoder):
    with pytest.raises(ModelError, match="apart_layers is 3, expected at most 2"):
        new_warm(encoder, joint_layers=1).learn_apart(3)


def test_trained_gives_copies(encoder):
    student = new_warm(encoder)
    student.trained()["scale"].zero_()
    assert student.scale.item() == 8.0


def test_trained_tensors_have_the_names_of_the_saved_body(encoder):
    student = new_warm(encoder, joint_layers=1)
    body = student.whole_body().state_dict()
    names = student.trained().keys() - {"scale", "bias", "match"}
    assert names == {name for name in body if name.startswith("encoder.layer.2.")}


def test_tensors_of_another_model_are_refused_and_change_nothing(encoder):
    student = new_warm(encoder)
    before = student.trained()
    wrong = new_warm(encoder, joint_layers=1).trained()
    with pytest.raises(ModelError, match=r"do not fit this model: 'encoder\.layer\.1"):
        student.load_trained({name: tensor + 1 for name, tensor in wrong.items()})
    name = "encoder.layer.1.output.dense.weight"
    with pytest.raises(ModelError, match=rf"'{name}' has shape \(32,\), expected \(32, 64\)"):
        student.load_trained({**{n: t + 1 for n, t in before.items()}, name: torch.zeros(32)})
    assert all(torch.equal(tensor, before[name]) for name, tensor in student.trained().items())


@pytest.mark.parametrize("joint_layers", [0, 4])
def test_a_number_of_joint_layers_that_the_encoder_does_not_have_is_refused(encoder, joint_layers):
    with pytest.raises(ModelError, match=f"joint_layers is {joint_layers}, expected 1 to 3"):
        WarmCrossEncoder(encoder, Apart(), joint_layers, -4.0, 20.0, -34.0)


def test_rows_that_are_learnt_from_have_few_lengths_and_the_scores_that_they_have_otherwise(encoder):
    student = new_warm(encoder)
    assert {student.padded_length(longest) for longest in range(1, 49)} == {16, 32, 48}
    queries, documents = (
        student.prepare_queries(["moon", "tide"]),
        student.prepare_documents(["the moon", "tides " * 9]),
    )
    learning = student(queries, documents)
    with torch.no_grad():
        assert student.padded_length(17) == 17
        torch.testing.assert_close(student(queries, documents), learning.detach(), rtol=0, atol=1e-5)
