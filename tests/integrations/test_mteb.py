"""mteb runs a local reranking task with a tamis reranker, and finds what it finds with sentence-transformers' own."""

import mteb
import pytest
from datasets import Dataset
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata
from sentence_transformers import CrossEncoder

from tamis import Reranker
from tamis.integrations.mteb import TamisCrossEncoder
from tests.conftest import TOPICS
from tests.families import build_querit

PAIRS = [(question, answer) for topics in TOPICS.values() for question, answer in topics]


class LocalReranking(AbsTaskRetrieval):
    """The questions and answers of the tests: every question ranks all answers."""

    metadata = TaskMetadata(
        name="LocalReranking",
        description="Twenty questions.",
        dataset={"path": "local/none", "revision": "1"},
        type="Reranking",
        category="t2t",
        modalities=["text"],
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score="ndcg_at_10",
    )

    def load_data(self, *args, **kwargs):
        if self.data_loaded:
            return
        numbers = [str(number) for number in range(len(PAIRS))]
        documents = [{"id": n, "title": "", "text": answer} for n, (_, answer) in zip(numbers, PAIRS, strict=True)]
        queries = [{"id": n, "text": question} for n, (question, _) in zip(numbers, PAIRS, strict=True)]
        self.dataset = {
            "default": {
                "test": {
                    "corpus": Dataset.from_list(documents),
                    "queries": Dataset.from_list(queries),
                    "relevant_docs": {number: {number: 1} for number in numbers},
                    "top_ranked": {number: numbers for number in numbers},
                }
            }
        }
        self.data_loaded = True


def scores(model):
    results = mteb.evaluate(model, LocalReranking(), cache=None, overwrite_strategy="always", show_progress_bar=False)
    return results.task_results[0].scores["test"][0]


@pytest.mark.filterwarnings("ignore")
def test_mteb_finds_the_same_as_with_sentence_transformers(stock_folder):
    ours, theirs = scores(TamisCrossEncoder(stock_folder)), scores(CrossEncoder(str(stock_folder)))
    for name in ("ndcg_at_10", "map_at_10", "mrr_at_10", "recall_at_5"):
        assert ours[name] == pytest.approx(theirs[name], abs=1e-6)
    assert 0 < ours["ndcg_at_10"] < 1


@pytest.mark.filterwarnings("ignore")
def test_instructions_of_a_task_reach_the_model_query_by_query(tmp_path):
    model = TamisCrossEncoder(build_querit(tmp_path / "querit", "qwen3"))
    told = ["Find it.", "Find it.", ""]
    pairs = PAIRS[:3]
    queries = [{"text": [query for query, _ in pairs], "instruction": told}]
    found = model.predict(queries, [{"text": [document for _, document in pairs]}])
    plain = Reranker(tmp_path / "querit")
    expected = [*plain.score_pairs(pairs[:2], "Find it.").logits, *plain.score_pairs(pairs[2:]).logits]
    assert found == pytest.approx(expected, abs=1e-5)
    assert model.mteb_model_meta.name == "tamis/querit"
