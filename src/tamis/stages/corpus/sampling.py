"""Some documents for all: evenly spaced over the corpus, the languages alike."""

from collections.abc import Sequence

import numpy as np

from tamis.records import Document


def spread(documents: Sequence[Document], limit: int) -> list[Document]:
    """`limit` documents in all, the languages alike, spread over each language's part of the corpus; 0: all.

    What a language lacks goes to the others; what does not divide, to the largest ones.
    """
    groups = _by_language(documents)
    left = limit or len(documents)
    shares: dict[str, int] = {}
    for number, language in enumerate(sorted(groups, key=lambda one: (len(groups[one]), one))):
        shares[language] = min(len(groups[language]), left // (len(groups) - number))
        left -= shares[language]
    return [document for language, group in groups.items() for document in _spaced(group, shares[language])]


def spread_by_language(documents: Sequence[Document], limit: int) -> list[Document]:
    """At most `limit` documents per language, evenly spaced over the language's part of the corpus; 0: all."""
    groups = _by_language(documents).values()
    return [document for group in groups for document in _spaced(group, min(limit or len(group), len(group)))]


def _by_language(documents: Sequence[Document]) -> dict[str, list[Document]]:
    groups: dict[str, list[Document]] = {}
    for document in documents:
        groups.setdefault(document.language, []).append(document)
    return groups


def _spaced(group: Sequence[Document], count: int) -> list[Document]:
    """So many documents of a group, from its first to its last."""
    return [group[place] for place in np.linspace(0, len(group) - 1, count).round().astype(int).tolist()]
