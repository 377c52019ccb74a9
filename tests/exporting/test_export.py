"""Exports loaded again in the engine they were made for."""

import json
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from tamis import Reranker
from tamis.errors import InputError, ModelError
from tamis.exporting import export as exporting
from tamis.exporting.export import export
from tamis.exporting.graphs import write_graph
from tamis.exporting.pairs import builtin_pairs, read_pairs
from tamis.exporting.parity import parity
from tamis.models.engines.engine import ONNX
from tests.families import build_causal, build_encoder, build_querit, build_yes_no

KINDS = ["bert", "xlm-roberta", "modernbert", "querit", "querit-moe", "yes-no", "causal"]
PAIRS = builtin_pairs()[::5]
LOGIT = torch.nn.Identity()


@pytest.fixture(scope="module")
def folders(tiny_encoder, tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {
        **{kind: build_encoder(root / kind, kind, tiny_encoder) for kind in KINDS[:3]},
        "querit": build_querit(root / "querit", "qwen3"),
        "querit-moe": build_querit(root / "querit-moe", "deepseek_v3"),
        "yes-no": build_yes_no(root / "yes-no"),
        "causal": build_causal(root / "causal"),
    }


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.slow) if kind == "querit-moe" else kind for kind in KINDS]
)
def test_a_folder_for_transformers_is_loaded_by_tamis_and_sentence_transformers_with_the_same_ranking(
    folders, tmp_path, kind
):
    from sentence_transformers import CrossEncoder

    out = tmp_path / "out"
    found = export(folders[kind], out, "transformers", PAIRS)
    assert found.pairs == len(PAIRS)
    assert found.tau == pytest.approx(1, abs=1e-3)
    assert json.loads((out / "parity.json").read_text())["largest"] == found.largest <= 1e-4
    assert not [file.name for file in out.iterdir() if file.suffix in (".bin", ".py", ".pt")]
    ours = Reranker(folders[kind]).predict(PAIRS, activation_fn=LOGIT) + found.offset
    exported, peer = Reranker(out), CrossEncoder(str(out))
    np.testing.assert_allclose(exported.predict(PAIRS, activation_fn=LOGIT), ours, atol=1e-4)
    np.testing.assert_allclose(peer.predict(PAIRS, activation_fn=LOGIT), ours, atol=1e-4)
    np.testing.assert_allclose(peer.predict(PAIRS), exported.predict(PAIRS), atol=1e-5)


@pytest.fixture(scope="module")
def for_vllm(folders, tmp_path_factory):
    """Querit exported for vLLM, and what was found."""
    out = tmp_path_factory.mktemp("vllm") / "querit"
    return out, export(folders["querit"], out, "vllm", PAIRS)


def test_the_bias_of_a_two_logit_head_is_left_out_and_named(for_vllm):
    _, found = for_vllm
    assert found.offset == pytest.approx((0.2 + 0.1) / 2, abs=1e-5)  # -(bias[1] - bias[0]) / 2


@pytest.mark.parametrize("kind", ["querit", "querit-moe", "yes-no"])
def test_a_folder_for_vllm_holds_what_its_classifier_expects_key_by_key(folders, for_vllm, tmp_path, kind):
    from safetensors import safe_open
    from transformers import AutoConfig, AutoModelForSequenceClassification

    out, _ = for_vllm
    if kind != "querit":
        out = tmp_path / "out"
        export(folders[kind], out, "vllm", PAIRS)
    config = AutoConfig.from_pretrained(out)
    assert config.architectures[0].endswith("ForSequenceClassification")
    assert config.num_labels == 1
    if kind != "querit-moe":  # the experts' tensors are saved one by one and held together
        expected = AutoModelForSequenceClassification.from_config(config).state_dict()
        with safe_open(out / "model.safetensors", framework="pt") as file:
            held = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        assert held == {name: tuple(tensor.shape) for name, tensor in expected.items()}


def test_the_chat_template_of_an_export_is_the_published_text(for_vllm):
    from transformers import AutoTokenizer

    out, _ = for_vllm
    words = AutoTokenizer.from_pretrained(out)
    messages = [{"role": "query", "content": "a {x} b"}, {"role": "document", "content": "c\n"}]
    text = words.apply_chat_template(messages, tokenize=False)
    assert text == (
        "Judge whether the Content meets the requirements based on the Query. Query: a {x} b; Content: c\n[CLS]"
    )
    told = [{"role": "system", "content": "Find it."}, *messages]
    assert words.apply_chat_template(told, tokenize=False).startswith("Find it. Query: a {x} b")


@pytest.mark.parametrize(
    ("kind", "engine"),
    [
        ("xlm-roberta", "openvino"),
        ("querit", "onnx"),
        pytest.param("bert", "onnx", marks=pytest.mark.slow),  # as with an activation of old checkpoints, below
        pytest.param("bert", "openvino", marks=pytest.mark.slow),
        pytest.param("xlm-roberta", "onnx", marks=pytest.mark.slow),
        pytest.param("querit", "openvino", marks=pytest.mark.slow),
    ],
)
def test_a_graph_scores_the_same_in_its_engine(folders, tmp_path, kind, engine):
    found = export(folders[kind], tmp_path / "out", engine, PAIRS)
    assert found.largest < 1e-4
    assert found.tau == pytest.approx(1, abs=1e-3)


