"""The log of queries: what is in it, what is not, and what a disk or a clock may do to it."""

import json
import os
import resource
import signal
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tamis.errors import InputError
from tamis.evaluation.comparing import compare
from tamis.formats.fields import content_id
from tamis.formats.queries import read_query_log
from tamis.formats.trec import named_run, read_run
from tamis.labelling.document_pools import pools_of_documents
from tamis.labelling.wanted import Wanted, runs_named
from tamis.serving import query_log
from tamis.serving.query_log import Logged, QueryLog
from tamis.text import normalise
from tests.commands import tamis
from tests.serving.running import operated

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp()


@pytest.fixture(autouse=True)
def _told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_log, "QUIET", 0.0)


def logged(query: str = "a user", when: float = NOON, model: str = "m", **others: Any) -> Logged:
    given = {"documents": ["one", "two"], "ids": ["d1", None], "scores": [0.5, 0.25]} | others
    return Logged(when, "r", model, "0123", "", query, **given)


def write(folder: Path, *entries: Logged, **settings: Any) -> dict[str, list[dict[str, Any]]]:
    log = QueryLog(folder, **settings)
    for entry in entries:
        log.add(entry)
    log.close()
    return lines_of(folder)


def lines_of(folder: Path) -> dict[str, list[dict[str, Any]]]:
    return {file.name: [json.loads(line) for line in file.read_text("utf-8").splitlines()] for file in folder.iterdir()}


def test_nothing_is_kept_unless_it_is_asked_for_and_then_a_line_for_each_ranking(stock_folder: Path, tmp_path: Path):
    asked = [
        ("/v2/rerank", {"model": "m", "query": "q", "documents": ["one", {"id": "d2", "text": "two", "title": "t"}]}),
        ("/v1/rerank", {"query": "q", "documents": [{"text": "one", "id": 7}, {"text": "two", "id": {"a": 1}}]}),
        ("/v1/rerank", {"query": "q", "documents": [{"_id": "x", "text": "one"}], "rank_fields": ["text"]}),
        ("/rerank", {"query": "q", "texts": ["one", "two"]}),
        ("/rerank", {"query": "q", "documents": ["one"], "min_score": 1e6}),
        ("/score", {"text_1": ["q", "r"], "text_2": ["one", "two"]}),  # pairs are no ranking
        ("/v1/rerank", {"query": "q", "documents": [1]}),  # refused
    ]
    for folder in (None, tmp_path / "logs"):
        with operated(models=[f"m={stock_folder}"], **({"log_queries": folder} if folder else {})) as server:
            answers = [server.post(path, body, x_request_id=str(place)) for place, (path, body) in enumerate(asked)]
        assert [answer.status_code for answer in answers] == [200] * 6 + [422]
    (lines,) = lines_of(tmp_path / "logs").values()
    assert [line["request_id"] for line in lines] == ["0", "1", "2", "3", "4"]
    ids = [[one["id"] for one in line["candidates"]] for line in lines]
    one, two = content_id("one"), content_id("two")
    assert ids == [[one, "d2"], ["7", two], ["x"], [one, two], [one]]
    texts = [[one.get("text") for one in line["candidates"]] for line in lines]
    assert texts == [["one", None], [None, "two"], [None], ["one", "two"], ["one"]]
    results = answers[0].json()["results"]
    shown = {hit["index"]: hit["relevance_score"] for hit in results}
    assert [one["score"] for one in lines[0]["candidates"]] == [shown[0], shown[1]]
    assert lines[0].items() >= {"query": "q", "model": "m", "version": answers[0].headers["x-model-version"]}.items()


def test_what_a_pattern_matches_is_nowhere_not_even_in_an_id(tmp_path: Path):
    secret = "jo@example.org"
    lines = write(
        tmp_path,
        logged(f"mail of {secret}", documents=[f"write to {secret}", {"title": secret, "text": "4711"}], ids=[]),
        redact=[r"\S+@\S+", r"\d{4,}"],
    )["2026-11-30.jsonl"]
    assert lines[0]["query"] == "mail of [redacted]"
    assert lines[0]["query_id"] == content_id(normalise("mail of [redacted]"))
    first, second = lines[0]["candidates"]
    assert first == {"id": content_id("write to [redacted]"), "score": 0.5, "text": "write to [redacted]"}
    assert second == {"id": content_id("[redacted]"), "score": 0.25, "title": "[redacted]", "text": "[redacted]"}
    assert secret not in (tmp_path / "2026-11-30.jsonl").read_text()


