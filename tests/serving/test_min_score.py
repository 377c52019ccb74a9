"""The lowest score of a result over HTTP: a field of every dialect that ranks, and an option of the server."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tamis.errors import InputError
from tamis.serving.loading import load_models
from tamis.serving.metrics import Metrics
from tamis.serving.settings import Settings
from tests.serving.running import Running, served
from tests.serving.test_first_stage import DIALECTS, DOCUMENTS, ask, complaint

RANKING = sorted(DIALECTS.keys() - {"vllm-score"})


@pytest.fixture(scope="module")
def server(weighed_folder: Path, warm_folder: Path) -> Iterator[Running]:
    with served({"weighed": weighed_folder, "plain": warm_folder}) as running:
        yield running


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("dialect", RANKING)
def test_documents_below_are_left_out_on_the_scale_of_what_comes_back(server: Running, dialect: str, raw: bool):
    more = {"raw_scores": raw, "first_stage": "none"}
    every = ask(server, dialect, **more)
    lowest = every[4][1]
    assert ask(server, dialect, min_score=lowest, **more) == [one for one in every if one[1] >= lowest]
    assert ask(server, dialect, min_score=every[0][1] + 1, **more) == []  # nothing fits, which is no error


@pytest.mark.parametrize("dialect", RANKING)
def test_a_level_that_is_no_number_is_refused(server: Running, dialect: str):
    assert complaint(server, dialect, min_score="high").startswith("min_score: ")


@pytest.mark.parametrize("name", ["min_scores", "minScore", "min-score", "minscore"])
@pytest.mark.parametrize("dialect", RANKING)
def test_a_misspelt_level_is_refused_with_its_name(server: Running, dialect: str, name: str):
    assert complaint(server, dialect, **{name: 0.5}) == f"{name}: unknown field; did you mean 'min_score'?"


def test_pairs_are_all_answered_and_the_field_is_refused_there(server: Running):
    assert "ask /rerank to leave documents out" in complaint(server, "vllm-score", min_score=0.5)


def test_the_request_of_the_documentation_is_answered(server: Running):
    section = (
        (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8").split("## What does not fit")[1]
    )
    path, body = re.findall(r"^curl localhost:8000(\S+) -d '(.*)'$", section, re.MULTILINE)[0]
    answer = server.post(path, json.loads(body))
    assert answer.status_code == 200, answer.text
    assert all(one["relevance_score"] >= json.loads(body)["min_score"] for one in answer.json()["results"])


def test_a_server_has_a_level_of_its_own_and_a_request_another(weighed_folder: Path):
    metrics = Metrics()
    with served({"weighed": weighed_folder}) as plain:
        every = ask(plain, "jina", first_stage="none")
        raw = ask(plain, "jina", first_stage="none", raw_scores=True)
        pairs = ask(plain, "vllm-score")
    lowest = every[5][1]
    with served({"weighed": weighed_folder}, min_score=lowest) as running:
        kept = [one for one in every if one[1] >= lowest]
        assert ask(running, "jina", first_stage="none") == kept
        assert ask(running, "jina", first_stage="none", raw_scores=True) == raw[: len(kept)]
        assert ask(running, "jina", first_stage="none", min_score=0) == every
        assert ask(running, "vllm-score") == pairs
    with pytest.raises(InputError, match="keeps no level"):
        load_models({"weighed": str(weighed_folder)}, Settings(min_score="model"), metrics)
    assert len(DOCUMENTS) == len(every)
