"""Settings of a recipe that do nothing in it: whoever wrote them expects something of them, so they are named."""

from collections.abc import Iterator

from tamis.models.checkpoint import find_checkpoint, read_facts
from tamis.pipeline.recipe import Recipe

_NO_MODEL = "it is for language models, and queries.generator names none"
_WARM_ONLY = ("joint_layers", "apart_layers", "cross_bias", "scale", "match")
_SAID_BY_START = ("query_tokens", "document_tokens", "layers", "embeddings", "routers", "lora_rank")
"""Beside those of a new warm head: settings that a warm reranker which goes on has had since it was made."""


def idle_settings(recipe: Recipe) -> list[str]:
    """A line for each setting that was written down and changes nothing beside the others of its recipe.

    Raises:
        ModelError: the student's start is none.
    """
    found = (*_of_corpus(recipe), *_of_queries(recipe), *_of_student(recipe), *_of_learning(recipe), *_of_rest(recipe))
    return [f"{name} does nothing in {recipe.name}: {why}" for name, why in found]


def _of_corpus(recipe: Recipe) -> Iterator[tuple[str, str]]:
    passages = recipe.corpus.passages
    for name in ("tokens", "overlap"):
        if name in passages.model_fields_set and recipe.evaluate and passages.by == "auto":
            yield (
                f"corpus.passages.{name}",
                "auto cuts no documents that judged questions name (evaluate); set corpus.passages.by",
            )


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


def _of_student(recipe: Recipe) -> Iterator[tuple[str, str]]:
    student = recipe.student
    written = [name for name in (*_WARM_ONLY, *_SAID_BY_START) if name in student.model_fields_set]
    if written and student.head == "own" and student.start:
        warm = read_facts(find_checkpoint(student.start)).family == "warm"
        idle = {*_WARM_ONLY, *_SAID_BY_START} - {"apart_layers"} if warm else {*_WARM_ONLY}
        goes_on = f"{student.start} goes on as it was made"
        why = goes_on if warm else f"it is for warm students, and {student.start} is none"
        yield from ((f"student.{name}", why) for name in written if name in idle)
    elif student.head == "stock":
        why = "it is for warm students, and student.head is stock"
        yield from ((f"student.{name}", why) for name in written if name in _WARM_ONLY)


def _of_learning(recipe: Recipe) -> Iterator[tuple[str, str]]:
    student, train = recipe.student, recipe.train
    if train.double_hard_margins and train.loss != "gap-hinge":
        yield "train.double_hard_margins", f"it is for the loss gap-hinge, and train.loss is {train.loss}"
    if "temperature" in train.model_fields_set and train.loss != "listwise":
        yield "train.temperature", f"it is for the loss listwise, and train.loss is {train.loss}"
    if train.written_per_given is not None and not recipe.corpus.general:
        yield "train.written_per_given", "no query is given with a document where corpus.general names nothing"
    if recipe.machine.checkpointing and student.head == "warm":
        yield "machine.checkpointing", "it is not for warm students, and student.head is warm"


def _of_rest(recipe: Recipe) -> Iterator[tuple[str, str]]:
    merge, evaluate, found = recipe.merge, recipe.evaluate, recipe.candidates.depth
    for name in ("t", "refine", "tolerance"):
        if name in merge.model_fields_set and len(recipe.lists.domains) < 2 and not merge.keep:
            yield (
                f"merge.{name}",
                "there is nothing to merge: lists.domains has no second specialist, and merge.keep none",
            )
    if evaluate and "depth" in evaluate.model_fields_set and evaluate.depth > found:
        yield f"evaluate.depth above {found}", f"candidates.depth keeps no more than {found} candidates to rerank"
