"""Some documents for all: evenly spaced over the corpus, the languages alike."""

from collections.abc import Sequence

import numpy as np

from tamis.records import Document


def spread(documents: Sequence[Document], limit: int) -> list[Document]:
    """At most `limit` documents in all, the languages alike, spread over each language's part of the corpus; 0: all."""
    languages = len({document.language for document in documents})
    return spread_by_language(documents, -(-limit // max(languages, 1)))[: limit or None]


def spread_by_language(documents: Sequence[Document], limit: int) -> list[Document]:
    """At most `limit` documents per language, evenly spaced over the language's part of the corpus; 0: all."""
    by_language: dict[str, list[Document]] = {}
    for document in documents:
        by_language.setdefault(document.language, []).append(document)
    picked: list[Document] = []
    for group in by_language.values():
        places = np.linspace(0, len(group) - 1, min(limit or len(group), len(group))).round().astype(int)
        picked += [group[place] for place in dict.fromkeys(places.tolist())]
    return picked
