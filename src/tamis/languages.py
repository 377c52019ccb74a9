"""The language of a text, told by py3langid: of documents without one, and of queries."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Final

UNKNOWN_LANGUAGE: Final = "und"

# The first characters tell the language as well as the whole text, in bounded time.
_IDENTIFIED_CHARACTERS: Final = 2000


def language_identifier(languages: Sequence[str] | None) -> Callable[[str], str]:
    """Make a function that tells the language of a text, with py3langid.

    Args:
        languages: The only answers to choose from, as lower-case tags; `zh-cn` is told by its primary part, and of two
            tags with the same primary part the first is the answer. None: every language that py3langid knows.

    Returns:
        Text -> tag; `und` where py3langid knows none of `languages`. With a single language that one is always the
        answer. The model is loaded with the first text.
    """
    if languages is not None and len(languages) == 1:
        return lambda text: languages[0]
    load = cache(lambda: _identifier(languages))
    return lambda text: load()(text)


def _identifier(languages: Sequence[str] | None) -> Callable[[str], str]:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
    known = set(identifier.labels) - {"zxx"}  # zxx: no language at all
    if languages is None:
        answers = {code: code for code in known}
    else:
        answers = {tag.split("-")[0]: tag for tag in reversed(languages) if tag.split("-")[0] in known}
    if not answers:
        return lambda text: UNKNOWN_LANGUAGE
    identifier.set_languages(answers)
    return lambda text: answers[identifier.classify(text[:_IDENTIFIED_CHARACTERS])[0]]
