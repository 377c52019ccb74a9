"""The first stage beside a served model, in every dialect, against `Reranker.rank`."""

import io
import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cohere
import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.special import logit

from tamis import Reranker
from tamis.errors import InputError
from tamis.serving.dialects import dialect
from tamis.serving.dialects.jina import JINA
from tamis.serving.engine import Engine
from tamis.serving.loading import load_models
from tamis.serving.logs import log_to
from tamis.serving.metrics import Metrics
from tamis.serving.settings import Settings
from tests.commands import tamis
from tests.conftest import TOPICS
from tests.rerankers import weighed
from tests.serving.running import Running, served

QUERY = "How do I install a package?"
DOCUMENTS = [answer for topics in TOPICS.values() for _, answer in topics][:12]
SCORES = np.random.default_rng(5).normal(10, 7, len(DOCUMENTS)).round(2).tolist()

Body = dict[str, Any]
Scored = list[tuple[int, float]]


def results(answer: Any) -> Scored:
    return [(one["index"], one["relevance_score"]) for one in answer["results"]]


def ranks(answer: Any) -> Scored:
    return [(one["index"], one["score"]) for one in answer]


def pair_scores(answer: Any) -> Scored:
    """As ranked: `/score` answers in the order of the request."""
    found = [(one["index"], one["score"]) for one in answer["data"]]
    return sorted(found, key=lambda one: -one[1])


DIALECTS: dict[str, tuple[str, Body, str, Callable[[Any], Scored]]] = {
    "cohere": ("/v2/rerank", {"model": "weighed", "query": QUERY}, "documents", results),
    "cohere-v1": ("/v1/rerank", {"query": QUERY, "rank_fields": ["text"]}, "documents", results),
    "jina": ("/v1/rerank", {"query": QUERY}, "documents", results),
    "tei": ("/rerank", {"query": QUERY}, "texts", ranks),
    "vllm": ("/rerank", {"query": QUERY}, "documents", results),
    "vllm-score": ("/score", {"text_1": QUERY}, "text_2", pair_scores),
}
OBJECTS = sorted(DIALECTS.keys() - {"tei"})
"""Dialects whose documents may be objects."""


@pytest.fixture(scope="module")
def offline(weighed_folder: Path) -> Reranker:
    return Reranker(weighed_folder)


@pytest.fixture(scope="module")
def server(weighed_folder: Path, warm_folder: Path) -> Iterator[Running]:
    with served({"weighed": weighed_folder, "plain": warm_folder}) as running:
        yield running


def ask(server: Running, dialect: str, documents: list[Any] = DOCUMENTS, **more: Any) -> Scored:
    path, body, name, read = DIALECTS[dialect]
    answer = server.post(path, {**body, name: documents, **more})
    assert answer.status_code == 200, answer.text
    return read(answer.json())


def complaint(server: Running, dialect: str, documents: list[Any] = DOCUMENTS, **more: Any) -> str:
    path, body, name, _ = DIALECTS[dialect]
    answer = server.post(path, {**body, name: documents, **more})
    assert answer.status_code == (400 if dialect.startswith("vllm") else 422)
    found = answer.json()
    error = found.get("message") or found.get("detail") or found["error"]
    said: str = error["message"] if isinstance(error, dict) else error
    assert "\n" not in said
    return said


def same(found: Scored, offline: Reranker, said: Any, documents: list[str] = DOCUMENTS) -> None:
    wanted = offline.rank(QUERY, documents, first_stage=said)
    assert [index for index, _ in found] == [one["corpus_id"] for one in wanted]
    assert [score for _, score in found] == pytest.approx([one["score"] for one in wanted], abs=1e-6)


SAID: list[tuple[Body, Any]] = [
    ({"first_stage": "none"}, None),
    ({"first_stage": "order"}, "order"),
    ({"first_stage": "bm25", "first_stage_scores": SCORES}, ("bm25", SCORES)),
    ({"first_stage": "elastic", "first_stage_scores": SCORES}, ("other", SCORES)),
    ({"first_stage_scores": SCORES}, ("other", SCORES)),
]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(("sent", "said"), SAID, ids=["none", "order", "bm25", "unknown", "unnamed"])
def test_every_dialect_ranks_as_python_does(server: Running, offline: Reranker, dialect: str, sent: Body, said: Any):
    same(ask(server, dialect, **sent), offline, said)


