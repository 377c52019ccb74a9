"""The stage merge: from specialists to one model that knows its first stages."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

from safetensors.torch import load_file

from tamis.artifacts import versions, write_json
from tamis.artifacts.inputs import input_hashes
from tamis.context import RunContext
from tamis.file_modes import write_tensors
from tamis.models.checkpoint import Deployment, deployed_weights, find_checkpoint, read_facts
from tamis.models.saving import save_student
from tamis.models.student import Student
from tamis.progress import track
from tamis.records import Facts, TrainingList
from tamis.stages.corpus.identity import documents_hash
from tamis.stages.lists.held_out import domains_of
from tamis.stages.lists.settings import GENERAL
from tamis.stages.merge.graded import GradedJudge, GradedQuestions, read_graded
from tamis.stages.merge.judge import judge_students
from tamis.stages.merge.merge import MergeCurve, MergePath, judgements, merge_specialists
from tamis.stages.merge.model_card import Provenance, model_card, target_facts
from tamis.stages.merge.previous_runs import old_domains_identity
from tamis.stages.merge.settings import MergeSettings
from tamis.stages.merge.weigh import HeadScorer, judged_files, level_of, weighing_queries
from tamis.stages.merge.weights import RerankedHead, Weights, choose_weights
from tamis.stages.student.factory import StudentFactory
from tamis.stages.train.agreement import TrainingTexts
from tamis.stages.train.settings import TrainSettings
from tamis.stages.train.stage import training_texts


@dataclass(frozen=True)
class MergeStage:
    """Merges the specialists, weighs the first stages beside the result, calibrates it, writes it with its card.

    Attributes:
        settings: How is merged and weighed.
        training: How labels become grades.
        provenance: Where the model comes from.
        weighing: Reranks the heads of the first stages.
        students: Makes the student.
        context: The run.
    """

    settings: MergeSettings
    training: TrainSettings
    provenance: Provenance
    weighing: HeadScorer
    students: StudentFactory
    context: RunContext
    name: ClassVar = "merge"
    reads: ClassVar = ("corpus", "queries", "lists", "train")
    version: ClassVar = 17

    def key(self) -> object:
        """Settings of the merge, and the depth for which it weighs the first stages."""
        settings = self.settings.model_dump(mode="json", exclude={"judged", "keep", "weigh_on"})
        depth, seed = self.weighing.depth, self.provenance.seed
        facts = [settings, old_domains_identity(self.settings.keep), depth, seed]
        if folder := self.settings.judged:
            facts += ["judged", documents_hash(folder), input_hashes(judged_files(folder), self.name)]
        if folder := self.settings.weigh_on:
            return [*facts, documents_hash(folder), input_hashes(judged_files(folder), self.name)]
        known = deployed_weights(self.students.settings.start)  # what a higher weight has to surely beat
        return [*facts, known["general"]] if known else facts

    def run(self, folder: Path) -> Facts:
        """Fill the folder of the stage."""
        lists, texts = training_texts(self.students)
        student = self.students.untrained()
        graded = self._graded()
        path = self._merge(student, lists, texts, GradedJudge(self.students, graded) if graded else None)
        weights, heads = self._weigh(student, lists)
        student.lower(level_of(heads["hybrid"]))
        gate: Facts = {"by": "grades", "questions": len(graded.questions)} if graded else {"by": "agreement"}
        self._save(folder, student, path, weights, lists, gate)
        tried = len(path.steps)
        refused = Counter("a domain falls" if step.reason else "another step was better" for step in path.steps)
        refused.pop("another step was better", None)
        facts: Facts = {"counts": {"in": tried, "kept": tried - sum(refused.values()), "dropped": dict(refused)}}
        left_out = left_out_specialists(domains_of(lists), path, self.context.folders["train"].name)
        return facts | ({"warnings": left_out} if left_out else {})

    def _graded(self) -> GradedQuestions | None:
        folder = self.settings.judged
        return read_graded(folder, self.weighing.corpus.max_chars) if folder else None

    def _merge(
        self, student: Student, lists: Sequence[TrainingList], texts: TrainingTexts, graded: GradedJudge | None
    ) -> MergePath:
        """Merge the specialists; the student is left with the result."""
        settings = self.settings
        judge = judge_students(
            self.students, student, lists, texts, self.training, settings.held_out, settings.keep, graded
        )
        trained = {path.stem: load_file(path) for path in self.context.folders["train"].glob("*.safetensors")}
        specialists = {domain: trained[domain] for domain in domains_of(lists)}
        if settings.keep:
            # Between a model and its own child there is no common parent but the model: SLERP turns the weights then.
            specialists["start"] = trained["untrained"]
        with track("judging merges", judgements(len(specialists), len(settings.t), settings.refine)) as advance:
            model, path = merge_specialists(
                specialists, trained[GENERAL], trained["untrained"], judge, settings, advance
            )
        student.load_trained(model)
        return path

    def _weigh(
        self, student: Student, lists: Sequence[TrainingList]
    ) -> tuple[Weights, Mapping[str, Sequence[RerankedHead]]]:
        """Weights of the first stages beside the merged student, and the heads, by first stage, they follow from."""
        settings, start = self.settings, self.students.settings.start
        if settings.weigh_on:
            heads = self.weighing.judged(student, settings.weigh_on)
            return choose_weights(heads, settings.first_stage_weights), heads
        heads = self.weighing.held_out(student, weighing_queries(lists, self.context.queries))
        known = read_facts(find_checkpoint(start)).deployment.first_stage_weights if start else {}
        return choose_weights(heads, settings.first_stage_weights, known), heads

    def _save(
        self,
        folder: Path,
        student: Student,
        path: MergePath,
        weights: Weights,
        lists: Sequence[TrainingList],
        gate: Facts,
    ) -> None:
        """Write how the student was merged, its trained tensors, and the model's folder with its card."""
        write_json(folder / "path.json", {**_path_facts(path, weights), "gate": gate})
        write_tensors(folder / "merged.safetensors", student.trained())
        deployment = Deployment(weights.general, self._lineage(path), weights.by_language)
        save_student(student, folder / "model", deployment)
        card = model_card(self.provenance, self.context, deployment, lists)
        (folder / "model" / "README.md").write_text(card, encoding="utf-8")

    def _lineage(self, path: MergePath) -> Facts:
        made, folders = self.provenance, self.context.folders
        return {
            "recipe": made.recipe,
            "seed": made.seed,
            "start": str(made.start),
            "encoder": str(made.encoder),
            "teacher": made.teacher,
            "target": target_facts(made.target, self.context.target),
            "parents": path.order,
            "stages": {name: folders[name].name for name in ("corpus", "queries", "scores", "lists", "train")},
            "agreement": path.agreement["merged"],
            "weighed_on": str(self.settings.weigh_on or "held-out queries"),
            **({"judged_on": str(self.settings.judged)} if self.settings.judged else {}),
            "versions": versions(),
        }


