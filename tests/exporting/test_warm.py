"""A warm student in other engines: as tamis exports it, and as those who have no tamis run it."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
import torch
from tokenizers import Tokenizer

from tamis import Reranker
from tamis.errors import MissingPartError, ModelError
from tamis.exporting import export as exporting
from tamis.exporting.export import export
from tests.conftest import TOPICS
from tests.test_readme import blocks

PAIRS = [(question, answer) for topics in TOPICS.values() for question, _ in topics[:4] for _, answer in topics[:4]]
LONG = "install the package " * 30
"""Longer than both texts may be."""

BLOCKED = "import sys\nsys.modules['torch'] = sys.modules['tamis'] = sys.modules['transformers'] = None\n"


@pytest.fixture(scope="module")
def exported(warm_folder, tmp_path_factory):
    """The warm student for ONNX Runtime, and what was found."""
    out = tmp_path_factory.mktemp("exported") / "onnx"
    return out, export(warm_folder, out, "onnx", PAIRS)


def torchs_logits(folder, pairs):
    return Reranker(folder).predict(pairs, activation_fn=torch.nn.Identity())


def test_both_forms_score_as_torch_in_onnx_runtime(exported):
    out, found = exported
    assert found.pairs == len(PAIRS)
    assert found.largest <= 1e-4
    assert found.offset == 0
    assert json.loads((out / "parity.json").read_text())["largest"] == found.largest
    assert {"model.onnx", "states.onnx", "joint.onnx", "tokenizer.json", "graphs.json"} <= {
        f.name for f in out.iterdir()
    }


@pytest.mark.slow
def test_both_forms_score_as_torch_in_openvino(warm_folder, tmp_path):
    assert export(warm_folder, tmp_path / "out", "openvino", PAIRS).largest <= 1e-4


def test_what_is_said_of_the_graphs_is_what_they_take_and_give(exported):
    out, _ = exported
    about = json.loads((out / "graphs.json").read_text())
    assert about["query"] == {"prefix": "query: ", "max_tokens": 16}
    assert about["document"] == {"prefix": "passage: ", "max_tokens": 24}
    assert about["activation"] == "sigmoid"
    assert about["graphs"].keys() == {"model", "states", "joint"}
    for said in about["graphs"].values():
        session = onnxruntime.InferenceSession(out / said["file"])
        kinds = {"tensor(int64)": "int64", "tensor(float)": "float32"}
        found = {one.name: (kinds[one.type], len(one.shape), one.shape[2:]) for one in session.get_inputs()}
        assert found == {
            name: (one["type"], len(one["shape"]), one["shape"][2:]) for name, one in said["inputs"].items()
        }
        assert [one.name for one in session.get_outputs()] == [said["output"]]


@pytest.mark.parametrize("parts", [False, True])
def test_whoever_reads_only_what_lies_in_the_folder_gets_the_scores(exported, warm_folder, parts):
    out, _ = exported
    about = json.loads((out / "graphs.json").read_text())
    words = Tokenizer.from_file(str(out / "tokenizer.json"))
    words.enable_padding(pad_id=about["pad_id"], pad_token=about["pad_token"])
    pairs = [*PAIRS, (LONG, LONG), ("package", LONG), ("package", "x")]

    def session(name):
        return onnxruntime.InferenceSession(out / about["graphs"][name]["file"])

    def read(side, texts):
        words.enable_truncation(about[side]["max_tokens"])
        found = words.encode_batch([about[side]["prefix"] + text for text in texts])
        return np.array([one.ids for one in found]), np.array([one.attention_mask for one in found])

    given = {}
    for side, texts in zip(("query", "document"), zip(*pairs, strict=True), strict=True):
        given[f"{side}_ids"], given[f"{side}_mask"] = read(side, texts)
        if parts:
            one = {"input_ids": given.pop(f"{side}_ids"), "attention_mask": given[f"{side}_mask"]}
            given[f"{side}_states"] = session("states").run(None, one)[0]
    logits = session("joint" if parts else "model").run(None, given)[0][:, 0]
    np.testing.assert_allclose(logits, torchs_logits(warm_folder, pairs), atol=1e-4)


def example_of(language, folder):
    """The example of docs/models.md for an exported folder."""
    (code,) = [code for code in blocks("docs/models.md", language) if "graphs.json" in code]
    return code.replace("OUT/", f"{folder}/")


def ran(command, **settings):
    """What a program printed: documents and their logits, best first."""
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, **settings)
    assert found.returncode == 0, found.stderr
    lines = [line.split("  ", 1) for line in found.stdout.splitlines()]
    return [document for _, document in lines], [float(logit) for logit, _ in lines]


def is_torchs(folder, documents, logits):
    query = "How do I install a package?"
    np.testing.assert_allclose(logits, torchs_logits(folder, [(query, one) for one in documents]), atol=1e-4)
    assert documents[0] == TOPICS["en"][0][1].split(". ")[0] + "."


def test_the_python_of_the_docs_needs_neither_torch_nor_tamis(exported, warm_folder):
    code = BLOCKED + example_of("python", exported[0])
    is_torchs(warm_folder, *ran([sys.executable, "-c", code]))


def has_node_packages():
    node = shutil.which("node")
    needed = "require('onnxruntime-node'); require('@huggingface/tokenizers')"
    return bool(node) and subprocess.run([node, "-e", needed], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not has_node_packages(), reason="needs node, and its packages in NODE_PATH")
def test_the_javascript_of_the_docs_scores_the_same(exported, warm_folder, tmp_path):
    file = tmp_path / "score.cjs"
    file.write_text(example_of("js", exported[0]), encoding="utf-8")
    is_torchs(warm_folder, *ran([shutil.which("node"), str(file)], env=os.environ))


@pytest.mark.parametrize("apart", [2e-4, [2e-4, *[0.0] * (len(PAIRS) - 1)]])
def test_a_form_that_scores_otherwise_is_named_and_nothing_is_left(warm_folder, tmp_path, monkeypatch, apart):
    # A constant would change no ranking, but these graphs have no reason to leave one out.
    logits = torchs_logits(warm_folder, PAIRS)
    monkeypatch.setattr(exporting, "write_warm", lambda *given: None)  # what is written takes seconds
    monkeypatch.setattr(exporting, "score_whole", lambda *given: logits)
    monkeypatch.setattr(exporting, "score_in_parts", lambda *given: logits + np.float32(apart))
    with pytest.raises(ModelError, match=r"onnx, two graphs scores differ by up to .* \(allowed 0.0001\)"):
        export(warm_folder, tmp_path / "out", "onnx", PAIRS)
    assert not list(tmp_path.iterdir())


def test_an_engine_that_is_not_installed_is_named(warm_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("tamis.models.engines.engine.find_spec", lambda name: None)
    with pytest.raises(
        MissingPartError, match=r"--to openvino: openvino is not installed; pip install 'tamis\[openvino\]'"
    ):
        export(warm_folder, tmp_path / "out", "openvino", PAIRS)
    assert not list(tmp_path.iterdir())
