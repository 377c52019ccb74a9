"""Rerankers that are built once: tests read them, none changes them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tamis.errors import ModelError
from tamis.models.checkpoint import Deployment
from tamis.models.encoder import Encoder
from tamis.models.reranker import Reranker
from tamis.models.saving import save_student
from tamis.models.sequence_student import SequenceStudent
from tamis.models.serializer import Apart, Joined
from tamis.models.student import score_prepared
from tamis.models.warm import WarmCrossEncoder

SERIALIZER = Apart("query: ", "passage: ", query_tokens=16, document_tokens=24)
PLAIN = Joined(max_tokens=40)
DEPLOYMENT = Deployment({"bm25": 0.5, "hybrid": 2.0}, {"recipe": "tiny", "parents": ["english", "german"]})


@pytest.fixture(scope="session")
def encoder(tiny_encoder: Path) -> Encoder:
    return Encoder.load(tiny_encoder)


def new_warm(encoder: Encoder, joint_layers: int = 2, cross_bias: float = -2.0, match: float = 6.0) -> WarmCrossEncoder:
    # A scale at which the scores of the tiny encoder spread over [0, 1].
    return WarmCrossEncoder(
        encoder, SERIALIZER, joint_layers, cross_bias, scale=8.0, bias=-5.0 - match, match=match
    ).eval()


def new_stock(encoder: Encoder, seed: int = 1, serializer: Joined = PLAIN) -> SequenceStudent:
    student = SequenceStudent.from_encoder(encoder, serializer, seed).eval()
    with torch.no_grad():
        student.model.classifier.classifier.weight.mul_(50)  # a new head is so small that all scores look alike
    return student


def logits(student, pairs, token_budget=8192):
    queries = student.prepare_queries([query for query, _ in pairs])
    documents = student.prepare_documents([document for _, document in pairs])
    values = np.empty(len(pairs))
    for batch, found in score_prepared(student, queries, documents, token_budget):
        values[batch] = found
    return values


@pytest.fixture(scope="session")
def warm_folder(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rerankers") / "warm"
    save_student(new_warm(encoder), folder, DEPLOYMENT)
    return folder


@pytest.fixture(scope="session")
def stock_folder(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rerankers") / "stock"
    # Saving sets the tokenizer's limit, so this encoder is not the shared one.
    save_student(new_stock(Encoder.load(tiny_encoder)), folder, DEPLOYMENT)
    return folder


@pytest.fixture(scope="session")
def bert_encoder(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny encoder with a tokenizer as BERT's: `[CLS] query [SEP] document [SEP]` and token types."""
    from tokenizers import Tokenizer, processors
    from transformers import PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("models") / "bert-encoder"
    shutil.copytree(tiny_encoder, folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s>:0 $A:0 </s>:0 $B:1 </s>:1", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        cls_token="<s>",
        pad_token="<pad>",
        sep_token="</s>",
        unk_token="<unk>",
        model_max_length=128,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    ).save_pretrained(folder)
    return folder


WEIGHTS = {"bm25": 0.5, "order": 0.75, "other": 0.3}
BY_LANGUAGE = {"bm25": {"de": 3.0}, "other": {"de": 1.5}}


def weighed(folder: Path, out: Path, weights: dict[str, float], by_language: dict[str, dict[str, float]]) -> Path:
    """A copy of a checkpoint with other weights of first stages."""
    shutil.copytree(folder, out)
    facts = json.loads((out / "tamis.json").read_text(encoding="utf-8"))
    facts |= {"first_stage_weights": weights, "weights_by_language": by_language}
    (out / "tamis.json").write_text(json.dumps(facts), encoding="utf-8")
    return out


@pytest.fixture(scope="session")
def weighed_folder(warm_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The warm student, with a weight for an order, for any other first stage, and more for German queries."""
    return weighed(warm_folder, tmp_path_factory.mktemp("rerankers") / "weighed", WEIGHTS, BY_LANGUAGE)


def refused(path):
    """The one line that says why a folder is refused; it names the folder."""
    with pytest.raises(ModelError) as caught:
        Reranker(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message
