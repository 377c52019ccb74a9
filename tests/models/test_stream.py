"""Streams of pairs: order, laziness, flat memory, and one tokenising worker."""

import threading
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.models.stream import score_stream


@dataclass(frozen=True)
class Row:
    length: int
    cut: bool
    emptied: bool


class Lengths:
    """The simplest scorer: how long both texts are."""

    def __init__(self):
        self.threads = set()
        self.scored = 0

    def encode(self, pairs, instruction=None):
        self.threads.add(threading.get_ident())
        return [Row(len(q) + len(d), cut=len(d) > 3, emptied=not d) for q, d in pairs]

    def logits(self, rows, most=None):
        self.scored += len(rows)
        return np.array([row.length for row in rows], np.float32)


@given(pairs=st.lists(st.tuples(st.text(max_size=3), st.text(max_size=5))), window=st.integers(1, 7))
def test_scores_come_in_the_order_of_the_pairs_whatever_the_window(pairs, window):
    found = list(score_stream(Lengths(), iter(pairs), window=window))
    assert [len(part.logits) for part in found[:-1]] == [window] * (len(found) - 1 if found else 0)
    assert [value for part in found for value in part.logits] == [len(q) + len(d) for q, d in pairs]
    assert sum(part.cut for part in found) == sum(len(d) > 3 for _, d in pairs)
    assert sum(part.emptied for part in found) == sum(not d for _, d in pairs)


def test_a_pair_is_scored_once_in_a_window():
    scorer = Lengths()
    list(score_stream(scorer, [("a", "b")] * 10 + [("a", "c")], window=11))
    assert scorer.scored == 2


class Counted(str):
    """A text that knows how many of its kind are alive."""

    alive = most = 0

    def __new__(cls, text):
        cls.alive += 1
        cls.most = max(cls.most, cls.alive)
        return super().__new__(cls, text)

    def __del__(self):
        type(self).alive -= 1


def test_no_more_than_two_windows_are_held_however_many_pairs_there_are():
    pairs = (("q", Counted(f"document {number}")) for number in range(5000))
    assert sum(len(part.logits) for part in score_stream(Lengths(), pairs, window=50)) == 5000
    assert Counted.most <= 3 * 50
    assert Counted.alive <= 50


def test_tokenising_happens_beside_the_model_and_stops_with_it():
    scorer = Lengths()
    before = threading.active_count()
    stream = score_stream(scorer, (("q", str(number)) for number in range(100)), window=10)
    next(stream)
    assert threading.get_ident() not in scorer.threads
    stream.close()
    assert threading.active_count() == before


def test_what_goes_wrong_in_the_worker_reaches_the_caller():
    class Broken(Lengths):
        def encode(self, pairs, instruction=None):
            raise ValueError("no such token")

    with pytest.raises(ValueError, match="no such token"):
        list(score_stream(Broken(), [("a", "b")]))