def test_a_body_that_cannot_be_traced_is_one_line(folders, tmp_path, monkeypatch):
    def fails(graph, file):
        raise RuntimeError("Could not\n  guard on data-dependent expression")

    write = partial(write_graph, replace(ONNX, write=fails, packages=()))
    monkeypatch.setitem(exporting.ENGINES, "onnx", (write, None))
    message = (
        r"bert: its body cannot be written as a graph of ONNX Runtime: Could not guard on data-dependent expression$"
    )
    with pytest.raises(ModelError, match=message):
        export(folders["bert"], tmp_path / "out", "onnx", PAIRS)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("engine", ["transformers", "vllm"])
def test_a_warm_checkpoint_has_no_form_for_engines_of_one_row_a_pair(warm_folder, tmp_path, engine):
    with pytest.raises(ModelError, match=f"a warm checkpoint has no form that {engine} loads.*onnx or openvino"):
        export(warm_folder, tmp_path / "out", engine, PAIRS)
    assert not (tmp_path / "out").exists()


def test_an_export_that_scores_otherwise_is_refused_and_nothing_is_left(folders, tmp_path, monkeypatch):
    write, score = exporting.ENGINES["transformers"]

    def off(folder, scorer, rows):
        return score(folder, scorer, rows)[::-1]

    monkeypatch.setitem(exporting.ENGINES, "transformers", (write, off))
    with pytest.raises(ModelError, match=r"transformers scores differ by up to .* nothing was written"):
        export(folders["bert"], tmp_path / "out", "transformers", PAIRS)
    assert not list(tmp_path.iterdir())


OLD = "sbert_ce_default_activation_function"


@pytest.mark.parametrize(
    ("name", "engine"),
    [
        ("linear.Identity", "transformers"),
        ("activation.Tanh", "transformers"),
        ("activation.Tanh", "onnx"),
        pytest.param("linear.Identity", "onnx", marks=pytest.mark.slow),  # the same graph
    ],
)
def test_an_activation_of_old_checkpoints_comes_along(folders, tmp_path, name, engine):
    from sentence_transformers import CrossEncoder

    old = shutil.copytree(folders["bert"], tmp_path / "old")
    config = json.loads((old / "config.json").read_text())
    (old / "config.json").write_text(json.dumps(config | {OLD: f"torch.nn.modules.{name}"}))
    found = export(old, tmp_path / "out", engine, PAIRS[:4])
    assert found.bounded < 1e-4
    written = json.loads((tmp_path / "out" / "config.json").read_text())
    assert written[OLD] == written["sentence_transformers"]["activation_fn"] == f"torch.nn.modules.{name}"
    if engine == "transformers":
        peers = CrossEncoder(str(old), device="cpu"), CrossEncoder(str(tmp_path / "out"), device="cpu")
        np.testing.assert_allclose(peers[1].predict(PAIRS[:4]), peers[0].predict(PAIRS[:4]), atol=1e-5)


def test_an_export_whose_bounded_scores_are_others_is_refused(folders, tmp_path, monkeypatch):
    write, score = exporting.ENGINES["transformers"]

    def with_another(reranker, scorer, folder):
        write(reranker, scorer, folder)
        config = json.loads((folder / "config.json").read_text())
        config["sentence_transformers"]["activation_fn"] = "torch.nn.modules.linear.Identity"
        (folder / "config.json").write_text(json.dumps(config))

    monkeypatch.setitem(exporting.ENGINES, "transformers", (with_another, score))
    with pytest.raises(ModelError, match=r"makes bounded scores by identity, .* by sigmoid: they differ by up to"):
        export(folders["bert"], tmp_path / "out", "transformers", PAIRS[:4])
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten_and_engines_are_named(folders, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").write_text("mine")
    with pytest.raises(InputError, match="already holds something else"):
        export(folders["bert"], tmp_path / "out", "transformers", PAIRS)
    with pytest.raises(
        InputError, match="--to trt: expected one of transformers, vllm, onnx, openvino, openvino-int8, gguf"
    ):
        export(folders["bert"], tmp_path / "new", "trt", PAIRS)


def test_parity_takes_a_constant_off_and_sees_ties():
    ours = np.arange(10, dtype=np.float32)
    found = parity(ours, ours - 3, "x", ("tanh", "tanh"))
    assert (found.offset, found.largest, found.ties, found.bounded) == (-3, 0, 0, 0)
    assert found.tau == pytest.approx(1)
    theirs = np.repeat(np.arange(5, dtype=np.float32) * 2, 2)
    assert parity(ours, theirs, "x", ("sigmoid", "sigmoid")).ties == 0.5


def test_builtin_pairs_are_200_different_ones_in_several_languages():
    pairs = builtin_pairs()
    assert len(set(pairs)) == len(pairs) == 200
    assert any("\u3040" <= character <= "\u30ff" for query, _ in pairs for character in query)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"query": "a"}\n', "f.jsonl:1: expected"),
        ('{"query": "a", "document": "b"}\n{\n', "f.jsonl:2: no JSON"),
        ('{"query": "a", "document": "b"}\n', "f.jsonl: 1 pairs, expected at least 2"),
        (b"\xff\xfe", "f.jsonl:1: no JSON in UTF-8"),
        ("[" * 100_000, "f.jsonl:1: no JSON in UTF-8"),
        (None, "f.jsonl: cannot be read"),
    ],
)
def test_pairs_that_cannot_be_read_are_named(tmp_path, content, message):
    file = tmp_path / "f.jsonl"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message):
        read_pairs(file)
