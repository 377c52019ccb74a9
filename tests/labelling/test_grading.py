"""The log and what it says: nothing lost, everything in order, medians, agreement."""

import json
import math
import os
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.errors import InputError, RunError
from tamis.formats.qrels import grades_of, read_qrels
from tamis.formulas.agreement import krippendorff_alpha
from tamis.labelling.desk import QRELS, Desk
from tamis.labelling.grade_log import CANNOT_TELL, LOG, TAKEN_BACK, Entry, GradeLog, read_entries
from tamis.labelling.grading import Grading, person_of, summary
from tests.labelling.made_pools import made_pools

POOLS = made_pools(2, 2)
PAIRS = [(query_id, doc_id) for query_id, pool in POOLS.pools.items() for doc_id in pool]
ENTRY = Entry("Ann", "q0", "d0", 2, 5.0)


def test_each_grade_is_on_the_disk_before_the_next(tmp_path: Path):
    log = GradeLog(tmp_path / "new")
    synced = []
    with mock.patch.object(os, "fsync", side_effect=lambda file: synced.append(log.path.read_bytes())):
        log.add(ENTRY)
    assert json.loads(synced[0]) == {"person": "Ann", "query": "q0", "document": "d0", "grade": 2, "time": 5.0}
    log.close()
    assert read_entries(log.path) == [ENTRY]


def test_a_line_that_a_kill_left_unfinished_is_cut_off_and_the_rest_stays(tmp_path: Path):
    log = GradeLog(tmp_path)
    log.add(ENTRY)
    log.close()
    whole = log.path.read_bytes()
    for length in (1, 5, len(whole) - 2):
        log.path.write_bytes(whole + whole[:length])
        again = GradeLog(tmp_path)
        again.add(Entry("Bob", "q0", "d0", 0, 6.0))
        again.close()
        assert (again.cut, again.entries) == (length, [ENTRY])
        assert [one.person for one in read_entries(log.path)] == ["Ann", "Bob"]


def test_a_last_line_that_lacks_its_line_feed_alone_stays(tmp_path: Path):
    (tmp_path / "new").mkdir()
    lines = [{"person": one, "query": "q0", "document": "d0", "grade": 1} for one in ("Ann", "Bob")]
    (tmp_path / "new" / "grades.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    log = GradeLog(tmp_path / "new")
    log.add(Entry("Cid", "q0", "d0", 0, 6.0))
    log.close()
    assert (log.cut, len(log.entries)) == (0, 2)
    assert [one.person for one in read_entries(log.path)] == ["Ann", "Bob", "Cid"]


@pytest.mark.parametrize("failing", ["write", "fsync"])
def test_a_grade_that_does_not_fit_on_the_disk_is_told_and_not_half_there(tmp_path: Path, failing: str):
    log = GradeLog(tmp_path)
    log.add(ENTRY)
    grading = Grading(POOLS, log.entries, log)
    write = os.write
    broken = {
        "write": lambda file, line: write(file, line[:7]),
        "fsync": mock.Mock(side_effect=OSError(28, "No space left on device")),
    }
    with (
        mock.patch.object(os, failing, broken[failing]),
        pytest.raises(RunError, match=r"grades\.jsonl: cannot be written"),
    ):
        grading.grade("Ann", "q0", "d1", 1)
    assert grading.sheet("Ann").grades == {}
    grading.grade("Ann", "q0", "d1", 1)
    log.close()
    assert [one.doc_id for one in read_entries(log.path)] == ["d0", "d1"]


def test_one_log_is_open_once(tmp_path: Path):
    log = GradeLog(tmp_path)
    with pytest.raises(RunError, match="another tamis label has it open"):
        GradeLog(tmp_path)
    log.close()
    GradeLog(tmp_path).close()


def test_a_line_that_is_not_understood_is_named(tmp_path: Path):
    line = {"person": "A", "query": "q", "document": "d", "grade": 1, "time": 0}
    for wrong in (
        {"grade": 3},
        {"grade": True},
        {"person": ""},
        {"person": "A\nB"},
        {"person": "\ud800"},
        {"query": 1},
    ):
        (tmp_path / LOG).write_text(json.dumps({**line, **wrong}) + "\n", encoding="utf-8")
        with pytest.raises(
            InputError, match=r"grades\.jsonl, line 1: got .* expected person, query, document and a grade"
        ):
            GradeLog(tmp_path)


@pytest.mark.parametrize("time", ["1e999", "NaN", "-1e999", f"1{'0' * 400}", '"noon"', "null"])
def test_a_time_that_is_none_loses_no_grade(tmp_path: Path, time: str):
    line = '{"person": "A", "query": "q0", "document": "d%d", "grade": 1, "time": %s}\n'
    (tmp_path / LOG).write_text("".join(line % (n, time) for n in range(4)), encoding="utf-8")
    grading = Grading(made_pools(), read_entries(tmp_path / LOG))
    assert grading.judgements() == {"q0": {f"d{n}": 1 for n in range(4)}}
    assert grading.sheets["A"].seconds is None


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["Ann", "Bob"]),
        st.one_of(st.none(), st.tuples(st.integers(0, 3), st.sampled_from([0, 1, 2, CANNOT_TELL]))),
    ),
    max_size=30,
)


