import pytest

from tamis.errors import InputError
from tamis.retrievers.given_run import read_run

KNOWN = {"a", "b", "my notes/c"}


def write(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "engine.trec"
    path.write_bytes(text.encode(encoding))
    return path


def test_a_run_is_read_by_its_scores_and_unknown_documents_are_counted(tmp_path):
    path = write(
        tmp_path, "q1 Q0 a 2 1.5 engine\nq2 Q0 b 1 -3e-1 engine\nq1 Q0 gone 1 9 engine\n\nq1 Q0 b 7 2 engine\n"
    )
    run = read_run(path, KNOWN)
    assert run.scores == {"q1": {"a": 1.5, "b": 2.0}, "q2": {"b": -0.3}}
    assert run.unknown == 1


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_ids_may_hold_spaces_between_tabs_and_lines_end_in_any_way(tmp_path, encoding):
    path = write(tmp_path, "q 1\tQ0\tmy notes/c\t1\t-1\tmine\r\nq 1\tQ0\ta\t2\t-2\tmine\r\n", encoding)
    assert read_run(path, KNOWN).scores == {"q 1": {"my notes/c": -1.0, "a": -2.0}}


def test_ids_of_a_general_corpus_get_its_name(tmp_path):
    assert read_run(write(tmp_path, "q Q0 a 1 2 x"), {"docs:a"}, "docs:").scores == {"q": {"docs:a": 2.0}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q Q0 a 1 2 x\nq Q0 a 1 x", r"engine\.trec, line 2: got 5 columns \('q Q0 a 1 x'\), expected query id"),
        ("q Q0 a 1 two x", r"line 1: the score is 'two', expected a finite number"),
        ("q Q0 a 1 nan x", r"line 1: the score is 'nan', expected a finite number"),
        ("q Q0 a 1 2 x\nq Q0 a 2 1 x", r"line 2: document 'a' comes twice for query 'q'; remove one"),
        ("q Q0 z 1 2 x", r"engine\.trec: none of its documents is in the corpus; do the ids belong together\?"),
        ("", r"engine\.trec: no run in it; expected lines of query id"),
    ],
)
def test_a_run_that_cannot_be_used_is_said_in_one_line(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as caught:
        read_run(write(tmp_path, text), KNOWN)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    for path in (tmp_path / "nowhere.trec", write(tmp_path, "q Q0 ä 1 2 x", "latin-1")):
        with pytest.raises(InputError, match=path.name) as caught:
            read_run(path, KNOWN)
        assert "\n" not in str(caught.value)
