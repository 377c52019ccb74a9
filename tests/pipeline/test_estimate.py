"""What a run says that it will cost, against what it then does."""

import functools
import json
import math
import os
import pty
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from tamis.artifacts import read_records
from tamis.cli.printing import agreed
from tamis.costs.work import Estimate, Work, is_here
from tamis.errors import RunError
from tamis.models.encoder import Encoder
from tamis.models.reranker import Reranker
from tamis.pipeline.reading import recipe_from
from tamis.pipeline.run import run_recipe
from tamis.records import Candidates, Query, Tokens
from tamis.stages.lists import solved
from tests.commands import results_by_hash, start, tamis, write_recipe
from tests.conftest import tiny_recipe, write_beir
from tests.remote.scripted_server import scripted
from tests.stages.queries.test_writers import answer, with_endpoint
from tests.stages.scores.test_cached import believe, judge, taught_by


class Stopped(Exception):
    """Ends a run where it was asked whether to go on."""


def estimated(content: dict[str, Any], root: Path, until: str = "report") -> Estimate:
    found: list[Estimate] = []

    def consider(one: Estimate) -> None:
        found.append(one)
        raise Stopped

    with pytest.raises(Stopped):
        run_recipe(recipe_from(content, "tiny"), root, until, consider=consider)
    return found[0]


def counts(found: Estimate) -> dict[tuple[str, str], tuple[int, bool]]:
    return {(work.stage, work.what): (work.count, work.about) for work in found.works}


@dataclass
class Journey:
    """A run in parts, and what was expected before each."""

    content: dict[str, Any]
    root: Path
    folders: dict[str, Path]
    embedded: Counter[str]
    at_first: Estimate
    with_lists: Estimate
    before_training: Estimate
    training_seconds: float
    after_a_kill: Estimate
    in_the_end: Estimate


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Journey:
    base = tmp_path_factory.mktemp("journey")
    content = tiny_recipe(write_beir(base / "corpus"), write_beir(base / "general", "g-"), tiny_encoder)
    content["candidates"]["dense"] |= {"query_prefix": "query: ", "document_prefix": "passage: "}
    content["train"] |= {"general_steps": 40, "specialist_steps": 20}
    root, recipe = base / "run", recipe_from(content, "tiny")
    at_first = estimated(content, root, "lists")
    embedded: Counter[str] = Counter()
    embed = Encoder.embed

    def counted(self: Encoder, texts: Any, prefix: str, *more: Any) -> Any:
        embedded[prefix] += len(texts)
        return embed(self, texts, prefix, *more)

    with mock.patch.object(Encoder, "embed", counted):
        run_recipe(recipe, root, "lists")
    with_lists, before_training = estimated(content, root), estimated(content, root, "train")
    began = time.process_time()
    train = run_recipe(recipe, root, "train")["train"]
    training_seconds = time.process_time() - began
    shutil.rmtree(train)  # as if it had been killed before its end
    after_a_kill = estimated(content, root, "train")
    folders = run_recipe(recipe, root)
    in_the_end = estimated(content, root)
    return Journey(
        content, root, folders, embedded, at_first, with_lists, before_training, training_seconds, after_a_kill,
        in_the_end,
    )  # fmt: skip


def test_what_was_expected_is_what_the_run_then_does(journey: Journey) -> None:
    before = counts(journey.at_first)
    kept = len(read_records(journey.folders["queries"] / "queries.parquet", Query))
    assert before["candidates", "documents to embed (dense)"] == (journey.embedded["passage: "], False)
    for what, then in (("queries to embed (dense)", journey.embedded["query: "]), ("queries to search", kept)):
        expected, about = before["candidates", what]
        assert about
        assert then <= expected <= 1.2 * then
    assert {what for _, what in before} == {
        "documents to embed (dense)",
        "queries to embed (dense)",
        "queries to search",
        "lists to draw",
    }
    assert before["lists", "lists to draw"] == (before["candidates", "queries to search"][0], True)


def test_steps_and_texts_are_exact_once_the_lists_are_there(journey: Journey) -> None:
    found = counts(journey.with_lists)
    manifest = json.loads((journey.folders["lists"] / "manifest.json").read_text("utf-8"))
    lists = manifest["counts"]["kept"]
    train = {name.split(",")[0]: n for name, n in manifest["lists"].items() if name.endswith(", train")}
    # One pass at most, two lists a step: the general student goes through all, a specialist through its own.
    passes = [math.ceil(n / 2) for name, n in train.items() if name != "general"]
    steps = min(40, math.ceil(sum(train.values()) / 2)) + sum(min(20, n) for n in passes)
    assert found["train", "steps to learn"] == (steps, False)
    assert found["train", "queries to prepare"] == (lists, False)
    assert found["train", "documents to prepare"] == (40, False)
    assert {stage for stage, _ in found} == {"train", "merge", "evaluate"}