def test_a_day_has_a_file_and_a_clock_that_is_set_back_goes_on_in_the_old_one(tmp_path: Path):
    day = 86_400
    moments = [NOON, NOON + day, NOON - 400 * day, NOON, 0.0]
    lines = write(tmp_path, *(logged(str(place), when) for place, when in enumerate(moments)))
    queries = {name: [line["query"] for line in of] for name, of in lines.items()}
    assert queries == {
        "2026-11-30.jsonl": ["0", "3"],
        "2026-12-01.jsonl": ["1"],
        "2025-10-26.jsonl": ["2"],
        "1970-01-01.jsonl": ["4"],
    }


@pytest.mark.parametrize("when", [1e15, -1e15, float("nan")])
def test_a_clock_beyond_all_years_stops_nothing(when: float, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    lost: list[None] = []
    lines = write(tmp_path, logged("a", when), logged("b", when), logged("c"), lost=lambda: lost.append(None))
    assert [line["query"] for line in lines["2026-11-30.jsonl"]] == ["c"]
    assert len(lost) == 2
    said = [record.message for record in caplog.records]
    assert said == ["queries cannot be logged; serving goes on", "queries are logged again"]


def files(folder: Path, today: date, *ages: int) -> Callable[[], set[int]]:
    for age in ages:
        (folder / f"{today - timedelta(age)}.jsonl").touch()
    return lambda: {age for age in ages if (folder / f"{today - timedelta(age)}.jsonl").exists()}


def test_files_are_deleted_when_their_last_line_is_as_old_as_they_are_kept_for_and_nothing_else_is(tmp_path: Path):
    today = date(2026, 11, 30)
    left = files(tmp_path, today, -400, 0, 7, 8, 9, 400)
    for other in ("notes.jsonl", "2020-13-01.jsonl", "2020-01-01.jsonl.gz", "x2020-01-01.jsonl"):
        (tmp_path / other).touch()
    log = QueryLog(tmp_path, days=7)
    log._forget(today)
    log.close()
    assert left() == {-400, 0, 7}
    assert len(list(tmp_path.iterdir())) == 3 + 4


def test_a_pattern_that_finds_no_end_holds_up_nothing_and_lets_no_text_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(query_log, "REDACTING", 0.3)
    lost: list[None] = []
    log = QueryLog(tmp_path, redact=[r"(a|aa)+\d"], lost=lambda: lost.append(None))
    log.add(logged("a" * 10_000))
    ticks, end = 0, time.monotonic() + 0.2
    while time.monotonic() < end:
        time.sleep(0.001)
        ticks += 1
    log.add(logged("aa1 after"))
    log.close()
    assert ticks > 20
    assert len(lost) == 1
    assert [line["query"] for line in lines_of(tmp_path)["2026-11-30.jsonl"]] == ["[redacted] after"]
    (first, *_) = caplog.records
    assert "--log-redact took longer" in first.facts["error"]


@pytest.mark.parametrize("days", [7, 10**12])
def test_a_folder_that_vanishes_or_days_without_end_do_not_end_the_log(
    days: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(query_log.SteadyClock, "steady", lambda _: True)
    folder = tmp_path / "logs"
    log = QueryLog(folder, days=days)
    (folder / "2020-01-01.jsonl").touch()
    log._look_after()
    assert (folder / "2020-01-01.jsonl").exists() == (days > 7)
    folder.rename(tmp_path / "away")
    log._look_after()
    (tmp_path / "away").rename(folder)
    log.add(logged("after"))
    log.close()
    assert lines_of(folder)["2026-11-30.jsonl"][0]["query"] == "after"
    assert "old files of queries cannot be looked for" in [record.message for record in caplog.records]


def test_a_clock_that_jumps_ahead_deletes_nothing_until_it_has_gone_evenly_for_an_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    wall, even = [1.8e9], [1000.0]
    monkeypatch.setattr(time, "time", lambda: wall[0])
    monkeypatch.setattr(time, "monotonic", lambda: even[0])
    clock = query_log.SteadyClock()

    def passed(seconds: float, jump: float = 0.0) -> bool:
        wall[0] += seconds + jump
        even[0] += seconds
        return clock.steady()

    assert not passed(3599)
    assert passed(2)
    assert not passed(60, jump=86_400 * 365)  # a year ahead
    assert [record.message for record in caplog.records] == [
        "the clock jumped; no logged queries are deleted for an hour"
    ]
    assert not any(passed(60, jump=0.5) for _ in range(59))  # slewed by a time server
    assert passed(60)
    assert not passed(60, jump=-86_400 * 365)


def test_a_full_disk_loses_lines_whole_and_says_it_once(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """A limit on the size of files stands for a disk: a write fits in part, the next not at all."""
    lost: list[None] = []
    log = QueryLog(tmp_path, lost=lambda: lost.append(None))
    file = tmp_path / "2026-11-30.jsonl"
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        log.add(logged("first"))
        end = time.monotonic() + 5
        while not (file.exists() and file.read_bytes().endswith(b"\n")) and time.monotonic() < end:
            time.sleep(0.005)
        resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 50, before[1][1]))
        for place in range(3):
            log.add(logged(f"lost {place}"))
        while len(lost) < 3 and time.monotonic() < end:
            time.sleep(0.005)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before[1])
        signal.signal(signal.SIGXFSZ, before[0])
    log.add(logged("last"))
    log.close()
    assert [line["query"] for line in lines_of(tmp_path)["2026-11-30.jsonl"]] == ["first", "last"]
    assert len(lost) == 3
    said = [record.message for record in caplog.records]
    assert said == ["queries cannot be logged; serving goes on", "queries are logged again"]


