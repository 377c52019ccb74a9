"""A language model behind HTTP: a server that follows a script, with all that goes wrong on the way."""

import logging
import random
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tamis.errors import ModelError, RunError, SettingsError
from tamis.records import Document, Prompt, Query, QueryAnswer, QueryRequest, Tokens
from tamis.remote.client import retry_after
from tamis.remote.settings import RequestsSettings
from tamis.stages.queries.prompts.templates import load_prompts
from tamis.stages.queries.settings import EndpointSettings, PromptSettings
from tamis.stages.queries.write import WritingPlan, write_queries
from tamis.stages.queries.writers.endpoint import EndpointGenerator, cut_warning
from tests.remote.scripted_server import Reply, Script, ScriptedServer, Seen, chat, scripted

KEY = "sk-very-secret-0123456789"
NOTHING = Tokens()


def requests(count: int) -> list[QueryRequest]:
    return [
        QueryRequest(i, Document(f"d{i}", "text", "en"), 2 * i, "question", Prompt(f"prompt {i}.", "abc"), 0.2)
        for i in range(count)
    ]


def answer_all(seen: Seen, before: int) -> Reply:
    return Reply(chat(f"answer to {seen.prompt}"))


@contextmanager
def asked(
    script: Script, spent: Tokens = NOTHING, concurrency: int = 4, timeout: float = 5.0, **settings: Any
) -> Iterator[tuple[ScriptedServer, EndpointGenerator]]:
    """A server and a generator that asks it, with waiting times of hundredths of a second."""
    patience = RequestsSettings(concurrency=concurrency, timeout=timeout, attempts=3, wait=0.01)
    with scripted(script) as server:
        endpoint = EndpointSettings(url=server.url, model="org/model", **settings)
        with EndpointGenerator(endpoint, patience, spent) as generator:
            yield server, generator


def test_request_i_holds_document_i_and_nothing_else_and_queries_come_in_the_documents_order() -> None:
    documents = [Document(f"d{i}", f"Passage about topic{i}x. More of topic{i}x.", "en") for i in range(40)]
    rng = random.Random(1)

    def script(seen: Seen, before: int) -> Reply:
        (topic,) = set(re.findall(r"topic\d+x", seen.prompt))
        return Reply(chat(f"What is {topic}?"), delay=rng.uniform(0, 0.02))

    plan = WritingPlan(2, 1, {"question": 1.0, "claim": 1.0}, (0.2, 0.8), load_prompts(PromptSettings(), "chat"))
    with asked(script, concurrency=8) as (server, generator):
        queries = list(write_queries(documents, generator, plan))
    assert [q.query_id for q in queries] == [f"org--model/{n}/d{i}" for i in range(40) for n in range(2)]
    assert all(isinstance(q, Query) and q.text == f"What is topic{q.document_id[1:]}x?" for q in queries)
    assert server.most_at_once == 8
    for seen in server.seen:
        (message,) = seen.body["messages"]
        assert len(set(re.findall(r"topic\d+x", message["content"]))) == 1
    assert [server.prompts().count(prompt) for prompt in set(server.prompts())] <= [2] * 80
    assert {(q.model, q.kind, q.temperature) for q in queries if isinstance(q, Query)} == {
        ("org/model", kind, heat) for kind in ("question", "claim") for heat in (0.2, 0.8)
    }
    assert all(isinstance(q, Query) and len(q.prompt) == 12 for q in queries)


