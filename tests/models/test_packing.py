"""Batches without padding against the same rows one by one, through transformers' own attention."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tamis.models.attention import attend, plain_packing, register_attention
from tamis.models.batching import token_batches
from tamis.models.encoder import Encoder
from tamis.models.first_token import read_first_token_only
from tamis.models.packing import NEAR, SHARE, Packing, group_ends, pays
from tamis.models.rows import TokenRow
from tamis.models.sequence import ClassifierModel, halve_body
from tamis.models.serializer import Apart
from tamis.models.warm import WarmCrossEncoder

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=12)
MIXED = [30, 29, 17, 16, 16, 9, 3, 3]


@given(LENGTHS)
def test_groups_hold_each_row_once_and_rows_of_like_length(lengths: list[int]):
    ends = group_ends(lengths)
    assert ends[-1] == len(lengths)
    for first, end in zip([0, *ends], ends, strict=False):
        own = lengths[first:end]
        assert min(own) >= NEAR * max(own)


@given(LENGTHS)
def test_what_was_padded_is_unpadded_in_its_order(lengths: list[int]):
    packing = plain_packing(lengths, "float32")
    tokens = torch.arange(sum(lengths))[:, None]
    assert torch.equal(torch.cat([group.unpad(group.pad(tokens)) for group in packing.groups]), tokens)
    assert packing.starts.tolist() == [sum(lengths[:place]) for place in range(len(lengths))]
    rows = [
        row[:length]
        for group in packing.groups
        for row, length in zip(group.pad(tokens)[..., 0], lengths[group.rows], strict=True)
    ]
    assert torch.equal(torch.cat(rows), tokens[:, 0])


@given(LENGTHS, st.sampled_from([torch.float32, torch.bfloat16]))
def test_each_row_attends_to_itself_alone(lengths: list[int], dtype: torch.dtype):
    generator = torch.Generator().manual_seed(len(lengths))
    query, key, value = (torch.randn(1, 3, sum(lengths), 8, generator=generator).to(dtype) for _ in range(3))
    precision = "bfloat16" if dtype == torch.bfloat16 else "float32"
    with torch.inference_mode():
        found, _ = attend(None, query, key, value, plain_packing(lengths, precision), 0.35)
        parts = [one.float().split(lengths, 2) for one in (query, key, value)]
        rows = [torch.softmax(q @ k.mT * 0.35, -1) @ v for q, k, v in zip(*parts, strict=True)]
    tolerance = 3e-2 if dtype == torch.bfloat16 else 1e-5
    torch.testing.assert_close(found.float(), torch.cat(rows, 2).transpose(1, 2), atol=tolerance, rtol=tolerance)


@given(LENGTHS, st.integers(1, 100))
def test_without_padding_a_batch_is_full_by_its_tokens(lengths: list[int], budget: int):
    batches = list(token_batches(lengths, budget, padded=False))
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch, following in zip(batches, [*batches[1:], None], strict=True):
        tokens = sum(lengths[i] for i in batch)
        assert tokens <= budget or len(batch) == 1
        assert following is None or tokens + lengths[following[0]] > budget


def test_packing_pays_without_gradients_where_there_is_padding():
    with torch.no_grad():
        assert pays([10, 5])
        assert not pays([10, 10])
        assert not pays([100, round(100 * (1 - SHARE))])
    assert not pays([10, 5])


def classifier(kind: str):
    from transformers import BertConfig, BertForSequenceClassification, RobertaConfig, RobertaForSequenceClassification

    sizes = {"vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "num_labels": 1}
    sizes |= {"intermediate_size": 64, "max_position_embeddings": 50, "pad_token_id": 1}
    torch.manual_seed(3)
    if kind == "bert":
        model = BertForSequenceClassification(BertConfig(**sizes))
    else:
        model = RobertaForSequenceClassification(RobertaConfig(**sizes, type_vocab_size=1))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def token_rows(kind: str) -> list[TokenRow]:
    generator = np.random.default_rng(4)
    ids = [generator.integers(4, 60, length).astype(np.int32) for length in MIXED]
    ids[1][5] = 1  # the padding token may be written in a text
    return [TokenRow(one, len(one) // 3 if kind == "bert" else 0, cut=False, emptied=False) for one in ids]


@pytest.mark.parametrize("kind", ["bert", "roberta"])
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("bfloat16", 5e-2)])
def test_packed_rows_get_the_logits_of_transformers(kind, precision, tolerance, tmp_path):
    from transformers import AutoModelForSequenceClassification

    plain = classifier(kind)
    plain.save_pretrained(tmp_path)
    own = AutoModelForSequenceClassification.from_pretrained(tmp_path, attn_implementation=register_attention())
    read_first_token_only(own.base_model)
    if precision == "bfloat16":
        halve_body(own.base_model)
    model = ClassifierModel(own, uses_types=kind == "bert", precision=precision)
    rows = token_rows(kind)
    with torch.inference_mode():
        found = model.packed(rows)
        expected = []
        for row in rows:
            ids = torch.from_numpy(row.ids).long()[None]
            types = (torch.arange(row.length) >= row.second).long()[None] if kind == "bert" else None
            mask = torch.ones_like(ids)
            expected.append(plain(input_ids=ids, token_type_ids=types, attention_mask=mask).logits[0, 0])
    assert model.packs
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, torch.stack(expected), atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("bfloat16", 5e-2)])
def test_states_and_warm_logits_are_those_of_each_text_and_pair_alone(precision, tolerance):
    body = classifier("roberta").roberta
    body.set_attn_implementation(register_attention())
    encoder = Encoder(body, tokenizer=Words(), precision=precision)
    student = WarmCrossEncoder(encoder, Apart("", "", 20, 30), 1, -4.0, 20.0, 0.0, match=20.0)
    texts = [row.ids.tolist() for row in token_rows("roberta")]
    queries = [text[:4] for text in texts[: len(texts) - 2]] + [[5], [6, 7]]
    with torch.no_grad():
        together = encoder.states(texts, 2)
        for one, text in zip(together, texts, strict=True):
            torch.testing.assert_close(one, encoder.states([text], 2)[0], atol=tolerance, rtol=tolerance)
        pairs = list(zip(student.read(queries), student.read(texts), strict=True))
        logits = student([query for query, _ in pairs], [text for _, text in pairs])
        alone = torch.cat([student([query], [text]) for query, text in pairs])
    torch.testing.assert_close(logits, alone, atol=40 * tolerance, rtol=tolerance)


class Words:
    """Of a tokenizer what states need."""

    pad_token_id = 1


def test_a_packing_takes_biases_of_its_groups():
    asked: list[tuple[slice, int]] = []

    def bias(rows: slice, longest: int) -> None:
        asked.append((rows, longest))

    Packing([10, 10, 4], bias)
    assert asked == [(slice(0, 2), 10), (slice(2, 3), 4)]
