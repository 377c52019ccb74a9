"""What a bi-encoder's folder says of itself is used as sentence-transformers uses it, where the recipe says nothing."""

import json
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

from tamis.errors import ModelError
from tamis.evaluation.candidates import BiEncoder
from tamis.models.bi_encoder_files import bi_encoder_facts
from tamis.models.embedder import Embedder
from tamis.stages.candidates.encoders import as_its_folder_says, prefix_of
from tamis.stages.candidates.settings import EncoderSettings
from tamis.stages.scores.settings import EncoderTeacher
from tests.conftest import TOPICS

TEXTS = [text for pair in TOPICS["en"] for text in pair]
TEXTS += [" ".join(TEXTS)]


def edit(file: Path, **changes: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.fixture
def folder(tiny_encoder: Path, tmp_path: Path) -> Path:
    """As sentence-transformers saves it, with the limit of texts where its versions before 6 wrote it."""
    transformer = Transformer(str(tiny_encoder))
    pooling = Pooling(transformer.get_embedding_dimension(), "mean")
    SentenceTransformer(modules=[transformer, pooling], device="cpu").save(str(tmp_path / "model"))
    edit(tmp_path / "model" / "sentence_bert_config.json", max_seq_length=24)
    return tmp_path / "model"


@pytest.mark.parametrize(
    "prompts",
    [{"query": "ask: ", "document": "text: "}, {"query": "ask: "}, {"document": "text: "}, {"query": "", "other": "x"}],
)
def test_prompts_and_length_are_those_of_encode_query_and_encode_document(folder: Path, prompts):
    edit(folder / "config_sentence_transformers.json", prompts=prompts, default_prompt_name=next(iter(prompts)))
    reference = SentenceTransformer(str(folder), device="cpu")
    settings = as_its_folder_says(EncoderSettings(path=folder))
    assert settings.max_length == 24 < EncoderSettings(path=folder).max_length
    encode = {"query": reference.encode_query, "document": reference.encode_document}
    for kind, theirs in encode.items():
        ours = Embedder(folder).embed(TEXTS, prefix_of(settings, kind), settings.max_length)
        np.testing.assert_allclose(ours, theirs(TEXTS, normalize_embeddings=True), atol=1e-5)


@pytest.mark.parametrize("name", ["passage", "corpus"])
def test_documents_have_the_prompt_by_its_other_names_too(folder: Path, name: str):
    edit(folder / "config_sentence_transformers.json", prompts={"query": "ask: ", name: "text: "})
    reference = SentenceTransformer(str(folder), device="cpu")
    expected = reference.encode(TEXTS, prompt_name=name, normalize_embeddings=True)
    settings = as_its_folder_says(EncoderSettings(path=folder))
    ours = Embedder(folder).embed(TEXTS, prefix_of(settings, "document"), settings.max_length)
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_what_the_recipe_says_wins_even_where_it_says_nothing_shall_stand_there(folder: Path):
    edit(folder / "config_sentence_transformers.json", prompts={"query": "ask: ", "document": "text: "})
    settings = EncoderTeacher(kind="encoder", path=folder, query_prefix="", max_length=64)
    found = as_its_folder_says(settings)
    assert (found.query_prefix, found.document_prefix, found.max_length, found.kind) == ("", "text: ", 64, "encoder")


def test_settings_of_a_folder_that_says_nothing_stay_as_they_are(tiny_encoder: Path):
    """So do the keys of stages, which are made of them."""
    settings = EncoderSettings(path=tiny_encoder)
    assert as_its_folder_says(settings) is settings
    assert BiEncoder.asked(str(tiny_encoder), None) == BiEncoder(str(tiny_encoder))


def test_an_evaluation_asks_its_bi_encoder_as_its_folder_says_unless_prefixes_are_given(folder: Path):
    edit(folder / "config_sentence_transformers.json", prompts={"query": "ask: "})
    assert BiEncoder.asked(str(folder), None) == BiEncoder(str(folder), "ask: ", "", 24)
    assert BiEncoder.asked(str(folder), ("q ", "d ")) == BiEncoder(str(folder), "q ", "d ", 24)


@pytest.mark.parametrize(
    ("file", "changes", "said"),
    [
        ("config_sentence_transformers.json", {"prompts": ["a"]}, "has prompts .* expected texts by name"),
        ("config_sentence_transformers.json", {"prompts": {"query": 3}}, "has prompts .* expected texts by name"),
        ("sentence_bert_config.json", {"max_seq_length": "24"}, "max_seq_length '24', expected a number of tokens"),
    ],
)
def test_files_that_are_not_understood_are_named(folder: Path, file: str, changes, said: str):
    edit(folder / file, **changes)
    with pytest.raises(ModelError, match=said):
        bi_encoder_facts(folder)


def test_prompts_that_the_pooling_leaves_out_are_refused(folder: Path):
    edit(folder / "config_sentence_transformers.json", prompts={"query": "ask: "})
    edit(folder / "1_Pooling" / "config.json", include_prompt=False)
    with pytest.raises(ModelError, match="include_prompt is false"):
        bi_encoder_facts(folder)
