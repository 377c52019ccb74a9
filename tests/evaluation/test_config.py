"""What `tamis evaluate` is asked for and its command line say the same."""

import shlex
from dataclasses import fields, replace
from pathlib import Path

import pytest

from tamis.errors import InputError, SettingsError
from tamis.evaluation.candidates import BiEncoder
from tamis.evaluation.config import OPTIONS, EvaluationConfig, command_of
from tests.commands import tamis

PLAIN = EvaluationConfig(models=("one=some/model",), sets=("irds:one", "irds:two"))
NO_OPTION = {"models", "rounds"}


@pytest.fixture
def understood(monkeypatch):
    """What the command line makes of its words, without measuring anything."""
    seen = []

    def stop(asked, out):
        seen.append((asked, out))
        raise SettingsError("seen")

    monkeypatch.setattr("tamis.evaluation.evaluate.evaluate", stop)

    def understand(command):
        assert tamis(*shlex.split(command)[1:]).complaint == "seen"
        return seen.pop()

    return understand


def test_the_command_of_what_was_asked_asks_for_it_again(understood, tmp_path):
    run = tmp_path / "a run.trec"
    run.touch()
    full = EvaluationConfig(
        models=("one=some/model", "other/model"),
        sets=("irds:one",),
        first=("bm25", f"mine={run}"),
        runs=(f"theirs={run}",),
        measures=("AP", "nDCG@10"),
        depth=7,
        full=True,
        languages="cross",
        encoder=BiEncoder("some/encoder", "", "it's: "),
        precision="auto",
        long="windows",
        passages=True,
        indexes=(tmp_path / "an index", tmp_path / "b"),
        engine="onnx",
    )
    assert OPTIONS.keys() == {field.name for field in fields(full)} - NO_OPTION
    assert all(getattr(full, name) != getattr(PLAIN, name) for name in OPTIONS)
    for asked in (PLAIN, full, *(replace(PLAIN, **{name: getattr(full, name)}) for name in OPTIONS)):
        assert understood(command_of(asked, tmp_path / "out")) == (asked, tmp_path / "out")


def test_a_command_says_nothing_that_goes_without_saying():
    said = "tamis evaluate one=some/model --on irds:one --on irds:two --out out"
    assert command_of(PLAIN, Path("out")) == said


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"models": ("a.yaml",)}, "a.yaml is a recipe, not a model; its stage is `tamis run a.yaml --until evaluate`"),
        ({"sets": ()}, "no set to measure on; name one with --on, for instance --on my/beir-folder"),
        ({"depth": 0}, "--depth is 0, expected at least 1"),
        ({"languages": "some"}, "--languages is 'some', expected same, cross or any"),
        ({"precision": "int3"}, "--precision is 'int3', expected float32, bfloat16 or auto"),
        ({"engine": "steam"}, "--scoring-engine is 'steam', expected auto, torch, openvino or onnx"),
        ({"long": "last"}, "--long is 'last', expected first or windows"),
    ],
)
def test_what_cannot_be_measured_is_refused_wherever_it_is_asked_for(wrong, message):
    with pytest.raises((SettingsError, InputError)) as refused:
        replace(PLAIN, **wrong)
    assert str(refused.value) == message
