"""Which texts repeat each other: by their words, by passages, by MinHash with exact checking.

Texts are compared by the terms of `tamis.text.words`: words, and overlapping pairs of characters where a script has no
spaces, so that nothing here depends on spaces. No result depends on the order in which texts come in.
"""

import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from tamis.formulas.ranking import tie_key
from tamis.text import normalise, words

Shingle = tuple[str, ...]

PASSAGE: Final = 13
"""Terms in a row that two texts must share to overlap, as in Brown et al. 2020 (GPT-3), appendix C."""

SHORT_PASSAGE: Final = 5
"""Fewest terms of a shorter text that overlaps where another holds all of it; fewer say too little."""

_PERMUTATIONS: Final = 128
# Weights of false positives and negatives. Every candidate is checked, so that a false positive costs time only: with
# these a pair right at the threshold is found 96 to 99 times in 100, one above it practically always.
_WEIGHTS: Final = (0.02, 0.98)


def shingles(text: str, size: int) -> frozenset[Shingle]:
    """Sets of terms in a row.

    Args:
        text: Any text.
        size: Terms of a shingle, at least 1.

    Returns:
        All runs of `size` terms; of a shorter text one shingle with all its terms; none where there are no terms.
    """
    terms = words(text)
    if not terms:
        return frozenset()
    return frozenset(tuple(terms[start : start + size]) for start in range(max(1, len(terms) - size + 1)))


def jaccard(first: frozenset[Shingle], second: frozenset[Shingle]) -> float:
    """Share of common shingles among all of two sets, in [0, 1]; 0 where both are empty."""
    union = len(first | second)
    return len(first & second) / union if union else 0.0


def content_hash(text: str) -> str:
    """16 hexadecimal digits that texts of the same words share."""
    return hashlib.blake2b(normalise(text).encode(), digest_size=8).hexdigest()


def content_sample(texts: Iterable[str], n: int = 32) -> list[str]:
    """The `n` smallest `content_hash`es: a sample drawn without regard to order and repetitions.

    The same texts are in the sample of any collection that holds them and little else besides, so that two collections
    can be told to overlap by what is kept of one.
    """
    return sorted({content_hash(text) for text in texts})[:n]


def near_duplicates(texts: Mapping[str, str], threshold: float, size: int) -> dict[str, str]:
    """Find texts that nearly repeat another one.

    In the order of a hash of their texts, each is kept unless it overlaps one that was kept before it. So those that
    stay are no near-duplicates of each other, and which ones stay follows from the texts alone.

    Args:
        texts: Text by id.
        threshold: Jaccard similarity of the shingles from which two texts are near-duplicates, in (0, 1].
        size: Terms of a shingle.

    Returns:
        Id of each text to leave out -> id of the kept text that it repeats (the first in that order).

    Source: Broder 1997 (MinHash); Leskovec, Rajaraman and Ullman, chapter 3 (bands).
    """
    order = sorted(texts, key=lambda each: (tie_key("near-duplicate", texts[each]), texts[each], each))
    index = _Index(texts, threshold, size)
    repeated: dict[str, str] = {}
    for each in order:
        found = index.similar(texts[each])
        if found:
            repeated[each] = found[0]
        else:
            index.add(each)
    return repeated


def same_words(texts: Mapping[str, str], named: Mapping[str, str]) -> dict[str, str]:
    """Find texts with the words of a named one, in the same order.

    Returns:
        Id of each such text -> the smallest id of a named text that it repeats.
    """
    by_words: dict[str, str] = {}
    for each in sorted(named):
        by_words.setdefault(normalise(named[each]), each)
    by_words.pop("", None)
    found = ((each, by_words.get(normalise(text))) for each, text in texts.items())
    return {each: other for each, other in found if other is not None}


def shared_passages(texts: Mapping[str, str], named: Mapping[str, str]) -> dict[str, str]:
    """Find texts that share 13 terms in a row with a named one, or all terms of the shorter of the two.

    Returns:
        Id of each such text -> the smallest id of a named text that it overlaps. A text of fewer than 5 terms overlaps
        nothing.
    """
    terms = {each: words(text) for each, text in named.items()}
    pairs = [*_holding(texts, terms), *((each, other) for other, each in _held(texts, terms))]
    found: dict[str, str] = {}
    for each, other in pairs:
        found[each] = min(other, found.get(each, other))
    return found