def test_what_the_student_scores_for_the_lists_is_counted(recipe: dict[str, Any], tmp_path: Path) -> None:
    recipe["lists"]["solved"] = 0.5
    recipe["queries"]["logs"] = [str(tmp_path / "log.txt")]
    (tmp_path / "log.txt").write_text("what is a kernel module\nhow to print\n", encoding="utf-8")
    root = tmp_path / "run"
    at_first = counts(estimated(recipe, root, "train"))
    run_recipe(recipe_from(recipe, "tiny"), root, "scores")
    with_scores = counts(estimated(recipe, root, "train"))
    with mock.patch.object(solved, "score_pairs", wraps=solved.score_pairs) as score:
        folders = run_recipe(recipe_from(recipe, "tiny"), root, "lists")
    (call,) = score.call_args_list
    scored = call.args[2]
    manifest = json.loads((folders["scores"] / "manifest.json").read_text("utf-8"))
    asked = len({query_id for query_id, _ in scored})
    assert with_scores["lists", "lists to draw"] == (manifest["counts"]["kept"], False)
    for before in (at_first, with_scores):
        for what, then in (("pairs to score", len(scored)), ("queries to prepare", asked)):
            expected, about = before["lists", what]
            assert about
            assert 0.8 * then <= expected <= 1.3 * then
    # What the lists have read the training does not read again.
    assert with_scores["lists", "documents to prepare"] == (20, False)
    assert with_scores["train", "documents to prepare"] == (20, False)
    left = counts(estimated(recipe, root, "train"))
    assert not [what for stage, what in left if stage == "lists"]
    assert ("train", "documents to prepare") not in left  # the general ones say the same


def test_students_and_texts_that_a_killed_run_had_finished_are_not_counted(journey: Journey) -> None:
    found = counts(journey.after_a_kill)
    assert ("train", "steps to learn") not in found
    assert ("train", "documents to prepare") not in found
    assert ("train", "queries to prepare") not in found


def test_nothing_is_left_in_the_end(journey: Journey) -> None:
    assert not journey.in_the_end.works
    assert journey.in_the_end.small


def test_time_is_within_a_factor_of_what_it_then_takes(journey: Journey) -> None:
    # Loading, saving and looking up are not in it, and weigh most in so small a run; processor time, since the machine
    # may be busy with other things.
    assert journey.training_seconds / 10 < journey.before_training.seconds < 4 * journey.training_seconds


def test_an_estimate_changes_no_result(journey: Journey, tmp_path: Path) -> None:
    run_recipe(recipe_from(journey.content, "tiny"), tmp_path / "run", "lists")
    plain, estimated_before = results_by_hash(tmp_path / "run"), results_by_hash(journey.root)
    assert plain == {stage: estimated_before[stage] for stage in plain}


