"""Engines other than torch compute the same scores, or torch does and a line says why."""

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from tamis.errors import InputError, ModelError, RunError
from tamis.evaluation.scores import model_of
from tamis.machine import Machine, MachineSettings
from tamis.models.engines import cached, choosing
from tamis.models.engines.cached import cached_graphs
from tamis.models.engines.choosing import PROBE, InTorch, engine_scorer
from tamis.models.engines.compiled import BUCKET, CompiledScorer, CompiledWarm
from tamis.models.engines.engine import ENGINES, ONNX, OPENVINO
from tamis.models.engines.graphs import sequence_graph, warm_parts
from tamis.models.engines.int8 import table_of
from tamis.models.padding import usable_padding
from tamis.models.reranker import Reranker
from tamis.stages.scores.settings import RerankerTeacher
from tamis.stages.scores.teachers.rerankers import Rerankers
from tamis.user_cache import user_cache
from tests.commands import tamis
from tests.conftest import TOPICS
from tests.families import build_causal, build_yes_no
from tests.models.test_positions import build
from tests.rerankers import PLAIN

LONG = "install the package " * 30
PAIRS = [
    *((question, answer) for topics in TOPICS.values() for question, answer in topics),
    (LONG, LONG),
    ("x", LONG),
    (LONG, "x"),
    ("package", ""),
]


def torchs(folder, pairs=PAIRS):
    return Reranker(folder).score_pairs(pairs).logits


def same_scores(reranker, folder):
    scored = reranker.score_pairs(PAIRS)
    np.testing.assert_allclose(scored.logits, torchs(folder), atol=1e-4)
    assert (scored.cut, scored.emptied) == (3, 1)
    alone = [reranker.score_pairs([pair]).logits[0] for pair in PAIRS[-5:]]
    np.testing.assert_allclose(alone, scored.logits[-5:], atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "engine"),
    [
        ("warm", "openvino"),
        pytest.param("stock", "onnx", marks=pytest.mark.slow),  # a graph takes seconds
        pytest.param("warm", "onnx", marks=pytest.mark.slow),
        pytest.param("stock", "openvino", marks=pytest.mark.slow),
    ],
)
def test_scores_are_torchs(request, kind, engine, caplog):
    folder = request.getfixturevalue(f"{kind}_folder")
    reranker = Reranker(folder, engine=engine)
    assert reranker.engine == engine
    same_scores(reranker, folder)
    assert "made ready for" in caplog.text
    caplog.clear()
    with pytest.MonkeyPatch.context() as patch:  # the graph is there now: it is not made again
        patch.setattr(type(ENGINES[engine]), "write", None)
        again = Reranker(folder, engine=engine)
    assert again.engine == engine
    assert not caplog.records
    again.remember()
    np.testing.assert_allclose(again.score_pairs(PAIRS).logits, torchs(folder), atol=1e-4)


# What stands in the place of torch, without an engine


class Counted:
    """Runs a graph in torch, and keeps the shapes that it met."""

    def __init__(self, graph):
        self.module, self.shapes = graph.module.eval(), set()

    def __call__(self, arrays):
        self.shapes |= {one.shape[1] for one in arrays.values()}
        with torch.no_grad():
            return self.module(**{name: torch.from_numpy(one) for name, one in arrays.items()}).numpy()


@pytest.mark.parametrize("kind", ["warm", "stock"])
def test_graphs_score_as_the_model_and_see_few_lengths(request, kind):
    scorer = Reranker(request.getfixturevalue(f"{kind}_folder")).scorer
    rows = scorer.encode(PAIRS)
    expected = scorer.logits(rows)
    if kind == "warm":
        runs = [Counted(graph) for graph in warm_parts(scorer.student)]
        scorer.student = CompiledWarm(*runs, scorer.student)
    else:
        runs = [Counted(sequence_graph(scorer))]
        scorer = CompiledScorer(*runs, scorer)
    np.testing.assert_allclose(scorer.logits(rows), expected, atol=1e-5)
    lengths = {length for run in runs for length in run.shapes}
    assert all(length % BUCKET == 0 or length == PLAIN.max_tokens for length in lengths)


def test_no_row_is_padded_beyond_the_positions_of_its_body(tiny_encoder, tmp_path):
    scorer = Reranker(build(tmp_path, "bert", tiny_encoder, max_position_embeddings=41)).scorer
    run = Counted(sequence_graph(scorer))
    rows = scorer.encode(PAIRS)
    np.testing.assert_allclose(CompiledScorer(run, scorer).logits(rows), scorer.logits(rows), atol=1e-5)
    assert max(run.shapes) == 41 == max(row.length for row in rows)


