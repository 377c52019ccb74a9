"""A local task of mteb becomes a judged set, with the candidates that it brings, and scores what mteb finds."""

import mteb
import pytest

from tamis.evaluation import reading
from tamis.evaluation.asked import Evaluation
from tamis.evaluation.evaluate import evaluate
from tamis.evaluation.mteb_tasks import TASK, sets_of_task
from tamis.integrations.mteb import TamisCrossEncoder
from tests.integrations.test_mteb import LocalReranking


@pytest.mark.filterwarnings("ignore")
def test_a_reranking_task_gives_its_own_candidates_and_mtebs_figures(stock_folder, tmp_path, monkeypatch):
    (judged,) = sets_of_task("mteb:LocalReranking", LocalReranking())
    assert (judged.name, len(judged.documents), len(judged.questions)) == ("LocalReranking", 20, 20)
    assert {question.language for question in judged.questions.values()} == {"eng"}
    assert all(len(found.doc_ids) == 20 for found in judged.given[TASK].values())
    monkeypatch.setattr(reading, "read_set", lambda *_: [judged])
    asked = Evaluation((f"m={stock_folder}",), ("mteb:LocalReranking",), first=(TASK,))
    ours = evaluate(asked, tmp_path / "out")["sets"]["LocalReranking"]["figures"]["m@task"]
    model = TamisCrossEncoder(stock_folder)
    quiet = {"cache": None, "overwrite_strategy": "always", "show_progress_bar": False}
    theirs = mteb.evaluate(model, LocalReranking(), **quiet).task_results[0].scores["test"][0]
    for name, key in {"nDCG@10": "ndcg_at_10", "AP": "map_at_1000", "RR@10": "mrr_at_10"}.items():
        assert ours[name] == pytest.approx(theirs[key], abs=1e-5), name
