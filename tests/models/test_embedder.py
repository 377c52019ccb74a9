"""Vectors of any bi-encoder are those of sentence-transformers."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer

from tamis.errors import ModelError
from tamis.models.embedder import Embedder, pooling_of
from tamis.models.encoder import Encoder
from tests.conftest import TOPICS
from tests.families import build_causal

TEXTS = [text for topics in TOPICS.values() for pair in topics for text in pair]


def saved(body: Path, folder: Path, pooling: str, *more: object) -> Path:
    """A folder of sentence-transformers around a body."""
    transformer = Transformer(str(body), max_seq_length=48)
    model = SentenceTransformer(
        modules=[transformer, Pooling(transformer.get_embedding_dimension(), pooling), *more], device="cpu"
    )
    model.save(str(folder))
    return folder


@pytest.fixture(scope="module")
def causal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_causal(tmp_path_factory.mktemp("causal"))


@pytest.mark.parametrize("pooling", ["mean", "cls", "lasttoken"])
@pytest.mark.parametrize("kind", ["encoder", "causal"])
def test_a_sentence_transformers_folder_gives_its_vectors(kind, pooling, tiny_encoder, causal, tmp_path):
    folder = saved(tiny_encoder if kind == "encoder" else causal, tmp_path / "model", pooling, Normalize())
    reference = SentenceTransformer(str(folder), device="cpu")
    expected = reference.encode(["query: " + text for text in TEXTS])
    embedder = Embedder(folder, token_budget=512)
    assert embedder.pooling == pooling.removesuffix("token")
    found = embedder.embed(TEXTS, "query: ", 48)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)


def test_a_plain_body_is_pooled_as_its_kind_is(tiny_encoder, causal):
    assert Embedder(tiny_encoder).pooling == "mean"
    assert Embedder(causal).pooling == "last"
    assert Embedder(causal, pooling="mean").pooling == "mean"


def test_a_bert_like_body_gives_the_vectors_of_the_encoder(tiny_encoder):
    expected = Encoder.load(tiny_encoder).embed(TEXTS, "passage: ", 24)
    np.testing.assert_allclose(Embedder(tiny_encoder).embed(TEXTS, "passage: ", 24), expected, atol=1e-5)


def test_no_vector_depends_on_what_else_is_in_the_batch(causal):
    embedder = Embedder(causal, token_budget=4096)
    alone = np.concatenate([embedder.embed([text], "", 48) for text in TEXTS])
    np.testing.assert_allclose(embedder.embed(TEXTS, "", 48), alone, atol=1e-5)


def test_nothing_gives_no_vectors(tiny_encoder):
    assert Embedder(tiny_encoder).embed([], "", 8).shape[0] == 0


def test_a_layer_after_the_pooling_is_refused(tiny_encoder, tmp_path):
    folder = saved(tiny_encoder, tmp_path / "model", "mean", Dense(64, 16))
    with pytest.raises(ModelError, match="its module 'Dense' is none of Transformer, Pooling, Normalize"):
        Embedder(folder)


@pytest.mark.parametrize("mode", ["max", None])
def test_another_pooling_is_refused(tiny_encoder, tmp_path, mode):
    folder = shutil.copytree(tiny_encoder, tmp_path / "model")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": mode}))
    with pytest.raises(ModelError, match=f"pooling {mode or 'none'}; expected one of mean, cls, lasttoken"):
        Embedder(folder)


@pytest.mark.parametrize("content", ["{", "[1]", '{"pooling_mode": ["mean"]}'])
def test_a_pooling_that_is_not_understood_is_named(tiny_encoder, tmp_path, content):
    folder = shutil.copytree(tiny_encoder, tmp_path / "model")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(content)
    with pytest.raises(ModelError, match=r"1_Pooling/config\.json: "):
        pooling_of(folder)
