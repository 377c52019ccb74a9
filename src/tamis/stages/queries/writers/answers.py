"""From what a language model says to the query in it."""

import re
from typing import Final

NO_TEXT: Final = "no text in the answer"
"""Why there is no query where a language model said nothing."""

CUT: Final = "cut at max_tokens"
"""Why there is no query where an answer was broken off: what stands there is a piece of one, or of a thought."""

_THOUGHT_END: Final = "</think>"
_LIST_MARK: Final = re.compile(r"^(?:[-*•]|\d{1,2}[.)])\s+")
_QUOTES: Final = {'"': '"', "'": "'", "`": "`", "“": "”", "„": "“", "«": "»", "「": "」", "‘": "’", "**": "**"}


def query_of(answer: str, prompt: str) -> str:
    """The query in an answer to a chat: its first line, without thoughts, an announcement, a list mark or quotes.

    Nor is the last line of the prompt, the label of the query, part of it, where the model repeats that.
    """
    lines = [line.strip() for line in answer.rpartition(_THOUGHT_END)[2].splitlines() if line.strip()]
    if not lines:
        return ""
    announced = len(lines) > 1 and lines[0].endswith((":", "："))
    query = _LIST_MARK.sub("", lines[announced])
    query = query.removeprefix(prompt.rpartition("\n")[2]).strip() or query
    for opening, closing in _QUOTES.items():
        if query.startswith(opening) and query.endswith(closing) and len(query) > len(opening + closing):
            inside = query[len(opening) : -len(closing)]
            if opening not in inside and closing not in inside:
                return inside.strip()
    return query