def test_a_disk_that_stands_still_stops_no_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    lost: list[None] = []
    monkeypatch.setattr(QueryLog, "_append", lambda *_: time.sleep(0.2))
    log = QueryLog(tmp_path, lost=lambda: lost.append(None))
    start = time.monotonic()
    for _ in range(query_log.WAITING + 50):
        log.add(logged())
    assert time.monotonic() - start < 0.2
    assert 45 <= len(lost) <= 50
    monkeypatch.setattr(QueryLog, "_append", lambda *_: None)
    log.close()


def test_a_disk_that_comes_and_goes_is_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(query_log, "QUIET", 60.0)
    entries = [logged(str(place), 1e15 if place % 2 else NOON) for place in range(10)]
    assert len(write(tmp_path, *entries)["2026-11-30.jsonl"]) == 5
    assert [record.message for record in caplog.records] == ["queries cannot be logged; serving goes on"]


def test_what_waits_is_bounded_by_its_texts_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(query_log, "CHARACTERS", 1000)
    lost: list[None] = []
    large = [logged(documents=["x" * 2000], ids=[], scores=[0.5]), logged("kept")]
    assert [line["query"] for line in write(tmp_path, *large, lost=lambda: lost.append(None))["2026-11-30.jsonl"]] == [
        "kept"
    ]
    assert len(lost) == 1


@pytest.mark.parametrize("torn", [b'{"query', b"x" * 10_000, b'{"a": 1}\n{"b', b'{"a": "' + b"y" * 9000 + b'"}\n{"b'])
def test_a_line_that_a_kill_left_unfinished_is_cut_off(torn: bytes, tmp_path: Path):
    (tmp_path / "2026-11-30.jsonl").write_bytes(torn)
    lines = write(tmp_path, logged("after"))["2026-11-30.jsonl"]
    assert lines[-1]["query"] == "after"
    assert len(lines) == 1 + torn.count(b"\n")


def test_a_folder_that_cannot_be_written_is_told_at_the_start(stock_folder: Path, tmp_path: Path):
    (tmp_path / "file").touch()
    outcome = tamis("serve", f"m={stock_folder}", "--port", 0, "--log-queries", tmp_path / "file" / "logs")
    assert outcome.status == 2
    assert outcome.complaint.endswith("logs: cannot be written: Not a directory; choose another one")
    with pytest.raises(InputError, match="cannot be written"):
        QueryLog(Path("/proc/none"))


def sides(folder: Path) -> Path:
    """Two models that were asked the same two queries, and each another one; one query came twice to the first."""
    both = [("Ein Benutzer?", [0.1, 0.9], [0.8, 0.2]), ("ein  paket", [0.7, 0.3], [0.6, 0.4])]
    entries = []
    for query, old, new in both:
        entries += [
            logged(query, model=model, ids=["d1", "d2"], scores=scores)
            for model, scores in (("old", old), ("new", new))
        ]
    entries += [logged("only old", model="old", ids=["d1", "d2"]), logged("only new", model="new", ids=["d1", "d2"])]
    entries.append(logged("ein benutzer", NOON + 86_400, "old", ids=["d1", "d2"], scores=[0.2, 0.3]))
    write(folder / "logs", *entries)
    return folder / "logs"


