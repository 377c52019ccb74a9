"""The public names: what is imported when, adapting from whatever holds documents, and what a run gives back."""

import inspect
import json
import subprocess
import sys
from html import unescape
from pathlib import Path
from typing import Any

import pytest

import tamis
from tamis.artifacts import RunFolder, read_json
from tamis.errors import InputError, ModelError, RunError, SettingsError
from tamis.evaluation.config import MEASURES
from tests.conftest import TOPICS
from tests.test_readme import warm_model

ANSWERS = [answer for pairs in TOPICS.values() for _, answer in pairs]
ASKED = [(str(n), question) for n, (question, _) in enumerate(pair for pairs in TOPICS.values() for pair in pairs)]
"""Queries about documents that are called by their number."""

SMALL = {
    "precision": "float32",
    "scores": {"seed_bonus": 0.5},
    "lists": {"documents": 4},
    "train": {"specialist_steps": 3, "checkpoints": 2},
    "merge": {"held_out": 10},
    "machine": {"threads": 1},
}


def test_importing_tamis_imports_nothing_heavy():
    code = "import json, sys, tamis; print(json.dumps(sorted(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    modules = json.loads(found)
    assert not {"torch", "numpy", "pydantic", "pandas", "pyarrow"} & set(modules)
    assert [name for name in modules if name.startswith("tamis")] == ["tamis"]


@pytest.mark.parametrize("name", sorted(set(tamis.__all__) - {"__version__", "errors"}))
def test_every_public_name_is_there_and_says_what_it_is(name):
    public = getattr(tamis, name)
    assert inspect.getdoc(public)
    if inspect.isfunction(public):
        told = inspect.getdoc(public) or ""
        assert all(f"    {argument}: " in told for argument in inspect.signature(public).parameters)
        assert "Raises:" in told
    assert name in dir(tamis)


def test_errors_are_public_and_other_names_are_none():
    assert issubclass(tamis.errors.SettingsError, tamis.errors.TamisError)
    with pytest.raises(AttributeError, match="has no attribute 'adopt'"):
        tamis.adopt  # noqa: B018


@pytest.fixture(scope="module")
def model(tmp_path_factory, tiny_encoder) -> Path:
    return warm_model(tmp_path_factory.mktemp("api") / "model", tiny_encoder)


@pytest.fixture(scope="module")
def adapted(model, tiny_encoder) -> tuple[tamis.RunResult, list[tamis.Progress]]:
    told: list[tamis.Progress] = []
    run = tamis.adapt(
        model, ANSWERS, model.parent / "run", ASKED, encoder=tiny_encoder, settings=SMALL, on_progress=told.append
    )
    return run, told


def test_a_list_of_texts_and_pairs_is_enough_to_adapt(adapted):
    run, _ = adapted
    assert {row["doc_id"]: row["text"] for row in run.documents} == dict(enumerate_as_text(ANSWERS))
    queries = run.queries.to_pandas()
    assert set(queries["text"]) == {question for _, question in ASKED}
    assert len(run.queries) == len(queries)
    ranked = run.model.rank("install a package", ["the sky is blue", "install a package"])
    assert {hit["corpus_id"] for hit in ranked} == {0, 1}
    assert run.model is run.model  # loaded once
    assert set(run.agreement) == {"corpus"}


def enumerate_as_text(texts):
    return [(str(number), text) for number, text in enumerate(texts)]


def test_what_was_left_out_is_there_with_its_reason(adapted):
    run, _ = adapted
    dropped = run.dropped.to_pandas()
    for stage, counts in run.counts.items():
        of_stage = dropped[dropped["stage"] == stage]
        if (run.folders[stage] / "dropped.parquet").is_file():
            assert of_stage["reason"].value_counts().to_dict() == counts["dropped"]
        assert counts["in"] == counts["kept"] + sum(counts["dropped"].values())


def test_the_report_shows_itself_in_a_frame(adapted):
    run, _ = adapted
    frame = run.report._repr_html_()
    assert unescape(frame.split('srcdoc="')[1].removesuffix('"></iframe>')) == run.report.path.read_text("utf-8")


