"""Checkpoint folders as merging sees them: opened without reading the weights, and compared before anything is made."""

import filecmp
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import safe_open
from torch import Tensor

from tamis.errors import ModelError
from tamis.models.encoder import loading
from tamis.models.folders import check_folder, check_tokenizer

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"

NOT_ARCHITECTURE = frozenset(
    [
        "_name_or_path",
        "auto_map",
        "bos_token_id",
        "dtype",
        "eos_token_id",
        "finetuning_task",
        "gradient_checkpointing",
        "id2label",
        "initializer_range",
        "label2id",
        "output_attentions",
        "output_hidden_states",
        "problem_type",
        "return_dict",
        "sbert_ce_default_activation_function",
        "sentence_transformers",
        "tokenizer_class",
        "torch_dtype",
        "transformers_version",
        "use_cache",
    ]
)
"""Fields of a configuration in which two checkpoints of one architecture may differ; those of dropout are others."""

READ_HERE = ("classifier_from_token",)
"""Fields that no class of transformers knows, and that say how a pair is read."""

MADE_ANEW = ("position_ids", "token_type_ids", "rotary_emb.inv_freq", "attn.masked_bias")
"""How the names of tensors end that older versions of transformers saved: nothing is learnt there, and newer versions
make them anew, so that one of two checkpoints of an architecture may lack them."""

ONE_ARCHITECTURE = "only checkpoints of one architecture can be merged"


class StoredTensor(NamedTuple):
    """Where a tensor lies, and its shape."""

    file: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Checkpoint:
    """A Hugging Face folder of safetensors, in one file or in shards.

    Attributes:
        folder: The folder.
        shards: Names of the weight files, in order.
        tensors: By name.
    """

    folder: Path
    shards: tuple[str, ...]
    tensors: Mapping[str, StoredTensor]

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """Elements `start` to `stop` of a tensor, flat [stop - start], in the dtype that it is stored in.

        The file is opened for each stretch: a mapped file counts as memory of this process as far as it was read.
        """
        with safe_open(self.folder / self.tensors[name].file, framework="pt") as file:
            stretch: Tensor = file.get_tensor(name).reshape(-1)[start:stop]
            return stretch.clone()


