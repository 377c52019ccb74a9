"""Adapting a model that is there: to a corpus, merged into it, judged by the domains of its past."""

import json
import shutil
from pathlib import Path

import pytest
import typer

from tamis.adaptation import adapting_recipe, graded_beside, outcome_of, recipe_content
from tamis.artifacts import read_json
from tamis.cli import app
from tamis.errors import SettingsError
from tamis.models.reranker import Reranker
from tamis.pipeline.reading import recipe_from
from tamis.pipeline.run import run_recipe
from tamis.user_cache import user_cache
from tests.commands import Outcome, manifests, tamis
from tests.conftest import tiny_recipe, write_beir

COMMANDS = typer.main.get_group(app).commands


@pytest.fixture(scope="module")
def base(tmp_path_factory, tiny_encoder):
    folder = tmp_path_factory.mktemp("adaptation")
    content = tiny_recipe(write_beir(folder / "old"), write_beir(folder / "general", "g-"), tiny_encoder)
    folders = run_recipe(recipe_from(content, "tiny"), folder / "run", "merge")
    (folder / "model").symlink_to(folders["merge"] / "model")
    write_beir(folder / "new", "n-")
    return folder


SMALL = (
    "queries.generator=extractive",
    "scores.seed_bonus=0.5",
    "lists.documents=4",
    "train.specialist_steps=12",
    "train.checkpoints=2",
    "merge.held_out=10",
)
"""Few steps, short lists, few that judge: what is accounted for depends on none of it."""


def options(*changes: object) -> list[str]:
    return [word for change in changes for word in ("--set", str(change))]


@pytest.fixture(scope="module")
def adapted(base) -> Outcome:
    judged = (f"evaluate.queries={base / 'new' / 'queries.jsonl'}", f"evaluate.qrels={base / 'new' / 'qrels/test.tsv'}")
    copies = ("--model", base / "copies" / "model", "--report", base / "copies" / "page.html")
    changes = options(*SMALL, *judged, "evaluate.rounds=500", "name=mine")
    outcome = tamis(
        "adapt", base / "model", base / "new", "--out", base / "adapted", "--keep", base / "run", *changes, *copies
    )
    assert outcome.status == 0, outcome.err
    return outcome


def test_a_model_is_adapted_and_every_domain_is_accounted_for(base, adapted, tiny_encoder):
    model = base / "copies" / "model"
    path = read_json(model.resolve().parent / "path.json")
    found = outcome_of({"merge": model.resolve().parent})
    assert set(found.agreement) == {"corpus", "run/english", "run/german"}
    for domain, (before, specialist, after) in found.agreement.items():
        assert (before, specialist) == tuple(path["agreement"][name][domain] for name in ("untrained", "corpus"))
        if "start" in found.order or len(found.order) > 1:
            assert after >= before - 0.005 - 1e-9
    assert sum(after for *_, after in found.agreement.values()) >= sum(b for b, *_ in found.agreement.values()) - 1e-9
    facts = json.loads((model / "tamis.json").read_text())
    assert facts["lineage"]["encoder"] == str(tiny_encoder)
    assert facts["lineage"]["teacher"] == "1 bi-encoder + 0.5 BM25"
    assert len(Reranker(model).rank("install a package", ["the sky is blue", "install a package"])) == 2


def test_the_command_prints_what_was_gained_and_lost_and_where_model_and_report_lie(base, adapted):
    assert all(word in adapted.out for word in ("as it came", "specialist", "run/english", "corpus"))
    assert adapted.out.splitlines()[-2:] == [
        f"report: {base / 'copies' / 'page.html'}",
        f"model:  {base / 'copies' / 'model'}",
    ]
    assert "<h1>mine</h1>" in (base / "copies" / "page.html").read_text()


def test_all_languages_of_a_corpus_are_one_domain(base, adapted):
    found = manifests(base / "adapted")
    assert {name.split(", ")[0] for name in found["lists"]["lists"]} == {"corpus"}
    assert found["corpus"]["languages"].keys() == {"de", "en"}
    results = read_json(next((base / "adapted" / "evaluate").glob("*/results.json")))
    assert results["run"]["domains"] == {"corpus": ["de", "en"]}


def test_too_little_to_learn_from_is_warned_of_on_the_terminal_and_in_the_report(base, adapted):
    found = manifests(base / "adapted")["lists"]
    (told,) = [line for line in adapted.err.splitlines() if line.startswith("warning: domain")]
    assert told.startswith(
        f"warning: domain corpus: {found['lists']['corpus, train']} lists to learn from; below some 200 "
    )
    assert found["warnings"] == [told.removeprefix("warning: ")]
    assert "Domain corpus: " in (base / "copies" / "page.html").read_text()