def test_what_did_not_run_is_said(adapted):
    with pytest.raises(RunError, match=r"no stage evaluate in this run, which has corpus, .*; give the recipe judged"):
        adapted[0].figures  # noqa: B018


def test_progress_is_told_in_order_and_to_the_end(adapted):
    run, told = adapted
    ended = [one for one in told if one.what in ("finished", "reused")]
    assert [one.stage for one in ended] == list(run.folders)
    assert [(one.done, one.total) for one in ended] == [(c["kept"], c["in"]) for c in run.counts.values()]
    steps = [one for one in told if one.stage == "train" and one not in ended]
    assert steps
    assert all(0 <= one.done <= one.total for one in told if one not in ended)


def test_a_folder_in_which_another_call_is_at_work_is_left_as_it_is(model, tiny_encoder, corpus, tmp_path):
    run, taken = RunFolder(tmp_path / "run", "adapt-documents"), "another run is at work in this folder"
    there = tmp_path / "run" / "inputs" / "documents.jsonl"
    there.parent.mkdir()
    there.write_text('{"id": "0", "text": "of the other call"}\n', "utf-8")
    with run.held(), pytest.raises(RunError, match=taken):
        tamis.adapt(model, ANSWERS, run.root, ASKED, encoder=tiny_encoder)
    assert there.read_text("utf-8") == '{"id": "0", "text": "of the other call"}\n'
    asked: list[int] = []
    first = tamis.Retriever(lambda queries, k: asked.append(k), name="mine", version="1")
    with RunFolder(tmp_path / "out", "tamis evaluate").held(), pytest.raises(RunError, match=taken):
        tamis.evaluate([], on=corpus, first=[first], out=tmp_path / "out")
    assert not asked

    def look(_: tamis.Progress) -> None:
        with pytest.raises(RunError, match=taken), run.held():
            pass
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tamis.adapt(model, ANSWERS, run.root, ASKED, encoder=tiny_encoder, settings=SMALL, on_progress=look)
    assert len(there.read_text("utf-8").splitlines()) == len(ANSWERS)
    assert not list(there.parent.glob(".*"))


def test_nothing_and_one_thing_stand_for_lists(model, corpus, tmp_path):
    def found(out: str, **given: Any) -> tamis.EvaluationResult:
        return tamis.evaluate([model], on=corpus, depth=2, out=tmp_path / out, **given)

    every, one = found("every", first=None, measures=None), found("one", first="bm25", measures="RR@10")
    assert every.figures["measures"] == list(MEASURES)
    assert one.figures["measures"] == ["RR@10"]
    of_one = {(row["system"], row["query_id"]): row["RR@10"] for row in one.per_query}
    assert of_one == {(row["system"], row["query_id"]): row["RR@10"] for row in every.per_query}
    with pytest.raises(SettingsError, match=r"^tamis\.evaluate: measures is 5, expected a list$"):
        found("wrong", measures=5)


def test_documents_that_are_none_are_told_before_anything_is_made(model, tiny_encoder, tmp_path):
    with pytest.raises(InputError, match="documents: got int, expected a path, a list of texts"):
        tamis.adapt(model, 3, tmp_path / "run", ASKED, encoder=tiny_encoder)
    assert not (tmp_path / "run").exists()


def test_a_text_where_a_path_belongs_is_told(model, tiny_encoder, tmp_path):
    text = "The first of some documents. " * 20
    long = f"^'{text[:60]}…': no file has so long a name; expected a path, texts come in a list$"
    with pytest.raises(InputError, match=long):
        tamis.adapt(model, text, tmp_path / "run", ASKED, encoder=tiny_encoder)
    with pytest.raises(InputError, match=long):
        tamis.evaluate([model], on=text, out=tmp_path / "out")
    with pytest.raises(ModelError, match=long):
        tamis.Reranker(text)


