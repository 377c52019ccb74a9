"""mteb runs a local reranking task with a tamis reranker, and finds what it finds with sentence-transformers' own; the
task is a judged set of tamis too. What is slow to import is imported by the tests.
"""

import json
import re
import sys
from contextlib import closing

import numpy as np
import pytest

from tamis import Reranker
from tamis.artifacts import ItemStore
from tamis.evaluation.candidates import Wanted, find
from tamis.evaluation.mteb_tasks import read_mteb_task
from tamis.evaluation.sets import TASK
from tamis.formulas.measures import measure_rankings, parse_measures
from tests.commands import tamis
from tests.conftest import write_beir
from tests.families import build_querit

pytestmark = pytest.mark.filterwarnings("ignore")


def test_mteb_finds_the_same_as_with_sentence_transformers(stock_folder):
    from sentence_transformers import CrossEncoder

    from tamis.integrations.mteb import TamisCrossEncoder
    from tests.integrations.local_task import scores

    ours, theirs = scores(TamisCrossEncoder(stock_folder)), scores(CrossEncoder(str(stock_folder)))
    for name in ("ndcg_at_10", "map_at_10", "mrr_at_10", "recall_at_5"):
        assert ours[name] == pytest.approx(theirs[name], abs=1e-6)
    assert 0 < ours["ndcg_at_10"] < 1


def test_instructions_of_a_task_reach_the_model_query_by_query(tmp_path):
    from tamis.integrations.mteb import TamisCrossEncoder
    from tests.integrations.local_task import PAIRS

    model = TamisCrossEncoder(build_querit(tmp_path / "querit", "qwen3"))
    told = ["Find it.", "Find it.", ""]
    pairs = PAIRS[:3]
    texts = [query for query, _ in pairs]
    queries = [{"text": [f"{query} {each}" for query, each in zip(texts, told, strict=True)], "query": texts}]
    queries[0]["instruction"] = told
    found = model.predict(queries, [{"text": [document for _, document in pairs]}])
    plain = Reranker(tmp_path / "querit")
    expected = [*plain.score_pairs(pairs[:2], "Find it.").logits, *plain.score_pairs(pairs[2:]).logits]
    assert found == pytest.approx(expected, abs=1e-5)
    assert model.mteb_model_meta.name == "tamis/querit"


@pytest.fixture
def registered(monkeypatch):
    """mteb knows the local tasks by their names, as it knows its own."""
    from tests.integrations import local_task as local

    tasks = (local.AmongThemselves, local.LocalReranking, local.TwoLanguages, local.OlderForm, local.Instructed)
    for task in (*tasks, local.Conversations, local.Pictures, local.Several):
        monkeypatch.setitem(sys.modules["mteb.get_tasks"]._TASKS_REGISTRY, task.metadata.name, task)


@pytest.mark.usefixtures("registered")
def test_a_task_that_ignores_identical_ids_has_the_figures_of_mtebs_evaluator(tmp_path):
    from mteb._evaluators.retrieval_evaluator import RetrievalEvaluator

    (judged,) = read_mteb_task("mteb:AmongThemselves", "AmongThemselves")
    assert judged.own == judged.questions.keys()
    every = {q: found.doc_ids for q, found in judged.given[TASK].items()}
    scores = {q: {d: 100.0 - rank for rank, d in enumerate(ranked)} for q, ranked in every.items()}
    evaluator = RetrievalEvaluator.__new__(RetrievalEvaluator)  # its evaluate needs nothing that it is made with
    theirs = evaluator.evaluate(judged.grades, scores, [5, 10], ignore_identical_ids=True)
    with closing(ItemStore(tmp_path / "items.sqlite")) as items:
        found = find(judged, Wanted([TASK], {}, 5, "any", None), items)[TASK]
    rankings = ((q, candidates.doc_ids) for q, candidates in found.items())
    ours = measure_rankings(rankings, judged.grades, parse_measures(["nDCG@10", "R@5"]))
    assert np.mean(list(ours["nDCG@10"].values())) == pytest.approx(theirs.ndcg["NDCG@10"], abs=1e-5)
    assert np.mean(list(ours["R@5"].values())) == pytest.approx(theirs.recall["Recall@5"], abs=1e-5)


