"""What names a model in the keys of stages and items: the hash of its files, or what is told of it."""

from pathlib import Path
from typing import Any, Final

from tamis.artifacts import file_hash, item_key
from tamis.building.servers import OnServer
from tamis.models.checkpoint import find_checkpoint
from tamis.models.precision import Precision, fastest_precision
from tamis.settings import PLACE_AND_PRICE, EncoderTeacher, JudgeTeacher, Recipe, RerankerTeacher, Teacher
from tamis.teachers.judge import load_judge_prompt

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
    return item_key(teacher_facts(teacher))


def resolve_precision(recipe: Recipe) -> Precision:
    """The recipe's precision, `auto` resolved for this machine."""
    return fastest_precision() if recipe.precision == "auto" else recipe.precision


def model_identity(path: Path) -> str:
    """Hash of a model folder's files; a hub name stands for itself."""
    path = Path(find_checkpoint(path))
    return file_hash(path) if path.is_dir() else str(path)
