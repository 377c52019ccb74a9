import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.formulas.ranking import tie_key
from tamis.retrievers.bm25 import Bm25
from tamis.text import terms

CORPUS = [
    "Install a package with the package manager. The manager fetches the package.",
    "Das Paket wird mit der Paketverwaltung installiert; die Paketverwaltung holt Pakete.",
    "ソフトウェアをインストールする方法を説明します。パッケージを選びます。",
    "如何安装软件包？使用包管理器安装软件包。",
    "패키지를 설치하는 방법과 설치 순서",
    "Как установить пакет? Пакет ставит менеджер пакетов.",
    "ติดตั้งแพ็กเกจด้วยตัวจัดการ",
    "Manager",
    "!!! ???",
]
QUERIES = [
    "package manager",
    "安装 软件包",
    "パッケージ",
    "설치 방법",
    "Пакет",
    "Paketverwaltung holt",
    "the the the",
    "ติดตั้ง",
]


def lucene(documents, query, k1, b):
    """BM25 with Lucene's idf, written from Robertson and Zaragoza 2009; a document without words counts one."""
    split = [terms(document) or [""] for document in documents]
    mean_length = sum(map(len, split)) / len(split)
    scores = []
    for document in split:
        counts, score = Counter(document), 0.0
        for word in terms(query):
            df = sum(word in other for other in split)
            idf = math.log(1 + (len(split) - df + 0.5) / (df + 0.5)) if df else 0.0
            saturation = counts[word] + k1 * (1 - b + b * len(document) / mean_length)
            score += idf * counts[word] / saturation
        scores.append(score)
    return scores


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize(("k1", "b"), [(0.9, 0.4), (1.5, 0.75), (1.2, 0.0)])
def test_scores_are_those_of_lucene_in_every_script(query, k1, b):
    expected = lucene(CORPUS, query, k1, b)
    assert max(expected) > 0
    np.testing.assert_allclose(Bm25(CORPUS, k1, b).scores(query), expected, atol=1e-5)


LETTERS = st.text("abc é語文", max_size=12)


@given(documents=st.lists(LETTERS, min_size=1, max_size=8), query=LETTERS)
@settings(max_examples=50)
def test_scores_are_those_of_lucene_on_any_text(documents, query):
    scores = Bm25(documents, 0.9, 0.4).scores(query)
    np.testing.assert_allclose(scores, lucene(documents, query, 0.9, 0.4), atol=1e-5)
    assert scores.dtype == np.float64


@pytest.mark.parametrize("query", ["", "???", "xylophone", "安", "0"])
def test_a_query_without_a_known_word_scores_0_everywhere(query):
    assert Bm25(CORPUS, 0.9, 0.4).scores(query).tolist() == [0.0] * len(CORPUS)


def test_unknown_words_add_nothing_to_known_ones():
    index = Bm25(CORPUS, 0.9, 0.4)
    assert index.scores("xylophone manager 鯨鯨").tolist() == index.scores("manager").tolist()


def test_a_document_without_words_is_never_found():
    index = Bm25(CORPUS, 0.9, 0.4)
    assert all(index.scores(query)[-1] == 0 for query in [*QUERIES, *CORPUS])


@given(order=st.permutations(range(len(CORPUS))))
@settings(max_examples=20)
def test_the_order_of_the_documents_only_reorders_the_scores(order):
    shuffled = Bm25([CORPUS[i] for i in order], 0.9, 0.4)
    whole = Bm25(CORPUS, 0.9, 0.4)
    for query in QUERIES:
        assert shuffled.scores(query).tolist() == whole.scores(query)[order].tolist()


def test_only_documents_without_words_are_an_index_too():
    assert Bm25(["...", ""], 0.9, 0.4).scores("package").tolist() == [0.0, 0.0]


def keys_of(query):
    return lambda places: np.array([tie_key(query, str(i)) for i in places.tolist()], np.int64)


@given(documents=st.lists(LETTERS, min_size=1, max_size=12), query=LETTERS, depth=st.integers(1, 14))
@settings(max_examples=80)
def test_the_head_holds_the_best_of_those_that_hold_a_word_ties_by_their_keys(documents, query, depth):
    index = Bm25(documents, 0.9, 0.4)
    scores = index.scores(query)
    found = [i for i in range(len(documents)) if scores[i] > 0]
    expected = sorted(found, key=lambda i: (-scores[i], tie_key(query, str(i))))[:depth]
    head = index.head(query, depth, keys_of(query))
    assert head.places.tolist() == expected
    assert head.scores.tolist() == [scores[i] for i in expected]


@pytest.mark.parametrize("query", QUERIES)
def test_the_heads_scores_are_those_of_bm25s_own_retrieval(query):
    import bm25s

    reference = bm25s.BM25(k1=0.9, b=0.4)
    reference.index([terms(text) or [""] for text in CORPUS], show_progress=False)
    known = [term for term in terms(query) if term in reference.vocab_dict]
    _, expected = reference.retrieve([known], k=4, show_progress=False)
    head = Bm25(CORPUS, 0.9, 0.4).head(query, 4, keys_of(query))
    np.testing.assert_allclose(head.scores, [score for score in expected[0] if score > 0], rtol=1e-6)


@given(places=st.lists(st.integers(0, len(CORPUS) - 1), max_size=12), query=st.sampled_from([*QUERIES, "???"]))
def test_scores_of_some_documents_are_the_same_bits_as_among_all(places, query):
    index = Bm25(CORPUS, 0.9, 0.4)
    places = np.array(places, np.int64)
    assert index.scores_of(query, places).tolist() == index.scores(query)[places].tolist()


@given(seen=st.lists(st.integers(0, len(CORPUS) - 1), min_size=1, unique=True), query=st.sampled_from(QUERIES))
def test_a_part_is_the_whole_with_documents_left_out(seen, query):
    index, seen = Bm25(CORPUS, 0.9, 0.4), np.array(seen)
    part = index.part(seen)
    assert part.size == len(seen)
    assert index.size == len(CORPUS)
    assert part.scores(query).tolist() == index.scores(query)[seen].tolist()
    everyone = np.arange(len(seen))
    assert part.scores_of(query, everyone).tolist() == part.scores(query).tolist()
    assert part.head(query, 99, keys_of(query)).scores.tolist() == sorted(
        (score for score in part.scores(query) if score), reverse=True
    )


def test_another_way_to_split_can_be_measured():
    index = Bm25(["a-b", "b c"], 0.9, 0.4, str.split)
    assert (index.scores("b") > 0).tolist() == [False, True]