def test_an_empty_path_is_not_the_working_directory(model, corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(corpus)
    with pytest.raises(InputError, match=r"^--on : no such folder"):
        tamis.evaluate([model], on="", out=tmp_path / "out")
    monkeypatch.chdir(model)
    with pytest.raises(ModelError, match=r"^'': not a model folder; give a Hugging Face folder or a hub name"):
        tamis.Reranker("")


def test_a_path_that_this_user_may_not_look_up_is_told(monkeypatch, tmp_path):
    def closed(path: Path, **_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", closed)
    with pytest.raises(ModelError, match=r"^/root/model: permission denied; give this user the right to it, or name"):
        tamis.Reranker("/root/model")


def test_without_anybody_who_asks_nothing_is_done(model, tiny_encoder, tmp_path):
    with pytest.raises(SettingsError, match=r"tamis\.adapt: nothing asks about the documents; give queries="):
        tamis.adapt(model, ANSWERS, tmp_path / "run", encoder=tiny_encoder)
    assert not (tmp_path / "run").exists()


def test_a_recipe_of_a_file_is_that_of_python_and_complains_in_one_line(recipe, tmp_path):
    import yaml

    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe), "utf-8")
    assert tamis.Recipe.from_yaml(tmp_path / "r.yaml") == tamis.Recipe(**recipe)
    assert tamis.Recipe.from_yaml(tmp_path / "r.yaml", ["seed=9"]).seed == 9
    with pytest.raises(SettingsError, match=r"^tamis.Recipe: unknown key 'train.los'; did you mean 'loss'\?$"):
        tamis.Recipe(**{**recipe, "train": {"los": "ranknet"}})


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: tamis.run({"name": "mine"}), "tamis.run: expected a recipe or the path of one, got dict"),
        (lambda: tamis.evaluate("tamis-base", on="judged"), "models is 'tamis-base', expected a list of models"),
        (lambda: tamis.evaluate(["tamis-base"], on=5), "on is 5, expected a judged set or a list of them"),
    ],
)
def test_what_is_no_argument_is_told_in_one_line(call, said):
    with pytest.raises(SettingsError, match=said):
        call()


def test_the_same_call_goes_on_where_it_was(recipe, tmp_path):
    told: list[tamis.Progress] = []
    first = tamis.run(tamis.Recipe(**recipe), tmp_path / "run", until="queries")
    again = tamis.run(tamis.Recipe(**recipe), tmp_path / "run", until="queries", on_progress=told.append)
    assert again.folders == first.folders
    assert [(one.stage, one.what) for one in told] == [("corpus", "reused"), ("queries", "reused")]
    with pytest.raises(SettingsError, match="no stage 'quries'"):
        tamis.run(tamis.Recipe(**recipe), tmp_path / "run", until="quries")


def test_runs_and_loaded_models_are_measured(adapted, model, corpus, tmp_path):
    found = tamis.evaluate([adapted[0], tamis.Reranker(model)], on=[corpus], depth=5, out=tmp_path / "out")
    assert set(found.figures["models"]) == {adapted[0].name, "model"}
    assert found.figures == read_json(tmp_path / "out" / "results.json")
    with pytest.raises(SettingsError, match="depth is 0"):
        tamis.evaluate([model], on=corpus, depth=0, out=tmp_path / "out")


def test_loaded_models_are_measured_as_they_were_loaded(model, corpus, tmp_path):
    from tamis.models.known.indexing import index_corpus

    half = tamis.Reranker(model, "bfloat16")
    found = tamis.evaluate([half], on=corpus, depth=2, out=tmp_path / "half").figures
    assert found["models"]["model"]["precision"] == "bfloat16"
    assert " --precision bfloat16 " in found["command"]
    index_corpus(tamis.Reranker(model), corpus, tmp_path / "index")
    known = tamis.Reranker(model, index=tmp_path / "index")
    found = tamis.evaluate([known], on=corpus, depth=2, out=tmp_path / "known").figures
    assert f" --index {tmp_path / 'index'} " in found["command"]
    with pytest.raises(SettingsError, match=r"models\[0\] is float32 by torch, models\[1\] is bfloat16 by torch; a"):
        tamis.evaluate([f"other={model}", half], on=corpus, out=tmp_path / "both")
    with pytest.raises(SettingsError, match=r"models\[0\] was loaded with token_budget, and an evaluation loads it"):
        tamis.evaluate([tamis.Reranker(model, token_budget=64)], on=corpus, out=tmp_path / "both")
    assert not (tmp_path / "both").exists()
