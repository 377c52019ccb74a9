"""Logits that are all numbers: in order, with progress, and the first one that is none named."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.errors import ModelError
from tamis.models.finite import finite_logits
from tamis.models.stream import Scored
from tamis.progress import listening


class Windows:
    """A reranker that scores a pair by the length of its document, `nan` by no number; three pairs a window."""

    path = Path("some/model")

    def score_windows(self, pairs, long="first"):
        pairs = list(pairs)
        for start in range(0, len(pairs), 3):
            some = [np.nan if document == "nan" else len(document) for _, document in pairs[start : start + 3]]
            yield Scored(np.array(some, np.float32), 0, 0)


@given(lengths=st.lists(st.integers(4, 9), max_size=10))
def test_every_pair_has_its_logit_and_progress_counts_it(lengths):
    told = []
    with listening(lambda *said: told.append(said)):
        found = [x for window in finite_logits(Windows(), [("q", n * "d") for n in lengths], "scoring") for x in window]
    assert found == lengths
    done = [*range(3, len(lengths), 3), *([len(lengths)] if lengths else [])]
    assert told == [("scoring", each, len(lengths)) for each in done]


@pytest.mark.parametrize("broken", range(7))
@pytest.mark.parametrize("name_of", [None, "number {}".format])
def test_the_first_pair_without_a_number_is_named_after_the_windows_before_it(broken, name_of):
    pairs = [(f"{place} {'q' * 50}", "nan" if place in (broken, 6) else "text") for place in range(7)]
    named = name_of(broken) if name_of else f"'{broken} {'q' * 38}' and 'nan'"
    whole = []
    with pytest.raises(ModelError, match=re.escape(f"some/model: the score of {named} is not finite")):
        whole.extend(finite_logits(Windows(), pairs, "scoring", name_of=name_of))
    assert len(whole) == broken // 3