def test_segments_are_told_apart(bert_encoder, tmp_path):
    from tamis.models.checkpoint import Deployment
    from tamis.models.encoder import Encoder
    from tamis.models.saving import save_student
    from tests.rerankers import new_stock

    save_student(new_stock(Encoder.load(bert_encoder)), tmp_path / "model", Deployment({}, {}))
    scorer = Reranker(tmp_path / "model").scorer
    compiled = CompiledScorer(Counted(sequence_graph(scorer)), scorer)
    rows = scorer.encode(PAIRS)
    np.testing.assert_allclose(compiled.logits(rows), scorer.logits(rows), atol=1e-4)


# Torch instead


@pytest.fixture
def fake(monkeypatch):
    """OpenVINO that writes empty files and scores with torch: what is tested is the way there."""
    written = {}

    def write(graph, file):
        written[str(file.name)] = graph
        file.touch()

    engine = type(OPENVINO)(
        "openvino", "OpenVINO", ("openvino",), "{}.fake", ("float32",), write,
        lambda file, threads, precision: Counted(written[file.name]),
    )  # fmt: skip
    monkeypatch.setitem(ENGINES, "openvino", engine)
    monkeypatch.setattr(choosing, "OPENVINO", engine)
    return engine


@pytest.fixture(autouse=True)
def _fresh_cache(tmp_path_factory, monkeypatch, request):
    if "fake" in request.fixturenames:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def falls_back(folder, caplog, said):
    """Torch scores, and one line says why."""
    reranker = Reranker(folder, engine="openvino")
    assert reranker.engine == "torch"
    np.testing.assert_array_equal(reranker.score_pairs(PAIRS).logits, torchs(folder))
    (line,) = [one.message for one in caplog.records if "torch scores instead" in one.message]
    assert "\n" not in line
    assert line.startswith(f"{folder}: torch scores instead of OpenVINO: ")
    assert said in line


def test_an_engine_that_is_not_installed(warm_folder, caplog, fake, monkeypatch):
    monkeypatch.setattr("tamis.models.engines.engine.find_spec", lambda name: None)
    falls_back(warm_folder, caplog, "engine openvino: openvino is not installed; pip install 'tamis[openvino]'")


def test_a_cache_that_cannot_be_written(warm_folder, caplog, fake):
    user_cache().parent.mkdir(exist_ok=True)
    user_cache().write_text("a file")  # no folder can be made below it, even by root
    falls_back(warm_folder, caplog, "cannot be written")


@pytest.mark.parametrize(("family", "made"), [("yes-no", build_yes_no), ("causal", build_causal)])
def test_a_family_that_torch_alone_scores(tmp_path, caplog, fake, family, made):
    """Causal bodies, whose score stands at the last token: no engine ever has to guess their padding token."""
    falls_back(made(tmp_path / "model"), caplog, f"a checkpoint of the family {family} is scored by torch only")


def test_a_graph_that_cannot_be_opened_names_its_folder(warm_folder, caplog, fake, monkeypatch):
    def broken(file, threads, precision):
        raise RuntimeError("not a graph:\n  at all")

    monkeypatch.setattr(type(fake), "open", property(lambda engine: broken))
    falls_back(warm_folder, caplog, "cannot be run; delete it: not a graph: at all")


def test_a_graph_that_scores_otherwise(warm_folder, caplog, fake, monkeypatch):
    monkeypatch.setattr(choosing, "EXACT", -1.0)
    falls_back(warm_folder, caplog, "its scores differ by up to")


def test_an_engine_that_is_none(warm_folder):
    with pytest.raises(InputError, match="engine is 'tensorrt', expected one of auto, torch, openvino, onnx"):
        Reranker(warm_folder, engine="tensorrt")


def test_the_command_line_takes_the_engine(stock_folder, tmp_path, fake):
    file = tmp_path / "lines.txt"
    file.write_text("\n".join(answer for _, answer in TOPICS["en"]), encoding="utf-8")
    asked = ("rerank", stock_folder, "--query", TOPICS["en"][0][0], file)
    assert tamis(*asked, "--scoring-engine", "openvino").out == tamis(*asked).out
    outcome = tamis(*asked, "--scoring-engine", "fast")
    assert outcome.status == 2
    assert outcome.complaint == "engine is 'fast', expected one of auto, torch, openvino, onnx"