def left_out_specialists(domains: Sequence[str], path: MergePath, training: str) -> list[str]:
    """A line for each specialist that is no part of the result, with the place of its weights.

    Args:
        domains: With a specialist.
        path: How the result came about.
        training: Key of the stage train.
    """
    return [
        f"the specialist {domain} is not in the model, which is made of {', '.join(path.order)}: with it a domain "
        f"fell, or nothing rose; its layers lie in train/{training}/{domain}.safetensors of the run folder"
        for domain in domains
        if domain not in path.order
    ]


def _path_facts(path: MergePath, weights: Weights) -> Facts:
    return {
        "domains": list(path.agreement["merged"]),
        "agreement": path.agreement,
        "steps": [_step_facts(asdict(step)) for step in path.steps],
        "t_curves": [_curve_facts(curve) for curve in path.curves()],
        "order": path.order,
        "first_stage_weights": weights.general,
        "weights_by_language": weights.by_language,
        "weight_curves": weights.curves,
    }


def _step_facts(step: Facts) -> Facts:
    statistics = step.pop("statistics")
    return {
        "merged": list(step["merged"]),
        "with": step["other"],
        "t": step["t"],
        "agreement": step["agreement"],
        "accepted": step["accepted"],
        "reason": step["reason"],
        "linear": statistics["linear"],
        "tensors": statistics["tensors"],
        "mean_angle": statistics["mean_angle"],
        "layer_angles": statistics["layer_angles"],
    }


def _curve_facts(curve: MergeCurve) -> Facts:
    points = [point._asdict() for point in curve.points]
    return {"merged": list(curve.merged), "with": curve.other, "points": points}
