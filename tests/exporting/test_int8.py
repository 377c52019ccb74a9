"""Graphs in int8: calibrated and checked on pairs of the user's own, written whole or not at all, scored by tamis."""

import importlib.util
import json
import logging
import re
import shutil
import sys

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau

from tamis import Reranker
from tamis.errors import InputError, MissingPartError, ModelError
from tamis.exporting import int8
from tamis.exporting.export import export
from tamis.exporting.int8 import DEPTH, LEAST_QUERIES, Checked, calibrating_pairs, candidate_lists
from tamis.exporting.pairs import pairs_for
from tamis.models.encoder import Encoder
from tamis.models.engines import int8 as loading
from tamis.models.saving import save_student
from tamis.serving.probing import check_scoring
from tests.commands import tamis
from tests.conftest import TOPICS, build_tiny_encoder
from tests.families import build_yes_no
from tests.rerankers import DEPLOYMENT, new_stock

PAIRS = [pair for topics in TOPICS.values() for pair in topics]
"""Just as many queries as have to be."""

needs_nncf = pytest.mark.skipif(importlib.util.find_spec("nncf") is None, reason="nncf is not installed")


def build_stock(folder, change=lambda student: None):
    """A stock model of one layer."""
    student = new_stock(Encoder.load(build_tiny_encoder(folder / "encoder", hidden=64, layers=1)))
    change(student)
    save_student(student, folder / "model", DEPLOYMENT)
    return folder / "model"


@pytest.fixture(scope="module")
def stock(tmp_path_factory):
    return build_stock(tmp_path_factory.mktemp("stock"))


@pytest.fixture
def unrounded(monkeypatch):
    """Nothing is rounded, so that nothing of it is needed: what is tested is the way around it."""
    patch_rounding(monkeypatch)


def patch_rounding(monkeypatch):
    monkeypatch.setattr(int8, "require_int8", lambda: None)
    monkeypatch.setattr(int8, "_rounded", lambda model, inputs: model)


@pytest.fixture(scope="module")
def float_folder(stock, tmp_path_factory):
    """The export of the stock model, with a graph in which nothing was rounded, and what was found."""
    out = tmp_path_factory.mktemp("exported") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch_rounding(patch)
        return out, export(stock, out, "openvino-int8", PAIRS)


@pytest.fixture(scope="module")
def int8_folder(stock, tmp_path_factory):
    """The export of the stock model, and what was found."""
    pytest.importorskip("nncf")
    out = tmp_path_factory.mktemp("exported") / "out"
    return out, export(stock, out, "openvino-int8", PAIRS)


def logits(folder, pairs=PAIRS):
    return Reranker(folder).score_pairs(pairs).logits


# By NNCF


def run_alone(folder, pairs):
    """Logits of a folder's graph by OpenVINO and transformers' tokenizer, without tamis."""
    import openvino
    from transformers import AutoTokenizer

    words = AutoTokenizer.from_pretrained(folder)
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    graph = openvino.Core().compile_model(folder / "openvino_model.xml", "CPU", settings)
    found = []
    for query, document in pairs:
        row = words(query, document, truncation="longest_first", return_tensors="np")
        found.append(np.asarray(graph({name: row[name] for name in ("input_ids", "attention_mask")})[0])[0, 0])
    return np.array(found)


def test_what_was_checked_is_what_openvino_alone_makes_of_the_written_graph(stock, int8_folder):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    out, found = int8_folder
    checked = [one.pairs for one in candidate_lists(PAIRS)[1::2]]
    words, model = AutoTokenizer.from_pretrained(stock), AutoModelForSequenceClassification.from_pretrained(stock)
    taus = []
    for pairs in checked:
        rows = words(*zip(*pairs, strict=True), truncation="longest_first", padding=True, return_tensors="pt")
        with torch.no_grad():
            expected = model.eval()(**rows).logits[:, 0].numpy()
        taus.append(kendalltau(expected, run_alone(out, pairs)).statistic)
    assert found.tau == pytest.approx(np.mean(taus), abs=0.01)  # a pair that is padded may change places
    assert found.tau >= int8.LEAST_TAU
    assert -int8.LARGEST_LOSS <= found.change <= 0
    assert (found.queries, found.calibrating) == (len(checked), 10 * DEPTH)


