"""The command line, as it is typed."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tamis import Reranker
from tamis.pipeline.run import NAMES
from tests.commands import Outcome, manifests, tamis, write_recipe
from tests.conftest import TOPICS, tiny_recipe, write_beir
from tests.merging.siblings import sibling
from tests.schemas import complaints


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Path:
    base = tmp_path_factory.mktemp("cli")
    write_recipe(tiny_recipe(write_beir(base / "corpus"), write_beir(base / "general", "g-"), tiny_encoder), base)
    return base


@pytest.fixture(scope="module")
def outcome(base: Path) -> Outcome:
    wanted = ("--results", base / "new" / "results.json", "--report", base / "new" / "page.html")
    return tamis("run", base / "recipe.yaml", "--out", base / "run", *wanted)


@pytest.fixture(scope="module")
def model(base: Path, outcome: Outcome) -> Path:
    return next((base / "run" / "merge").iterdir()) / "model"


def test_a_run_says_what_each_stage_kept_and_where_the_model_lies(outcome: Outcome, model: Path) -> None:
    assert outcome.status == 0
    assert [line.split()[:2] for line in outcome.err.splitlines() if line.startswith("[")] == [
        [f"[{number}/9]", stage]
        for number, stage in enumerate(
            ["corpus", "queries", "candidates", "scores", "lists", "train", "merge", "evaluate", "report"], 1
        )
    ]
    assert "40 kept of 40" in outcome.err
    assert "nDCG@10 on 20 unseen questions" in outcome.out
    assert f"model:  {model}" in outcome.out


def test_the_results_file_holds_figures_seconds_and_memory(outcome: Outcome, base: Path) -> None:
    results = json.loads((base / "new" / "results.json").read_text(encoding="utf-8"))
    assert complaints(results) == []
    found = manifests(base / "run").values()
    assert results["seconds"] == pytest.approx(sum(manifest["seconds"] for manifest in found), abs=0.1)
    assert results["peak_memory_bytes"] == max(manifest["peak_memory_bytes"] for manifest in found)
    assert 100 * 2**20 < results["peak_memory_bytes"] < 100 * 2**30
    assert results["stage_seconds"].keys() == {manifest["stage"] for manifest in found}
    (judged,) = results["sets"].values()
    languages = [group["figures"]["merged+hybrid"] for group in judged["groups"]["language"].values()]
    assert results["means"]["merged+hybrid"]["nDCG@10"] == pytest.approx(sum(languages) / len(languages))
    assert complaints(json.loads(next((base / "run" / "evaluate").glob("*/results.json")).read_text("utf-8"))) == []


def test_the_report_is_copied_where_it_is_wanted(outcome: Outcome, base: Path) -> None:
    assert (base / "new" / "page.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert f"report: {base / 'new' / 'page.html'}" in outcome.out


def test_the_table_names_every_column_in_full(outcome: Outcome) -> None:
    assert "…" not in outcome.out


def test_a_run_up_to_a_stage_stops_there(outcome: Outcome, base: Path) -> None:
    found = tamis("run", base / "recipe.yaml", "--out", base / "run", "--until", "queries")
    assert found.status == 0
    assert [line.split()[1:3] for line in found.err.splitlines()] == [["corpus", "reused"], ["queries", "reused"]]


@pytest.mark.parametrize("stage", sorted(set(NAMES) - {"queries", "merge", "evaluate"}))
def test_a_stage_that_is_typed_as_a_command_says_how_it_is_run(stage: str) -> None:
    found = tamis(stage, "recipe.yaml")
    assert found.status == 2
    assert found.complaint == f"{stage} is a stage, no command: use tamis run RECIPE --until {stage}"


def test_queries_without_a_batch_file_says_how_queries_are_written(base: Path) -> None:
    found = tamis("queries", base / "recipe.yaml")
    assert found.status == 2
    assert found.complaint.endswith("to write queries use tamis run RECIPE --until queries")


def test_a_run_for_machines_prints_one_object_and_nothing_else(outcome: Outcome, base: Path, model: Path) -> None:
    found = tamis("run", base / "recipe.yaml", "--out", base / "run", "--json")
    told = json.loads(found.out)
    assert found.status == 0
    assert told["results"] == json.loads((base / "new" / "results.json").read_text(encoding="utf-8"))
    assert told["model"] == str(model)
    assert list(told["folders"]) == list(NAMES)
    assert all((base / "run" / stage) == Path(folder).parent for stage, folder in told["folders"].items())
    assert Path(told["report"]).read_text(encoding="utf-8").startswith("<!doctype html>")
    until = tamis("run", base / "recipe.yaml", "--out", base / "run", "--until", "lists", "--json")
    assert {name: json.loads(until.out)[name] for name in ("model", "report", "results")} == dict.fromkeys(
        ("model", "report", "results")
    )


def test_an_inspection_for_machines_holds_the_counts_of_the_manifests(outcome: Outcome, base: Path) -> None:
    stages = json.loads(tamis("inspect", base / "run", "--json").out)["stages"]
    counts = {name: manifest["counts"] for name, manifest in manifests(base / "run").items()}
    assert {one["name"]: one["kept"] for one in stages} == {name: of["kept"] for name, of in counts.items()}
    assert {one["name"]: one["dropped"] for one in stages} == {name: of["dropped"] for name, of in counts.items()}


def test_a_setting_from_the_command_line_counts(base: Path, tmp_path: Path) -> None:
    arguments = ("corpus", base / "recipe.yaml", "--out", tmp_path / "run")
    found = tamis("run", *arguments[1:], "--until", "corpus", "--set", "corpus.max_chars=70")
    assert found.status == 0
    assert "too long)" in found.err


def test_the_run_folder_has_the_name_of_the_recipe(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outcome: Outcome
) -> None:
    monkeypatch.chdir(tmp_path)
    assert tamis("run", base / "recipe.yaml", "--until", "corpus").status == 0
    assert manifests(tmp_path / "runs" / "tiny").keys() == {"corpus"}


def test_results_are_refused_before_the_run_where_nothing_is_measured(base: Path, tmp_path: Path) -> None:
    arguments = ("run", base / "recipe.yaml", "--out", tmp_path / "run", "--results", "figures.json")
    found = tamis(*arguments, "--until", "merge")
    assert found.status == 2
    assert found.complaint == "--results figures.json: nothing is measured without the stage evaluate and its section"
    assert not (tmp_path / "run").exists()


# rerank


LINES = "Set the clock with the date command.\n\nAdd a user with the adduser script.\nPrinting needs a spooler.\n"


def test_lines_are_ranked_best_first(model: Path, tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text(LINES, encoding="utf-8")
    found = tamis("rerank", model, tmp_path / "lines.txt", "-q", "How do I add a user?")
    scores, lines = zip(*(line.split("\t") for line in found.out.splitlines()), strict=True)
    assert found.status == 0
    assert sorted(lines) == sorted(line for line in LINES.splitlines() if line)
    assert list(map(float, scores)) == sorted(map(float, scores), reverse=True)
    told = tamis("rerank", model, tmp_path / "lines.txt", "-q", "How do I add a user?", "--json")
    assert [one["text"] for one in json.loads(told.out)["ranked"]] == list(lines)


@pytest.mark.parametrize("form", ["file", "standard input"])
def test_a_line_ends_at_a_line_feed_perhaps_with_a_carriage_return_and_nowhere_else(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    documents = ["users are\u2028added", "the clock\x0cis set", "next\x85line", "group\x1cseparator", "vertical\x0btab"]
    raw = b"\xef\xbb\xbf" + "\r\n".join(documents).encode() + b"\n"
    (tmp_path / "lines.txt").write_bytes(raw)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))
    file = tmp_path / "lines.txt" if form == "file" else "-"
    found = tamis("rerank", model, file, "-q", "How do I add a user?")
    ranked = [line.split("\t")[1] for line in found.out.rstrip("\n").split("\n")]
    assert sorted(ranked) == sorted(documents)


def test_lines_come_from_standard_input_and_only_the_best_are_shown(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(LINES.encode())))
    found = tamis("rerank", model, "-", "-q", "How do I add a user?", "--top", 1)
    assert found.status == 0
    assert len(found.out.splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "lines.txt: cannot be read: No such file or directory"),
        (b"", "lines.txt: no lines to rank"),
        (b"a\n\xff", "lines.txt, line 2: byte 0xff is not UTF-8; save the file in UTF-8"),
    ],
)
def test_lines_that_cannot_be_ranked_are_named(
    model: Path, tmp_path: Path, content: bytes | None, expected: str
) -> None:
    if content is not None:
        (tmp_path / "lines.txt").write_bytes(content)
    found = tamis("rerank", model, tmp_path / "lines.txt", "-q", "users")
    assert found.status == 2
    assert found.complaint.endswith(expected)


def test_only_a_line_feed_ends_a_line_and_a_mark_of_byte_order_is_dropped(stock_folder: Path, tmp_path: Path) -> None:
    content = "\ufeffone\u2028two\r\nthree\x0cfour\x85five\nsix\rseven\n"
    (tmp_path / "lines.txt").write_bytes(content.encode())
    found = tamis("rerank", stock_folder, tmp_path / "lines.txt", "-q", "How do I add a user?")
    lines = [line.partition("\t")[2] for line in found.out.removesuffix("\n").split("\n")]
    assert sorted(lines) == ["one\u2028two", "six\rseven", "three\x0cfour\x85five"]


@pytest.mark.parametrize("said", ["none", "order", "bm25", "elastic"])
def test_lines_are_ranked_beside_their_first_stage(weighed_folder: Path, tmp_path: Path, said: str) -> None:
    documents, scores = [line for line in LINES.splitlines() if line], [3.5, -1.0, 2e3]
    scored = said not in ("none", "order")
    lines = [f"{s}\t{d}" for s, d in zip(scores, documents, strict=True)] if scored else documents
    (tmp_path / "lines.txt").write_text("\n".join(lines), encoding="utf-8")
    found = tamis("rerank", weighed_folder, tmp_path / "lines.txt", "-q", "a user", "--first-stage", said)
    ranked = Reranker(weighed_folder).rank("a user", documents, first_stage=(said, scores) if scored else said)
    assert found.out.splitlines() == [f"{one['score']:.4f}\t{documents[one['corpus_id']]}" for one in ranked]


@pytest.mark.parametrize(
    "line", ["no score", "x\tno number", "1,5\tno number", "nan\tnot finite", "1.5\t ", "1.5 text"]
)
def test_a_line_without_the_score_of_the_first_stage_is_named(stock_folder: Path, tmp_path: Path, line: str) -> None:
    (tmp_path / "lines.txt").write_text(f"1.5\tgood\n\n{line}\n", encoding="utf-8")
    found = tamis("rerank", stock_folder, tmp_path / "lines.txt", "-q", "users", "--first-stage", "bm25")
    assert found.status == 2
    assert f"lines.txt, line 3: got {line!r}, expected SCORE<TAB>TEXT, as --first-stage bm25 needs" in found.complaint


def test_rerank_reads_long_lines_as_it_is_told(warm_folder: Path, tmp_path: Path) -> None:
    answers = [answer for _, answer in TOPICS["en"]]
    lines = [" ".join([*answers[1:], *answers[1:], answers[0]]), answers[3]]
    (tmp_path / "lines.txt").write_text("\n".join(lines), encoding="utf-8")
    asked = ("rerank", warm_folder, tmp_path / "lines.txt", "-q", TOPICS["en"][0][0], "--json")
    for long, more in (("first", ()), ("windows", ("--long", "windows"))):
        found = {hit["corpus_id"]: hit["logit"] for hit in json.loads(tamis(*asked, *more).out)["ranked"]}
        logits = Reranker(warm_folder).score_pairs([(TOPICS["en"][0][0], line) for line in lines], long=long).logits
        assert [found[0], found[1]] == pytest.approx(logits, abs=1e-4)
    assert tamis(*asked, "--long", "all").complaint == "--long is 'all', expected first or windows"
    served = tamis("serve", warm_folder, "--port", 0, "--long", "all")
    assert (served.status, served.complaint) == (2, "--long: expected 'first' or 'windows', got 'all'")


def test_an_empty_query_and_a_folder_without_a_model_are_named(model: Path, tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text(LINES, encoding="utf-8")
    assert "the query is empty" in tamis("rerank", model, tmp_path / "lines.txt", "-q", " ").complaint
    assert str(tmp_path) in tamis("rerank", tmp_path, tmp_path / "lines.txt", "-q", "users").complaint


# Usage


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run"], "Missing argument"),
        (["rum"], "No such command 'rum'"),
        (["run", "r.yaml", "--untill", "merge"], "No such option: --untill"),
        (["rerank", "m", "f", "-q", "x", "--top", "many"], "Invalid value for '--top'"),
        (["inspect", "run", "--top", "-1"], "Invalid value for '--top'"),
        (["compare", "a", "b", "--queries", "-1"], "Invalid value for '--queries'"),
    ],
)
def test_a_wrong_command_ends_with_status_2_and_a_hint(arguments: list[str], expected: str) -> None:
    found = tamis(*arguments)
    assert found.status == 2
    assert expected in found.err
    assert "Traceback" not in found.err


def test_help_comes_without_loading_what_takes_time() -> None:
    code = """
