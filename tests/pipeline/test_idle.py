"""Settings that do nothing beside the others of their recipe are named, and no others."""

import pytest

from tamis.pipeline.idle import idle_settings
from tamis.pipeline.reading import recipe_from


def idle(recipe, **sections):
    plain = recipe | {"student": {}}
    changed = plain | {name: {**plain.get(name, {}), **content} for name, content in sections.items()}
    return [line.partition(" does nothing in ")[0] for line in idle_settings(recipe_from(changed, "tiny"))]


LLAMA = {"model": "some.gguf"}


@pytest.mark.parametrize(
    ("sections", "named"),
    [
        ({"queries": {"generator": "extractive", "documents": 3}}, ["queries.documents"]),
        ({"queries": {"generator": "llama", "llama": LLAMA, "documents": 3}}, []),
        ({"queries": {"generator": "extractive", "temperatures": [0.1, 0.2]}}, ["queries.temperatures"]),
        ({"queries": {"generator": "extractive", "prompt": {"difficulty": "hard"}}}, ["queries.prompt"]),
        ({"queries": {"generator": "extractive", "llama": LLAMA}}, ["queries.llama"]),
        ({"queries": {"generator": "extractive", "per_document": 3}}, []),
        ({"queries": {"generator": [], "written": ["q.tsv"], "per_document": 3}}, ["queries.per_document"]),
        ({"train": {"loss": "margin-mse", "temperature": 2.0}}, ["train.temperature"]),
        ({"train": {"loss": "listwise", "temperature": 2.0}}, []),
        ({"train": {"loss": "listwise", "double_hard_margins": True}}, ["train.double_hard_margins"]),
        ({"student": {"head": "stock", "scale": 3.0}}, ["student.scale"]),
        ({"student": {"head": "warm", "scale": 3.0}}, []),
        ({"student": {"head": "warm"}, "machine": {"checkpointing": True}}, ["machine.checkpointing"]),
        ({"student": {"head": "warm", "document_tokens": 512}}, []),
        ({"train": {"written_per_given": 2}, "corpus": {"general": []}}, ["train.written_per_given"]),
        ({"train": {"written_per_given": 2}}, []),
        ({"corpus": {"passages": {"tokens": 64}}}, ["corpus.passages.tokens"]),
        ({"corpus": {"passages": {"tokens": 64, "by": "headings"}}}, []),
        ({"lists": {"domains": {"all": "*"}}, "merge": {"tolerance": 0.1}}, ["merge.tolerance"]),
        ({"merge": {"tolerance": 0.1}}, []),
        ({"evaluate": {"depth": 50}}, ["evaluate.depth above 10"]),
    ],
)
def test_what_does_nothing_is_named(recipe, sections, named):
    before = idle(recipe)
    assert [name for name in idle(recipe, **sections) if name not in before] == named
