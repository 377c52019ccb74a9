"""Batch files: prompts written for a server that answers later, and its answers taken as if they had come at once."""

import gzip
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tamis.artifacts import read_json, read_records
from tamis.errors import InputError, SettingsError
from tamis.formats.batch_answers import check_answers
from tamis.pipeline.reading import recipe_from
from tamis.pipeline.run import with_corpus
from tamis.records import Query, Tokens
from tamis.remote.spending import spent_in
from tamis.stages.queries.batches import (
    AnswerFile,
    PromptFile,
    _spare_answers,
    endpoint_of,
    read_answers,
    write_prompts,
)
from tests.commands import tamis, write_recipe
from tests.remote.scripted_server import Seen, chat, scripted
from tests.stages.queries.test_writers import answer, with_endpoint, write

Content = dict[str, Any]
Line = dict[str, Any]


@pytest.fixture
def content(recipe: Content) -> Content:
    return with_endpoint(recipe, "http://nobody.invalid/v1", prompt_price=1.0, completion_price=2.0)


def prompts_of(content: Content, run: Path, file: Path) -> tuple[PromptFile, list[Line]]:
    found = with_corpus(recipe_from(content, "tiny"), run, lambda parts: write_prompts(parts.writers, file))
    return found, [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def taken(content: Content, run: Path, file: Path) -> AnswerFile:
    return with_corpus(recipe_from(content, "tiny"), run, lambda parts: read_answers(parts.writers, file))


def body_of_answer(prompt: Line) -> Any:
    """What the scripted server of the other tests answers to the same body."""
    return answer(Seen("", {}, prompt["body"], 0.0), 0).body


def answered(prompt: Line, body: Any = None, **changes: Any) -> Line:
    response = {"status_code": 200, "request_id": "r", "body": body or body_of_answer(prompt)}
    return {"id": "b", "custom_id": prompt["custom_id"], "response": response, "error": None, **changes}


def write_lines(file: Path, lines: list[Line], end: str = "\n") -> Path:
    file.write_text("\n".join(map(json.dumps, lines)) + end, encoding="utf-8")
    return file


def test_a_batch_file_holds_what_the_endpoint_would_be_sent(content: Content, tmp_path: Path) -> None:
    found, lines = prompts_of(content, tmp_path / "run", tmp_path / "new" / "prompts.jsonl")
    with scripted(answer) as server:
        content["queries"]["endpoint"]["url"] = server.url
        write(content, tmp_path / "other")
        sent = [json.dumps(seen.body, sort_keys=True) for seen in server.seen]
        paths = {seen.path for seen in server.seen}
    assert sorted(json.dumps(line["body"], sort_keys=True) for line in lines) == sorted(sent)
    assert {(line["method"], line["url"]) for line in lines} == {("POST", path) for path in paths}
    assert all(line.keys() == {"custom_id", "method", "url", "body"} for line in lines)
    ids = {line["custom_id"] for line in lines}
    assert len(ids) == len(lines) == found.prompts == 40
    assert all(len(one) <= 64 and one.startswith("tamis-") for one in ids)
    assert found.tokens.completion == 40 * 96


def test_answers_of_a_batch_leave_nothing_to_ask_and_give_what_the_endpoint_gives(
    content: Content, tmp_path: Path
) -> None:
    _, lines = prompts_of(content, tmp_path / "run", tmp_path / "prompts.jsonl")
    random.Random(1).shuffle(lines)
    file = write_lines(tmp_path / "answers.jsonl", [answered(line) for line in lines])
    found = taken(content, tmp_path / "run", file)
    assert found == AnswerFile(taken=40, tokens=Tokens(40 * 50, 40 * 10, 40))
    by_batch = write(content, tmp_path / "run")  # there is no such server: nothing may be asked
    ledger = spent_in(tmp_path / "run")["queries org/writer"]
    assert ledger.tokens == Tokens(40 * 50, 40 * 10, 40)
    assert ledger.money == pytest.approx(40 * (50 * 1.0 + 10 * 2.0) / 1e6)
    with scripted(answer) as server:
        content["queries"]["endpoint"]["url"] = server.url
        content["machine"]["cache"] = str(tmp_path / "another-cache")
        by_server = write(content, tmp_path / "other")
        assert len(server.seen) == 40
    for name in ("queries.parquet", "dropped.parquet"):
        assert (by_batch / name).read_bytes() == (by_server / name).read_bytes()


def test_a_completion_is_batched_and_read_as_a_completion(content: Content, tmp_path: Path) -> None:
    content["queries"]["endpoint"]["mode"] = "completion"
    _, lines = prompts_of(content, tmp_path / "run", tmp_path / "prompts.jsonl")
    assert {line["url"] for line in lines} == {"/v1/completions"}
    assert all(line["body"]["stop"] == ["\n"] and "prompt" in line["body"] for line in lines)
    body = {"choices": [{"text": " words of my own \n"}], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}
    taken(content, tmp_path / "run", write_lines(tmp_path / "a.jsonl", [answered(line, body) for line in lines]))
    queries = read_records(write(content, tmp_path / "run") / "queries.parquet", Query)
    assert {query.text for query in queries if query.generator == "org--writer"} == {"words of my own"}


def test_what_failed_or_is_missing_is_written_again_and_nothing_else(content: Content, tmp_path: Path) -> None:
    run, file = tmp_path / "run", tmp_path / "prompts.jsonl"
    _, lines = prompts_of(content, run, file)
    bodiless = {"status_code": 400, "body": {"error": {"message": "no"}}}
    answers = [
        *map(answered, lines[:30]),
        answered(lines[30], response=bodiless),
        answered(lines[31], response=None, error={"code": "batch_expired", "message": "too late"}),
        answered(lines[32], response=None, error={"code": "batch_expired", "message": "too late"}),
        answered(lines[33], response={"status_code": 200, "body": None}),
    ]
    found = taken(content, run, write_lines(tmp_path / "a.jsonl", answers))
    assert (found.taken, found.missing) == (30, 10)
    assert found.failed == {"HTTP 400": 1, "batch_expired": 2, "no answer": 1}
    again, left = prompts_of(content, run, file)
    assert [line["custom_id"] for line in left] == [line["custom_id"] for line in lines[30:]]
    assert left == lines[30:]
    assert (again.prompts, again.answered) == (10, 30)
    later = taken(content, run, write_lines(tmp_path / "b.jsonl", [answered(line) for line in left]))
    assert (later.taken, later.missing) == (10, 0)
    assert prompts_of(content, run, file) == (PromptFile(0, 40, Tokens()), [])


def test_the_first_answer_to_a_request_counts_and_none_twice(content: Content, tmp_path: Path) -> None:
    _, lines = prompts_of(content, tmp_path / "run", tmp_path / "prompts.jsonl")
    failed = [answered(line, response=None, error={"message": "busy"}) for line in lines[:2]]
    others = [answered(line, chat("another query", (1000, 1000))) for line in lines]
    file = write_lines(tmp_path / "a.jsonl", [*failed, *map(answered, lines), *others])
    found = taken(content, tmp_path / "run", file)
    assert (found.taken, found.repeated, found.failed.total()) == (40, 40, 0)
    assert found.tokens == Tokens(40 * 50, 40 * 10, 40)
    again = taken(content, tmp_path / "run", file)
    assert (again.taken, again.known, again.tokens, again.missing) == (0, 40, Tokens(), 0)
    assert spent_in(tmp_path / "run")["queries org/writer"].tokens == found.tokens
    queries = read_records(write(content, tmp_path / "run") / "queries.parquet", Query)
    assert "another query" not in {query.text for query in queries}


@pytest.mark.parametrize(
    ("body", "empty", "unusable"),
    [
        (chat(None, (50, 1)), 1, 0),
        ({**chat(None, (50, 1)), "choices": []}, 1, 0),
        (chat(None, None), 0, 1),
        (chat("", (50, 0)), 1, 0),
    ],
)
def test_a_refusal_that_was_paid_is_kept_as_the_endpoint_keeps_it(
    content: Content, tmp_path: Path, body: Any, empty: int, unusable: int
) -> None:
    _, lines = prompts_of(content, tmp_path / "run", tmp_path / "prompts.jsonl")
    answers = [answered(lines[0], body), *map(answered, lines[1:])]
    found = taken(content, tmp_path / "run", write_lines(tmp_path / "a.jsonl", answers))
    assert (found.taken, found.empty, found.unusable, found.missing) == (40 - unusable, empty, unusable, unusable)
    assert prompts_of(content, tmp_path / "run", tmp_path / "more.jsonl")[0].prompts == unusable
    if not unusable:
        manifest = read_json(write(content, tmp_path / "run") / "manifest.json")
        dropped = manifest["counts"]["dropped"]
        assert dropped.get("no query in the answer", 0) + dropped.get("no text in the answer", 0) == empty


def test_answers_that_were_cut_are_paid_for_and_told_and_are_no_queries(content: Content, tmp_path: Path) -> None:
    _, lines = prompts_of(content, tmp_path / "run", tmp_path / "prompts.jsonl")
    cut = [answered(line, chat("Where is the", (50, 96), end="length")) for line in lines[:3]]
    answers = write_lines(tmp_path / "a.jsonl", [*cut, *map(answered, lines[3:])])
    said = tamis("queries", write_recipe(content, tmp_path), "--out", tmp_path / "run", "--batch-in", answers)
    assert said.status == 0
    assert "40 answers taken" in said.out
    assert ", 3 of them cut; every prompt has its answer" in said.out
    told = "3 answers were cut at max_tokens 96: raise queries.endpoint.max_tokens"
    assert said.err.splitlines()[-1] == f"warning: {told}"
    folder = write(content, tmp_path / "run")
    manifest = read_json(folder / "manifest.json")
    assert manifest["counts"]["dropped"]["cut at max_tokens"] == 3
    assert told in manifest["warnings"]
    assert "Where is the" not in {query.text for query in read_records(folder / "queries.parquet", Query)}
    assert spent_in(tmp_path / "run")["queries org/writer"].tokens == Tokens(40 * 50, 37 * 10 + 3 * 96, 40)


@pytest.mark.parametrize(
    ("said", "warned"),
    [
        ("org/writer", False),
        ("Writer-2026-07-18", False),
        ("writ", False),
        (None, False),
        (
            "org/reader\n",
            "1 answer says that 'org/reader' wrote, and queries.endpoint.model is 'org/writer', to which ",
        ),
    ],
)
def test_answers_of_another_model_are_taken_and_warned_of(
    content: Content, tmp_path: Path, said: str | None, warned: str | bool
) -> None:
    _, lines = prompts_of(content, tmp_path / "run", tmp_path / "prompts.jsonl")
    named = answered(lines[0], {**body_of_answer(lines[0]), "model": said})
    answers = write_lines(tmp_path / "a.jsonl", [named])
    found = tamis("queries", write_recipe(content, tmp_path), "--out", tmp_path / "run", "--batch-in", answers)
    assert found.status == 0
    assert "1 answers taken" in found.out
    assert (f"warning: {warned}" in found.err) if warned else ("warning" not in found.err)


def cut(lines: list[bytes]) -> tuple[bytes, str, int]:
    return b"".join(lines)[: -len(lines[-1]) // 2], "line 40 is cut: ", 39


def cut_in_between(lines: list[bytes]) -> tuple[bytes, str, int]:
    return b"".join([*lines[:5], lines[5][:40], b"\n", *lines[6:]]), 'line 6: got \'{"id": "b", "custom_id"', 39


def not_utf8(lines: list[bytes]) -> tuple[bytes, str, int]:
    return b"".join([b"\xff\xfe\n", *lines]), "line 1: got ", 40


def a_prompt_among_them(lines: list[bytes]) -> tuple[bytes, str, int]:
    line = json.dumps({"custom_id": "x", "method": "POST", "body": {}}).encode() + b"\n"
    return line + b"".join(lines), "line 1: got a prompt, expected custom_id with response or error", 40


@pytest.mark.parametrize("spoil", [cut, cut_in_between, not_utf8, a_prompt_among_them])
def test_of_a_damaged_file_the_whole_lines_are_taken_and_the_first_other_is_named(
    content: Content, tmp_path: Path, spoil: Callable[[list[bytes]], tuple[bytes, str, int]]
) -> None:
    _, lines = prompts_of(content, tmp_path / "run", tmp_path / "prompts.jsonl")
    file = write_lines(tmp_path / "a.jsonl", [answered(line) for line in lines])
    damaged, message, whole = spoil(file.read_bytes().splitlines(keepends=True))
    file.write_bytes(damaged)
    found = taken(content, tmp_path / "run", file)
    assert (found.taken, found.missing, found.broken) == (whole, 40 - whole, 1)
    assert message in found.complaint
    assert found.complaint.startswith(str(file))
    assert "\n" not in found.complaint
    assert prompts_of(content, tmp_path / "run", tmp_path / "more.jsonl")[0].prompts == 40 - whole


@pytest.mark.parametrize(
    ("spoil", "came", "advice"),
    [
        (lambda lines: json.dumps(lines).encode(), "line 1: got the beginning of a JSON array", "jq -c '.[]' a.jsonl"),
        (lambda lines: json.dumps(lines, indent=1).encode(), "line 1: got the beginning of a JSON array", "jq -c"),
        (
            lambda lines: b"[\n" + b",\n".join(json.dumps(line).encode() for line in lines) + b"\n]\n",
            "line 1: got the beginning of a JSON array",
            "write an element a line",
        ),
        (lambda lines: b"\n\nhow do I print\nor not\n", "line 3: got 'how do I print'", "give the file of answers"),
        (lambda lines: as_lines(lines).encode("utf-16"), "line 1: got UTF-16 text", "iconv -f UTF-16 -t UTF-8 a.jsonl"),
        (lambda lines: as_lines(lines).encode("utf-16-le"), "line 1: got UTF-16LE text", "iconv -f UTF-16LE"),
        (lambda lines: as_lines(lines).encode("utf-16-be"), "line 1: got UTF-16BE text", "write it as UTF-8"),
        (lambda lines: b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\n\0", "line 1: got a PNG image", "give the file of answers"),
        (lambda lines: gzip.compress(as_lines(lines).encode()), "line 1: got a gzip file", "unpack it and give"),
        (lambda lines: bytes(range(256)) * 4, "line 1: got bytes that are no text (00 01 02 03", "give the file of"),
        (
            lambda lines: as_lines([{"custom_id": "tamis-x-1", "method": "POST", "body": {}} for _ in lines]).encode(),
            "line 1: got a prompt",
            "send the prompts to a batch service or to vllm run-batch, and give the file of answers that",
        ),
    ],
)  # fmt: skip
def test_a_file_without_answers_is_named_by_what_it_is_and_leaves_no_trace(
    content: Content, tmp_path: Path, spoil: Callable[[list[Line]], bytes], came: str, advice: str
) -> None:
    lines = [answered({"custom_id": f"tamis-x-{i}", "body": {}}, chat("a query")) for i in range(3)]
    (tmp_path / "a.jsonl").write_bytes(spoil(lines))
    recipe = write_recipe(content, tmp_path)
    outcome = tamis("queries", recipe, "--out", tmp_path / "run", "--batch-in", tmp_path / "a.jsonl", "--batch-out",
                    tmp_path / "p.jsonl")  # fmt: skip
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.complaint.startswith(f"{tmp_path / 'a.jsonl'}, {came}")
    assert "expected a JSON object a line with custom_id with response or error" in outcome.complaint
    assert advice in outcome.complaint
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "p.jsonl").exists()


def as_lines(lines: list[Line]) -> str:
    return "".join(json.dumps(line) + "\n" for line in lines)


def test_a_file_whose_requests_all_failed_is_refused_and_nothing_is_kept(content: Content, tmp_path: Path) -> None:
    run = tmp_path / "run"
    _, lines = prompts_of(content, run, tmp_path / "prompts.jsonl")
    failed = [answered(line, response=None, error={"code": "batch_expired"}) for line in lines[:39]]
    file = write_lines(tmp_path / "a.jsonl", [*failed, answered(lines[39], chat(None, None))])
    with pytest.raises(InputError) as error:
        taken(content, run, file)
    assert str(error.value).startswith(
        f"{file}: no answer can be taken of it (39 failed (batch_expired), 1 without a query or a cost); see in the "
    )
    assert not spent_in(run)
    assert prompts_of(content, run, tmp_path / "prompts.jsonl")[1] == lines


def test_a_pipe_is_refused_as_it_cannot_be_read_twice() -> None:
    reading, writing = os.pipe()
    try:
        with pytest.raises(InputError, match=r"is a pipe, which cannot be read twice; write the answers to a file"):
            check_answers(Path(f"/dev/fd/{reading}"))
    finally:
        os.close(reading)
        os.close(writing)


def test_a_last_line_without_its_end_is_whole(content: Content, tmp_path: Path) -> None:
    _, lines = prompts_of(content, tmp_path / "run", tmp_path / "prompts.jsonl")
    file = write_lines(tmp_path / "a.jsonl", [answered(line) for line in lines], end="")
    found = taken(content, tmp_path / "run", file)
    assert (found.taken, found.complaint) == (40, "")


def test_answers_of_another_batch_are_refused_and_some_strange_ones_counted(content: Content, tmp_path: Path) -> None:
    _, lines = prompts_of(content, tmp_path / "run", tmp_path / "prompts.jsonl")
    other = json.loads(json.dumps(content))
    other["queries"]["endpoint"]["model"] = "another"
    _, others = prompts_of(other, tmp_path / "run", tmp_path / "others.jsonl")
    file = write_lines(tmp_path / "a.jsonl", [answered(line) for line in others])
    with pytest.raises(InputError) as error:
        taken(content, tmp_path / "run", file)
    said = str(error.value)
    assert said.startswith(f"{file}: answers none of this recipe's requests: it has 'tamis-")
    assert any(line["custom_id"] in said for line in others)
    assert any(line["custom_id"] in said for line in lines)
    assert taken(content, tmp_path / "run", write_lines(file, list(map(answered, [*others[:7], *lines])))).strange == 7


def test_ids_stay_where_neither_place_nor_price_nor_other_documents_count(content: Content, tmp_path: Path) -> None:
    _, first = prompts_of(content, tmp_path / "run", tmp_path / "1.jsonl")
    content["queries"]["endpoint"] |= {"url": "https://elsewhere/v1", "prompt_price": 9.0}
    content["queries"]["documents"] = 6
    content["machine"]["cache"] = str(tmp_path / "another-cache")
    _, fewer = prompts_of(content, tmp_path / "other", tmp_path / "2.jsonl")
    assert {line["custom_id"] for line in fewer} < {line["custom_id"] for line in first}
    content["seed"] = 4
    _, others = prompts_of(content, tmp_path / "other", tmp_path / "3.jsonl")
    assert not {line["custom_id"] for line in others} & {line["custom_id"] for line in first}


def test_files_that_hold_nothing_or_would_be_lost_are_named(content: Content, tmp_path: Path) -> None:
    _, lines = prompts_of(content, tmp_path / "run", tmp_path / "prompts.jsonl")
    answers = write_lines(tmp_path / "a.jsonl", [answered(lines[0])])
    with pytest.raises(InputError, match=r"a\.jsonl: holds answers, which the prompts would replace; choose another"):
        prompts_of(content, tmp_path / "run", answers)
    (tmp_path / "empty.jsonl").write_text("\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"empty\.jsonl: no answers in it; expected the answers to a file of --batch"):
        taken(content, tmp_path / "run", tmp_path / "empty.jsonl")
    with pytest.raises(InputError, match=r"none\.jsonl: cannot be read: No such file or directory"):
        taken(content, tmp_path / "run", tmp_path / "none.jsonl")


def test_a_recipe_whose_endpoint_is_not_used_has_no_batch(recipe: Content) -> None:
    with pytest.raises(SettingsError, match=r"tiny: a batch holds what queries\.endpoint would be asked; give that"):
        endpoint_of(recipe_from(recipe, "tiny").queries, "tiny")


def test_prompts_and_answers_on_the_command_line(content: Content, tmp_path: Path) -> None:
    recipe, prompts, answers = write_recipe(content, tmp_path), tmp_path / "prompts.jsonl", tmp_path / "answers.jsonl"
    where = ("queries", recipe, "--out", tmp_path / "run")
    said = tamis(*where, "--batch-out", prompts)
    assert said.status == 0, said.err
    lines = [json.loads(line) for line in prompts.read_text(encoding="utf-8").splitlines()]
    assert said.out.startswith(f"{prompts}: 40 prompts, about ")
    assert "3,840 to write), at the prices of queries.endpoint 0.0" in said.out
    write_lines(answers, [answered(line) for line in lines[:39]], end="\n" + json.dumps(answered(lines[39]))[:50])
    cut = tamis(*where, "--batch-in", answers)
    assert cut.status == 2
    assert cut.out == (
        f"{answers}: 39 answers taken (2,340 tokens, 0.00273 in money), 1 lines not understood; 1 prompts have no "
        "answer yet\n"
    )
    assert cut.complaint.startswith(f"{answers}, line 40 is cut: ")
    both = tamis(*where, "--batch-in", write_lines(answers, [answered(lines[39])]), "--batch-out", prompts)
    assert both.status == 0, both.err
    assert "1 answers taken (60 tokens, 7e-05 in money); every prompt has its answer\n" in both.out
    assert f"{prompts}: 0 prompts (40 more are answered already)" in both.out
    run = tamis("run", recipe, "--out", tmp_path / "run", "--until", "queries")
    assert run.status == 0, run.err


@pytest.mark.parametrize("content", ["name: tiny\n", '{"custom_id": "a", "error": {}}\n', "\n"])
def test_prompts_take_the_place_of_older_prompts_and_of_nothing_else(tmp_path, content):
    (tmp_path / "file").write_text(content)
    with pytest.raises(InputError, match=r"which (the prompts|they) would replace; choose another file"):
        _spare_answers(tmp_path / "file")
    assert (tmp_path / "file").read_text() == content
    (tmp_path / "file").write_text('{"custom_id": "a", "method": "POST", "url": "x", "body": {}}\n')
    _spare_answers(tmp_path / "file")
