import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tamis.adaptation import recipe_content
from tamis.errors import InputError
from tamis.models.checkpoint import is_encoder
from tamis.models.encoder import Encoder
from tamis.models.reranker import Reranker
from tamis.pipeline.reading import recipe_from
from tamis.stages.student.start import reading_of
from tamis.weights import shipped as module
from tamis.weights.e5_small import convert_e5_small
from tamis.weights.shipped import BASE, NAMES, SHIPPED, SMALL, ship, shipped_model
from tests.pipeline.test_idle import idle

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
        patch.setattr(module, "convert_e5_small", lambda out: shutil.copytree(folder, out, copy_function=as_it_is))
        yield folder


def as_it_is(source, target):
    """Copy a file, but link to weights: whoever writes others removes what is there first."""
    if source.endswith(".safetensors"):
        Path(target).symlink_to(source)
    else:
        shutil.copy2(source, target)


@pytest.fixture(scope="module", params=NAMES)
def by_its_name(body, request):
    return Reranker(request.param)


def test_a_shipped_model_works_by_its_name_without_a_network(by_its_name):
    ranked = by_its_name.rank(QUESTION, DOCUMENTS)
    assert ranked[0]["corpus_id"] == 1
    assert ranked[-1]["corpus_id"] == 0


def test_it_has_a_body_that_a_new_head_can_be_put_on():
    assert is_encoder("tamis-base")
    assert Encoder.load(shipped_model(BASE)).layers == 12


def test_it_is_built_once(monkeypatch):
    folder = shipped_model(BASE)
    monkeypatch.setattr(module, "convert_e5_small", None)
    assert shipped_model(BASE) == folder


def test_who_may_read_other_new_files_may_read_it(tmp_path):
    (tmp_path / "file").touch()
    modes = {file.stat().st_mode for file in shipped_model(BASE).iterdir()}
    assert modes == {(tmp_path / "file").stat().st_mode}


def test_it_is_the_body_with_the_shipped_layers(body):
    plain, built = load_file(body / "model.safetensors"), load_file(shipped_model(BASE) / "model.safetensors")
    layers = load_file(SHIPPED / BASE / "layers.safetensors")
    assert built.keys() == plain.keys()
    for name, tensor in built.items():
        assert torch.equal(tensor, layers[name].float() if name in layers else plain[name])
    assert all(name.startswith("encoder.layer.") for name in layers)
    assert sum(file.stat().st_size for file in (SHIPPED / BASE).iterdir()) < 45e6


@pytest.mark.parametrize("name", [SMALL, pytest.param(BASE, marks=pytest.mark.slow)])
def test_what_is_shipped_of_a_model_builds_it_again(name, tmp_path):
    ship(shipped_model(name), tmp_path / name)
    again = {file.name: file.read_bytes() for file in (tmp_path / name).iterdir()}
    assert again == {file.name: file.read_bytes() for file in (SHIPPED / name).iterdir()}


def test_the_small_one_is_an_ordinary_cross_encoder(body):
    """Loaded as anybody else would load it: no code of tamis, no remote code."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = shipped_model(SMALL)
    model, info = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert model.config.num_hidden_layers <= 6
    assert model.config.num_labels == 1
    assert not (folder / "modules.json").exists()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        batch = tokenizer([QUESTION] * len(DOCUMENTS), DOCUMENTS, padding=True, return_tensors="pt")
        expected = model.eval()(**batch).logits[:, 0]
    scored = torch.tensor([logit for logit in Reranker(SMALL).score(QUESTION, DOCUMENTS)])
    torch.testing.assert_close(scored, expected, atol=1e-4, rtol=1e-4)
    assert sum(file.stat().st_size for file in (SHIPPED / SMALL).iterdir()) < 25e6


@pytest.mark.slow  # it calls the transformers of the test above; tests/models do it with small models
def test_the_small_one_loads_in_sentence_transformers(body):
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(shipped_model(SMALL)), device="cpu")
    pairs = [(QUESTION, document) for document in DOCUMENTS]
    assert model.predict(pairs) == pytest.approx(Reranker(SMALL).predict(pairs), abs=1e-4)


def test_layers_that_are_not_the_shipped_ones_are_refused(tmp_path, monkeypatch):
    shutil.copytree(SHIPPED, tmp_path / "shipped")
    content = bytearray((tmp_path / "shipped" / BASE / "layers.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "shipped" / BASE / "layers.safetensors").write_bytes(content)
    monkeypatch.setattr(module, "SHIPPED", tmp_path / "shipped")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(InputError, match=r"layers\.safetensors: has sha256 .*, expected .*; install tamis anew"):
        shipped_model(BASE)
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_another_head_is_another_folder(tmp_path, monkeypatch):
    before = shipped_model(BASE)
    shutil.copytree(SHIPPED, tmp_path / "shipped")
    facts = json.loads((tmp_path / "shipped" / BASE / "tamis.json").read_text())
    (tmp_path / "shipped" / BASE / "tamis.json").write_text(json.dumps(facts | {"bias": facts["bias"] + 1}))
    monkeypatch.setattr(module, "SHIPPED", tmp_path / "shipped")
    after = shipped_model(BASE)
    assert after != before
    assert json.loads((after / "tamis.json").read_text())["bias"] == facts["bias"] + 1


def test_its_published_score_tells_an_answer_from_none(by_its_name):
    scores = by_its_name.predict([(QUESTION, document) for document in DOCUMENTS])
    assert scores[1] > 0.5 > scores[0]


def test_the_small_model_learns_from_the_one_that_ranks_better(tmp_path):
    (tmp_path / "one.txt").write_text("Packages are installed with apt.")
    encoder = Path("demo/models/e5-small")
    taught = recipe_from(recipe_content("tamis-small", tmp_path / "one.txt", (), encoder, [tmp_path / "q.tsv"]), "here")
    assert [str(teacher.path) for teacher in taught.scores.teachers] == ["tamis-base"]
    assert (taught.scores.dense, taught.scores.bm25) == (0, 0)
    # Of a row of 128 tokens a document has what the query leaves: that part is written about and cut into passages.
    assert reading_of(taught.student, taught.candidates.dense)[1:] == ("", 96)
    alone = recipe_from(recipe_content("tamis-base", tmp_path / "one.txt", (), encoder, [tmp_path / "q.tsv"]), "here")
    assert not alone.scores.teachers


def test_settings_that_do_nothing_beside_a_shipped_start_are_named(recipe):
    start = {"head": "own", "start": BASE, "document_tokens": 512, "apart_layers": 2, "scale": 1}
    before = idle(recipe)
    found = [name for name in idle(recipe, student=start) if name not in before]
    assert found == ["student.scale", "student.document_tokens"]