def near_copies(texts: Mapping[str, str], named: Mapping[str, str], threshold: float, size: int) -> dict[str, str]:
    """Find texts that nearly repeat a named one.

    Args:
        texts: Text by id.
        named: Text by id.
        threshold: As in `near_duplicates`.
        size: Terms of a shingle.

    Returns:
        Id of each such text -> the smallest id of a named text that it nearly repeats.
    """
    index = _Index(named, threshold, size)
    for each in named:
        index.add(each)
    found = ((each, index.similar(text)) for each, text in texts.items())
    return {each: min(similar) for each, similar in found if similar}


def _holding(texts: Mapping[str, str], named: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    """Each text that holds a passage of a named one, or all of a short one, with the named one's id."""
    long = {gram: each for each in sorted(named, reverse=True) for gram in _grams(named[each], PASSAGE)}
    short = _by_beginning(named)
    for each, text in texts.items():
        terms = words(text)
        yield from ((each, long[gram]) for gram in _grams(terms, PASSAGE) if gram in long)
        yield from ((each, other) for other in _contained(terms, short))


def _held(texts: Mapping[str, str], named: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    """Each named text that holds all of a short one, with the id of the short one."""
    short = _by_beginning({each: words(text) for each, text in texts.items()})
    for each, terms in named.items():
        yield from ((each, other) for other in _contained(terms, short))


def _grams(terms: Sequence[str], size: int) -> Iterator[Shingle]:
    return (tuple(terms[start : start + size]) for start in range(len(terms) - size + 1))


def _by_beginning(texts: Mapping[str, Sequence[str]]) -> dict[Shingle, list[tuple[Shingle, str]]]:
    """Short texts by their first terms, so that one look-up a place finds texts of every length."""
    found: dict[Shingle, list[tuple[Shingle, str]]] = {}
    for each, terms in texts.items():
        if SHORT_PASSAGE <= len(terms) < PASSAGE:
            found.setdefault(tuple(terms[:SHORT_PASSAGE]), []).append((tuple(terms), each))
    return found


def _contained(terms: Sequence[str], short: Mapping[Shingle, Iterable[tuple[Shingle, str]]]) -> Iterator[str]:
    for start, beginning in enumerate(_grams(terms, SHORT_PASSAGE)):
        for whole, each in short.get(beginning, ()):
            if tuple(terms[start : start + len(whole)]) == whole:
                yield each


class _Index:
    """Texts by their MinHash; what it finds was checked."""

    def __init__(self, texts: Mapping[str, str], threshold: float, size: int) -> None:
        from datasketch import MinHash, MinHashLSH

        self._threshold, self._size = threshold, size
        self._empty = MinHash(num_perm=_PERMUTATIONS, hashfunc=_shingle_hash)
        self._bands: Any = MinHashLSH(threshold=threshold, num_perm=_PERMUTATIONS, weights=_WEIGHTS)
        self._added: dict[str, int] = {}
        self._shingles: Callable[[str], frozenset[Shingle]] = lru_cache(maxsize=4096)(
            lambda each: shingles(texts[each], size)
        )

    def add(self, each: str) -> None:
        """Let a text be found from now on."""
        found = self._shingles(each)
        if found:
            self._bands.insert(each, self._signature(found))
            self._added[each] = len(self._added)

    def similar(self, text: str) -> list[str]:
        """Ids of the added texts that are as similar as the threshold, in the order in which they were added."""
        own = shingles(text, self._size)
        if not own:
            return []
        near = [other for other in self._bands.query(self._signature(own)) if self._near(own, self._shingles(other))]
        return sorted(near, key=self._added.__getitem__)

    def _near(self, first: frozenset[Shingle], second: frozenset[Shingle]) -> bool:
        return jaccard(first, second) >= self._threshold

    def _signature(self, found: frozenset[Shingle]) -> Any:
        signature = self._empty.copy()
        signature.update_batch([" ".join(shingle).encode() for shingle in found])
        return signature


def _shingle_hash(shingle: bytes) -> int:
    """32 bits are what MinHash wants; candidates are checked, so that speed counts more than collisions."""
    return zlib.crc32(shingle)