@pytest.mark.parametrize("dialect", OBJECTS)
@pytest.mark.parametrize("name", ["bm25", None])
def test_scores_may_stand_beside_their_documents(server: Running, offline: Reranker, dialect: str, name: str | None):
    documents = [{"text": text, "score": score} for text, score in zip(DOCUMENTS, SCORES, strict=True)]
    found = ask(server, dialect, documents, **({"first_stage": name} if name else {}))
    same(found, offline, (name or "other", SCORES))


def test_a_whole_number_is_a_score_and_no_number_is_none(server: Running, offline: Reranker):
    documents = [{"text": text, "score": place} for place, text in enumerate(DOCUMENTS)]
    same(ask(server, "jina", documents), offline, ("other", list(range(len(DOCUMENTS)))))
    silent = [{"text": text, "score": None} for text in DOCUMENTS]
    same(ask(server, "jina", silent), offline, "order")
    # Documents of Cohere's first version hold anything.
    reviews = [{"text": text, "score": "9 of 10"} for text in DOCUMENTS]
    same(ask(server, "cohere-v1", reviews), offline, "order")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_without_a_word_the_order_counts_where_the_model_has_a_weight_for_it(
    server: Running, offline: Reranker, dialect: str
):
    pairs_alone = dialect == "vllm-score"  # they are no ranking unless told so
    same(ask(server, dialect), offline, "none" if pairs_alone else "order")
    same(ask(server, dialect, model="plain"), offline, "none")


def test_the_server_may_be_told_otherwise(weighed_folder: Path, offline: Reranker):
    said = io.StringIO()
    log_to(said)
    folders = {"weighed": str(weighed_folder)}
    for asked, told in ((None, "order"), ("none", "none"), ("order", "order")):
        (loaded,) = load_models(folders, Settings(first_stage=asked), Metrics()).values()
        engine = loaded.engine
        engine.close()
        assert engine.first_stage == told
        assert json.loads(said.getvalue().splitlines()[-1])["first_stage"] == told


def test_no_order_counts_where_nothing_says_how_much(warm_folder: Path, stock_folder: Path, tmp_path: Path):
    zero = weighed(stock_folder, tmp_path / "zero", {"order": 0.0}, {})
    for folder in (warm_folder, zero):
        with pytest.raises(InputError, match=r"--first-stage order: .* has no weight for the order .* tamis weigh"):
            load_models({"m": str(folder)}, Settings(first_stage="order"), Metrics())
    outcome = tamis("serve", stock_folder, "--port", 0, "--first-stage", "bm25")
    assert (outcome.status, outcome.complaint) == (2, "--first-stage: expected 'order' or 'none', got 'bm25'")
    with Engine(Reranker(zero), 100) as engine:
        assert engine.first_stage == "none"


def test_models_say_what_they_do(server: Running):
    first, second = server.get("/v1/models").json()["data"]
    assert (first["first_stage"], first["first_stage_weights"]["order"]) == ("order", 0.75)
    assert (second["first_stage"], second["first_stage_weights"]) == ("none", {"bm25": 0.5, "hybrid": 2.0})


@pytest.mark.parametrize("dialect", ["cohere", "jina", "tei", "vllm", "vllm-score"])
def test_raw_scores_are_what_ranks(server: Running, offline: Reranker, dialect: str):
    raw = ask(server, dialect, first_stage="bm25", first_stage_scores=SCORES, raw_scores=True)
    wanted = offline.rank(QUERY, DOCUMENTS, first_stage=("bm25", SCORES))
    assert [index for index, _ in raw] == [one["corpus_id"] for one in wanted]
    assert [value for _, value in raw] == pytest.approx(logit([one["score"] for one in wanted]), abs=1e-3)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    chosen=st.lists(st.sampled_from(range(len(DOCUMENTS))), min_size=1, max_size=8),
    dialect=st.sampled_from(sorted(DIALECTS.keys() - {"vllm-score"})),
    scored=st.booleans(),
    raw=st.booleans(),
    data=st.data(),
)
def test_scores_never_rise_down_the_ranking(server: Running, chosen, dialect, scored, raw, data):
    numbers = st.floats(-1e308, 1e308) | st.integers(-3, 3)
    more: Body = {"first_stage": "order"}
    if scored:
        more = {"first_stage_scores": data.draw(st.lists(numbers, min_size=len(chosen), max_size=len(chosen)))}
    if dialect != "cohere-v1":
        more["raw_scores"] = raw
    found = ask(server, dialect, [DOCUMENTS[i] for i in chosen], **more)
    values = [value for _, value in found]
    assert values == sorted(values, reverse=True)
    assert sorted(index for index, _ in found) == list(range(len(chosen)))


