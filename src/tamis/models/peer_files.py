"""What sentence-transformers writes beside a cross-encoder of its own: modules, prompts, the length and form of a pair.

It reads these files only where `modules.json` lists modules and its own file says that they are a cross-encoder's.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tamis.errors import ModelError

MODULES: Final = "modules.json"
OWN: Final = "config_sentence_transformers.json"
TEXT: Final = "sentence_bert_config.json"

_TRANSFORMER: Final = "sentence_transformers.base.modules.transformer.Transformer"
_NOT_RENDERED: Final = ("restore_suffix", "padding", "truncation", "max_length", "return_tensors")
"""What is kept beside the arguments of a chat template and does not reach it."""

CARD_TAGS: Final = frozenset({"text-ranking", "reranker", "reranking"})
"""What model cards of rerankers say under `pipeline_tag` or `tags`."""

_TASKS: Final = ("sequence-classification", "text-generation")


@dataclass(frozen=True, slots=True)
class PeerFacts:
    """What the files say; the defaults are those of a folder without them.

    Attributes:
        activation: Import path of what makes a bounded score; None where it is not said.
        prompt: The default prompt: stands before each query, or is the instruction; empty for none.
        lowercase: Whether texts are written small before they become tokens.
        longest: Most tokens of a pair, in place of the tokenizer's; None where it is not said.
        chat: Whether a pair goes through the tokenizer's chat template; None where it is not said.
        tokens: Of a language model, the tokens for yes and for no, of which the latter may be None: the score is the
            difference of their logits, or the former's; None where no module says.
        chat_arguments: What the chat template is given beside the messages.
    """

    activation: Any = None
    prompt: str = ""
    lowercase: bool = False
    longest: int | None = None
    chat: bool | None = None
    tokens: tuple[int, int | None] | None = None
    chat_arguments: Mapping[str, Any] = field(default_factory=dict)


def peer_facts(path: str | Path) -> PeerFacts:
    """The facts of a folder or a hub name.

    Raises:
        ModelError: modules that compute the score in a way that is not known here.
    """
    own, modules = _content(path, OWN), _content(path, MODULES)
    if modules is None or own is None or own.get("model_type") != "CrossEncoder":
        return PeerFacts()
    kinds = [str(module["type"]).rpartition(".")[2] for module in modules]
    text = _content(path, TEXT) or {}
    if kinds[1:] not in ([], ["LogitScore"]) or text.get("transformer_task", _TASKS[0]) not in _TASKS:
        raise ModelError(
            f"{path}: sentence-transformers scores with the modules {', '.join(kinds)} ({MODULES}); known are a "
            "Transformer with a head of one label, and one with a LogitScore"
        )
    score = _content(path, f"{modules[1]['path']}/config.json") if len(modules) > 1 else None
    prompts, chosen = own.get("prompts") or {}, own.get("default_prompt_name")
    given = text.get("processing_kwargs") or {}
    longest = (given.get("text") or {}).get("max_length", text.get("max_seq_length"))
    arguments = {name: value for name, value in (given.get("chat_template") or {}).items() if name not in _NOT_RENDERED}
    return PeerFacts(
        activation=own.get("activation_fn"),
        prompt=(prompts.get(chosen) or "") if chosen else "",
        lowercase=bool(text.get("do_lower_case")),
        longest=None if longest is None else int(longest),
        chat="message" in text.get("modality_config", {}),
        tokens=None if score is None else (int(score["true_token_id"]), score.get("false_token_id")),
        chat_arguments=arguments,
    )


def card_says_reranker(path: str | Path) -> bool:
    """Whether the model card of a folder or a hub name files it under rerankers: by its pipeline or a tag."""
    from huggingface_hub import metadata_load
    from transformers.utils import cached_file

    found = cached_file(str(path), "README.md", _raise_exceptions_for_missing_entries=False)
    if found is None:
        return False
    try:
        said = metadata_load(found) or {}
    except Exception:  # a card is written by hand: its head may be no YAML, or no mapping
        return False
    tags = said.get("tags")
    named = {str(said.get("pipeline_tag")), *map(str, tags if isinstance(tags, list) else ())}
    return not named.isdisjoint(CARD_TAGS)


def _content(path: str | Path, name: str) -> Any:
    """A file of JSON of a folder or a hub name; None where there is none."""
    from transformers.utils import cached_file

    found = cached_file(str(path), name, _raise_exceptions_for_missing_entries=False)
    return None if found is None else json.loads(Path(found).read_text(encoding="utf-8"))


def prompt_files(prompt: str, activation: str) -> Mapping[str, Any]:
    """Files by name that make sentence-transformers put a prompt before each query of a classifier.

    Args:
        prompt: The text.
        activation: Import path of what makes a bounded score.
    """
    text = {"text": {"method": "forward", "method_output_name": "logits"}}
    return {
        MODULES: [{"idx": 0, "name": "0", "path": "", "type": _TRANSFORMER}],
        TEXT: {"transformer_task": _TASKS[0], "modality_config": text, "module_output_name": "scores"},
        OWN: {
            "model_type": "CrossEncoder",
            "prompts": {"query": prompt},
            "default_prompt_name": "query",
            "activation_fn": activation,
        },
    }


def use_lowercase(tokenizer: Any) -> None:
    """Let a tokenizer write texts small before all else, in place."""
    from tokenizers import normalizers

    backend = tokenizer.backend_tokenizer
    own = [] if backend.normalizer is None else [backend.normalizer]
    backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *own])
