"""What sentence-transformers keeps beside a bi-encoder: the prompts of queries and documents, the length of a text."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tamis.errors import ModelError
from tamis.models.peer_files import OWN, TEXT

POOLING: Final = "1_Pooling/config.json"

OF_DOCUMENTS: Final = ("document", "passage", "corpus")
"""Names of the prompt of documents, in the order in which sentence-transformers looks for them."""


@dataclass(frozen=True, slots=True)
class BiEncoderFacts:
    """What the files say; None where they say nothing.

    Attributes:
        query_prefix: Text before every query; empty where only documents have one.
        document_prefix: Text before every document; empty where only queries have one.
        max_length: Most tokens of a text, special ones included.
    """

    query_prefix: str | None = None
    document_prefix: str | None = None
    max_length: int | None = None


def bi_encoder_facts(path: str | Path) -> BiEncoderFacts:
    """The facts of a folder or a hub name, as `encode_query` and `encode_document` of sentence-transformers use them.

    Raises:
        ModelError: a file that cannot be read, or prompts that the pooling leaves out.
    """
    own, text = _content(path, OWN), _content(path, TEXT)
    if own.get("model_type") == "CrossEncoder":
        return BiEncoderFacts()
    given = (text.get("processing_kwargs") or {}).get("text") or {}  # where version 6 writes it
    longest = given.get("max_length", text.get("max_seq_length"))
    if longest is not None and (isinstance(longest, bool) or not isinstance(longest, int) or longest < 1):
        raise ModelError(f"{path}: {TEXT} has max_seq_length {longest!r:.40}, expected a number of tokens above 0")
    prompts = _prompts(path, own)
    if not any(prompts):
        return BiEncoderFacts(max_length=longest)
    if _content(path, POOLING).get("include_prompt") is False:
        raise ModelError(
            f"{path}: its prompts are read and then left out of the vector (include_prompt is false in {POOLING}), "
            "which tamis does not do; take another bi-encoder"
        )
    return BiEncoderFacts(*prompts, longest)


def _prompts(path: str | Path, own: Mapping[str, Any]) -> tuple[str, str]:
    """Prompts of queries and of documents, empty for none."""
    found = own.get("prompts") or {}
    if not isinstance(found, Mapping) or not all(isinstance(one, str | None) for one in found.values()):
        raise ModelError(f"{path}: {OWN} has prompts {found!r:.60}, expected texts by name")
    return found.get("query") or "", next((found[name] for name in OF_DOCUMENTS if found.get(name)), "")


def _content(path: str | Path, name: str) -> Mapping[str, Any]:
    """A file of JSON of a folder or a hub name; empty where there is none.

    What cannot be had of a hub is told by whoever loads the weights.
    """
    file = _file(path, name)
    if file is None or not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{file}: cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise ModelError(f"{file}: expected an object, got {type(found).__name__}")
    return found


def _file(path: str | Path, name: str) -> Path | None:
    if Path(path).is_dir():
        return Path(path) / name
    with suppress(OSError, ValueError):
        from transformers.utils import cached_file

        found = cached_file(str(path), name, _raise_exceptions_for_missing_entries=False)
        return None if found is None else Path(found)
    return None
