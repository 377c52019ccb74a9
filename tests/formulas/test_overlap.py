"""Texts that repeat each other, found by MinHash and checked by counting."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.formulas.overlap import (
    content_hash,
    content_sample,
    jaccard,
    near_copies,
    near_duplicates,
    same_words,
    shared_passages,
    shingles,
)

LONG = {
    "en": "the quick brown fox jumps over the lazy dog while all the other animals of the farm look on in silence",
    "zh": "长城全长超过两万公里，主要修建于明朝，用于抵御北方游牧民族的入侵，是世界上最长的防御工事。",
    "ja": "富士山は日本で最も高い山で、標高は三千七百七十六メートルであり、多くの登山者が毎年夏に訪れます。",
    "th": "ทีมรับของแพนเธอร์สเป็นผู้นำในลีกด้วยการอินเตอร์เซปและได้รับการยกย่องจากผู้เชี่ยวชาญทุกคน",
}


def test_shingles_are_runs_of_terms():
    assert shingles("A b, c D!", 2) == {("a", "b"), ("b", "c"), ("c", "d")}
    assert shingles("A b", 5) == {("a", "b")}
    assert shingles("長城全長", 2) == {("長城", "城全"), ("城全", "全長")}
    assert shingles(" ... ", 2) == frozenset()


def test_jaccard_counts_common_shingles():
    assert jaccard(shingles("a b c", 1), shingles("b c d", 1)) == 0.5
    assert jaccard(frozenset(), frozenset()) == 0


@pytest.mark.parametrize("language", LONG)
def test_a_changed_end_is_a_near_duplicate_in_every_script(language):
    text = LONG[language]
    texts = {"a": text, "b": text[:-1] + "x", "c": text[::-1]}
    assert set(near_duplicates(texts, 0.8, 2)) in ({"a"}, {"b"})
    assert near_copies({"b": texts["b"], "c": texts["c"]}, {"a": text}, 0.8, 2) == {"b": "a"}


def test_texts_without_words_are_like_nothing():
    assert near_duplicates({"a": "...", "b": "", "c": "..."}, 0.8, 2) == {}
    assert near_copies({"a": "..."}, {"b": "..."}, 0.8, 2) == {}


def random_texts(seed, count=60):
    rng = random.Random(seed)
    base = [" ".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=40)) for _ in range(count // 3)]
    texts = {}
    for number in range(count):
        terms = rng.choice(base).split()
        for place in rng.sample(range(40), rng.randrange(6)):
            terms[place] = rng.choice("0123456789")
        texts[str(number)] = " ".join(terms)
    return texts


@pytest.mark.parametrize("seed", range(3))
def test_what_stays_overlaps_nothing_and_what_goes_overlaps_what_stays(seed):
    texts = random_texts(seed)
    repeated = near_duplicates(texts, 0.7, 2)
    kept = texts.keys() - repeated.keys()
    assert 0 < len(repeated) < len(texts)
    for each, other in repeated.items():
        assert other in kept
        assert jaccard(shingles(texts[each], 2), shingles(texts[other], 2)) >= 0.7
    for first, second in itertools.combinations(kept, 2):
        assert jaccard(shingles(texts[first], 2), shingles(texts[second], 2)) < 0.75  # 0.7 is found 98 times in 100


@settings(max_examples=5)
@given(st.randoms(use_true_random=False))
def test_the_order_does_not_matter(shuffle):
    texts = random_texts(1)
    mixed = list(texts.items())
    shuffle.shuffle(mixed)
    assert near_duplicates(dict(mixed), 0.7, 2) == near_duplicates(texts, 0.7, 2)
    named = {key: texts[key] for key in list(texts)[:20]}
    asked = {key: texts[key] for key in list(texts)[20:]}
    turned = dict(reversed(named.items()))
    for find in (same_words, shared_passages, lambda a, b: near_copies(a, b, 0.7, 2)):
        assert find(dict(reversed(asked.items())), turned) == find(asked, named)


def test_the_same_words_are_found_whatever_the_punctuation():
    named = {"b": "Wie alt?", "a": "WIE ALT", "c": "..."}
    assert same_words({"x": "wie alt", "y": "alt wie", "z": "!"}, named) == {"x": "a"}


def test_thirteen_terms_in_a_row_are_a_shared_passage():
    terms = [f"w{number}" for number in range(30)]
    named = {"n": " ".join(terms)}
    shared = {"13": " ".join(["x", *terms[5:18], "y"] * 2), "12": " ".join(["x", *terms[5:17], "y"] * 2)}
    assert shared_passages(shared, named) == {"13": "n"}


def test_all_of_a_shorter_text_is_a_shared_passage_on_either_side():
    question = "how do I install a package"
    page = "FAQ. How do I install a package? With the package manager, which fetches what else is needed, too."
    assert shared_passages({"page": page}, {"q": question}) == {"page": "q"}
    assert shared_passages({"q": question}, {"page": page}) == {"q": "page"}
    assert shared_passages({"page": page}, {"q": f"{question} by hand"}) == {}  # begins alike
    assert shared_passages({"page": page}, {"q": "install a package"}) == {}  # too short to say anything
    assert shared_passages({"page": LONG["zh"]}, {"q": "用于抵御北方游牧民族"}) == {"page": "q"}


@given(st.lists(st.text("abÉ中1 ", max_size=8), max_size=60), st.randoms())
def test_a_sample_of_contents_depends_on_the_words_alone(texts, shuffler):
    turned = [f" {text.upper()}!" for text in texts + texts[:5]]
    shuffler.shuffle(turned)
    assert content_sample(turned, 8) == content_sample(texts, 8)


def test_the_sample_is_shared_by_whatever_holds_the_texts():
    own = [f"text number {n}" for n in range(200)]
    hashes = {content_hash(text) for text in [*own, "and", "others"]}
    assert len(content_sample(own)) == 32
    assert hashes.issuperset(content_sample(own))
    assert not {content_hash(f"another {n}") for n in range(500)} & {*content_sample(own)}
