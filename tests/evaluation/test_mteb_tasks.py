"""A local task of mteb becomes a judged set, with the candidates that it brings, and scores what mteb finds."""

import json
import re
import sys

import datasets
import mteb
import pytest
from huggingface_hub import constants

from tamis.evaluation.mteb_tasks import read_mteb_task
from tamis.evaluation.sets import TASK
from tamis.integrations.mteb import TamisCrossEncoder
from tests.commands import tamis
from tests.conftest import write_beir
from tests.integrations.test_mteb import LocalReranking

pytestmark = pytest.mark.filterwarnings("ignore")


class TwoLanguages(LocalReranking):
    """The same questions as two subsets."""

    metadata = LocalReranking.metadata.model_copy(
        update={"name": "TwoLanguages", "eval_langs": {"de": ["deu-Latn"], "en": ["eng-Latn"]}}
    )

    def load_data(self, *args, **kwargs):
        if not self.data_loaded:
            super().load_data()
            self.dataset = {subset: self.dataset["default"] for subset in self.hf_subsets}


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """mteb knows the local tasks by their names, as it knows its own."""
    for task in (LocalReranking, TwoLanguages):
        monkeypatch.setitem(sys.modules["mteb.get_tasks"]._TASKS_REGISTRY, task.metadata.name, task)


def test_a_reranking_task_gives_its_own_candidates_and_mtebs_figures(stock_folder, tmp_path):
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
    model = TamisCrossEncoder(stock_folder)
    quiet = {"cache": None, "overwrite_strategy": "always", "show_progress_bar": False}
    theirs = mteb.evaluate(model, LocalReranking(), **quiet).task_results[0].scores["test"][0]
    for name, key in {"nDCG@10": "ndcg_at_10", "AP": "map_at_1000", "RR@10": "mrr_at_10"}.items():
        assert ours[name] == pytest.approx(theirs[key], abs=1e-5), name


def test_subsets_are_sets_and_one_can_be_named():
    names = [judged.name for judged in read_mteb_task("mteb:TwoLanguages", "TwoLanguages")]
    assert names == ["TwoLanguages-de", "TwoLanguages-en"]
    (german,) = read_mteb_task("mteb:TwoLanguages:de", "TwoLanguages:de")
    assert german.name == "TwoLanguages-de"
    assert {question.language for question in german.questions.values()} == {"deu"}


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("NoSuchTask", "mteb knows no task 'NoSuchTask'"),
        ("STS12", "STS12 is no retrieval or reranking task"),
        ("TwoLanguages:fr", "TwoLanguages has no subset 'fr'; it has de, en"),
        ("SciFact", r"mteb cannot load SciFact \(.+\); it needs a model hub, or a machine that has loaded it before"),
    ],
)
def test_a_task_that_cannot_be_measured_is_one_line(monkeypatch, tmp_path, named, message):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    found = tamis("evaluate", "--on", f"mteb:{named}", "--out", tmp_path / "out")
    assert found.status == 2
    assert re.fullmatch(f"--on mteb:{named}: {message}", found.complaint)


def test_lists_that_no_set_brings_are_refused(tmp_path):
    complaint = tamis("evaluate", "--on", write_beir(tmp_path / "set"), "--first", TASK).complaint
    assert complaint == "--first task: no such first stage; expected bm25, dense, hybrid or NAME=FILE"
