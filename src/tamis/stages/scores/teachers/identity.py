"""What names a model in the keys of stages and items: the hash of its files, or what is told of it."""

from typing import Any, Final

from tamis.artifacts import item_key
from tamis.models.checkpoint import model_identity
from tamis.own_parts import Teacher as OwnTeacher
from tamis.remote.settings import PLACE_AND_PRICE
from tamis.stages.scores.settings import EncoderTeacher, JudgeTeacher, RerankerTeacher, ScoresSettings, Teacher
from tamis.stages.scores.teachers.judge import load_judge_prompt
from tamis.stages.scores.teachers.servers import OnServer

SPEED: Final = PLACE_AND_PRICE | {"weight", "batch"}
"""Settings of a teacher behind a server that change none of its scores."""


def teacher_facts(teacher: OnServer) -> dict[str, Any]:
    """Everything but the texts that a score by a server depends on; the length at which texts are cut is seen in them.

    Raises:
        InputError: The judge's template cannot be read.
    """
    facts = teacher.model_dump(mode="json", exclude=set(SPEED | {"template", "max_chars"}))
    if isinstance(teacher, JudgeTeacher):
        facts["prompt"] = load_judge_prompt(teacher.template).model_dump(mode="json")
    return facts


def teacher_identity(teacher: Teacher) -> str:
    """Hash of what a teacher is but its settings: its model's files, or the prompt of a judge."""
    if isinstance(teacher, EncoderTeacher | RerankerTeacher):
        return model_identity(teacher.path)
    if isinstance(teacher, OwnTeacher):
        return item_key(teacher.kind, *teacher.identity)
    return item_key(teacher_facts(teacher))


def teacher_of(settings: ScoresSettings) -> str:
    """The teacher's scorers with their weights: `1 bi-encoder + 0.5 BM25`."""
    weights = {"bi-encoder": settings.dense, "BM25": settings.bm25, "USE": settings.use}
    weights |= {teacher.name: teacher.weight for teacher in settings.teachers}
    return " + ".join(f"{weight:g} {name}" for name, weight in weights.items() if weight)