def test_the_weights_are_int8_and_a_third_of_the_size(float_folder, int8_folder):
    import openvino

    out, found = int8_folder
    assert found.in_int8 == found.products == 6  # query, key, value, output and both of the feed-forward
    graph = openvino.Core().read_model(out / "openvino_model.xml")
    constants = [op for op in graph.get_ops() if op.get_type_name() == "Constant"]
    assert [op.get_element_type() for op in constants].count(openvino.Type.i8) >= 6
    sizes = [(folder / "openvino_model.bin").stat().st_size for folder in (out, float_folder[0])]
    assert sizes[0] < sizes[1] / 2.5
    assert not list(out.glob("*.safetensors"))


def test_tamis_scores_by_the_folder(stock, int8_folder):
    out, _ = int8_folder
    reranker = Reranker(out)
    assert (reranker.engine, reranker.precision, reranker.family) == ("openvino", "int8", "encoder")
    np.testing.assert_allclose(reranker.score_pairs(PAIRS).logits, run_alone(out, PAIRS), atol=0.02)
    assert np.corrcoef(logits(out), logits(stock))[0, 1] > 0.98
    check_scoring(reranker)


@needs_nncf
@pytest.mark.slow
def test_a_warm_model_is_two_graphs(warm_folder, tmp_path):
    found = export(warm_folder, tmp_path / "out", "openvino-int8", PAIRS)
    assert found.holds
    assert found.in_int8 == found.products == 18
    reranker = Reranker(tmp_path / "out")
    assert reranker.family == "warm"
    assert reranker.parameters == Reranker(warm_folder).parameters
    assert np.corrcoef(reranker.score_pairs(PAIRS).logits, logits(warm_folder))[0, 1] > 0.98
    before = reranker.score_pairs(PAIRS).logits
    reranker.remember()
    np.testing.assert_allclose(reranker.score_pairs(PAIRS).logits, before, atol=0.02)


def outlying(student):
    """One input of the last product is a thousand times as large as the others, and counts as much as they do."""
    layer = student.model.classifier.base_model.encoder.layer[0]
    with torch.no_grad():
        layer.intermediate.dense.weight[0] *= 1000
        layer.output.dense.weight[:, 0] /= 1000


@needs_nncf
@pytest.mark.slow
def test_smoothquant_holds_outliers(tmp_path, caplog):
    found = export(build_stock(tmp_path, outlying), tmp_path / "out", "openvino-int8", PAIRS)
    assert found.holds
    assert found.in_int8 == found.products == 6
    assert not [one for one in caplog.records if one.name == int8.__name__]


@needs_nncf
@pytest.mark.slow
def test_naive_int8_fails_its_check_and_what_control_makes_of_it_is_no_worse(tmp_path, monkeypatch, caplog):
    import nncf

    naive = nncf.AdvancedQuantizationParameters(smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(matmul=-1))
    monkeypatch.setattr(
        int8,
        "_rounded",
        lambda model, inputs: nncf.quantize(model, **int8._how(model, inputs), advanced_parameters=naive),
    )
    told = re.compile(r"Kendall's tau (0\.\d+)")
    try:
        after = export(build_stock(tmp_path, outlying), tmp_path / "out", "openvino-int8", PAIRS).tau
    except ModelError as refused:  # ten queries of a random body: the bound may be missed by a hundredth
        after = float(told.search(str(refused))[1])
    (line,) = [one.message for one in caplog.records if one.name == int8.__name__]
    assert "looking for the products that do so" in line
    assert after >= float(told.search(line)[1])


# The way around it


def test_without_rounding_the_folder_scores_as_torch(stock, float_folder):
    out, found = float_folder
    assert found.tau == pytest.approx(1, abs=1e-3)
    assert found.change == pytest.approx(0, abs=1e-6)
    reranker = Reranker(out)
    np.testing.assert_allclose(reranker.score_pairs(PAIRS).logits, logits(stock), atol=1e-4)
    whole = Reranker(stock)
    assert reranker.parameters == whole.parameters
    assert reranker.activation == whole.activation
    assert reranker.deployment.first_stage_weights == whole.deployment.first_stage_weights
    shorter = Reranker(out, max_tokens=12).score_pairs(PAIRS)
    np.testing.assert_allclose(shorter.logits, Reranker(stock, max_tokens=12).score_pairs(PAIRS).logits, atol=1e-4)
    assert shorter.cut == len(PAIRS)


