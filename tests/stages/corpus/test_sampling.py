"""Which documents a language model is shown."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tamis.records import Document
from tamis.stages.corpus.sampling import spread, spread_by_language


def documents(**counts: int) -> list[Document]:
    return [Document(f"{tag}{n}", "text", tag) for tag, count in counts.items() for n in range(count)]


def test_the_languages_are_alike_and_each_is_spread_over_the_corpus() -> None:
    picked = spread(documents(de=100, ja=9), 10)
    assert [d.doc_id for d in picked] == ["de0", "de25", "de50", "de74", "de99", "ja0", "ja2", "ja4", "ja6", "ja8"]


def test_a_limit_per_language() -> None:
    assert [d.doc_id for d in spread_by_language(documents(de=5, ja=1), 2)] == ["de0", "de4", "ja0"]


def test_no_limit_is_all_and_no_documents_are_none() -> None:
    assert spread(documents(de=3, ja=2), 0) == documents(de=3, ja=2)
    assert spread([], 5) == []


@given(st.lists(st.integers(1, 30), min_size=1, max_size=25), st.integers(1, 200))
def test_as_many_as_wanted_none_twice_and_the_languages_as_alike_as_they_can_be(sizes: list[int], limit: int) -> None:
    tags = "abcdefghijklmnopqrstuvwxy"[: len(sizes)]
    corpus = documents(**dict(zip(tags, sizes, strict=True)))
    picked = spread(corpus, limit)
    assert len({d.doc_id for d in picked}) == len(picked) == min(limit, len(corpus))
    counts = Counter(d.language for d in picked)
    shares = [counts[tag] for tag in tags]
    assert all(share >= max(shares) - 1 for share, size in zip(shares, sizes, strict=True) if share < size)
