"""Progress: bars on a terminal, plain lines elsewhere, nothing for what is done at once."""

import io
import sys
import time

import pytest

from tamis.progress import PLAIN_EVERY, track


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
        "  embedding: 2,000 of 2,000, 50.0/s, 0 s left",
    ]


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
