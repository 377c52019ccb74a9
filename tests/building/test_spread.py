"""Which documents a language model is shown."""

from hypothesis import given
from hypothesis import strategies as st

from tamis.building.spread import spread, spread_by_language
from tamis.records import Document


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


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 40))
def test_never_more_than_the_limit_and_none_twice(german: int, japanese: int, limit: int) -> None:
    picked = spread(documents(de=german, ja=japanese), limit)
    assert len({d.doc_id for d in picked}) == len(picked) <= limit
    assert len(picked) >= min(limit // 2, max(german, japanese))