def test_what_else_is_in_flight_changes_nothing(server: Running, offline: Reranker):
    with ThreadPoolExecutor(8) as threads:
        asked = [(sent, said, dialect) for sent, said in SAID for dialect in ("cohere", "tei", "vllm")]
        found = list(threads.map(lambda one: ask(server, one[2], **one[0]), asked))
    for scores, (_, said, _) in zip(found, asked, strict=True):
        same(scores, offline, said)


def test_the_order_of_scores_wins_over_that_of_documents(server: Running, offline: Reranker):
    falling = sorted(SCORES, reverse=True)
    assert ask(server, "cohere", first_stage_scores=falling) != ask(server, "cohere", first_stage_scores=falling[::-1])
    same(ask(server, "cohere", first_stage_scores=falling[::-1]), offline, ("other", falling[::-1]))


def test_the_real_cohere_client_sends_a_first_stage(server: Running, offline: Reranker):
    with httpx.Client() as http:
        client = cohere.ClientV2("no key", base_url=server.url, httpx_client=http)
        more = {"first_stage": "bm25", "first_stage_scores": SCORES}
        found = client.rerank(
            model="weighed", query=QUERY, documents=DOCUMENTS, request_options={"additional_body_parameters": more}
        )
    same([(one.index, one.relevance_score) for one in found.results], offline, ("bm25", SCORES))
    assert found.meta.warnings is None


# What cannot be used


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"first_stage": "bm25"}, "first_stage 'bm25': comes without scores; send first_stage_scores, a number"),
        ({"first_stage": ""}, "first_stage: String should have at least 1 character"),
        ({"first_stage": "b" * 101}, "first_stage: String should have at most 100 characters"),
        ({"first_stage": 3}, "first_stage: expected a valid string"),
        ({"first_stage": "order", "first_stage_scores": SCORES}, "first_stage 'order': takes no scores"),
        ({"first_stage": "none", "first_stage_scores": SCORES}, "first_stage 'none': takes no scores"),
        ({"first_stage_scores": SCORES[:3]}, "first_stage 'other': 3 scores for 12 documents, expected one of each"),
        ({"first_stage_scores": []}, "first_stage 'other': 0 scores for 12 documents, expected one of each"),
        ({"first_stage_scores": [*SCORES[:-1], "1"]}, "first_stage_scores.11: expected a valid number"),
        ({"first_stage_scores": [*SCORES[:-1], None]}, "first_stage_scores.11: expected a valid number"),
        ({"first_stage_scores": [*SCORES[:-1], True]}, "first_stage_scores.11: expected a valid number"),
    ],
)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_first_stage_that_cannot_be_used_is_refused(server: Running, dialect: str, more: Body, said: str):
    assert said in complaint(server, dialect, **more)


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("first_stage_score", "first_stage_scores"),
        ("firstStageScores", "first_stage_scores"),
        ("first_stages_scores", "first_stage_scores"),
        ("first-stage", "first_stage"),
        ("fist_stage", "first_stage"),
        ("first_stage_name", "first_stage"),
    ],
)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_misspelt_first_stage_is_refused_with_the_right_name(server: Running, dialect: str, name: str, right: str):
    assert complaint(server, dialect, **{name: SCORES}) == f"{name}: unknown field; did you mean {right!r}?"


@pytest.mark.parametrize("dialect", OBJECTS)
def test_a_misspelt_score_in_a_document_is_refused_with_the_right_name(server: Running, dialect: str):
    documents = ["a", {"text": "b", "first_stage_score": 1.5}]
    assert complaint(server, dialect, documents) == (
        f"{DIALECTS[dialect][2]}: unknown field 'first_stage_score' in a document; the first stage's score of a "
        "document is its 'score'"
    )


