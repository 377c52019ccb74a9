import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from tamis.errors import InputError
from tamis.models.checkpoint import is_encoder
from tamis.models.encoder import Encoder
from tamis.models.reranker import Reranker
from tamis.weights import tamis_base as module
from tamis.weights.e5_small import convert_e5_small
from tamis.weights.tamis_base import SHIPPED, ship, tamis_base

QUESTION = "Wie installiere ich ein Paket?"
DOCUMENTS = [
    "Der Himmel ist blau.",
    "Mit apt install wird ein Paket installiert.",
    "Packages are removed by apt remove.",
]


@pytest.fixture(scope="module", autouse=True)
def body(tmp_path_factory):
    """What is built on, converted once for all tests, which have a cache of their own."""
    folder = tmp_path_factory.mktemp("e5") / "body"
    convert_e5_small(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(module, "convert_e5_small", lambda out: shutil.copytree(folder, out))
        yield folder


@pytest.fixture(scope="module")
def by_its_name(body):
    return Reranker("tamis-base")


def test_the_general_student_works_by_its_name_without_a_network(by_its_name):
    ranked = by_its_name.rank(QUESTION, DOCUMENTS)
    assert ranked[0]["corpus_id"] == 1
    assert ranked[-1]["corpus_id"] == 0


def test_it_has_a_body_that_a_new_head_can_be_put_on():
    assert is_encoder("tamis-base")
    assert Encoder.load(tamis_base()).layers == 12


def test_it_is_built_once(monkeypatch):
    folder = tamis_base()
    monkeypatch.setattr(module, "convert_e5_small", None)
    assert tamis_base() == folder


def test_who_may_read_other_new_files_may_read_it(tmp_path):
    (tmp_path / "file").touch()
    modes = {file.stat().st_mode for file in tamis_base().iterdir()}
    assert modes == {(tmp_path / "file").stat().st_mode}


def test_it_is_the_body_with_the_shipped_layers(body):
    plain, built = load_file(body / "model.safetensors"), load_file(tamis_base() / "model.safetensors")
    layers = load_file(SHIPPED / "layers.safetensors")
    assert built.keys() == plain.keys()
    for name, tensor in built.items():
        assert torch.equal(tensor, layers[name].float() if name in layers else plain[name])
    assert all(name.startswith("encoder.layer.") for name in layers)
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) < 45e6


def test_what_is_shipped_of_a_model_builds_it_again(tmp_path, monkeypatch):
    ship(tamis_base(), tmp_path / "again")
    first, again = (json.loads((f / "MANIFEST.json").read_text()) for f in (SHIPPED, tmp_path / "again"))
    assert first == again
    assert (tmp_path / "again" / "layers.safetensors").read_bytes() == (SHIPPED / "layers.safetensors").read_bytes()


def test_layers_that_are_not_the_shipped_ones_are_refused(tmp_path, monkeypatch):
    shutil.copytree(SHIPPED, tmp_path / "shipped")
    content = bytearray((tmp_path / "shipped" / "layers.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "shipped" / "layers.safetensors").write_bytes(content)
    monkeypatch.setattr(module, "SHIPPED", tmp_path / "shipped")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(InputError, match=r"layers\.safetensors: has sha256 .*, expected .*; install tamis anew"):
        tamis_base()
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_another_head_is_another_folder(tmp_path, monkeypatch):
    before = tamis_base()
    shutil.copytree(SHIPPED, tmp_path / "shipped")
    facts = json.loads((tmp_path / "shipped" / "tamis.json").read_text())
    (tmp_path / "shipped" / "tamis.json").write_text(json.dumps(facts | {"bias": facts["bias"] + 1}))
    monkeypatch.setattr(module, "SHIPPED", tmp_path / "shipped")
    after = tamis_base()
    assert after != before
    assert json.loads((after / "tamis.json").read_text())["bias"] == facts["bias"] + 1


def test_its_published_score_tells_an_answer_from_none(by_its_name):
    scores = by_its_name.predict([(QUESTION, document) for document in DOCUMENTS])
    assert scores[1] > 0.5 > scores[0]
