"""What a run will ask: queries that are searched and questions that are judged, counted before they are there."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tamis.building.mining import given_rows, log_queries
from tamis.building.workshop import Workshop
from tamis.building.written import about_documents
from tamis.records import Query
from tamis.text import normalise

_QUESTION_BYTES: Final = 150  # of a line of questions, which no stage before the evaluation opens

ShelfKey = tuple[str, str]
"""Origin and language."""


@dataclass(frozen=True)
class Asked:
    """The queries that will be searched.

    Attributes:
        counts: How many of each origin and language.
        records: They themselves; None where they are not written yet.
    """

    counts: Mapping[ShelfKey, int]
    records: Mapping[str, Query] | None

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.counts.values())

    @property
    def about(self) -> bool:
        """Whether they are only expected."""
        return self.records is None


def asked_queries(shop: Workshop) -> Asked:
    """The queries where they are finished, else as many as are asked for and given."""
    if "queries" in shop.folders:
        return Asked(Counter((query.origin, query.language) for query in shop.queries.values()), shop.queries)
    settings = shop.recipe.queries
    target = Counter(d.language for d in shop.documents.values() if d.origin == "target")
    share = min(1.0, settings.documents / max(target.total(), 1)) if settings.documents else 1.0
    writers = sum(1.0 if kind == "extractive" else share for kind in settings.generator)
    counts = Counter({("target", k): round(n * settings.per_document * writers) for k, n in target.items()})
    counts.update(("target", document.language) for document in about_documents(shop))
    for _, _, doc_id in given_rows(shop):
        counts["general", shop.documents[doc_id].language] += 1
    typed = {(query.origin, query.language, normalise(query.text)) for query in log_queries(shop)}  # often repeated
    counts.update((origin, language) for origin, language, _ in typed)
    return Asked(counts, None)


def count_questions(shop: Workshop) -> int:
    """Judged questions, from the size of their file: no stage before the evaluation opens it."""
    settings = shop.recipe.evaluate
    if settings is None:
        return 0
    languages = len({d.language for d in shop.documents.values() if d.origin == "target"})
    found = max(1, settings.queries.stat().st_size // _QUESTION_BYTES)
    return min(found, settings.questions * languages) if settings.questions else found
