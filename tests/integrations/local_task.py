"""Small tasks of mteb. Importing mteb takes seconds: only the tests that use it do, when they run."""

from typing import Any

import mteb
from datasets import Dataset
from mteb.abstasks.aggregate_task_metadata import AggregateTaskMetadata
from mteb.abstasks.aggregated_task import AbsTaskAggregate
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata

from tests.conftest import TOPICS

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


class TwoLanguages(LocalReranking):
    """The same questions as two subsets."""

    metadata = LocalReranking.metadata.model_copy(
        update={"name": "TwoLanguages", "eval_langs": {"de": ["deu-Latn"], "en": ["eng-Latn"]}}
    )

    def load_data(self, *args, **kwargs):
        if not self.data_loaded:
            super().load_data()
            self.dataset = {subset: self.dataset["default"] for subset in self.hf_subsets}


def scores(model: Any, task: type[LocalReranking] = LocalReranking) -> dict[str, float]:
    """What mteb finds for a model on the task."""
    results = mteb.evaluate(model, task(), cache=None, overwrite_strategy="always", show_progress_bar=False)
    return results.task_results[0].scores["test"][0]


class AmongThemselves(LocalReranking):
    """Answers that ask for other answers, as in ArguAna: each ranks all, itself among them."""

    ignore_identical_ids = True
    metadata = LocalReranking.metadata.model_copy(update={"name": "AmongThemselves"})

    def load_data(self, *args, **kwargs):
        if not self.data_loaded:
            super().load_data()
            found = self.dataset["default"]["test"]
            found["queries"] = found["corpus"].remove_columns("title")
            ids = list(found["relevant_docs"])
            found["relevant_docs"] = {one: {other: 1} for one, other in zip(ids, ids[1:] + ids[:1], strict=True)}


class OlderForm(LocalReranking):
    """The same as tasks with loaders of their own give it: queries, corpus and judgements by split."""

    metadata = LocalReranking.metadata.model_copy(update={"name": "OlderForm", "type": "Retrieval"})

    def load_data(self, *args, **kwargs):
        numbered = [(str(number), pair) for number, pair in enumerate(PAIRS)]
        self.corpus = {"test": {n: {"title": "", "text": answer} for n, (_, answer) in numbered}}
        self.queries = {"test": {n: question for n, (question, _) in numbered}}
        self.relevant_docs = {"test": {n: {n: 1} for n, _ in numbered}}
        self.data_loaded = True


class Instructed(LocalReranking):
    """Questions with an instruction each."""

    metadata = LocalReranking.metadata.model_copy(update={"name": "Instructed"})

    def load_data(self, *args, **kwargs):
        if not self.data_loaded:
            super().load_data()
            found = self.dataset["default"]["test"]
            told = [f"Only what was written in {1990 + n}." for n in range(len(PAIRS))]
            found["queries"] = found["queries"].add_column("instruction", told)


class Conversations(LocalReranking):
    """Questions as the last of two turns."""

    metadata = LocalReranking.metadata.model_copy(update={"name": "Conversations"})

    def load_data(self, *args, **kwargs):
        if not self.data_loaded:
            super().load_data()
            turns = [
                [{"role": "user", "content": "Hello."}, {"role": "user", "content": question}] for question, _ in PAIRS
            ]
            numbered = [{"id": str(number), "text": each} for number, each in enumerate(turns)]
            self.dataset["default"]["test"]["queries"] = Dataset.from_list(numbered)


class Pictures(LocalReranking):
    """Asks for images."""

    metadata = LocalReranking.metadata.model_copy(
        update={"name": "Pictures", "modalities": ["text", "image"], "category": "t2i"}
    )


class Several(AbsTaskAggregate):
    """Two tasks as one, as CQADupstackRetrieval is twelve."""

    metadata = AggregateTaskMetadata(
        name="Several",
        description="Two tasks.",
        tasks=[LocalReranking(), OlderForm()],
        main_score="ndcg_at_10",
        type="Retrieval",
        eval_splits=["test"],
    )