@pytest.mark.parametrize("dialect", sorted(DIALECTS.keys() - {"cohere", "cohere-v1"}))
def test_other_unknown_fields_are_ignored_as_those_servers_do(server: Running, dialect: str):
    others: Body = {"first_page": 1, "first_name": "x", "scores": [1], "stage": 2, "f" * 10_000: 3}
    assert ask(server, dialect, **others) == ask(server, dialect)


def test_of_millions_of_unknown_fields_only_some_are_compared(monkeypatch: pytest.MonkeyPatch):
    compared: list[str] = []
    monkeypatch.setattr(dialect, "_meant", compared.append)
    body: Body = {"query": "a", "documents": [{"text": "b", **{f"d{number}": 1 for number in range(1000)}}]}
    JINA.asked(body | {f"f{number}": 1 for number in range(1000)})
    assert 100 < len(compared) <= 200


@pytest.mark.parametrize("number", ["1e999", "-1e999", f"1{'0' * 400}"])
def test_scores_that_are_not_finite_are_refused(server: Running, number: str):
    for sent in (f'["a", "b"], "first_stage_scores": [1, {number}]', f'["a", {{"text": "b", "score": {number}}}]'):
        content = f'{{"query": "a", "documents": {sent}}}'
        answer = server.client.post("/v1/rerank", content=content)
        assert answer.status_code == 422, answer.text
        assert "score" in answer.json()["detail"]


@pytest.mark.parametrize("dialect", OBJECTS)
def test_scores_that_some_documents_lack_are_refused(server: Running, dialect: str):
    documents = [{"text": "a", "score": 1.0}, {"text": "b"}, "c"]
    assert "document 1: has no number in the field 'score', others have one" in complaint(server, dialect, documents)
    whole = [{"text": "a", "score": 1.0}, {"text": "b", "score": 2}]
    twice = complaint(server, dialect, whole, first_stage_scores=[1.0, 2.0])
    assert twice == "first_stage_scores: the documents hold scores too; send one of both"
    assert "first_stage 'none': takes no scores" in complaint(server, dialect, whole, first_stage="none")


def test_a_score_that_is_no_number_is_named(server: Running):
    documents = [{"text": "a", "score": "1"}, {"text": "b", "score": "2"}]
    said = "documents.0: expected a valid string or an object with a valid number in the field 'score'"
    assert complaint(server, "jina", documents) == said


def test_pairs_of_several_queries_have_no_first_stage(server: Running, offline: Reranker):
    queries = [question for question, _ in TOPICS["en"]][:2]
    more = {"text_1": queries, "first_stage_scores": [1.0, 2.0]}
    assert complaint(server, "vllm-score", DOCUMENTS[:2], **more) == (
        "first_stage: expected one query for all documents, got 2"
    )
    answer = server.post("/score", {"text_1": queries, "text_2": DOCUMENTS[:2], "first_stage": "none"}).json()
    wanted = offline.predict(list(zip(queries, DOCUMENTS[:2], strict=True)))
    assert [one["score"] for one in answer["data"]] == pytest.approx(wanted, abs=1e-6)


# What is told


@pytest.mark.parametrize(("path", "model"), [("/v2/rerank", "weighed"), ("/v1/rerank", "plain")])
def test_an_unknown_first_stage_is_told_in_answer_and_log(server: Running, path: str, model: str):
    said = io.StringIO()
    log_to(said)
    sent = {"model": model, "query": QUERY, "documents": DOCUMENTS, "first_stage_scores": SCORES}
    assert "warnings" not in server.post(path, sent).json()["meta"]
    (warning,) = server.post(path, {**sent, "first_stage": "elastic"}).json()["meta"]["warnings"]
    known, weight = ("bm25, order, other", "0.3") if model == "weighed" else ("bm25, hybrid", "1")
    assert warning == (
        f"first_stage 'elastic': this model has no weight for it, so that of any other was taken, {weight}; "
        f"it knows {known}"
    )
    server.get("/v1/models")  # the line of a request is written after its answer
    lines = [json.loads(line) for line in said.getvalue().splitlines()]
    assert [line.get("warning") for line in lines if line.get("path") == path] == [None, warning]