def test_a_chat_and_a_completion_are_asked_for_in_their_own_ways() -> None:
    def script(seen: Seen, before: int) -> Reply:
        return Reply({"choices": [{"text": " a query "}]} if "prompt" in seen.body else chat('"A query?"'))

    (request,) = requests(1)
    with asked(script) as (server, generator):
        assert [answer.text for answer in generator.write([request])] == ["A query?"]
        assert server.seen[0].path == "/v1/chat/completions"
        assert server.seen[0].body == {
            "model": "org/model",
            "messages": [{"role": "user", "content": "prompt 0."}],
            "temperature": 0.2,
            "seed": 0,
            "max_tokens": 96,
        }
    with asked(script, mode="completion", extra={"seed": None, "top_p": 0.9}) as (server, generator):
        assert [answer.text for answer in generator.write([request])] == ["a query"]
        assert server.seen[0].path == "/v1/completions"
        assert server.seen[0].body == {
            "model": "org/model",
            "prompt": "prompt 0.",
            "stop": ["\n"],
            "temperature": 0.2,
            "max_tokens": 96,
            "top_p": 0.9,
        }


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply({}, 429, {"Retry-After": "0.05"}), "HTTP 429"),
        (Reply({"error": "oops"}, 500), "HTTP 500"),
        (Reply(b"<html>", 503), "HTTP 503"),
        (Reply(chat("late"), delay=2.0), "no answer in time"),
        (Reply(chat("cut"), cut=True), "broken connection"),
        (Reply(b'{"choices": [', 200), "malformed answer"),
        (Reply(b"[1]", 200), "malformed answer"),
        (Reply({"choices": []}), "no query in the answer"),
        (Reply({"error": "overloaded"}), "no query in the answer"),
        (Reply(chat(None)), "no query in the answer"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_fails_once_is_tried_again(reply: Reply, reason: str) -> None:
    def script(seen: Seen, before: int) -> Reply:
        return reply if seen.prompt == "prompt 1." and before == 0 else answer_all(seen, before)

    with asked(script, timeout=1.5) as (server, generator):
        answers = {answer.place: answer for answer in generator.write(requests(3))}
    assert {place: answer.text for place, answer in answers.items()} == {i: f"answer to prompt {i}." for i in range(3)}
    assert generator.failures == {reason: 1}
    assert sorted(server.prompts()) == ["prompt 0.", "prompt 1.", "prompt 1.", "prompt 2."]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (chat("How long is the Ni", end="length"), "How long is the Ni"),
        (chat("<think>They ask\nfor rivers", end="length"), "<think>They ask"),
        (chat(None, end="length"), ""),
        ({"choices": [{"message": {"reasoning_content": "They ask"}, "finish_reason": "length"}]}, ""),
    ],
)
def test_an_answer_that_was_cut_is_no_query_and_not_asked_for_again(body: Any, text: str) -> None:
    with asked(lambda *_: Reply(body)) as (server, generator):
        answers = list(generator.write(requests(20)))
    assert {(one.text, one.reason, one.final) for one in answers} == {(text, "cut at max_tokens", True)}
    assert len(server.seen) == 20
    with asked(lambda *_: Reply({"choices": [{"text": " a que", "finish_reason": "length"}]}), mode="completion") as (
        _,
        generator,
    ):
        (answer,) = generator.write(requests(1))
    assert (answer.text, answer.reason) == ("a que", "cut at max_tokens")


def test_a_cut_answer_without_a_count_has_cost_all_that_it_may() -> None:
    limit = {"max_tokens": None, "max_completion_tokens": 500}
    for extra, most in (({}, 96), (limit, 500)):
        with asked(lambda *_: Reply(chat("a piece", None, end="length")), extra=extra) as (_, generator):
            (answer,) = generator.write(requests(1))
        assert answer.tokens.completion == most


def test_cut_answers_are_told_with_the_setting_that_cut_them() -> None:
    settings = EndpointSettings(url="http://h/v1", model="m", max_tokens=60)
    assert cut_warning(12, settings) == "12 answers were cut at max_tokens 60: raise queries.endpoint.max_tokens"
    other = settings.model_copy(update={"extra": {"max_tokens": None, "max_completion_tokens": 500}})
    assert cut_warning(1, other) == (
        "1 answer was cut at max_completion_tokens 500: raise queries.endpoint.extra.max_completion_tokens"
    )


@pytest.mark.parametrize("header", ["0.3", "date"])
def test_the_rest_that_a_server_asks_for_is_given_by_all_requests(header: str) -> None:
    def script(seen: Seen, before: int) -> Reply:
        if before == 0 and seen.prompt == "prompt 0.":
            # A date has whole seconds only, so that one second away may be anything up to it.
            asked_for = (
                header
                if header != "date"
                else time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 1.5))
            )
            return Reply({}, 429, {"Retry-After": asked_for})
        return answer_all(seen, before)

    with asked(script, concurrency=1) as (server, generator):
        assert len(list(generator.write(requests(3)))) == 3
    first, *others = [seen.time for seen in server.seen]
    assert min(others) - first >= 0.29