@pytest.mark.parametrize("ratio", [0.9, 3.0])
def test_auto_takes_what_is_faster_and_says_so_once(stock_folder, caplog, fake, monkeypatch, ratio):
    caplog.set_level(logging.INFO, "tamis")
    monkeypatch.setattr(choosing, "_seconds", lambda scorer, rows: 1 if isinstance(scorer, CompiledScorer) else ratio)
    reranker = Reranker(stock_folder, engine="auto")
    assert not [one for one in caplog.records if "times as fast" in one.message]  # no text is at hand yet
    same_scores(reranker, stock_folder)
    assert reranker.engine == ("openvino" if ratio > 1 else "torch")
    (line,) = [one.message for one in caplog.records if "times as fast" in one.message]
    assert f"OpenVINO is {ratio} times as fast as torch here" in line


def test_auto_compares_on_the_texts_at_hand(stock_folder, caplog, fake, monkeypatch):
    monkeypatch.setattr(choosing, "_seconds", lambda scorer, rows: 1 if isinstance(scorer, CompiledScorer) else 9)
    original = choosing._difference
    monkeypatch.setattr(
        choosing,
        "_difference",
        lambda scorer, given, precision, pairs: (
            (9.0, 1e-4) if PAIRS[0] in pairs else original(scorer, given, precision, pairs)
        ),
    )
    reranker = Reranker(stock_folder, engine="auto")
    same_scores(reranker, stock_folder)
    assert reranker.engine == "torch"
    assert "its scores of the texts at hand differ by up to 9 (allowed 0.0001)" in caplog.text


def test_auto_chooses_for_a_warm_model_that_remembers(warm_folder, fake, monkeypatch):
    reranker = Reranker(warm_folder, engine="auto")
    reranker.remember(10_000)
    ours = reranker.scorer
    monkeypatch.setattr(choosing, "_seconds", lambda scorer, rows: 9 if scorer is ours and ours.memory is None else 1)
    reranker.decide()
    assert reranker.engine == "openvino"
    assert reranker.scorer is not ours
    assert reranker.scorer.memory.most_bytes == 10_000


def test_auto_stays_with_torch_where_there_is_no_engine(stock_folder, caplog, fake, monkeypatch):
    monkeypatch.setattr("tamis.models.engines.engine.find_spec", lambda name: None)
    assert Reranker(stock_folder, engine="auto").engine == "torch"
    assert not caplog.records  # nobody asked for it


def test_nobody_is_told_that_openvino_is_used(tmp_path):
    package = tmp_path / "openvino_telemetry"
    package.mkdir()
    (package / "__init__.py").write_text("from pathlib import Path\nPath(__file__).with_name('told').touch()\n")
    code = "from tamis.models.engines.engine import quiet_openvino; quiet_openvino().Core()"
    path = os.pathsep.join([str(tmp_path), *sys.path])
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": path})
    assert not (package / "told").exists()
    subprocess.run([sys.executable, "-c", "import openvino"], check=True, env=os.environ | {"PYTHONPATH": path})
    assert (package / "told").exists()  # or nothing would be left to prevent


# The cache


def graphs_of(folder: Path, engine, made: list[str], identity: str = "a"):
    def graphs():
        made.append(identity)
        return [sequence_graph(Reranker(folder).scorer)]

    return cached_graphs("model", identity, engine, graphs)


def test_graphs_are_made_once_for_a_model_an_engine_and_a_processor(stock_folder, fake, monkeypatch):
    made: list[str] = []
    first = graphs_of(stock_folder, fake, made)
    assert graphs_of(stock_folder, fake, made) == first
    assert made == ["a"]
    assert first.is_relative_to(user_cache())
    assert (first / "model.fake").exists()
    others = {first, graphs_of(stock_folder, fake, made, "b")}
    monkeypatch.setattr(cached, "_processor", lambda: {"processor": "another one"})
    others.add(graphs_of(stock_folder, fake, made))
    assert len(others) == 3
    assert made == ["a", "b", "a"]


