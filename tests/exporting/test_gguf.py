"""Files of llama.cpp, loaded and scored by it from the texts alone."""

import importlib.util
import json
import shutil
import sys

import numpy as np
import pytest

from tamis import Reranker
from tamis.errors import MissingPartError, ModelError
from tamis.exporting import gguf as writing
from tamis.exporting.export import export
from tamis.exporting.gguf_words import CONTROL, NORMAL, UNKNOWN, UNUSED, around, words_of
from tamis.models.serializer import QWEN3_RERANKER, Joined
from tests.conftest import TOPICS
from tests.families import build_causal, build_encoder, build_querit, build_yes_no

PAIRS = [(topics[0][0], answer) for topics in TOPICS.values() for _, answer in topics]

needs_llama = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("gguf", "xllamacpp"))), reason="gguf and xllamacpp are not installed"
)


def fast(backend, **names):
    from transformers import PreTrainedTokenizerFast

    inputs = ["input_ids", "attention_mask"]
    return PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=128, model_input_names=inputs, **names)


def unigram():
    """A tokenizer as XLM-RoBERTa's, without its table of characters."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

    backend = Tokenizer(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=500, special_tokens=specials, unk_token="<unk>", show_progress=False)
    backend.train_from_iterator([text for pair in PAIRS for text in pair], trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return fast(
        backend,
        bos_token="<s>",
        cls_token="<s>",
        eos_token="</s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
    )


def word_pieces(lowercase=True):
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    trainer = trainers.WordPieceTrainer(vocab_size=500, special_tokens=specials, show_progress=False)
    backend.train_from_iterator([text for pair in PAIRS for text in pair], trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return fast(backend, cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]", unk_token="[UNK]")


@pytest.fixture(scope="module")
def folders(tiny_encoder, tmp_path_factory):
    root = tmp_path_factory.mktemp("gguf")
    unigram().save_pretrained(root / "words")
    return {
        "bert": build_encoder(root / "bert", "bert", root / "words"),
        "xlm-roberta": build_encoder(root / "xlm-roberta", "xlm-roberta", root / "words"),
        "modernbert": build_encoder(root / "modernbert", "modernbert", root / "words"),
        "words by themselves": build_encoder(root / "level", "bert", tiny_encoder),
        "querit": build_querit(root / "querit", "qwen3"),
        "yes-no": build_yes_no(root / "yes-no"),
        "causal": build_causal(root / "causal"),
    }


@needs_llama
@pytest.mark.parametrize("form", ["gguf", "gguf-q8_0"])
@pytest.mark.parametrize("kind", ["bert", "xlm-roberta", "querit", "yes-no", "causal"])
def test_llama_scores_texts_as_the_model_does(folders, tmp_path, kind, form):
    found = export(folders[kind], tmp_path / "out", form, PAIRS)
    assert found.tau > (0.98 if form == "gguf" else 0.9)
    assert found.mean < (0.003 if form == "gguf" else 0.03)
    assert json.loads((tmp_path / "out" / "parity.json").read_text())["pairs"] == len(PAIRS)
    assert (tmp_path / "out" / "model.gguf").read_bytes()[:4] == b"GGUF"


@needs_llama
def test_prefixes_are_kept(folders, tmp_path):
    shutil.copytree(folders["xlm-roberta"], tmp_path / "model")
    serializer = {"kind": "joined", "query_prefix": "query: ", "document_prefix": "passage: ", "max_tokens": 128}
    facts = {"format": 2, "family": "encoder", "serializer": serializer}
    (tmp_path / "model" / "tamis.json").write_text(json.dumps(facts))
    assert export(tmp_path / "model", tmp_path / "out", "gguf", PAIRS).tau > 0.98


@needs_llama
@pytest.mark.parametrize("kind", ["bert", "xlm-roberta"])
def test_a_model_that_reads_less_than_its_body_could_is_written(folders, tmp_path, kind):
    shutil.copytree(folders[kind], tmp_path / "model")
    facts = {"format": 2, "family": "encoder", "serializer": {"kind": "joined", "max_tokens": 120}}
    (tmp_path / "model" / "tamis.json").write_text(json.dumps(facts))
    assert export(tmp_path / "model", tmp_path / "out", "gguf", PAIRS).tau > 0.98


# Without llama.cpp


def refused(folder, tmp_path):
    with pytest.raises(ModelError) as caught:
        export(folder, tmp_path / "out", "gguf", PAIRS[:4])
    assert not (tmp_path / "out").exists()
    return str(caught.value)


def test_what_llama_cannot_read_is_refused_by_name(folders, warm_folder, tmp_path, monkeypatch):
    pytest.importorskip("gguf")
    monkeypatch.setattr(writing, "require_gguf", lambda: None)
    assert "cannot rank with a body of type modernbert" in refused(folders["modernbert"], tmp_path)
    assert "no tokenizer of the kind WordLevel" in refused(folders["words by themselves"], tmp_path)
    assert "a warm checkpoint has no form that gguf loads" in refused(warm_folder, tmp_path)


@needs_llama
def test_segments_that_are_told_apart_are_refused(folders, tmp_path):
    from tokenizers import Tokenizer, processors

    shutil.copytree(folders["bert"], tmp_path / "model")
    words = Tokenizer.from_file(str(tmp_path / "model" / "tokenizer.json"))
    words.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s>:0 $A:0 </s>:0 </s>:0 $B:1 </s>:1", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    words.save(str(tmp_path / "model" / "tokenizer.json"))
    file = tmp_path / "model" / "tokenizer_config.json"
    names = {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}
    file.write_text(json.dumps(json.loads(file.read_text()) | names))
    assert "apart by token types" in refused(tmp_path / "model", tmp_path)


def test_a_package_that_is_missing_is_named_with_its_extra(folders, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(MissingPartError, match=r"--to gguf: gguf is not installed; pip install 'tamis\[gguf\]'"):
        export(folders["bert"], tmp_path / "out", "gguf", PAIRS[:4])


def test_pieces_stand_where_the_tokenizer_has_them():
    tokenizer = unigram()
    words = words_of(tokenizer, len(tokenizer) + 3)
    assert list(words.tokens[: len(tokenizer)]) == tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    assert list(words.kinds[:5]) == [CONTROL, CONTROL, CONTROL, UNKNOWN, NORMAL]
    assert list(words.kinds[-3:]) == [UNUSED] * 3
    assert len(words.scores) == len(words.kinds) == len(words.tokens) == len(tokenizer) + 3
    assert np.isfinite(words.scores).all()


def test_word_pieces_are_marked_at_the_beginning_of_words():
    tokenizer = word_pieces()
    pieces, words = tokenizer.convert_ids_to_tokens(range(len(tokenizer))), words_of(tokenizer, len(tokenizer))
    for piece, token, kind in zip(pieces, words.tokens, words.kinds, strict=True):
        expected = piece[2:] if piece.startswith("##") else f"\u2581{piece}"
        assert token == (expected if kind == NORMAL else piece)
    with pytest.raises(ModelError, match="takes the case and the accents off"):
        words_of(word_pieces(lowercase=False), len(tokenizer))


def test_what_stands_around_two_texts(folders):
    tokenizer = unigram()
    plain = around(tokenizer, Joined())
    assert (plain.bos, plain.eos, plain.sep, plain.template) == (True, True, True, "")
    assert [plain.numbers[name] for name in ("bos", "eos", "sep", "pad", "unk")] == [0, 2, 2, 1, 3]
    bert = around(word_pieces(), Joined())
    assert (bert.bos, bert.eos, bert.sep) == (True, True, False)
    assert [bert.numbers[name] for name in ("bos", "eos")] == [2, 3]
    prefixed = around(tokenizer, Joined("query: ", "passage: "))
    assert prefixed.template == "<s>query: {query}</s></s>passage: {document}</s>"
    chat = around(Reranker(folders["yes-no"]).tokenizer, QWEN3_RERANKER).template
    assert chat == QWEN3_RERANKER.prefix + (
        f"<Instruct>: {QWEN3_RERANKER.instruction}\n<Query>: {{query}}\n<Document>: {{document}}"
        + QWEN3_RERANKER.suffix
    )