def test_a_log_is_a_log_of_queries_whatever_model_answered(tmp_path: Path):
    logs = sides(tmp_path)
    queries = list(read_query_log(logs))
    assert [one.text for one in queries] == ["Ein Benutzer?", "ein  paket", "only old", "only new"]
    assert [one.query_id for one in queries] == [content_id(normalise(one.text)) for one in queries]
    assert list(read_query_log(logs / "2026-11-30.jsonl")) == queries


def test_each_side_of_a_log_is_a_run(tmp_path: Path):
    logs = sides(tmp_path)
    of_old, of_new = read_run(Path(f"{logs}:old")), read_run(Path(f"{logs}:new"))
    user = content_id(normalise("Ein Benutzer?"))
    assert (of_old[user].doc_ids, of_old[user].scores) == (("d2", "d1"), (0.3, 0.2))  # the last answer
    assert of_new[user].doc_ids == ("d1", "d2")
    assert len(of_old) == len(of_new) == 3
    assert named_run("--run", f"old={logs}:old") == ("old", Path(f"{logs}:old"))
    for path, complaint in (
        (str(logs), "old, new answered; name one of them, .*logs:old"),
        (f"{logs}:none", "none has not answered; there are old, new"),
    ):
        with pytest.raises(InputError, match=complaint):
            read_run(Path(path))
    write(logs, logged(model="qwen:0.6b"))
    assert list(read_run(Path(f"{logs}:qwen:0.6b"))) == [content_id(normalise("a user"))]
    (tmp_path / "rows.jsonl").write_text('{"query_id": "a"}\n')
    with pytest.raises(InputError, match=r"rows.jsonl, line 1: no candidates; expected what tamis serve --log-queries"):
        read_run(tmp_path / "rows.jsonl")


def test_a_log_gives_questions_and_both_systems_to_those_who_label(tmp_path: Path):
    logs = sides(tmp_path)
    corpus = tmp_path / "corpus.jsonl"
    rows = [{"_id": f"d{place}", "text": f"Ein Benutzer und ein Paket {place}."} for place in (1, 2)]
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    runs = runs_named([f"old={logs}:old", f"new={logs}:new"])
    pools = pools_of_documents(corpus, Wanted(logs, depth=1, runs=runs))
    assert pools.systems == ("bm25", "old", "new")
    package = content_id(normalise("ein paket"))
    assert set(pools.pools[package]) == {"d1", "d2"}  # the first one of each
    assert len(pools.questions) == 4
    assert pools.notes == tuple(f"the run {name} ranks nothing for 1 of 4 questions" for name in ("old", "new"))


def test_both_sides_are_compared_on_what_both_were_asked(tmp_path: Path):
    logs = sides(tmp_path)
    judged = tmp_path / "judged"
    (judged / "qrels").mkdir(parents=True)
    ids = [content_id(normalise(query)) for query in ("ein benutzer", "ein paket", "only old")]
    rows = [{"_id": one, "text": one} for one in ids]
    (judged / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    documents = [{"_id": f"d{place}", "text": f"text {place}"} for place in (1, 2)]
    (judged / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in documents))
    relevant = "".join(f"{one}\td1\t1\n" for one in ids)
    (judged / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{relevant}")
    (found,) = compare(Path(f"{logs}:old"), Path(f"{logs}:new"), str(judged), "MRR@10", None, 5, 5)
    assert (found.queries, found.before, found.after) == (2, 0.75, 1.0)
    assert "2 of 4 queries that both were asked" in found.title
    outcome = tamis("compare", f"{logs}:old", f"{logs}:new", "--on", judged, "--measure", "MRR@10")
    assert outcome.status == 0, outcome.err
    (unjudged,) = compare(Path(f"{logs}:old"), Path(f"{logs}:new"), None, "nDCG@10", None, 5, 5)
    assert (unjudged.queries, unjudged.moved) == (2, 1)
    write(tmp_path / "apart", logged("a", model="old"), logged("b", model="new"))
    with pytest.raises(InputError, match="of 2 queries none was asked of both; split by chance or by a header"):
        list(compare(tmp_path / "apart:old", tmp_path / "apart:new", None, "nDCG@10", None, 5, 5))


def test_the_umask_decides_who_may_read(tmp_path: Path):
    for mask in (0o077, 0o022):
        before = os.umask(mask)
        try:
            write(tmp_path / oct(mask), logged())
        finally:
            os.umask(before)
        assert (tmp_path / oct(mask) / "2026-11-30.jsonl").stat().st_mode & 0o777 == 0o666 & ~mask