def open_checkpoint(folder: Path) -> Checkpoint:
    """Read the headers of a checkpoint's weight files.

    Raises:
        ModelError: no such folder, no safetensors, a file that is missing or broken, or an index that does not fit.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder}: not a model folder; give Hugging Face folders with safetensors on this disk")
    check_folder(folder)
    with loading(folder, "a checkpoint"):
        # As transformers has it: an index beside a single file is what an older save left there.
        if not (folder / WEIGHTS).is_file() and (folder / INDEX).is_file():
            weight_map = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"]
            shards = tuple(sorted(set(weight_map.values())))
        else:
            weight_map, shards = None, (WEIGHTS,)
        for shard in shards:
            if shard != Path(shard).name or not (folder / shard).is_file():
                raise ModelError(f"the weight file {shard} is missing; fetch the checkpoint again")
        tensors = {name: entry for shard in shards for name, entry in _entries(folder, shard)}
        if weight_map is not None and {name: entry.file for name, entry in tensors.items()} != weight_map:
            raise ModelError(f"{INDEX} names other tensors than the weight files hold; fetch the checkpoint again")
    return Checkpoint(folder, shards, tensors)


def _entries(folder: Path, shard: str) -> Iterator[tuple[str, StoredTensor]]:
    with safe_open(folder / shard, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118  # a handle, not a mapping
            yield name, StoredTensor(shard, tuple(file.get_slice(name).get_shape()))


def is_made_anew(name: str) -> bool:
    """Whether a tensor is one of those that transformers does not read any more, see `MADE_ANEW`."""
    return name.endswith(MADE_ANEW)


def check_alike(first: Checkpoint, others: list[Checkpoint], base: Checkpoint | None) -> None:
    """Refuse checkpoints whose weights cannot be compared number by number.

    Configurations must agree but for fields like names, dtypes and dropout, the tensors in name and shape, and the
    tokenizers in vocabulary and rules. The base may hold tensors that the others lack, a pooler for instance.

    Raises:
        ModelError: names the folder, the field, tensor or token, what came and what was expected.
    """
    compared = [*others, base] if base is not None else others
    config = _architecture(first.folder)
    for other in compared:
        _check_fields(first, other, config, _architecture(other.folder))
        _check_tensors(first, other, other is base)
    files = _tokenizer_files(first.folder)
    others_own = [other for other in compared if not _same_files(files, _tokenizer_files(other.folder))]
    if others_own:  # a large vocabulary takes seconds and hundreds of megabytes to read
        expected = _tokenizer(first.folder)
        for other in others_own:
            _check_tokenizer(first, other, expected, _tokenizer(other.folder))


def _check_tensors(first: Checkpoint, other: Checkpoint, is_base: bool) -> None:
    todo = "give the model that the others started from, or leave out --base" if is_base else ONE_ARCHITECTURE
    for name, (_, shape) in first.tensors.items():
        if is_made_anew(name):
            continue
        if name not in other.tensors:
            raise ModelError(f"{other.folder}: lacks the tensor {name!r} of {first.folder}; {todo}")
        found = other.tensors[name].shape
        if found != shape:
            raise ModelError(
                f"{other.folder}: the tensor {name!r} has shape {list(found)}, expected {list(shape)} as in "
                f"{first.folder}; {todo}"
            )
    extra = sorted(name for name in other.tensors.keys() - first.tensors.keys() if not is_made_anew(name))
    if extra and not is_base:
        raise ModelError(f"{other.folder}: holds the tensor {extra[0]!r}, which {first.folder} lacks; {todo}")


def _architecture(folder: Path) -> dict[str, Any]:
    """The fields of config.json that shape the model, nested ones with dotted names, defaults filled in.

    What the architecture's class does not know shapes nothing: trainers and older versions leave notes there.
    """
    with loading(folder, "a configuration"):
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        known = {*type(config)().to_dict(), *READ_HERE}
        return dict(_flat({field: value for field, value in config.to_dict().items() if field in known}))


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for field, value in config.items():
        if field in NOT_ARCHITECTURE or "dropout" in field:
            continue
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{field}.")
        else:
            yield f"{prefix}{field}", value


def _check_fields(first: Checkpoint, other: Checkpoint, expected: dict[str, Any], found: dict[str, Any]) -> None:
    for field in sorted(expected.keys() | found.keys()):
        if found.get(field) != expected.get(field) and not _lost_padding(field, found.get(field), expected.get(field)):
            raise ModelError(
                f"{other.folder}: {field} is {found.get(field)!r} in config.json, expected {expected.get(field)!r} as "
                f"in {first.folder}; {ONE_ARCHITECTURE}"
            )


def _lost_padding(field: str, *values: Any) -> bool:
    """Whether a field is that of the padding token, and some configuration does not say it."""
    return field.rpartition(".")[2] == "pad_token_id" and None in values


Tokenizer = tuple[dict[str, int], dict[str, Any]]
"""Ids by token; the rules by which texts become tokens, by part."""


def _tokenizer_files(folder: Path) -> list[Path]:
    """The files that make a tokenizer, in the order of their names."""
    check_tokenizer(folder)
    patterns = ("*token*.json", "vocab.*", "merges.txt", "*.model")
    return sorted({file for pattern in patterns for file in folder.glob(pattern)})


def _same_files(ours: list[Path], theirs: list[Path]) -> bool:
    return [file.name for file in ours] == [file.name for file in theirs] and all(
        filecmp.cmp(a, b, shallow=False) for a, b in zip(ours, theirs, strict=True)
    )


def _tokenizer(folder: Path) -> Tokenizer:
    with loading(folder, "a tokenizer"):
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        words: dict[str, int] = tokenizer.get_vocab()
        backend = getattr(tokenizer, "backend_tokenizer", None)
        content = json.loads(backend.to_str()) if backend is not None else {}
    parts = ("added_tokens", "normalizer", "pre_tokenizer", "model", "post_processor")
    return words, {part: content.get(part) for part in parts}


def _check_tokenizer(first: Checkpoint, other: Checkpoint, expected: Tokenizer, found: Tokenizer) -> None:
    todo = "only checkpoints with one tokenizer can be merged"
    for token in sorted(expected[0].keys() | found[0].keys()):
        ours, theirs = expected[0].get(token), found[0].get(token)
        if ours != theirs:
            said = [f"the id {number}" if number is not None else "no id" for number in (theirs, ours)]
            raise ModelError(
                f"{other.folder}: its tokenizer gives the token {token!r} {said[0]}, expected {said[1]} as in "
                f"{first.folder}; {todo}"
            )
    for part, rules in expected[1].items():
        if found[1][part] != rules:
            raise ModelError(f"{other.folder}: its tokenizer has another {part} than that of {first.folder}; {todo}")