@pytest.mark.parametrize("damage", ["version", "format", "unreadable"])
def test_a_graph_of_another_version_is_named_and_made_anew(stock_folder, fake, caplog, damage):
    made: list[str] = []
    file = graphs_of(stock_folder, fake, made) / "graphs.json"
    whole = file.read_text()
    file.write_text("{" if damage == "unreadable" else json.dumps(json.loads(whole) | {damage: "2019.1"}))
    caplog.clear()
    assert graphs_of(stock_folder, fake, made) == file.parent
    assert made == ["a", "a"]
    assert file.read_text() == whole
    said = "an unknown version" if damage == "unreadable" else "2019.1"
    assert said in caplog.records[0].message
    assert f"not {fake.version} (format {cached.FORMAT})" in caplog.records[0].message
    shutil.rmtree(file.parent)


def test_a_graph_whose_making_fails_leaves_nothing(stock_folder, fake):
    def fails():
        raise RuntimeError("no such operator")

    with pytest.raises(RuntimeError):
        cached_graphs("model", "a", fake, fails)
    assert not list(user_cache().rglob("graphs.json"))


def test_two_that_make_the_same_graph(stock_folder, fake):
    made: list[str] = []
    with pytest.raises(RunError, match="another process is making it"):
        cached_graphs("model", "a", fake, lambda: [graphs_of(stock_folder, fake, made)])


def test_bfloat16_is_compared_by_the_range_of_the_scores(stock_folder, fake):
    scorer = Reranker(stock_folder).scorer
    logits = scorer.logits(scorer.encode(PROBE))
    given = InTorch("model", "encoder", scorer, "bfloat16", lambda: "a", lambda: scorer)
    _, allowed = choosing._difference(scorer, given, "float32", PROBE)
    assert allowed == pytest.approx(choosing.HALF * max(1.0, np.ptp(logits)))
    assert engine_scorer("openvino", given)[0] == "openvino"


def test_onnx_computes_in_float32_whatever_the_precision():
    assert ONNX.precisions == ("float32",)


def test_what_cannot_be_traced_is_one_line(stock_folder, fake):
    def fails():
        raise RuntimeError("Could not\n  export")

    scorer = Reranker(stock_folder).scorer
    given = InTorch("model", "encoder", scorer, "float32", lambda: "a", fails)
    with pytest.raises(ModelError, match=r"the graph cannot be made: Could not export$"):
        choosing._compiled(fake, given)


# Who asks for an engine


def test_rerankers_that_teach_take_the_engine_of_the_machine(stock_folder, fake):
    machine = Machine(MachineSettings(engine="openvino", device="cpu"), "float32")
    teacher = RerankerTeacher(kind="reranker", path=stock_folder)
    loaded = Rerankers(machine).load(teacher)
    assert loaded.engine == "openvino"
    np.testing.assert_allclose(loaded.score_pairs(PAIRS).logits, torchs(stock_folder), atol=1e-4)


@pytest.mark.parametrize("kind", ["stock", "warm"])
def test_an_evaluation_scores_by_an_engine_under_keys_of_its_own(request, kind, fake):
    folder = request.getfixturevalue(f"{kind}_folder")
    plain, fast = model_of(f"m={folder}", "float32"), model_of(f"m={folder}", "float32", engine="openvino")
    assert fast.reranker.engine == "openvino"
    assert fast.identity != plain.identity
    assert fast.reranker.parameters == plain.reranker.parameters  # though its weights are elsewhere


def test_a_padding_token_without_a_row_in_the_table_pads_nothing_in_an_engine_either(warm_folder, tmp_path):
    """As `tokenizer.add_special_tokens({"pad_token": ...})` leaves a checkpoint: no engine reads beyond the table."""
    folder = shutil.copytree(warm_folder, tmp_path / "model")
    words = AutoTokenizer.from_pretrained(folder)
    words.add_special_tokens({"pad_token": "[NEW]"})
    words.save_pretrained(folder)
    student = Reranker(folder).scorer.student
    assert words.pad_token_id >= len(student.body.get_input_embeddings().weight)
    given = []

    def states(arrays):
        given.append(arrays["input_ids"])
        return np.zeros((*arrays["input_ids"].shape, 4), np.float32)

    compiled = CompiledWarm(states, None, student)
    compiled.read(student.encoder.tokenise(["install a package", "clock"], "", 32))
    assert given[0].max() < len(student.body.get_input_embeddings().weight)


@pytest.mark.parametrize(("own", "tokens", "padding"), [(None, 10, 0), (3, 10, 3), (10, 10, 0), (0, 10, 0)])
def test_rows_in_int8_are_padded_with_a_token_that_the_table_has(own, tokens, padding, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"vocab_size": tokens}))
    assert usable_padding(SimpleNamespace(pad_token_id=own), table_of(tmp_path)) == padding