def test_the_same_command_goes_on_where_it_was_and_needs_no_judged_questions(base, adapted, tmp_path):
    shutil.copytree(base / "adapted", tmp_path / "adapted")  # the others look for one report in that folder
    again = tamis(
        "adapt",
        base / "model",
        base / "new",
        "--out",
        tmp_path / "adapted",
        "--keep",
        base / "run",
        *options(*SMALL, "name=mine"),
    )
    assert again.status == 0, again.err
    stages = [line.split() for line in again.err.splitlines() if line.startswith("[")]
    assert [words[1] for words in stages if words[2] != "reused"] == ["report"]
    assert "not evaluated" in Path(again.out.splitlines()[-2].removeprefix("report: ")).read_text()


def test_graded_questions_in_the_run_folder_say_at_the_end_whether_it_helped(base, adapted, tmp_path):
    run = shutil.copytree(base / "adapted", tmp_path / "adapted")
    judged = write_beir(run / "judged", "n-")
    shutil.copy(judged / "qrels" / "test.tsv", judged / "qrels" / "model.tsv")
    again = tamis(
        "adapt", base / "model", base / "new", "--out", run, "--keep", base / "run", *options(*SMALL, "name=mine")
    )
    assert again.status == 0, again.err
    last = again.out.splitlines()[-1]
    assert last.startswith("Ask 10 more questions before you deploy the adapted model. ")
    results = read_json(run / "graded" / "results.json")
    (one,) = [
        one
        for one in results["sets"]["judged"]["grades"]["comparisons"]
        if (one["system"], one["baseline"], one["measure"]) == ("adapted~bm25", "before~bm25", "nDCG@10")
    ]
    means = [results["sets"]["judged"]["figures"][f"{name}~bm25"]["nDCG@10"] for name in ("adapted", "before")]
    assert one["alone"]["difference"] == pytest.approx(means[0] - means[1])


@pytest.mark.slow
def test_adapting_again_on_changed_documents_says_what_changed_and_whether_it_helped(base, adapted, tmp_path):
    run = shutil.copytree(base / "adapted", tmp_path / "adapted")
    new = write_beir(tmp_path / "new", "n-")
    (new / "queries.jsonl").rename(tmp_path / "queries.jsonl")
    rows = (new / "corpus.jsonl").read_text().splitlines()
    changed = json.loads(rows[0])
    rows[0] = json.dumps(changed | {"text": f"{changed['text']} It needs the root account."})
    (new / "corpus.jsonl").write_text("\n".join(rows[:-1]) + "\n")
    write_beir(run / "judged", "n-")
    words = ["adapt", base / "model", new, "--out", run, "--keep", base / "run", *options(*SMALL, "name=mine")]
    again = tamis(*words)
    assert again.status == 0, again.err
    (line,) = [line for line in again.out.splitlines() if line.startswith("documents since the run before: ")]
    assert "0 new, 1 changed, 1 gone, 18 the same" in line
    (before,) = [path.parent for path in (base / "adapted" / "merge").glob("*/manifest.json")]
    assert f"the model before stays: {run / 'merge' / before.name / 'model'}" in again.out
    assert (run / "merge" / before.name / "model" / "tamis.json").is_file()
    told = json.loads(tamis(*words, "--json").out)
    assert told["since"]["documents"] == {"new": 0, "changed": 1, "gone": 1, "the same": 18}
    assert told["compared"]["judged"] == str(run / "judged")
    assert told["compared"]["questions"] == 20


def test_grades_that_cannot_be_read_cost_no_adaptation(base, adapted, tmp_path):
    run = shutil.copytree(base / "adapted", tmp_path / "adapted")
    judged = write_beir(run / "judged", "n-")
    (judged / "corpus.jsonl").unlink()
    again = tamis(
        "adapt", base / "model", base / "new", "--out", run, "--keep", base / "run", *options(*SMALL, "name=mine")
    )
    assert again.status == 0, again.err
    assert f"warning: {judged} says nothing of the result: {judged}: no corpus.jsonl in it" in again.err
    assert again.out.splitlines()[-1].startswith("model: ")


def test_grades_lie_beside_the_corpus_or_in_the_run_folder(tmp_path):
    corpus, run = tmp_path / "my" / "docs", tmp_path / "run"
    corpus.mkdir(parents=True)
    assert graded_beside(corpus, run) is None
    write_beir(run / "judged")
    assert graded_beside(corpus, run) == run / "judged"
    write_beir(tmp_path / "my" / "judged")
    assert graded_beside(corpus, run) == tmp_path / "my" / "judged"


def test_an_estimate_learns_nothing(base, tmp_path):
    outcome = tamis("adapt", base / "model", base / "new", "--out", tmp_path / "run", "--estimate", *options(*SMALL))
    assert outcome.status == 0, outcome.err
    assert "steps to learn" in outcome.out
    assert manifests(tmp_path / "run").keys() == {"corpus"}


