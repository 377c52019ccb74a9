"""Chat templates of rerankers: what a tokenizer makes of messages of the roles query and document, as one text."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from tamis.models.serializer import PairTemplate

_SYSTEM, _QUERY, _DOCUMENT = "system7f3a", "query7f3a", "document7f3a"
_ROLES: Final = ("query", "document")

NONE: Final[Mapping[str, Any]] = MappingProxyType({})
"""No arguments."""


def names_roles(tokenizer: Any) -> bool:
    """Whether a tokenizer's chat template is one for rerankers: it names both roles."""
    template = getattr(tokenizer, "chat_template", None)
    return isinstance(template, str) and all(f"'{role}'" in template or f'"{role}"' in template for role in _ROLES)


def pair_template(
    tokenizer: Any, prompt: str, max_tokens: int, arguments: Mapping[str, Any] = NONE
) -> PairTemplate | None:
    """The text that a tokenizer's chat template makes of a pair.

    Args:
        tokenizer: With a chat template.
        prompt: Default instruction, a message of the role system; empty for what the template says by itself.
        max_tokens: Most tokens of the text.
        arguments: What the template is given beside the messages.

    Returns:
        None where the template fails, or gives no text with the query and the document, each once and in this order.
    """
    for flat in (True, False):
        plain, told = (_rendered(tokenizer, system, flat, arguments) for system in (prompt, _SYSTEM))
        before, _, rest = plain.partition(_QUERY)
        middle, found, suffix = rest.partition(_DOCUMENT)
        if not found or _QUERY in rest or _DOCUMENT in suffix or set("{}") & set(before + middle):
            continue
        head, instruction, tail = _instruction(before, told.partition(_QUERY)[0])
        return PairTemplate(
            template=f"{head}{tail}{{query}}{middle}{{document}}",
            suffix=suffix,
            instruction=instruction,
            max_tokens=max_tokens,
        )
    return None


def _instruction(before: str, told: str) -> tuple[str, str, str]:
    """What stands before the instruction and its place, the instruction that is there unasked, and what stands behind.

    Args:
        before: What stands before a query.
        told: The same where the instruction is `_SYSTEM`.
    """
    head, found, tail = told.partition(_SYSTEM)
    if found and before.startswith(head) and before[len(head) :].endswith(tail):
        return f"{head}{{instruction}}", before[len(head) : len(before) - len(tail)], tail
    return before, "", ""


def _rendered(tokenizer: Any, system: str, flat: bool, arguments: Mapping[str, Any]) -> str:
    """The text of a pair; empty where the template fails.

    Args:
        tokenizer: With a chat template.
        system: Content of the message before; empty for none.
        flat: Whether contents are texts, or lists of parts.
        arguments: See `pair_template`.
    """
    said: Sequence[tuple[str, str]] = [("query", _QUERY), ("document", _DOCUMENT)]
    messages = [
        {"role": role, "content": text if flat else [{"type": "text", "text": text}]}
        for role, text in ([("system", system), *said] if system else said)
    ]
    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, **arguments))
    except Exception:  # whatever a template raises
        return ""