@given(STEPS)
def test_resumed_at_any_moment_it_is_as_it_was_and_undo_takes_back_the_newest_first(steps):
    kept: list[Entry] = []
    log = mock.Mock(add=kept.append)
    grading = Grading(POOLS, [], log)
    stacks: dict[str, list] = {"Ann": [{}], "Bob": [{}]}  # what stood after each grade
    for person, step in steps:
        if step is None:
            told = grading.undo(person)
            assert (told is None) == (len(stacks[person]) == 1)
            if told:
                stacks[person].pop()
        else:
            pair = PAIRS[step[0]]
            grading.grade(person, *pair, step[1])
            stacks[person].append({**stacks[person][-1], pair: step[1]})
        resumed = Grading(POOLS, kept, log)
        for each in ("Ann", "Bob"):
            assert grading.sheet(each).grades == resumed.sheet(each).grades == stacks[each][-1]
            assert grading.sheet(each).steps == resumed.sheet(each).steps
            counted = {q: n for q, n in grading.sheet(each).per_question.items() if n}
            assert counted == {q: n for q in POOLS.pools if (n := sum(pair[0] == q for pair in stacks[each][-1]))}


def graded(*grades: tuple[str, str, str, int | str]) -> Grading:
    return Grading(POOLS, [Entry(*one, 0.0) for one in grades])


def test_judgements_are_medians_of_questions_that_are_finished():
    q0, q1 = POOLS.pools["q0"], POOLS.pools["q1"]
    found = graded(
        ("Ann", "q0", q0[0], 2),
        ("Bob", "q0", q0[0], 1),
        ("Ann", "q0", q0[1], CANNOT_TELL),
        ("Ann", "q1", q1[0], 2),
    )
    assert found.judgements() == {"q0": {q0[0]: 1}}  # of two the lower; what nobody can tell is no judgement
    assert (found.begun(), found.undecided()) == (1, 1)
    # Two people may share the passages of a question; three have a middle one.
    shared = [("Ann", "q1", q1[0], 2), ("Bob", "q1", q1[1], 0), ("Cem", "q1", q1[0], 1), ("Dan", "q1", q1[0], 2)]
    assert graded(*shared).judgements() == {"q1": {q1[0]: 2, q1[1]: 0}}
    assert graded(*shared, ("Bob", "q1", q1[1], TAKEN_BACK)).judgements() == {}
    other = graded(("Ann", "elsewhere", "d0", 1))
    assert (other.elsewhere, other.judgements()) == (1, {})
    assert "1 grades in the log are about passages that are in no pool; they do not count" in summary(other)


def test_agreement_is_alpha_over_what_two_or_more_have_graded():
    rng = np.random.default_rng(0)
    pools = made_pools(10, 3)
    pairs = [(q, d) for q, pool in pools.pools.items() for d in pool]
    table = rng.integers(0, 3, size=(2, len(pairs))).astype(float)
    table[1, :20] = table[0, :20]
    table[1, 25:] = math.nan
    entries = [
        Entry(person, *pair, int(grade), 0.0)
        for person, row in zip(("Ann", "Bob"), table, strict=True)
        for pair, grade in zip(pairs, row, strict=True)
        if not math.isnan(grade)
    ]
    alpha, shared = Grading(pools, entries).agreement()
    assert (alpha, shared) == (pytest.approx(krippendorff_alpha(table)), 25)
    assert any(line.startswith("agreement on 25 passages") for line in summary(Grading(pools, entries)))
    assert Grading(pools, entries[:5]).agreement()[1] == 0


def test_the_time_of_a_passage_is_the_median_without_pauses():
    times = [0, 4, 10, 4000, 4003, 4008]
    entries = [Entry("Ann", *PAIRS[n % 4], 1, 100.0 + time) for n, time in enumerate(times)]
    assert Grading(POOLS, entries).sheet("Ann").seconds == 4.5  # of 4, 6, 3 and 5
    assert Grading(POOLS, entries[:3]).sheet("Ann").seconds is None


def test_qrels_follow_the_grades_and_go_when_all_are_taken_back(tmp_path: Path):
    log = GradeLog(tmp_path)
    desk = Desk(tmp_path, POOLS, log)
    assert desk.write_judgements() == {}
    for doc_id in POOLS.pools["q0"]:
        desk.grade("Ann", "q0", doc_id, 2)
    assert desk.write_judgements() == {"q0": dict.fromkeys(POOLS.pools["q0"], 2)}
    assert desk.write_judgements() is None  # nothing has changed
    assert grades_of(read_qrels(tmp_path / QRELS), tmp_path / QRELS) == {"q0": dict.fromkeys(POOLS.pools["q0"], 2)}
    desk.undo("Ann")
    desk.write_judgements()
    assert not (tmp_path / QRELS).exists()
    log.close()


def test_names_are_one_line():
    assert person_of(" Ann\n Lee ") == "Ann Lee"
    for wrong in ("", " \n", None, 3, "x" * 61):
        with pytest.raises(InputError, match="a name of 1 to 60 characters"):
            person_of(wrong)
