"""Settings of a recipe that do nothing in it: whoever wrote them expects something of them, so they are named."""

from collections.abc import Iterator

from tamis.pipeline.recipe import Recipe

_NO_MODEL = "it is for language models, and queries.generator names none"
_WARM_ONLY = ("joint_layers", "apart_layers", "cross_bias", "scale", "match")


def idle_settings(recipe: Recipe) -> list[str]:
    """A line for each setting that was written down and changes nothing beside the others of its recipe."""
    found = (*_of_queries(recipe), *_of_learning(recipe))
    return [f"{name} does nothing in {recipe.name}: {why}" for name, why in found]


def _of_queries(recipe: Recipe) -> Iterator[tuple[str, str]]:
    queries = recipe.queries
    written = queries.model_fields_set
    for name in ("documents", "temperatures", "prompt"):
        if name in written and not set(queries.generator) - {"extractive"}:
            yield f"queries.{name}", _NO_MODEL
    for name in ("llama", "endpoint", "transformers"):
        if getattr(queries, name) is not None and name not in queries.generator:
            yield f"queries.{name}", "queries.generator does not name it"
    if "per_document" in written and not queries.generator:
        yield "queries.per_document", "it is for what queries.generator names, and that names nobody"


def _of_learning(recipe: Recipe) -> Iterator[tuple[str, str]]:
    student, train = recipe.student, recipe.train
    if train.double_hard_margins and train.loss != "gap-hinge":
        yield "train.double_hard_margins", f"it is for the loss gap-hinge, and train.loss is {train.loss}"
    if "temperature" in train.model_fields_set and train.loss != "listwise":
        yield "train.temperature", f"it is for the loss listwise, and train.loss is {train.loss}"
    for name in _WARM_ONLY:
        if name in student.model_fields_set and student.head == "stock":
            yield f"student.{name}", "it is for warm students, and student.head is stock"
    if recipe.machine.checkpointing and student.head == "warm":
        yield "machine.checkpointing", "it is not for warm students, and student.head is warm"
