"""What the report is made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tamis.records import Document, Query, TrainingList
from tamis.report.examples import ChangedQuestions


@dataclass(frozen=True)
class ReportData:
    """Everything the page shows, of a recipe's run and of `tamis evaluate`. An empty part leaves its section out.

    Attributes:
        title: Heading of the page.
        results: The content of `results.json`, see docs/results.md. Figures and differences lie in [0, 1] and [-1, 1];
            the page shows them times 100, as points. Empty of a run without an evaluation.
        changed: Questions to read; of those sets that have some.
        merge_path: domains, agreement (by model and domain), steps, t_curves, order, first_stage_weights,
            weights_by_language, weight_curves.
        curves: For `general` and each specialist: loss and agreement as [step, value] pairs, and the chosen step.
        manifests: One per stage, in the order of the flow: stage, key, counts {in, kept, dropped: {reason: n}},
            languages {language: records kept}, generators {query writer: counts} of queries and lists, seconds,
            versions, settings. All but `stage` may be missing.
        costs: Costs of the whole run: seconds, and peak_memory_bytes.
        documents: By id; those that written queries come from.
        queries: Synthetic and given queries by id.
        lists: All training lists that were drawn.
        origin: What the students are made from, by what it is called: Initialiser, Teacher ...
        recipe: As YAML, to run it again.
        model_bytes: Size of the merged student's folder in bytes.
        since: What differs from the run before in the same folder: its model, documents and work; empty where none was.
    """

    title: str
    results: Mapping[str, Any] = field(default_factory=dict)
    changed: Sequence[ChangedQuestions] = ()
    merge_path: Mapping[str, Any] = field(default_factory=dict)
    curves: Mapping[str, Any] = field(default_factory=dict)
    manifests: Sequence[Mapping[str, Any]] = ()
    costs: Mapping[str, float] = field(default_factory=dict)
    documents: Mapping[str, Document] = field(default_factory=dict)
    queries: Mapping[str, Query] = field(default_factory=dict)
    lists: Sequence[TrainingList] = ()
    origin: Mapping[str, str] = field(default_factory=dict)
    recipe: str = ""
    model_bytes: int = 0
    since: Mapping[str, Any] = field(default_factory=dict)