def test_an_order_that_adds_nothing_is_told(server: Running, offline: Reranker):
    sent = {"model": "plain", "query": QUERY, "documents": DOCUMENTS, "first_stage": "order"}
    answer = server.post("/v2/rerank", sent).json()
    assert answer["meta"]["warnings"] == [
        "first_stage 'order': this model has no weight for the order of documents, so nothing was added"
    ]
    same(results(answer), offline, "none")


def test_metrics_tell_documents_in_order_from_those_in_any(weighed_folder: Path, offline: Reranker):
    """Whatever is added: the model alone is asked whether the first given document is among its best three."""
    order = [one["corpus_id"] for one in offline.rank(QUERY, DOCUMENTS)]
    with served({"m": weighed_folder}) as server:
        for place, first in enumerate(order):
            others = [i for i in order if i != first]
            ask(server, "cohere", [DOCUMENTS[i] for i in [first, *others]], model="m", **SAID[place % 2][0])
        ask(server, "cohere", DOCUMENTS[:3], model="m")  # of three, any is among the best three
        lines = dict(line.rsplit(" ", 1) for line in server.get("/metrics").text.splitlines() if line[0] != "#")
    found = {name.split("{")[0]: float(value) for name, value in lines.items() if 'model="m"' in name}
    assert found["tamis_ranked_requests_total"] == len(DOCUMENTS)
    assert found["tamis_first_given_in_best_three_total"] == 3
    assert found["tamis_first_given_in_best_three_by_chance_total"] == pytest.approx(3)


@pytest.mark.parametrize(("given", "mean"), [("best first", 1.0), ("worst first", 0.0), ("any", 0.5)])
def test_metrics_tell_how_far_the_model_agrees_with_the_given_order(weighed_folder, offline, given, mean):
    order = [one["corpus_id"] for one in offline.rank(QUERY, DOCUMENTS)]
    rng = np.random.default_rng(3)
    orders = (
        [rng.permutation(order) for _ in range(40)] if given == "any" else [order[:: -1 if "worst" in given else 1]]
    )
    with served({"m": weighed_folder}) as server:
        for sent in orders:
            ask(server, "cohere", [DOCUMENTS[i] for i in sent], model="m", first_stage="order")
        ask(server, "cohere", DOCUMENTS[:3], model="m")  # too few to say anything
        lines = dict(line.rsplit(" ", 1) for line in server.get("/metrics").text.splitlines() if line[0] != "#")
    found = {name.split("{")[0]: float(value) for name, value in lines.items() if 'model="m"' in name}
    assert found["tamis_ranked_requests_total"] == len(orders)
    error = 4 / np.sqrt(4 * len(orders) * (len(DOCUMENTS) - 1)) if given == "any" else 1e-9  # as the page says
    assert found["tamis_given_order_agreement_total"] / len(orders) == pytest.approx(mean, abs=error)


# What the documentation says


PAGE = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
SECTION = PAGE.split("## The first stage\n")[1].split("\n## ")[0]


def test_the_requests_of_the_documentation_are_answered(server: Running):
    calls = re.findall(r"^curl localhost:8000(\S+) -d '(.*)'$", SECTION, re.MULTILINE)
    assert [path for path, _ in calls] == ["/v2/rerank", "/v1/rerank", "/rerank", "/rerank", "/score"]
    for path, body in calls:
        answer = server.post(path, json.loads(body.replace('"model": "model"', '"model": "weighed"')))
        assert answer.status_code == 200, answer.text


def test_the_documentations_lines_work(server: Running, capsys: pytest.CaptureFixture):
    code = SECTION.split("```py\n")[1].split("```")[0].replace('"tamis-base"', '"weighed"')
    with httpx.Client() as http:
        here = code.replace('base_url="http://localhost:8000"', f'base_url="{server.url}", httpx_client=http')
        exec(compile(here, "serving.md", "exec"), {"http": http})
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_the_counters_of_the_documentation_are_there(server: Running):
    ask(server, "cohere")
    told = server.get("/metrics").text
    names = re.findall(r"^\| `(tamis_\w+)` \|", SECTION, re.MULTILINE)
    assert len(names) == 4
    assert all(f"\n{name}{{" in told for name in names)
