"""What the report is made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tamis.records import Document, Query, TrainingList


@dataclass(frozen=True)
class ReportData:
    """Everything the page shows. An empty part leaves its section out.

    Attributes:
        title: Heading of the page.
        results: The evaluation's `results.json`, see docs/results.md, with a set and a `run`. Figures and differences
            lie in [0, 1] and [-1, 1]; the page shows them times 100, as points. Empty without an evaluation.
        merge_path: domains, agreement (by model and domain), steps, t_curves, order, first_stage_weights,
            weights_by_language, weight_curves.
        curves: For `general` and each specialist: loss and agreement as [step, value] pairs, and the chosen step.
        manifests: One per stage, in the order of the flow: stage, key, counts {in, kept, dropped: {reason: n}},
            languages {language: records kept}, generators {query writer: counts} of queries and lists, seconds,
            versions, settings. All but `stage` may be missing.
        costs: Costs of the whole run: seconds, and peak_memory_bytes.
        documents: By id; those that queries and runs name, missing ones are shown as such.
        queries: Synthetic and given queries by id.
        lists: All training lists that were drawn.
        questions: Text of the test questions by id.
        question_languages: Language of each test question.
        relevant: Ids of the relevant documents of each test question.
        per_query: nDCG@10 in [0, 1] by system and question.
        runs: The first ten document ids, best first, by system and question.
        origin: What the students are made from, by what it is called: Initialiser, Teacher ...
        recipe: As YAML, to run it again.
        model_bytes: Size of the merged student's folder in bytes.
    """

    title: str
    results: Mapping[str, Any]
    merge_path: Mapping[str, Any]
    curves: Mapping[str, Any]
    manifests: Sequence[Mapping[str, Any]]
    costs: Mapping[str, float]
    documents: Mapping[str, Document]
    queries: Mapping[str, Query]
    lists: Sequence[TrainingList]
    questions: Mapping[str, str]
    question_languages: Mapping[str, str]
    relevant: Mapping[str, set[str]]
    per_query: Mapping[str, Mapping[str, float]]
    runs: Mapping[str, Mapping[str, Sequence[str]]]
    origin: Mapping[str, str] = field(default_factory=dict)
    recipe: str = ""
    model_bytes: int = 0
