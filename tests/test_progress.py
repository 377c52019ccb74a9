"""Progress: bars on a terminal, plain lines elsewhere, nothing for what is done at once."""

import io
import sys
import time

import pytest

from tamis.progress import PLAIN_EVERY, RECENT, lasting, track


class Clock:
    """Time that passes only when told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_tiny_work_says_nothing(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with track("embedding", 100) as advance:
        for _ in range(100):
            clock.now += 0.1
            advance(1)
    assert capsys.readouterr() == ("", "")


def test_no_work_says_nothing_and_takes_any_number(capsys: pytest.CaptureFixture[str]) -> None:
    with track("embedding", 0) as advance:
        advance(0)
    assert capsys.readouterr() == ("", "")


def test_long_work_without_a_terminal_writes_plain_lines(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with track("embedding", 2000) as advance:
        for _ in range(20):
            clock.now += 2
            advance(100)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "  embedding: 800 of 2,000, 50.0/s, 24 s left",
        "  embedding: 1,600 of 2,000, 50.0/s, 8 s left",
        "  embedding: 2,000 of 2,000, 50.0/s",
    ]


def test_what_a_cache_answered_or_was_prepared_for_all_is_no_part_of_the_rate(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with track("scoring", 100_000) as advance:
        clock.now += 100
        advance(90_000)
        for _ in range(2):
            clock.now += PLAIN_EVERY
            advance(15)
    assert capsys.readouterr().err.splitlines() == [
        "  scoring: 90,000 of 100,000",
        "  scoring: 90,015 of 100,000, 1.0/s, 2 h 47 min left",
        "  scoring: 90,030 of 100,000, 1.0/s, 2 h 47 min left",
    ]


def test_the_rate_is_that_of_the_recent_past(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with track("scoring", 10_000) as advance:
        for each in [60] * 10 + [600] * RECENT:
            clock.now += PLAIN_EVERY
            advance(each)
    assert capsys.readouterr().err.splitlines()[-1] == "  scoring: 5,400 of 10,000, 40.0/s, 2 min left"


def test_where_nothing_is_done_yet_there_is_no_rate(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with track("training", 80) as advance:
        clock.now += PLAIN_EVERY
        advance(0)
        for _ in range(2):
            clock.now += 3 * PLAIN_EVERY
            advance(1)
    assert capsys.readouterr().err.splitlines() == [
        "  training: 0 of 80",
        "  training: 1 of 80",
        "  training: 2 of 80, 1.3/min, 59 min left",
    ]


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.2, "1 s"), (59, "59 s"), (60, "1 min"), (61, "2 min"), (3599, "1 h 0 min"), (5 * 3600 + 61, "5 h 2 min")],
)
def test_times_are_rounded_up_as_far_as_an_estimate_is_good_for(seconds: float, told: str) -> None:
    assert lasting(seconds) == told


def test_a_line_comes_no_more_often_than_said(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with track("training", 1000) as advance:
        for _ in range(999):
            clock.now += 1
            advance(1)
    assert len(capsys.readouterr().err.splitlines()) == 999 // PLAIN_EVERY


def test_a_terminal_shows_a_bar_with_label_and_count(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with track("training english", 20) as advance:
        advance(7)
        advance(13)
    shown = terminal.getvalue()
    assert "training english" in shown
    assert "20/20" in shown


def test_an_error_inside_passes_through() -> None:
    with pytest.raises(KeyboardInterrupt), track("embedding", 10):
        raise KeyboardInterrupt
