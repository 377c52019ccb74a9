"""A language model as a judge: what it is asked, and what its probabilities say."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.errors import InputError, ModelError
from tamis.records import Tokens
from tamis.remote.budget import Wording
from tamis.remote.endpoint import Endpoint
from tamis.remote.settings import RequestsSettings
from tamis.stages.scores.settings import JudgeTeacher
from tamis.stages.scores.teachers.cached import Group, GroupScores
from tamis.stages.scores.teachers.judge import LLMJudge, load_judge_prompt, log_odds
from tests.remote.scripted_server import Reply, Script, ScriptedServer, Seen, scripted

YES, NO = ("yes",), ("no",)
WORDING = Wording("scores.teachers.0", "scores", "candidates.depth", "most end with /v1", "extra")


def verdict(listed: dict[str, float], tokens: tuple[int, int] = (50, 1)) -> dict[str, Any]:
    """What servers answer where probabilities of the first token are wanted."""
    rows = [{"token": token, "logprob": logprob} for token, logprob in listed.items()]
    message = {"role": "assistant", "content": rows[0]["token"]}
    logprobs = {"content": [{**rows[0], "top_logprobs": rows}]}
    usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}
    return {"choices": [{"index": 0, "message": message, "logprobs": logprobs}], "usage": usage}


@contextmanager
def asked(script: Script, **settings: Any) -> Iterator[tuple[ScriptedServer, Endpoint[Group, GroupScores]]]:
    with scripted(script) as server:
        teacher = JudgeTeacher(kind="judge", url=server.url, model="org/judge", **settings)
        patience = RequestsSettings(concurrency=4, timeout=1.5, attempts=3, wait=0.01)
        judge = LLMJudge(teacher, load_judge_prompt(teacher.template))
        endpoint = Endpoint(teacher, judge.codec, patience, Tokens(), WORDING)
        try:
            yield server, endpoint
        finally:
            endpoint.close()


def groups(count: int) -> list[Group]:
    return [Group(f"query {n}?", (f"document {n}.",)) for n in range(count)]


# Log-odds


@given(
    st.dictionaries(
        st.sampled_from(["yes", " yes", "Yes", "YES", "▁Yes", "no", " No", "NO", "maybe", "the", "<think>"]),
        st.floats(0.001, 1),
        min_size=1,
    )
)
def test_log_odds_are_those_of_the_summed_probabilities(weights: dict[str, float]) -> None:
    total = 1.25 * sum(weights.values())  # a fifth of all is not listed
    share = {token: weight / total for token, weight in weights.items()}
    said = log_odds({token: math.log(p) for token, p in share.items()}, YES, NO)
    yes, no = (
        sum(p for token, p in share.items() if token.strip(" ▁").lower() == word) or min(0.2, *share.values(), 1)
        for word in ("yes", "no")
    )
    if not {"yes", "no"} & {token.strip(" ▁").lower() for token in share}:
        assert said is None
    else:
        assert said == pytest.approx(math.log(yes / no), abs=1e-6)


@given(st.floats(-20, -0.001), st.floats(-20, -0.001))
def test_more_probability_of_yes_never_lowers_the_score(one: float, other: float) -> None:
    low, high = sorted((one, other))
    scores = [log_odds({"Yes": p, "No": -3.0}, YES, NO) for p in (low, high)]
    assert scores[0] is not None
    assert scores[1] is not None
    assert scores[0] <= scores[1]


def test_a_certain_answer_has_a_finite_score() -> None:
    assert log_odds({"Yes": 0.0}, YES, NO) == 50
    assert log_odds({"No": 0.0, "Yes": -9999.0}, YES, NO) == -50


# Asking


def test_the_judge_is_asked_about_one_document_and_for_probabilities() -> None:
    with asked(lambda *_: Reply(verdict({"Yes": -0.1, " yes": -4.0, "No": -3.0}))) as (server, endpoint):
        (answer,) = endpoint.ask([Group("Wie {geht} das?", ("Das geht {so}.",))])
    assert answer.value == (pytest.approx(math.log(math.exp(-0.1) + math.exp(-4.0)) + 3.0),)
    (seen,) = server.seen
    assert seen.path == "/v1/chat/completions"
    assert {name: value for name, value in seen.body.items() if name != "messages"} == {
        "model": "org/judge",
        "temperature": 0,
        "max_tokens": 1,
        "logprobs": True,
        "top_logprobs": 20,
    }
    assert seen.prompt.count("Wie {geht} das?") == seen.prompt.count("Das geht {so}.") == 1
    assert endpoint.budget.spent == Tokens(50, 1, 1)


def test_request_i_holds_query_and_document_i_and_nothing_else() -> None:
    with asked(lambda *_: Reply(verdict({"Yes": -0.1}))) as (server, endpoint):
        assert len(list(endpoint.ask(groups(30)))) == 30
    assert {seen.prompt for seen in server.seen} == {load_judge_prompt(None).text(group) for group in groups(30)}


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply({}, 429), "HTTP 429"),
        (Reply({}, 500), "HTTP 500"),
        (Reply(verdict({"Yes": -1.0}), delay=2.0), "no answer in time"),
        (Reply(verdict({"Yes": -1.0}), cut=True), "broken connection"),
        (Reply(b"{"), "malformed answer"),
        (Reply({"choices": []}), "no verdict in the answer"),
        (Reply({"choices": [{"logprobs": {"content": [{"token": 3}]}}]}), "no verdict in the answer"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_fails_once_is_asked_again(reply: Reply, reason: str) -> None:
    def script(seen: Seen, before: int) -> Reply:
        return reply if "query 1?" in seen.prompt and before == 0 else Reply(verdict({"Yes": -1.0, "No": -2.0}))

    with asked(script) as (_, endpoint):
        answers = list(endpoint.ask(groups(3)))
    assert [answer.value for answer in answers] == [(pytest.approx(1.0),)] * 3
    assert endpoint.failures == {reason: 1}


def said_by(script: Script, count: int = 100, **settings: Any) -> tuple[ScriptedServer, str]:
    """The message that stops a run, of one line."""
    with asked(script, **settings) as (server, endpoint), pytest.raises(ModelError) as error:
        list(endpoint.ask(groups(count)))
    assert "\n" not in str(error.value)
    return server, str(error.value)


@pytest.mark.parametrize("told", [{}, {"logprobs": None}], ids=["left out", "null"])
def test_a_server_without_logprobs_is_named_at_once(told: dict[str, Any]) -> None:
    choice = {"message": {"content": "Yes"}, **told}
    server, said = said_by(lambda *_: Reply({"choices": [choice]}))
    assert said.startswith(f"{server.url}: org/judge answers without logprobs, of which a judge's score is made; take ")
    assert len(server.seen) <= 8


def test_a_judge_that_thinks_aloud_is_told_apart_from_an_undecided_one() -> None:
    server, said = said_by(lambda *_: Reply(verdict({"<think>": -0.01, "Okay": -5.0})))
    assert "neither yes nor no is among the likeliest tokens of 5 answers in a row, the last one begins with" in said
    assert "'<think>'; if org/judge thinks aloud, switch that off in extra ({chat_template_kwargs: {enable" in said
    assert len(server.seen) <= 12

    def now_and_then(seen: Seen, before: int) -> Reply:
        return Reply(verdict({"Hm": -0.1} if "query 1" in seen.prompt else {"Yes": -1.0, "No": -2.0}))

    with asked(now_and_then) as (_, endpoint):
        found = {answer.request: answer.value for answer in endpoint.ask(groups(5))}
    assert found[groups(5)[1]] == (0.0,)


def test_more_fields_go_into_the_request_and_null_leaves_one_out() -> None:
    extra = {"max_tokens": None, "max_completion_tokens": 1, "chat_template_kwargs": {"enable_thinking": False}}
    with asked(lambda *_: Reply(verdict({"No": -0.1})), extra=extra) as (server, endpoint):
        list(endpoint.ask(groups(1)))
    body = server.seen[0].body
    assert "max_tokens" not in body
    assert body["max_completion_tokens"] == 1
    assert body["chat_template_kwargs"] == {"enable_thinking": False}


# The prompt


def test_a_prompt_of_ones_own_may_be_in_any_language(tmp_path: Path) -> None:
    file = tmp_path / "richter.yaml"
    file.write_text("prompt: 'Frage {query}, Text {document}: ja oder nein?'\nyes: [Ja]\nno: [Nein]\n", "utf-8")
    with asked(lambda *_: Reply(verdict({"ja": -1.0, " Nein": -2.5})), template=file) as (server, endpoint):
        (answer,) = endpoint.ask([Group("a", ("b",))])
    assert server.seen[0].prompt == "Frage a, Text b: ja oder nein?"
    assert answer.value == (pytest.approx(1.5),)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("prompt: 'only {query}'\nyes: [y]\nno: [n]\n", r"prompt: expected the placeholders {query} and {document}, g"),
        ("prompt: '{query} {document} {'\nyes: [y]\nno: [n]\n", r"write a brace that is no placeholder twice"),
        ("prompt: '{query} {document}'\nyes: [y]\n", r"no: Field required"),
        ("prompt: [", r"not YAML in UTF-8"),
    ],
)
def test_a_prompt_that_cannot_be_used_is_named(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "judge.yaml"
    file.write_text(content, "utf-8")
    with pytest.raises(InputError) as error:
        load_judge_prompt(file)
    assert str(error.value).startswith(f"{file}: ")
    assert said in str(error.value)