def test_without_rounding_a_warm_folder_scores_as_torch(warm_folder, tmp_path, unrounded):
    export(warm_folder, tmp_path / "out", "openvino-int8", PAIRS)
    reranker = Reranker(tmp_path / "out")
    np.testing.assert_allclose(reranker.score_pairs(PAIRS).logits, logits(warm_folder), atol=1e-4)
    long = [("package " * 100, "modules " * 100)]
    np.testing.assert_allclose(reranker.score_pairs(long).logits, logits(warm_folder, long), atol=1e-4)
    with pytest.raises(ModelError, match="max_tokens is set, but a warm checkpoint has a limit for each text"):
        Reranker(tmp_path / "out", max_tokens=12)


def test_the_command_line_exports_and_ranks(stock, float_folder, tmp_path, unrounded):
    lines, pairs = tmp_path / "lines.txt", tmp_path / "pairs.jsonl"
    lines.write_text("\n".join(answer for _, answer in TOPICS["en"]), encoding="utf-8")
    pairs.write_text("".join(json.dumps({"query": q, "document": d}) + "\n" for q, d in PAIRS), encoding="utf-8")
    outcome = tamis("export", stock, tmp_path / "out", "--to", "openvino-int8", "--pairs", pairs)
    assert outcome.status == 0
    assert "10 other queries of 10 documents" in outcome.out
    asked = ("--query", TOPICS["en"][0][0], lines)
    assert tamis("rerank", tmp_path / "out", *asked).out == tamis("rerank", stock, *asked).out


def test_the_folder_is_for_scoring_only(float_folder, stock, tmp_path):
    out, _ = float_folder
    said = "holds a graph in int8 and no weights; it is for scoring, serving and measuring"
    for to in ("onnx", "openvino-int8"):
        with pytest.raises(ModelError, match=said):
            export(out, tmp_path / "out", to, PAIRS)
    outcome = tamis("merge", out, stock, "--out", tmp_path / "merged")
    assert outcome.status == 2
    assert said in outcome.complaint


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"engine": "onnx"}, "engine is 'onnx', but .* holds graphs of OpenVINO in int8; leave it out"),
        # Without a GPU that is said first.
        ({"device": "cuda"}, "device is 'cuda', (but .* is in int8 for processors; leave it out|which cannot be used)"),
        ({"max_tokens": 1000}, "max_tokens is 1000, but .* was exported for 40 tokens"),
    ],
)
def test_what_an_int8_folder_cannot_be_asked(float_folder, given, message):
    with pytest.raises((InputError, ModelError), match=message):
        Reranker(float_folder[0], **given)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "int8.json: format 2, expected format 1; export the model again"),
        ({"probe": [0.0]}, r"int8.json: cannot be read \(parameters or probe"),
        ({"probe": [9.0] * 12}, "scores on this processor differ from those where it was exported by up to"),
        (None, "int8.json: cannot be read"),
    ],
)
def test_a_folder_that_is_damaged_or_scores_otherwise_here(float_folder, tmp_path, change, message):
    out = shutil.copytree(float_folder[0], tmp_path / "out")
    record = json.loads((out / "int8.json").read_text())
    (out / "int8.json").write_text("{" if change is None else json.dumps(record | change))
    with pytest.raises(ModelError, match=message):
        Reranker(out)


def test_a_graph_that_is_missing(float_folder, tmp_path):
    out = shutil.copytree(float_folder[0], tmp_path / "out")
    (out / "openvino_model.xml").unlink()
    with pytest.raises(ModelError, match="cannot be loaded as graphs in int8") as caught:
        Reranker(out)
    assert "\n" not in str(caught.value)


def test_without_openvino_the_folder_says_what_to_install(float_folder, monkeypatch):
    monkeypatch.setattr("tamis.models.engines.engine.find_spec", lambda name: None)
    with pytest.raises(MissingPartError, match=r"\(int8\): openvino is not installed; pip install 'tamis\[openvino\]'"):
        Reranker(float_folder[0])