def test_the_time_of_a_retry_after_header() -> None:
    assert retry_after("12") == 12
    assert (
        retry_after("-1") == retry_after("soon") == retry_after(None) == retry_after("nan") == retry_after("inf") == 0
    )
    later = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 100))
    assert 98 < retry_after(later) <= 100
    in_asctime = time.asctime(time.gmtime(time.time() + 100))  # RFC 9110, 5.6.7
    assert 98 < retry_after(in_asctime) <= 100
    assert retry_after("Thu, 01 Jan 1970 00:00:00 GMT") == 0
    assert retry_after("Thu, 01 Jan 99999999999 00:00:00 GMT") == 0


@pytest.mark.parametrize(
    ("reply", "reason", "final"),
    [
        (Reply(b"nonsense"), "malformed answer", False),
        (Reply({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 0}}), "no query in the answer", True),
        (Reply({}, 500), "HTTP 500", False),
    ],
)
def test_a_query_that_always_fails_is_left_out_alone(reply: Reply, reason: str, final: bool) -> None:
    def script(seen: Seen, before: int) -> Reply:
        return reply if seen.prompt == "prompt 2." else answer_all(seen, before)

    with asked(script) as (server, generator):
        answers = {answer.place: answer for answer in generator.write(requests(20))}
    assert len(answers) == 20
    assert [place for place, answer in answers.items() if answer.reason] == [2]
    assert (answers[2].text, answers[2].reason, answers[2].final) == ("", reason, final)
    assert server.prompts().count("prompt 2.") == 3
    assert generator.failures == {reason: 3}


def written_until_it_stops(generator: EndpointGenerator, count: int) -> tuple[list[QueryAnswer], str]:
    """The answers before the error, and its message of one line."""
    answers, said = [], ""
    try:
        for answer in generator.write(requests(count)):
            answers.append(answer)  # noqa: PERF402  # what came before the error counts
    except (ModelError, RunError) as error:
        said = str(error)
    assert said
    assert "\n" not in said
    return answers, said


@pytest.mark.parametrize(
    ("reply", "shown"),
    [
        (Reply({"error": "out of memory"}, 500), 'HTTP 500: {"error": "out of memory"}'),
        (Reply(b"<html>\x1b[31mbad\ngateway</html>"), "no JSON object but '<html> [31mbad gateway</html>'"),
        (Reply({"choices": []}), "no query in {'choices': []}"),
    ],
)
def test_a_server_that_fails_everything_stops_the_run_soon(reply: Reply, shown: str) -> None:
    with asked(lambda *_: reply) as (server, generator):
        answers, said = written_until_it_stops(generator, 1000)
    assert said == (
        f"{server.url}/chat/completions: 5 requests in a row failed, each 3 times, the last one with {shown}; "
        "finished queries are kept, mend the server and run the same command again"
    )
    assert not any(answer.text for answer in answers)
    assert len(server.seen) <= 3 * 9  # those under way beside the five


def test_a_server_that_is_not_there_stops_the_run() -> None:
    with asked(answer_all) as (server, generator):
        pass
    patience = RequestsSettings(attempts=2, wait=0.01)
    with EndpointGenerator(EndpointSettings(url=server.url, model="m"), patience, Tokens()) as generator:
        _, said = written_until_it_stops(generator, 100)
    assert f"{server.url}/chat/completions: 5 requests in a row failed, each 2 times, the last one with " in said


