"""Leave out records that repeat each other, or overlap an evaluation set that was named."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from tamis.artifacts import split_dropped
from tamis.artifacts.inputs import input_hashes
from tamis.formats.evaluation_sets import evaluation_files, read_evaluation_texts
from tamis.formulas.overlap import near_copies, near_duplicates, same_words, shared_passages
from tamis.records import Document, Dropped, Query
from tamis.text import clip

TextRecord = TypeVar("TextRecord", Document, Query)

QUERY_SHINGLE: Final = 2
"""Terms of a shingle of queries: they are too short for more."""

DOCUMENT_SHINGLE: Final = 5
"""Terms of a shingle of documents."""

NEAR_COPY: Final = 0.8
"""Jaccard similarity from which a text nearly repeats one of an evaluation set."""

_CLIPPED: Final = 200


def drop_near_duplicates(records: Sequence[TextRecord], threshold: float, size: int) -> Iterator[TextRecord | Dropped]:
    """Leave out records that nearly repeat another one of the same origin and language, as `near-duplicate`.

    Args:
        records: Documents or queries; which ones stay does not depend on their order.
        threshold: Jaccard similarity of the shingles, in (0, 1]; 0 drops nothing.
        size: Terms of a shingle.

    Yields:
        For each record, in order, the record or why it was left out and what it repeats.
    """
    if not threshold:
        yield from records
        return
    groups: dict[tuple[str, str], dict[str, str]] = {}
    for record in records:
        groups.setdefault((record.origin, record.language), {})[_id(record)] = record.text
    repeated = {
        each: ("near-duplicate", other)
        for texts in groups.values()
        for each, other in near_duplicates(texts, threshold, size).items()
    }
    yield from _drop(records, repeated)


def drop_overlaps(records: Sequence[TextRecord], named: Mapping[str, str], size: int) -> Iterator[TextRecord | Dropped]:
    """Leave out records that overlap texts of an evaluation set. The first reason wins.

    The reasons are `kept out: same words`, `kept out: shared passage` (13 terms in a row, or all of a shorter text of
    at least 5) and `kept out: near-duplicate`. Documents of the target stay whatever they say: what is to be adapted to
    may well be what is evaluated on.

    Args:
        records: Documents or queries of any language.
        named: Texts of the evaluation set by id.
        size: Terms of a shingle.

    Yields:
        For each record, in order, the record or why it was left out and what it overlaps.
    """
    texts = {_id(record): record.text for record in records if not _is_of_target(record)}
    found: dict[str, tuple[str, str]] = {}
    if named:
        for reason, overlaps in (
            ("kept out: same words", same_words(texts, named)),
            ("kept out: shared passage", shared_passages(texts, named)),
            ("kept out: near-duplicate", near_copies(texts, named, NEAR_COPY, size)),
        ):
            found = {each: (reason, other) for each, other in overlaps.items()} | found
    yield from _drop(records, found)


def _drop(records: Iterable[TextRecord], found: Mapping[str, tuple[str, str]]) -> Iterator[TextRecord | Dropped]:
    for record in records:
        if (each := _id(record)) in found:
            reason, other = found[each]
            yield Dropped(each, reason, record.language, clip(record.text, _CLIPPED), other)
        else:
            yield record


def _is_of_target(record: Document | Query) -> bool:
    return isinstance(record, Document) and record.origin == "target"


def _id(record: Document | Query) -> str:
    return record.doc_id if isinstance(record, Document) else record.query_id


def kept_out_hashes(sets: Iterable[Path]) -> list[list[str]]:
    """sha256 of the files of each evaluation set that is kept out of training."""
    return [input_hashes(evaluation_files(path), "queries") for path in sets]


def without_overlaps(
    records: Sequence[TextRecord],
    named: Mapping[str, str],
    near_duplicate: float,
    size: int,
) -> tuple[list[TextRecord], list[Dropped]]:
    """Leave out what overlaps an evaluation set, then what nearly repeats another record that is left."""
    clear, overlapping = split_dropped(drop_overlaps(records, named, size))
    kept, repeated = split_dropped(drop_near_duplicates(clear, near_duplicate, size))
    return kept, overlapping + repeated


def evaluation_texts(keep_out: Iterable[Path], documents: bool) -> dict[str, str]:
    """Texts of the evaluation sets to keep out: what they ask, for documents also what answers it."""
    found: dict[str, str] = {}
    for path in keep_out:
        texts = read_evaluation_texts(path)
        found |= {f"query {each}": text for each, text in texts.queries.items()}
        if documents:
            found |= {f"document {each}": text for each, text in texts.documents.items()}
    return found
