"""A model that grades the pools: what it is asked, what its answers mean, what is paid, and agreement with people."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from tamis.errors import InputError, ModelError, RunError, SettingsError
from tamis.formats.qrels import grades_of, read_qrels
from tamis.labelling.grade_log import Entry, GradeLog
from tamis.labelling.judge import (
    QRELS,
    Judged,
    ScalePrompt,
    agreement_of,
    grade_of,
    judging_settings,
    opened_judge,
    read_judge_prompt,
)
from tamis.labelling.pools import read_pools
from tests.commands import tamis
from tests.labelling.made_pools import made_pools, write_made
from tests.remote.scripted_server import Reply, ScriptedServer, Seen, scripted

PRICED = ["judge.prompt_price=1000000", "judge.completion_price=0", "requests.attempts=1", "requests.wait=0.01"]


def answer(**probabilities: float) -> dict[str, Any]:
    """A chat's answer of one token, with the probabilities of the likeliest ones."""
    rows = [{"token": token.strip("_"), "logprob": math.log(p)} for token, p in probabilities.items()]
    choice = {"message": {"content": rows[0]["token"]}, "logprobs": {"content": [{**rows[0], "top_logprobs": rows}]}}
    return {"choices": [choice], "usage": {"prompt_tokens": 10, "completion_tokens": 1}}


def digit_of(seen: Seen) -> Reply:
    """Grades page 0 with 0, page 1 with 1, page 2 with 2 and so on; a scale's answer."""
    number = seen.prompt.split("Passage: Page ")[1][0]
    return Reply(answer(**{f"_{int(number) % 3}": 0.6, "_9": 0.1}))


def judge(folder: Path, server: ScriptedServer, prompt: str = "scale", *changes: str) -> Judged:
    settings = judging_settings(server.url, "wise", [*PRICED, *changes])
    with opened_judge(folder, read_pools(folder), settings, read_judge_prompt(prompt)) as asked:
        return asked.judge()


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_the_pools_are_graded_by_a_scale_once_and_kept(tmp_path: Path):
    folder, pools = write_made(tmp_path / "judged"), made_pools()
    with scripted(lambda seen, _: digit_of(seen)) as server:
        first = judge(folder, server)
        assert len(server.seen) == 12
        prompts = {
            (seen.prompt.split("Query: ")[1].split("\n")[0], seen.prompt.split("Page ")[1][0]) for seen in server.seen
        }
        assert prompts == {(pools.questions[q].text, d[1:]) for q, pool in pools.pools.items() for d in pool}
        wanted = {q: {d: int(d[1:]) % 3 for d in pool} for q, pool in pools.pools.items()}
        assert first.grades == wanted
        assert grades_of(read_qrels(folder / QRELS), folder / QRELS) == wanted
        assert first.money == pytest.approx(120)  # twelve requests of ten tokens at 1 each
        again = judge(folder, server)
        assert (len(server.seen), again.grades, again.money) == (12, wanted, first.money)
        judge(folder, server, "scale", "judge.revision=other")
        assert len(server.seen) == 24


def test_yes_and_no_are_graded_by_thirds_of_the_probability_of_yes():
    prompt = read_judge_prompt("yes-no")
    for yes, grade in ((0.01, 0), (0.33, 0), (0.34, 1), (0.66, 1), (0.67, 2), (0.99, 2)):
        assert grade_of(math.log(yes / (1 - yes)), prompt) == grade, yes
    assert grade_of(50.0, prompt) == 2
    assert grade_of(0.0, prompt) is None  # what stands for neither


def test_the_likeliest_grade_is_the_one_of_all_tokens_that_spell_it():
    prompt = read_judge_prompt("scale")
    assert prompt.score({"2": math.log(0.3), " 1": math.log(0.2), "1.": math.log(0.15)}) == 1
    assert prompt.score({"Maybe": -0.1}) is None
    assert grade_of(prompt.undecided, prompt) is None


def test_a_prompt_of_ones_own_is_of_either_kind_and_faults_are_named(tmp_path: Path):
    file = tmp_path / "own.yaml"
    file.write_text(
        "prompt: '{query} / {document}?'\ngrades: {0: [bad], 1: [so, la-la], 2: [Good]}\n", encoding="utf-8"
    )
    own = read_judge_prompt(str(file))
    assert isinstance(own, ScalePrompt)
    assert own.score({" good": -0.1, "bad": -3.0}) == 2
    file.write_text("prompt: '{query} / {document}?'\nyes: [ja]\nno: [nein]\n", encoding="utf-8")
    assert read_judge_prompt(str(file)).score({"Ja": math.log(0.75), "Nein": math.log(0.25)}) == pytest.approx(
        math.log(3)
    )
    for content, said in (
        ("prompt: '{query}'\ngrades: {0: [a], 1: [b], 2: [c]}", r"prompt: expected the placeholders"),
        ("prompt: '{query}{document}'\ngrades: {0: [a], 1: [b]}", r"grades: "),
        ("prompt: '{query}{document}'\ngrades: {0: [a], 1: [b], 3: [c]}", r"grades\.3"),
        ("prompt: '{query}{document}'\ngrades: {0: [a], 1: [b], 2: [' A']}", "grades: 'a' stands for 0 and for 2"),
        ("prompt: '{query}{document}'\nyes: [y]\nno: [n, Y]", "content: 'y' stands for yes and for no"),
        ("prompt: '{query}{document}'\nyes: [' ']\nno: [n]", "yes: a word of it is empty"),
    ):
        file.write_text(content, encoding="utf-8")
        with pytest.raises(InputError, match=said):
            read_judge_prompt(str(file))
    with pytest.raises(InputError, match="cannot be read as a judge's prompt"):
        read_judge_prompt(str(tmp_path / "none.yaml"))


