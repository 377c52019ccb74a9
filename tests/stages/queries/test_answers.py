"""The query in what a language model says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.stages.queries.writers.answers import query_of


@pytest.mark.parametrize(
    ("answer", "query"),
    [
        ("How long is the Nile?", "How long is the Nile?"),
        ("\n\n  How long is the Nile?  \nI hope that helps.", "How long is the Nile?"),
        ("<think>The text\nspeaks of rivers.</think>\n\nHow long is the Nile?", "How long is the Nile?"),
        ("Here is a question:\n\nHow long is the Nile?", "How long is the Nile?"),
        ("问题如下：\n尼罗河有多长？", "尼罗河有多长？"),
        ('"How long is the Nile?"', "How long is the Nile?"),
        ("„Wie lang ist der Nil?“", "Wie lang ist der Nil?"),
        ("« Quelle est la longueur du Nil ? »", "Quelle est la longueur du Nil ?"),
        ("**How long is the Nile?**", "How long is the Nile?"),
        ("1. How long is the Nile?\n2. Where is it?", "How long is the Nile?"),
        ("- Nile length", "Nile length"),
        ('"Nile" or "Nil"', '"Nile" or "Nil"'),
        ("-x option of tar", "-x option of tar"),
        ("1.5 or 2", "1.5 or 2"),
        ("What is meant by:", "What is meant by:"),
        ("Question: How long is the Nile?", "How long is the Nile?"),
        ("Question:\nHow long is the Nile?", "How long is the Nile?"),
        ("Question:", "Question:"),
        ('"', '"'),
        ("", ""),
        (" \n ", ""),
    ],
)
def test_the_query_is_the_first_line_without_trimmings(answer: str, query: str) -> None:
    assert query_of(answer, "Write one question.\n\nPassage: The Nile.\nQuestion:") == query


@given(st.text())
def test_any_answer_gives_one_line(answer: str) -> None:
    assert len(query_of(answer, "Question:").splitlines()) <= 1