def test_a_setting_that_is_none_is_named(base, tmp_path):
    outcome = tamis("adapt", base / "model", base / "new", "--out", tmp_path / "run", "--set", "train.los=ranknet")
    assert outcome.status == 2
    assert outcome.complaint.endswith("unknown key 'train.los'; did you mean 'loss'?")
    assert outcome.complaint.startswith("the recipe of `tamis adapt ")


def test_both_commands_have_the_same_options():
    run, adapt = (
        {name: option for option in COMMANDS[command].params for name in option.opts} for command in ("run", "adapt")
    )
    shared = {"--set", "--report", "--model", "--yes", "-y", "--estimate", "--engine", "--json"}
    assert shared | {"--out"} == (run.keys() & adapt.keys())
    assert all(run[name].help == adapt[name].help for name in shared)


def test_queries_that_were_written_elsewhere_are_the_recipes(base):
    def content(*queries):
        return recipe_content(str(base / "model"), base / "new", [], None, queries)

    assert content(Path("a.jsonl"), Path("b.txt"))["queries"] == {"written": ["a.jsonl", "b.txt"]}
    assert "queries" not in content()


def test_of_several_specialists_the_best_is_told(base, tmp_path):
    found = {"untrained": 0.5, "general": 0.5, "one": 0.6, "two": 0.7, "merged": 0.65, "start": 0.9}
    path = {"domains": ["one"], "agreement": {name: {"one": value} for name, value in found.items()}, "order": ["two"]}
    (tmp_path / "path.json").write_text(json.dumps(path))
    assert outcome_of({"merge": tmp_path}).agreement == {"one": (0.5, 0.7, 0.65)}


def test_a_model_that_names_no_encoder_needs_one(base, tmp_path):
    copy = tmp_path / "model"
    copy.mkdir()
    for file in (base / "model").iterdir():
        (copy / file.name).symlink_to(file.resolve())
    facts = json.loads((copy / "tamis.json").read_text())
    del facts["lineage"]["encoder"]
    (copy / "tamis.json").unlink()
    (copy / "tamis.json").write_text(json.dumps(facts))
    with pytest.raises(SettingsError, match=r"no bi-encoder to retrieve and teach with .*--encoder"):
        adapting_recipe(str(copy), base / "new")


def test_a_folder_without_a_training_is_no_past(base, tmp_path):
    outcome = tamis(
        "adapt", base / "model", base / "new", "--out", tmp_path / "run", "--keep", tmp_path, *options(*SMALL)
    )
    assert outcome.status == 2
    assert "no finished stage train in it" in outcome.complaint


def test_a_corpus_may_have_any_name(base, tmp_path):
    corpus = tmp_path / "my manuals (new).jsonl"
    outcome = tamis("adapt", base / "model", corpus, "--out", tmp_path / "run", *options(*SMALL))
    assert outcome.status == 2
    assert outcome.complaint.startswith(f"{corpus}: not found; the recipe")


def test_where_nobody_asks_nothing_is_done_and_the_ways_to_get_queries_are_named(base, tmp_path):
    outcome = tamis("adapt", base / "model", base / "new", "--out", tmp_path / "run")
    assert outcome.status == 2
    assert f"nothing asks about {base / 'new'}" in outcome.complaint
    assert all(way in outcome.complaint for way in ("queries.written", "queries.generator", "queries.logs"))
    assert not (tmp_path / "run").exists()


def test_written_queries_are_adapted_by_from_the_command_line(base, tmp_path):
    rows = [json.loads(line) for line in (base / "new" / "queries.jsonl").read_text().splitlines()]
    lines = ["document-id\tquery", *(f"{row['_id'].removeprefix('q/')}\t{row['text']}" for row in rows)]
    (tmp_path / "asked.tsv").write_text("\n".join(lines) + "\n")
    small = [change for change in SMALL if not change.startswith("queries.")]
    queries = ("--queries", tmp_path / "asked.tsv")
    outcome = tamis("adapt", base / "model", base / "new", "--out", tmp_path / "run", *queries, *options(*small))
    assert outcome.status == 0, outcome.err
    assert manifests(tmp_path / "run")["queries"]["generators"].keys() == {"asked"}


def test_the_encoder_of_tamis_base_comes_from_its_package_where_none_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where no demo/models is
    made = []
    monkeypatch.setattr("tamis.weights.e5_small.convert_e5_small", made.append)
    (tmp_path / "one.txt").write_text("Packages are installed with apt.")
    (tmp_path / "queries.tsv").write_text("doc_id\tquery\none.txt\thow are packages installed?\n")
    recipe = adapting_recipe("tamis-base", tmp_path / "one.txt", (), None, [tmp_path / "queries.tsv"], ())
    assert [Path(recipe.candidates.dense.path)] == made
    assert made[0].parent == user_cache()