def test_settings_that_are_none():
    for changes, said in (
        (["judge.budgt=3"], "judge.budgt"),
        (["judge.budget_money=-1"], "judge.budget_money"),
        (["requests.concurrency=0"], "requests.concurrency"),
        (["judge.budget_money=3"], "budget_money needs prompt_price"),
        (["judge.budget_money=x"], "judge.budget_money: expected a number, got 'x'"),
        (["judge.prompt_price=.inf"], "judge.prompt_price: expected a finite number, got inf"),
        (["judge.budget_mony=1"], "unknown key 'judge.budget_mony'; did you mean 'budget_money'"),
        (["machine.threads=1"], "unknown key 'machine'; known here: judge, requests"),
    ):
        with pytest.raises(SettingsError, match=said):
            judging_settings("http://localhost:1/v1", "m", changes)


def test_a_budget_ends_it_and_what_was_answered_is_not_asked_again(tmp_path: Path):
    folder = write_made(tmp_path / "judged")
    with scripted(lambda seen, _: digit_of(seen)) as server:
        settings = judging_settings(server.url, "wise")
        with opened_judge(folder, read_pools(folder), settings, read_judge_prompt("scale")) as cheap:
            most = cheap.estimate().tokens
        some = (most.prompt + most.completion) // most.requests + 60  # five answers cost 55
        one = ["judge.prompt_price=1", "requests.concurrency=1", f"judge.budget_tokens={some}"]
        with pytest.raises(RunError, match=rf"judge\.budget_tokens: the next request could exceed {some}"):
            judge(folder, server, "scale", *one)
        asked = len(server.seen)
        assert 0 < asked < 12
        judge(folder, server)
        assert len(server.seen) == 12
        assert len({seen.prompt for seen in server.seen}) == 12


def test_failures_are_counted_and_answers_that_say_nothing_are_no_grades(tmp_path: Path):
    folder = write_made(tmp_path / "judged", made_pools(1, 4))

    def script(seen: Seen, _: int) -> Reply:
        if "Page 1" in seen.prompt:
            return Reply(status=500)
        return Reply(answer(Well=0.9)) if "Page 2" in seen.prompt else digit_of(seen)

    with scripted(script) as server:
        found = judge(folder, server)
        assert found.grades == {"q0": {"d0": 0, "d3": 0}}
        assert (found.undecided, found.failed) == (1, 1)
        server.script = lambda seen, _: digit_of(seen)
        again = judge(folder, server)
        assert (again.grades["q0"]["d1"], again.undecided, again.failed) == (1, 1, 0)
        server.script = lambda seen, _: Reply(answer(Well=0.9))
        other = write_made(tmp_path / "other")
        with pytest.raises(ModelError, match="none of the grades' words is among the likeliest tokens of 5 answers"):
            judge(other, server, "scale", "judge.revision=other")


def test_agreement_with_people_over_what_both_have_graded():
    rng = np.random.default_rng(3)
    people = {f"q{n}": {f"d{m}": int(rng.integers(3)) for m in range(5)} for n in range(20)}
    model = {
        q: {d: grade if rng.random() < 0.7 else int(rng.integers(3)) for d, grade in of.items() if d != "d4"}
        for q, of in people.items()
    }
    found = agreement_of(people, {**model, "elsewhere": {"d0": 1}})
    pairs = [(people[q][d], model[q][d]) for q in model for d in model[q]]
    theirs, its = zip(*pairs, strict=True)
    assert found.passages == 80
    assert found.kappa == pytest.approx(cohen_kappa_score(theirs, its))
    assert found.weighted_kappa == pytest.approx(cohen_kappa_score(theirs, its, weights="quadratic"))
    assert found.table == tuple(tuple(pairs.count((a, b)) for b in range(3)) for a in range(3))
    assert agreement_of({}, model) is None


def test_the_command_shows_agreement_before_it_speaks_of_its_own_grades(tmp_path: Path):
    folder = write_made(tmp_path / "judged", made_pools(2, 3))
    with scripted(lambda seen, _: digit_of(seen)) as server:
        told = ("judge", folder, "--url", server.url, "--model", "wise", "--prompt", "scale")
        estimate = tamis(*told, "--estimate")
        assert (estimate.status, server.seen) == (0, [])
        assert "calls of wise" in estimate.out
        nobody = tamis(*told)
        assert nobody.status == 0, nobody.err
        assert "no passage has a person's grade" in nobody.out
        log = GradeLog(folder)
        log.add(Entry("Ann", "q0", "d0", 0, 0.0))
        log.add(Entry("Ann", "q0", "d1", 2, 0.0))
        log.close()
        out = tamis(*told).out
        assert out.index("Krippendorff's alpha") < out.index("wise graded 6 passages of 2 questions")
        assert "people and wise on 2 passages" in out
        as_json = json.loads(tamis(*told, "--json").out)
        assert as_json["agreement"]["table"] == [[1, 0, 0], [0, 0, 0], [0, 1, 0]]
        assert len(server.seen) == 6