def test_pairs_of_a_reranker_that_teaches_are_counted_until_they_are_scored(
    journey: Journey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "run"
    shutil.copytree(journey.root, root)
    teacher = {"kind": "reranker", "path": str(journey.folders["merge"] / "model")}
    content = journey.content | {"scores": {"use": 0.0, "teachers": [teacher]}, "evaluate": None}
    candidates = read_records(journey.folders["candidates"] / "candidates.parquet", Candidates)
    pairs = sum(len(one.doc_ids) for one in candidates)
    assert counts(estimated(content, root, "scores")) == {("scores", "pairs to score (model)"): (pairs, False)}
    scores = run_recipe(recipe_from(content, "tiny"), root, "scores")["scores"]
    shutil.rmtree(scores)
    monkeypatch.setattr(Reranker, "score_pairs", lambda *_: pytest.fail("nothing is left to score"))
    assert not estimated(content, root, "scores").works


def test_calls_tokens_and_money_bound_what_an_endpoint_is_asked(recipe: dict[str, Any], tmp_path: Path) -> None:
    root = tmp_path / "run"
    with scripted(answer) as server:
        content = with_endpoint(recipe, server.url, prompt_price=2.0, completion_price=4.0, max_tokens=20)
        (work,) = [work for work in estimated(content, root, "queries").works if work.stage == "queries"]
        assert not server.seen  # an estimate calls nobody
        content["queries"]["documents"] = 6
        run_recipe(recipe_from(content, "tiny"), root, "queries")
        asked = len(server.seen)
        content["queries"]["documents"] = 0
        (left,) = [work for work in estimated(content, root, "queries").works if work.stage == "queries"]
        longest = max(len(seen.prompt.encode()) for seen in server.seen)
    assert (work.count, asked) == (40, 12)
    assert left.count == 28  # finished queries are not paid for again
    assert work.seconds is None
    assert work.tokens.completion == 40 * 20
    assert work.tokens.prompt < 40 * longest  # a token is a byte at least
    assert work.money == pytest.approx((work.tokens.prompt * 2 + work.tokens.completion * 4) / 1e6)


def test_a_budget_that_will_not_do_is_told(recipe: dict[str, Any], tmp_path: Path) -> None:
    content = with_endpoint(recipe, "http://127.0.0.1:9/v1", budget_tokens=100)
    (note,) = estimated(content, tmp_path / "run", "queries").notes
    assert note.startswith("queries.endpoint.budget_tokens may be reached before the end")


def calls(found: Estimate) -> dict[tuple[str, str], Work]:
    return {(work.stage, work.what): work for work in found.works if work.server}


def test_calls_of_teachers_bound_what_they_are_then_asked(recipe: dict[str, Any], tmp_path: Path) -> None:
    def asked() -> Counter[str]:
        return Counter(seen.path.rsplit("/", 1)[1] for seen in server.seen)

    with scripted(believe) as server:
        content = taught_by(
            recipe,
            judge(server.url, prompt_price=2.0, completion_price=5.0, request_price=3.0, budget_money=0.001),
            {"kind": "remote-reranker", "url": server.url, "model": "r", "batch": 2},
            {"kind": "remote-encoder", "url": server.url, "model": "e", "batch": 3},
        )
        at_first = estimated(content, tmp_path / "run", "scores")
        run_recipe(recipe_from(content, "tiny"), tmp_path / "run", "candidates")
        found = estimated(content, tmp_path / "run", "scores")
        assert not server.seen  # an estimate calls nobody
        assert found.doubt.endswith("in money)")
        (note,) = found.notes
        assert note.startswith("scores.teachers.0.budget_money may be reached before the end")
        content["scores"]["teachers"][0]["budget_money"] = 0.0
        of_judge = calls(found)["scores", "calls of org/judge"]
        money = 2e-6 * of_judge.tokens.prompt + 5e-6 * of_judge.tokens.completion + 3e-3 * of_judge.count
        assert of_judge.money == pytest.approx(money)
        run_recipe(recipe_from(content, "tiny"), tmp_path / "run", "scores")
        then = asked()
        for what, route in (("org/judge", "completions"), ("r", "rerank"), ("e", "embeddings")):
            works = [work for work in found.works if work.what == f"calls of {what}"]
            assert sum(work.count for work in works) == sum(work.tokens.requests for work in works) == then[route]
            assert not any(work.about for work in works)
            expected = [work for work in at_first.works if work.what == f"calls of {what}"]
            assert any(work.about for work in expected)
            assert then[route] <= sum(work.count for work in expected) <= 1.3 * then[route] + 1
        longest = max(len(json.dumps(seen.body).encode()) for seen in server.seen)
        assert 0 < of_judge.tokens.prompt < then["completions"] * longest
        assert of_judge.tokens.completion == then["completions"]
        # Another folder has nothing to pay: all runs share what teachers said.
        run_recipe(recipe_from(content, "tiny"), tmp_path / "other", "candidates")
        assert not calls(estimated(content, tmp_path / "other", "scores"))
        assert asked() == then


def test_what_teachers_are_asked_about_questions_is_in_the_estimate(recipe: dict[str, Any], tmp_path: Path) -> None:
    content = taught_by(recipe, judge("http://127.0.0.1:9/v1", request_price=1.0))
    found = estimated(content, tmp_path / "run")
    work = calls(found)["evaluate", "calls of org/judge"]
    assert work.about
    assert work.count % content["candidates"]["depth"] == 0
    with pytest.raises(RunError, match=r"calls of http://127.0.0.1:9/v1 .about .* in money.: give --yes"):
        agreed(found, yes=False)


# Who is asked


def of(**work: Any) -> Estimate:
    return Estimate([Work("queries", "calls of a model", 10, **work)], free=10**12)


@pytest.mark.parametrize(
    ("server", "here"),
    [
        ("http://localhost:8000/v1", True),
        ("http://127.0.0.1/v1", True),
        ("http://127.9.9.9:1/v1", True),
        ("http://[::1]:8000/v1", True),
        ("https://api.example.org/v1", False),
        ("http://10.0.0.7:8000/v1", False),
        ("http://localhost.example.org/v1", False),
    ],
)
def test_servers_of_this_machine_are_told_from_others(server: str, here: bool) -> None:
    assert is_here(server) == here


@pytest.mark.parametrize(
    "work",
    [
        {"seconds": 30.0},
        {"seconds": 3000.0},
        {"seconds": None, "server": "http://localhost:8000/v1", "tokens": Tokens(10**6, 10**6)},
    ],
)
def test_nobody_is_asked_about_what_is_cheap(work: dict[str, Any]) -> None:
    assert not of(**work).doubt
    assert agreed(of(**work), yes=False)


def test_long_work_is_asked_about_on_a_terminal_only() -> None:
    assert of(seconds=4000.0).doubt == "it is long work"
    assert agreed(of(seconds=4000.0), yes=False)  # pytest's standard input is no terminal


@pytest.mark.parametrize(
    ("work", "price"),
    [
        ({"server": "https://api.example.org/v1", "money": 1.5}, "at most 1.5 in money"),
        ({"server": "https://api.example.org/v1"}, "no price is set"),
        ({"server": "http://localhost/v1", "money": 1.5}, "at most 1.5 in money"),
    ],
)
def test_what_may_cost_money_is_refused_where_nobody_can_be_asked(work: dict[str, Any], price: str) -> None:
    with pytest.raises(RunError, match=f"10 calls of {work['server']} .{price}.: give --yes"):
        agreed(of(**work), yes=False)
    assert agreed(of(**work), yes=True)


def paid(recipe: dict[str, Any], url: str, folder: Path) -> Path:
    return write_recipe(with_endpoint(recipe, url, prompt_price=1.0, completion_price=1.0), folder)


def test_the_command_refuses_with_status_2_and_calls_nobody(recipe: dict[str, Any], tmp_path: Path) -> None:
    with scripted(answer) as server:
        path = paid(recipe, server.url, tmp_path)
        found = tamis("run", path, "--out", tmp_path / "run", "--until", "queries")
        assert (found.status, len(server.seen)) == (2, 0)
        last = found.err.splitlines()[-1]
        assert last.startswith(f"tamis: 40 calls of {server.url} (at most 0.0")
        assert last.endswith("give --yes if that is wanted, or see what it costs with --estimate")
        only = tamis("run", path, "--out", tmp_path / "run", "--until", "queries", "--estimate")
        assert (only.status, len(server.seen)) == (0, 0)
        assert "calls of org/writer" in only.out
        assert tamis("run", path, "--out", tmp_path / "run", "--until", "queries", "--yes").status == 0
        assert len(server.seen) == 40
        again = tamis("run", path, "--out", tmp_path / "run", "--until", "queries")  # nothing is left to pay
        assert again.status == 0


def _on_a_terminal(path: str) -> None:
    """Make a terminal the standard input of this process."""
    os.dup2(os.open(path, os.O_RDONLY | os.O_NOCTTY), 0)
    sys.stdin = os.fdopen(0, encoding="utf-8")


@pytest.mark.parametrize(("typed", "status"), [("y\n", 0), ("\n", 1)])
def test_on_a_terminal_the_question_decides(recipe: dict[str, Any], tmp_path: Path, typed: str, status: int) -> None:
    ours, theirs = pty.openpty()
    prepare: Callable[[], None] = functools.partial(_on_a_terminal, os.ttyname(theirs))
    with scripted(answer) as server:
        path = paid(recipe, server.url, tmp_path)
        log = tmp_path / "log"
        process = start(log, "run", path, "--out", tmp_path / "run", "--until", "queries", prepare=prepare)
        os.write(ours, typed.encode())
        process.join(120)
        asked = len(server.seen)
    os.close(ours)
    os.close(theirs)
    said = log.read_text("utf-8")
    assert process.exitcode == status, said
    assert "Go on? [y/N]" in said
    assert asked == (40 if status == 0 else 0)
    assert ("nothing was done but the reading of the corpus" in said) == (status == 1)