@pytest.mark.usefixtures("registered")
def test_a_reranking_task_gives_its_own_candidates_and_mtebs_figures(stock_folder, tmp_path):
    from tamis.integrations.mteb import TamisCrossEncoder
    from tests.integrations.local_task import scores

    (judged,) = read_mteb_task("mteb:LocalReranking", "LocalReranking")
    assert (judged.name, len(judged.documents), len(judged.questions)) == ("LocalReranking", 20, 20)
    assert {question.language for question in judged.questions.values()} == {"eng"}
    assert all(len(found.doc_ids) == 20 for found in judged.given[TASK].values())
    # Whatever the depth: of a list without an order nothing can be left out. A folder has no lists of its own.
    asked = ("--on", "mteb:LocalReranking", "--on", write_beir(tmp_path / "set"), "--first", "bm25", "--first", TASK)
    found = tamis("evaluate", f"m={stock_folder}", *asked, "--depth", 5, "--out", tmp_path / "out")
    assert found.status == 0, found.err
    sets = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))["sets"]
    assert "m@task" not in sets["set"]["figures"]
    ours = sets["LocalReranking"]["figures"]["m@task"]
    theirs = scores(TamisCrossEncoder(stock_folder))
    for name, key in {"nDCG@10": "ndcg_at_10", "AP": "map_at_1000", "RR@10": "mrr_at_10"}.items():
        assert ours[name] == pytest.approx(theirs[key], abs=1e-5), name


@pytest.mark.usefixtures("registered")
def test_subsets_are_sets_and_one_can_be_named():
    names = [judged.name for judged in read_mteb_task("mteb:TwoLanguages", "TwoLanguages")]
    assert names == ["TwoLanguages-de", "TwoLanguages-en"]
    (german,) = read_mteb_task("mteb:TwoLanguages:de", "TwoLanguages:de")
    assert german.name == "TwoLanguages-de"
    assert {question.language for question in german.questions.values()} == {"deu"}


@pytest.mark.usefixtures("registered")
def test_a_task_with_a_loader_of_its_own_is_the_same_set():
    (older,), (newer,) = (read_mteb_task(f"mteb:{name}", name) for name in ("OlderForm", "LocalReranking"))
    assert (older.documents, older.questions) == (newer.documents, newer.questions)


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("name", ["LocalReranking", "Instructed", "Conversations"])
def test_queries_are_read_as_mteb_reads_them(name):
    import mteb
    from mteb._create_dataloaders import _retrieval_texts
    from mteb.types import PromptType

    (judged,) = read_mteb_task(f"mteb:{name}", name)
    task = mteb.get_task(name)
    task.load_data()
    theirs = _retrieval_texts(task.dataset["default"]["test"]["queries"], PromptType.query)
    assert [question.text for question in judged.questions.values()] == theirs


@pytest.mark.usefixtures("registered")
def test_a_task_made_of_tasks_is_their_sets():
    assert [judged.name for judged in read_mteb_task("mteb:Several", "Several")] == ["LocalReranking", "OlderForm"]


def test_an_instruction_that_a_model_has_no_place_for_is_read_behind_the_query(stock_folder):
    from sentence_transformers import CrossEncoder

    from tamis.integrations.mteb import TamisCrossEncoder
    from tests.integrations.local_task import Instructed, scores

    ours, theirs = (
        scores(one, Instructed) for one in (TamisCrossEncoder(stock_folder), CrossEncoder(str(stock_folder)))
    )
    assert ours["ndcg_at_10"] == pytest.approx(theirs["ndcg_at_10"], abs=1e-6)


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("Pictures", "Pictures is about image; expected a task of text alone"),
        ("Several:de", "Several is made of tasks and has no subset 'de'; name one of LocalReranking, OlderForm"),
        ("NoSuchTask", "mteb knows no task 'NoSuchTask'"),
        ("STS12", "STS12 is no retrieval or reranking task"),
        ("TwoLanguages:fr", "TwoLanguages has no subset 'fr'; it has de, en"),
        ("SciFact", r"mteb cannot load SciFact \(.+\); it needs a model hub, or a machine that has loaded it before"),
    ],
)
def test_a_task_that_cannot_be_measured_is_one_line(monkeypatch, tmp_path, named, message):
    import datasets
    from huggingface_hub import constants

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    found = tamis("evaluate", "--on", f"mteb:{named}", "--out", tmp_path / "out")
    assert found.status == 2
    assert re.fullmatch(f"--on mteb:{named}: {message}", found.complaint)


def test_lists_that_no_set_brings_are_refused(tmp_path):
    complaint = tamis("evaluate", "--on", write_beir(tmp_path / "set"), "--first", TASK).complaint
    assert complaint == "--first task: no such first stage; expected bm25, dense, hybrid or NAME=FILE"
