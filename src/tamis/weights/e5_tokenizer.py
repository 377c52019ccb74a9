"""The tokenizer of multilingual-e5-small (XLM-RoBERTa's unigram pieces) built from the pieces and their scores."""

import io
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from tamis.weights.e5_binary import E5Vocabulary

_SPACE = "▁"  # how the pieces write the start of a word
_MASK = "<mask>"

# Places in sentencepiece's model file, a protocol buffer.
_NORMALIZER = 3
_CHARACTER_MAP = 2
_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5


def build_tokenizer(vocabulary: E5Vocabulary) -> Tokenizer:
    """Tokenizer that writes `<s> text </s>` and pairs as `<s> a </s> </s> b </s>`.

    With sentencepiece installed, texts are normalised by exactly its `nmt_nfkc` rules. Without it by the tokenizers
    library's Nmt and NFKC, which differ on 175 rare code points of 1.1 million.

    Args:
        vocabulary: Pieces, scores and special ids.
    """
    pieces = vocabulary.pieces
    scored = list(zip(pieces, vocabulary.scores, strict=True))
    tokenizer = Tokenizer(models.Unigram(scored, unk_id=vocabulary.unk, byte_fallback=False))
    one_space = normalizers.Replace(Regex(" {2,}"), " ")
    tokenizer.normalizer = normalizers.Sequence([*_normalizers(), one_space])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=_SPACE, prepend_scheme="always", split=True)
    tokenizer.decoder = decoders.Metaspace(replacement=_SPACE, prepend_scheme="always", split=True)
    start, end = pieces[vocabulary.bos], pieces[vocabulary.eos]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}",
        pair=f"{start} $A {end} {end} $B {end}",
        special_tokens=[(start, vocabulary.bos), (end, vocabulary.eos)],
    )
    special = (vocabulary.bos, vocabulary.pad, vocabulary.eos, vocabulary.unk)
    tokenizer.add_special_tokens([AddedToken(pieces[i], special=True, normalized=False) for i in special])
    tokenizer.add_special_tokens([AddedToken(_MASK, special=True, normalized=False, lstrip=True)])
    return tokenizer


def tokenizer_settings(vocabulary: E5Vocabulary, positions: int) -> dict[str, Any]:
    """Content of `tokenizer_config.json`.

    Args:
        vocabulary: Pieces and special ids.
        positions: Most tokens the model reads.
    """
    start, end = vocabulary.pieces[vocabulary.bos], vocabulary.pieces[vocabulary.eos]
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": positions,
        "bos_token": start,
        "eos_token": end,
        "cls_token": start,
        "sep_token": end,
        "pad_token": vocabulary.pieces[vocabulary.pad],
        "unk_token": vocabulary.pieces[vocabulary.unk],
        "mask_token": _MASK,
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
    }


def _normalizers() -> list[Any]:
    character_map = _sentencepiece_character_map()
    if character_map is None:
        return [normalizers.Nmt(), normalizers.NFKC()]
    return [normalizers.Precompiled(character_map)]


def _sentencepiece_character_map() -> bytes | None:
    """The compiled `nmt_nfkc` rules. sentencepiece gives them away only inside a model, so a tiny one is trained."""
    try:
        import sentencepiece
    except ImportError:
        return None
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a b c d e f g h"] * 20),
        model_writer=model,
        vocab_size=14,
        hard_vocab_limit=False,
        normalization_rule_name="nmt_nfkc",
        minloglevel=2,  # errors only
    )
    return _protobuf_field(_protobuf_field(model.getvalue(), _NORMALIZER), _CHARACTER_MAP)


def _protobuf_field(message: bytes, wanted: int) -> bytes:
    """First length-delimited field of that number. Read by hand, since sentencepiece does not bring protobuf along."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        field, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            _, place = _varint(message, place)
            continue
        size = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}.get(kind)
        if size is None:
            size, place = _varint(message, place)
        if field == wanted and kind == _LENGTH:
            return message[place : place + size]
        place += size
    raise ValueError(f"sentencepiece's model file has no field {wanted}")


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """A number written in groups of seven bits, lowest first, and the place after it."""
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