def test_a_server_that_asks_for_a_day_is_not_waited_for() -> None:
    with asked(lambda *_: Reply({"error": "quota"}, 429, {"Retry-After": "86400"})) as (_, generator):
        start = time.monotonic()
        _, said = written_until_it_stops(generator, 10)
    assert time.monotonic() - start < 3
    assert 'HTTP 429: {"error": "quota"}; it asks to wait 86,400 s; finished queries are kept' in said


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (405, "check queries.endpoint.model (org/model), mode (chat) and extra"),
        (401, "check the key in the environment variable SOME_KEY"),
        (
            403,
            "check the key in the environment variable SOME_KEY and whether it may use queries.endpoint.model (org/m",
        ),
        (404, "check queries.endpoint.url (most end with /v1), model (org/model), mode (chat) and extra"),
        (301, "queries.endpoint.url has moved there"),
    ],
)
def test_a_refusal_stops_the_run_at_once_and_tells_no_key(
    monkeypatch: pytest.MonkeyPatch, status: int, advice: str
) -> None:
    monkeypatch.setenv("SOME_KEY", KEY)

    def script(seen: Seen, before: int) -> Reply:
        told = {"Location": f"https://elsewhere/{KEY}"} if status == 301 else {}
        refused = Reply({"error": f"wrong: {seen.headers['authorization']}"}, status, told)
        return refused if seen.prompt == "prompt 5." else answer_all(seen, before)

    with asked(script, key_variable="SOME_KEY") as (server, generator):
        answers, said = written_until_it_stops(generator, 1000)
    assert said.startswith(f"{server.url}/chat/completions: HTTP {status}: ")
    assert advice in said
    assert KEY not in said
    assert "***" in said or status == 301
    assert {answer.text for answer in answers} >= {f"answer to prompt {i}." for i in range(3)}
    assert len(server.seen) < 20


@pytest.mark.parametrize("status", [400, 413, 422, 451])
def test_what_a_server_refuses_for_its_text_is_left_out_alone(status: int, caplog: pytest.LogCaptureFixture) -> None:
    """Content filters and limits of length say 400: one document ended the run, each time anew."""

    def script(seen: Seen, before: int) -> Reply:
        flagged = seen.prompt in ("prompt 0.", "prompt 30.")
        return Reply({"error": "content_filter"}, status) if flagged else answer_all(seen, before)

    with asked(script) as (server, generator):
        answers = {answer.place: answer for answer in generator.write(requests(40))}
    assert {place: (one.text, one.reason) for place, one in answers.items() if one.reason} == {
        0: ("", f"HTTP {status}"),
        30: ("", f"HTTP {status}"),
    }
    assert answers[0].final
    assert answers[30].final
    assert len(answers) == len(server.seen) == 40
    assert generator.failures == {f"HTTP {status}": 2}
    (told,) = [record.message for record in caplog.records if record.name.startswith("tamis")]
    assert told.startswith(f'{server.url}/chat/completions: HTTP {status}: {{"error": "content_filter"}}; check ')


def test_a_server_that_refuses_every_text_stops_the_run_and_one_that_has_answered_does_not() -> None:
    refused = Reply({"error": "unknown field"}, 400)
    for count in (1000, 2):
        with asked(lambda *_: refused) as (server, generator):
            answers, said = written_until_it_stops(generator, count)
        assert said.endswith("check queries.endpoint.model (org/model), mode (chat) and extra")
        assert not any(answer.final for answer in answers)
        assert len(server.seen) < 20
    with asked(lambda *_: refused, spent=Tokens(1, 1, 100)) as (_, generator):  # those are all that is left
        assert [answer.final for answer in generator.write(requests(8))] == [True] * 8


def test_a_missing_key_is_named() -> None:
    with asked(lambda *_: Reply({}, 401), key_variable="TAMIS_NO_SUCH_KEY") as (server, generator):
        _, said = written_until_it_stops(generator, 1)
    assert said.endswith("check the key in the environment variable TAMIS_NO_SUCH_KEY (not set)")
    assert "authorization" not in server.seen[0].headers


def test_the_key_is_sent_and_neither_logged_nor_answered(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY + "\n")
    caplog.set_level(logging.DEBUG)
    with asked(lambda seen, _: Reply(chat(f"is it {seen.headers['authorization']}"))) as (server, generator):
        (answer,) = generator.write(requests(1))
        shown = repr(generator) + repr(vars(generator))
    assert server.seen[0].headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in caplog.text + answer.text + shown