def test_a_processor_that_multiplies_no_int8_is_told(float_folder, monkeypatch, caplog):
    real = loading.quiet_openvino()

    class Core(real.Core):
        def get_property(self, *names):
            return ["FP32", "BF16"]

    monkeypatch.setattr(loading, "quiet_openvino", lambda: type("openvino", (), {"Core": Core}))
    Reranker(float_folder[0])
    (line,) = [one.message for one in caplog.records if one.levelno == logging.WARNING]
    assert "this processor does not multiply int8 (OpenVINO names FP32, BF16)" in line


# What fails


def test_an_export_that_fails_its_check_twice_leaves_nothing_and_names_both_figures(
    stock, tmp_path, unrounded, monkeypatch, caplog
):
    monkeypatch.setattr(int8, "LEAST_TAU", 1.01)  # torch and OpenVINO themselves are at 1
    monkeypatch.setattr(int8._Work, "controlled", int8._Work.rounded)
    with pytest.raises(ModelError) as caught:
        export(stock, tmp_path / "out", "openvino-int8", PAIRS)
    message = str(caught.value)
    assert "\n" not in message
    assert "Kendall's tau 1.000 (at least 1.01), nDCG@10 " in message
    assert "on 10 queries, with 0 of 6 products in int8; nothing was written" in message
    assert "looking for the products that do so" in caplog.text
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("tau", "change", "holds"),
    [(0.9, -0.01, True), (0.89, 0.0, False), (1.0, -0.02, False), (float("nan"), 0.0, False), (1.0, 0.0, True)],
)
def test_both_figures_count(tau, change, holds):
    assert Checked(20, 200, tau, change, 6, 6).holds == holds


def test_nncf_that_is_not_installed(stock, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(
        MissingPartError, match=r"--to openvino-int8: nncf is not installed; pip install 'tamis\[int8\]'"
    ):
        export(stock, tmp_path / "out", "openvino-int8", PAIRS)
    assert not (tmp_path / "out").exists()


def test_a_family_without_a_form_in_int8(tmp_path, unrounded):
    model = build_yes_no(tmp_path / "model")
    with pytest.raises(ModelError, match=r"int8 is for encoders with one label and for warm models.*family yes-no"):
        export(model, tmp_path / "out", "openvino-int8", PAIRS)


# Pairs


@pytest.mark.parametrize("pairs", [PAIRS[: LEAST_QUERIES - 1], [(str(number), "same") for number in range(50)]])
def test_too_few_pairs(stock, tmp_path, unrounded, pairs):
    with pytest.raises(InputError, match=r"--pairs holds .* different documents, expected at least 20 and 10"):
        export(stock, tmp_path / "out", "openvino-int8", pairs)


def test_a_query_keeps_its_own_documents_and_gets_those_that_follow():
    pairs = [(f"q{number}", f"d{number}") for number in range(30)]
    pairs += [("q3", f"own{number}") for number in range(20)] + [("q3", "d3")]
    lists = {one.query: one.documents for one in candidate_lists(pairs)}
    assert all(len(set(documents)) == len(documents) == DEPTH for documents in lists.values())
    assert lists["q0"] == tuple(f"d{number}" for number in range(DEPTH))
    assert lists["q3"] == ("d3", *(f"own{number}" for number in range(DEPTH - 1)))
    assert lists["q29"][:2] == ("d29", "own0")


def test_many_queries_calibrate():
    pairs = [(f"q{number}", f"d{number}") for number in range(400)]
    lists = candidate_lists(pairs)
    assert len(lists) == int8.MOST_QUERIES
    chosen = calibrating_pairs(lists[::2])
    assert len(set(chosen)) == int8.CALIBRATING
    assert {query for query, _ in chosen} == {one.query for one in lists[::2]}


def test_pairs_of_ones_own_are_needed(tmp_path):
    with pytest.raises(InputError, match="--to openvino-int8 needs --pairs FILE"):
        pairs_for("openvino-int8", None)
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps({"query": f"q{n}", "document": "d"}) + "\n" for n in range(2500)))
    assert len(pairs_for("openvino-int8", file)) == 2000
    assert len(pairs_for("onnx", file)) == 200
