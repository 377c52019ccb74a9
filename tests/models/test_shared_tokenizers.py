"""Tokenizers that share a vocabulary, against ones that were read by themselves."""

import gc
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer

from tamis.models import shared_tokenizers
from tamis.models.encoder import Encoder, encodings
from tamis.models.peer_files import use_lowercase
from tamis.models.read_part import Reading, ReadPart
from tamis.models.rows import plain_backend
from tamis.models.shared_tokenizers import beside, load_tokenizer
from tests.conftest import TOPICS

TEXTS = [text for topics in TOPICS.values() for pair in topics for text in pair]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What transformers was asked to read."""
    asked = []
    plain = AutoTokenizer.from_pretrained

    def counted(path: Any, **how: Any) -> Any:
        asked.append(path)
        return plain(path, **how)

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", counted)
    return asked


@pytest.fixture
def folder(tiny_encoder: Path, tmp_path: Path) -> Path:
    """A folder whose tokenizer nobody else has in use: one token more."""
    copied = tmp_path / "model"
    shutil.copytree(tiny_encoder, copied)
    content = json.loads((copied / "tokenizer_config.json").read_text())
    (copied / "tokenizer_config.json").write_text(json.dumps({**content, "of": str(tmp_path)}))
    return copied


def test_the_same_files_are_read_once_wherever_they_lie(folder, tmp_path, read):
    shutil.copytree(folder, tmp_path / "other")
    encoder = Encoder.load(folder)
    reader = ReadPart(Reading(tmp_path / "other", "passage: ", 12))
    assert read == [folder]
    assert encoder.tokenizer.name_or_path == str(folder)
    assert reader(TEXTS[0])


def test_files_that_differ_are_read_apart_and_so_are_those_that_change(folder, read):
    kept = load_tokenizer(folder)
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "model_max_length": 17}))
    assert load_tokenizer(folder).model_max_length == 17
    assert kept.model_max_length != 17
    assert len(read) == 2


def test_nothing_is_kept_for_nobody(folder, read):
    first = load_tokenizer(folder)
    second = load_tokenizer(folder)
    before = len(shared_tokenizers._originals)
    del first, second
    gc.collect()
    assert len(shared_tokenizers._originals) == before - 1
    load_tokenizer(folder)
    assert len(read) == 2


def test_a_shared_tokenizer_is_the_one_that_transformers_reads(folder):
    first, second = load_tokenizer(folder), load_tokenizer(folder)
    alone = AutoTokenizer.from_pretrained(folder)
    for text in TEXTS:
        assert (
            second(text, "a", truncation=True, max_length=9).data
            == alone(text, "a", truncation=True, max_length=9).data
        )
    assert first.get_vocab() == alone.get_vocab()
    assert second.special_tokens_map == alone.special_tokens_map


def test_a_saved_one_has_the_same_bytes(folder, tmp_path):
    for name, tokenizer in (("shared", load_tokenizer(folder)), ("alone", AutoTokenizer.from_pretrained(folder))):
        tokenizer.save_pretrained(tmp_path / name)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "shared" / file).read_bytes() == (tmp_path / "alone" / file).read_bytes()


def test_what_one_user_changes_the_others_do_not_see(folder):
    changed, other = load_tokenizer(folder), load_tokenizer(folder)
    before = other("HELLO Rendered Words <new>").input_ids
    changed.backend_tokenizer.enable_truncation(3)
    changed.backend_tokenizer.enable_padding(length=40)
    changed.model_max_length = 5
    changed.add_special_tokens({"additional_special_tokens": ["<new>"]})
    use_lowercase(changed)
    assert other("HELLO Rendered Words <new>").input_ids == before
    assert other.backend_tokenizer.truncation is None
    assert load_tokenizer(folder)("HELLO Rendered Words <new>").input_ids == before
    assert load_tokenizer(folder).model_max_length != 5


def test_two_threads_that_cut_at_other_lengths_each_get_their_own(folder):
    tokenizers = [load_tokenizer(folder) for _ in range(4)]
    texts = [" ".join(TEXTS)[place:] for place in range(40)]
    limits = [7, 13, 29, 61]
    expected = [[one.ids for one in encodings(AutoTokenizer.from_pretrained(folder), texts, "", n)] for n in limits]
    together = Barrier(4)

    def cut(number: int) -> list[list[list[int]]]:
        together.wait()
        found = (encodings(tokenizers[number], texts, "", limits[number]) for _ in range(15))
        return [[one.ids for one in of_texts] for of_texts in found]

    with ThreadPoolExecutor(4) as pool:
        for number, found in enumerate(pool.map(cut, range(4))):
            assert found == [expected[number]] * 15


def test_a_plain_one_shares_the_words_and_not_the_limits(folder):
    tokenizer = load_tokenizer(folder)
    whole = tokenizer(" ".join(TEXTS)).input_ids
    plain = plain_backend(tokenizer)
    tokenizer(" ".join(TEXTS), truncation=True, max_length=8)
    assert plain.encode(" ".join(TEXTS)).ids == whole
    plain.enable_truncation(4)
    assert tokenizer(" ".join(TEXTS)).input_ids == whole


def made(*tokens: AddedToken) -> Tokenizer:
    """A tokenizer of three words with some added tokens, one call each."""
    backend = Tokenizer(models.WordLevel({"a": 0, "b": 1, "[UNK]": 2}, unk_token="[UNK]"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    for token in tokens:
        (backend.add_special_tokens if token.special else backend.add_tokens)([token])
    return backend


ADDED = (
    AddedToken("<S>", special=True, normalized=False),
    AddedToken("Word", special=False, normalized=True, single_word=True),
    AddedToken("[UNK]", special=True),
    AddedToken("<T>", special=True, lstrip=True),
    AddedToken("plain", special=False, normalized=False, rstrip=True),
)


@pytest.mark.parametrize("count", range(len(ADDED) + 1))
def test_a_copy_beside_is_the_original_to_the_last_setting(count):
    backend = made(*ADDED[:count])
    backend.enable_truncation(6, stride=1)
    backend.enable_padding(length=9, pad_id=2)
    backend.encode_special_tokens = True
    other = beside(backend)
    assert other.to_str() == backend.to_str()
    text = "A  word <S> <t> <T> plain b Wordy [UNK] WORD"
    assert other.encode(text).ids == backend.encode(text).ids
    assert other.decode([0, 3, 1]) == backend.decode([0, 3, 1])


def test_one_whose_numbers_have_gaps_is_copied_whole():
    content = json.loads(made(*ADDED).to_str())
    content["added_tokens"][-1]["id"] += 40
    backend = Tokenizer.from_str(json.dumps(content))
    assert beside(backend).to_str() == backend.to_str()


def test_a_copy_beside_has_no_words_of_its_own():
    backend = made()
    other = beside(backend)
    backend.model.unk_token = "b"  # nobody does; it shows that there is one model
    assert other.encode("unheard").tokens == ["b"]