def test_a_key_that_no_header_can_hold_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "geheim\nñ")
    with pytest.raises(SettingsError, match="environment variable OPENAI_API_KEY: expected a key") as error:
        EndpointGenerator(EndpointSettings(url="http://h/v1", model="m"), RequestsSettings(), Tokens())
    assert "geheim" not in str(error.value)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("ALL_PROXY", "socks://someone:geheim@127.0.0.1:7890/", "Unknown scheme for proxy URL"),  # GNOME's settings
        ("https_proxy", "http://[::1", ""),
        ("SSL_CERT_FILE", "/nowhere/ca.pem", "No such file"),
    ],
)
def test_an_environment_that_leads_nowhere_is_one_line(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as error:
        EndpointGenerator(EndpointSettings(url="https://h/v1", model="m"), RequestsSettings(), Tokens())
    told = str(error.value)
    assert told.startswith("https://h/v1/chat/completions: no connection can be made: ")
    assert said in told
    assert told.endswith(f"; check the environment variables {variable}, or unset them")
    assert "geheim" not in told


def test_concurrency_is_bounded() -> None:
    with asked(lambda *_: Reply(chat("x y"), delay=0.01), concurrency=3) as (server, generator):
        assert len(list(generator.write(requests(30)))) == 30
    assert server.most_at_once == 3


def test_requests_are_read_no_further_than_they_are_sent() -> None:
    read = []

    def reading() -> Iterator[QueryRequest]:
        for request in requests(100):
            read.append(request.place)
            yield request

    with asked(answer_all, concurrency=2) as (_, generator):
        answers = generator.write(reading())
        for _ in range(3):
            next(answers)
        assert len(read) <= 5 + 2
        answers.close()


# Budget


def test_the_budget_in_tokens_is_kept_and_what_is_finished_comes_first() -> None:
    # An answer costs 30 tokens and could cost 40: the 33rd still fits into 1,000 beside 960, a 34th not beside 990.
    with asked(lambda *_: Reply(chat("x y", (15, 15))), budget_tokens=1000, max_tokens=20) as (server, generator):
        answers, said = written_until_it_stops(generator, 100)
    assert [answer.text for answer in answers if answer.text] == ["x y"] * 33
    assert len(server.seen) == 33
    assert generator.budget.spent == Tokens(33 * 15, 33 * 15, 33)
    assert said == (
        "queries.endpoint.budget_tokens: the next request could exceed 1,000: 495 tokens of prompts and 495 of answers "
        "are spent; finished queries are kept, raise it or lower queries.documents, and run the same command again"
    )


def test_the_budget_in_money_counts_what_was_spent_before() -> None:
    prices = {"prompt_price": 10.0, "completion_price": 100.0, "budget_money": 0.01}
    script = lambda *_: Reply(chat("x y", (19, 10)))  # noqa: E731
    with asked(script, spent=Tokens(100, 50), max_tokens=10, **prices) as (_, generator):
        # 0.006 is spent, an answer costs 0.00119: three more fit.
        answers, said = written_until_it_stops(generator, 100)
    assert len([answer for answer in answers if answer.text]) == 3
    assert generator.budget.money == pytest.approx(0.00957)
    assert (
        "queries.endpoint.budget_money: the next request could exceed 0.01: 157 tokens of prompts and 80 of an" in said
    )
    assert "(0.00957 in money)" in said


def test_the_limit_of_an_answer_counts_under_its_other_name_too() -> None:
    extra = {"max_tokens": None, "max_completion_tokens": 500}
    with asked(lambda *_: Reply(chat("x y", (19, 40))), extra=extra, budget_tokens=600) as (server, generator):
        # 519 may be spent by each: one at a time, and with 118 spent no third one.
        answers, _ = written_until_it_stops(generator, 100)
    assert len([answer for answer in answers if answer.text]) == 2
    assert server.most_at_once == 1


def test_answers_that_tell_no_cost_are_estimated() -> None:
    with asked(lambda *_: Reply(chat("what is it?", tokens=None))) as (_, generator):
        (answer,) = generator.write(requests(1))
    assert answer.tokens == generator.budget.spent == Tokens(3 + 16, 4, 1)


def test_failed_attempts_that_may_be_paid_are_counted() -> None:
    def script(seen: Seen, before: int) -> Reply:
        return [Reply(chat(None, (30, 5))), Reply(chat("x"), cut=True), Reply(chat("x y", (30, 5)))][before]

    with asked(script) as (_, generator):
        (answer,) = generator.write(requests(1))
    assert answer.text == "x y"
    assert answer.tokens == Tokens(30 + 19 + 30, 5 + 96 + 5, 3)