import sys
from tamis.cli import main
sys.argv = ["tamis", "--help"]
try:
    main()
finally:
    heavy = {"torch", "transformers", "numpy", "pyarrow", "yaml", "asyncio"} & sys.modules.keys()
    ours = {name for name in sys.modules if name.startswith("tamis.")}
    ours -= {name for name in ours if name.startswith("tamis.cli")} | {"tamis.errors", "tamis.extras"}
    assert not heavy | ours, heavy | ours
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    for command in ("run", "rerank", "export", "merge", "fetch"):
        assert command in found.stdout


def test_a_module_of_that_name_does_the_same(tmp_path: Path) -> None:
    command: list[Any] = [sys.executable, "-m", "tamis", "rerank", tmp_path, tmp_path / "none.txt", "-q", "x"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert found.stderr.splitlines() == [f"tamis: {tmp_path / 'none.txt'}: cannot be read: No such file or directory"]


# export


def test_an_export_prints_its_parity_and_ranks_as_the_model(stock_folder: Path, tmp_path: Path) -> None:
    found = tamis("export", stock_folder, tmp_path / "out", "--to", "transformers")
    assert found.status == 0
    assert "largest difference" in found.out
    assert "200" in found.out
    assert f"export: {tmp_path / 'out'}" in found.out
    told = json.loads(tamis("export", stock_folder, tmp_path / "told", "--to", "transformers", "--json").out)
    written = json.loads((tmp_path / "told" / "parity.json").read_text(encoding="utf-8"))
    assert told == {**written, "out": str(tmp_path / "told")}
    (tmp_path / "lines.txt").write_text("The clock runs.\nInstall a package.\n", encoding="utf-8")
    asked = (tmp_path / "lines.txt", "-q", "install a package")
    assert tamis("rerank", tmp_path / "out", *asked).out == tamis("rerank", stock_folder, *asked).out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            ("--to", "trt"),
            "--to trt: expected one of transformers, vllm, onnx, openvino, openvino-int8, gguf, gguf-q8_0",
        ),
        (("--to", "vllm", "--pairs", "none.jsonl"), "none.jsonl: cannot be read"),
    ],
)
def test_an_export_that_cannot_be_made_says_why(
    stock_folder: Path, tmp_path: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    found = tamis("export", stock_folder, tmp_path / "out", *arguments)
    assert found.status == 2
    assert complaint in found.complaint
    assert not (tmp_path / "out").exists()


# merge


def test_a_merge_prints_its_layers_and_ranks(stock_folder: Path, tmp_path: Path) -> None:
    a, b = (sibling(stock_folder, tmp_path / name, seed, 0.001) for seed, name in enumerate("ab"))
    found = tamis("merge", a, b, "--base", stock_folder, "--out", tmp_path / "out")
    assert found.status == 0
    lines = [line.split() for line in found.out.splitlines()]
    assert ["layer", "tensors", "equal", "linear", "angle", "to", "b"] in lines
    assert [line[0] for line in lines if line and line[-1].endswith("°")] == ["0", "1", "2", "others"]
    assert "fell back to the straight line" in found.out
    assert f"merged: {tmp_path / 'out'}" in found.out
    told = tamis("merge", a, b, "--base", stock_folder, "--out", tmp_path / "again", "--json")
    assert len(json.loads(told.out)["tensors"]) == sum(row["tensors"] for row in json.loads(told.out)["layers"])
    (tmp_path / "lines.txt").write_text("The clock runs.\nInstall a package.\n", encoding="utf-8")
    assert tamis("rerank", tmp_path / "out", tmp_path / "lines.txt", "-q", "install a package").status == 0
    plain = tamis("merge", a, b, "--base", stock_folder, "--out", tmp_path / "ties", "--method", "ties")
    assert "°" not in plain.out
    assert "linear" not in plain.out


def test_a_merge_of_a_recipe_says_where_the_stage_is_now(base: Path, tmp_path: Path) -> None:
    found = tamis("merge", base / "recipe.yaml", "--out", tmp_path / "out")
    assert found.status == 2
    assert found.complaint == (
        "merge needs two or more model folders, got 1; for the stage of a recipe use tamis run RECIPE --until merge"
    )


def test_models_that_do_not_fit_together_are_named(stock_folder: Path, warm_folder: Path, tmp_path: Path) -> None:
    found = tamis("merge", stock_folder, warm_folder, "--out", tmp_path / "out")
    assert found.status == 2
    assert found.complaint.startswith(f"{warm_folder}: architectures is ['BertModel'] in config.json, expected ['Bert")
    assert not (tmp_path / "out").exists()
