import hashlib
import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tamis.errors import InputError, ModelError
from tamis.formulas.merging import linear, task_arithmetic, ties
from tamis.formulas.slerp import merge_state_dicts, slerp
from tamis.merging import methods
from tamis.merging.checkpoints import Checkpoint
from tamis.merging.merge import merge_checkpoints
from tamis.merging.methods import Method, straight_weights
from tamis.models.checkpoint import read_facts
from tamis.models.reranker import Reranker
from tests.families import build_causal, build_encoder, build_yes_no
from tests.merging.siblings import changed, edit, in_one_file, querit_family, sibling, weights

LONGEST = 1009
"""Elements of a tensor in memory at a time in these tests: no tensor's number of elements is a multiple of it."""


@pytest.fixture(autouse=True)
def _short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods, "STRETCH", LONGEST)


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    """A parent and three children; tests read them."""
    return querit_family(tmp_path_factory.mktemp("family"))


def assert_close(merged: Path, expected: dict[str, torch.Tensor]) -> None:
    found = weights(merged)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, msg=lambda text, name=name: f"{name}: {text}")


# The formulas, over whole folders


@pytest.mark.parametrize("with_base", [True, False])
@pytest.mark.parametrize("t", [0.0, 0.3, 1.0])
def test_slerp_of_folders_is_slerp_of_their_tensors(
    family: tuple[Path, list[Path]], tmp_path: Path, with_base: bool, t: float
):
    parent, (a, b, _) = family
    base = parent if with_base else None
    report = merge_checkpoints([a, b], tmp_path / "out", Method(t=t), base)
    expected, statistics = merge_state_dicts(weights(a), weights(b), t, weights(parent) if with_base else None)
    assert_close(tmp_path / "out", expected)
    assert (len(report.tensors), report.equal, report.linear) == (
        statistics.tensors,
        statistics.equal,
        statistics.linear,
    )
    assert {row.layer: row.angles[0] for row in report.by_layer() if row.layer is not None} == pytest.approx(
        statistics.layer_angles, abs=1e-2
    )


@pytest.mark.parametrize("with_base", [True, False])
def test_three_models_are_joined_one_after_another(family: tuple[Path, list[Path]], tmp_path: Path, with_base: bool):
    parent, (a, b, c) = family
    base = weights(parent) if with_base else None
    report = merge_checkpoints([a, b, c], tmp_path / "out", Method(), parent if with_base else None)
    first, of_first = merge_state_dicts(weights(a), weights(b), 1 / 2, base)
    expected, of_second = merge_state_dicts(first, weights(c), 1 / 3, base)
    assert_close(tmp_path / "out", expected)
    for row in report.by_layer():
        if row.layer is not None:
            angles = [of_first.layer_angles[row.layer], of_second.layer_angles[row.layer]]
            assert row.angles == pytest.approx(angles, abs=1e-2)


def test_of_three_models_all_weigh_alike_unless_t_says_otherwise():
    assert straight_weights(Method().fractions(4)) == pytest.approx([1 / 4] * 4)
    assert straight_weights(Method(t=0.5).fractions(3)) == [0.25, 0.25, 0.5]


def test_the_other_methods_are_their_formulas(family: tuple[Path, list[Path]], tmp_path: Path):
    parent, children = family
    base, tensors = weights(parent), [weights(child) for child in children]

    def merged(method: Method, base: Path | None = parent) -> Path:
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        merge_checkpoints(children, out, method, base)
        return out

    def expected(formula):
        return {name: formula([one[name] for one in tensors], base[name]) for name in base}

    assert_close(merged(Method("linear")), expected(lambda x, _: linear(x, [1, 1, 1])))
    assert_close(merged(Method("linear", t=0.4), None), expected(lambda x, _: linear(x, [0.36, 0.24, 0.4])))
    task = expected(lambda x, parent: task_arithmetic(x, parent, [0.4] * 3))
    assert_close(merged(Method("task-arithmetic")), task)
    assert_close(merged(Method("dare", weight=0.4, density=1.0)), task)
    assert_close(merged(Method("ties")), expected(lambda x, parent: ties(x, parent, [1] * 3, 0.2)))
    assert_close(
        merged(Method("ties", weight=0.7, density=0.6)),
        expected(lambda x, parent: ties(x, parent, [1] * 3, 0.6, 0.7)),
    )


def test_dare_drops_as_many_as_it_should_and_the_same_with_the_same_seed(
    family: tuple[Path, list[Path]], tmp_path: Path
):
    parent, (a, _, _) = family
    for number, seed in enumerate((1, 1, 2)):
        method = Method("dare", weight=1.0, density=0.3, seed=seed)
        merge_checkpoints([a, parent], tmp_path / str(number), method, parent)
    first, again, other = (weights(tmp_path / str(number)) for number in range(3))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])
    shares = [(tensor != weights(parent)[name]).float().mean() for name, tensor in first.items() if tensor.dim() > 1]
    assert float(torch.stack(shares).mean()) == pytest.approx(0.3, abs=0.03)


def test_siblings_are_averaged_as_weights_and_turned_as_differences(family: tuple[Path, list[Path]], tmp_path: Path):
    parent, _ = family
    a, b = (sibling(parent, tmp_path / name, seed, step=0.003) for seed, name in enumerate("ab"))
    as_weights = merge_checkpoints([a, b], tmp_path / "weights", Method())
    as_differences = merge_checkpoints([a, b], tmp_path / "differences", Method(), parent)
    assert as_weights.linear_share > 0.7 > 0.1 > as_differences.linear_share
    assert all(row.angles[0] < 5 for row in as_weights.by_layer() if row.layer is not None)
    assert all(70 < row.angles[0] < 110 for row in as_differences.by_layer() if row.layer is not None)


def test_the_report_counts_by_layer(family: tuple[Path, list[Path]], tmp_path: Path):
    parent, (a, b, _) = family
    kept = changed(b, tmp_path / "b", lambda name, x: weights(a)[name] if ".layers.1." in name else x)
    report = merge_checkpoints([a, kept], tmp_path / "out", Method(), parent)
    zero, one, others = report.by_layer()
    assert (zero.layer, one.layer, others.layer) == (0, 1, None)
    assert zero.equal == 0 < one.equal == one.tensors == zero.tensors
    assert one.angles == (None,)
    assert report.equal == one.tensors
    assert sum(row.tensors for row in (zero, one, others)) == len(report.tensors) == len(weights(a))
    head = next(tensor for tensor in report.tensors if tensor.name == "head.weight")
    difference = [weights(folder)["head.weight"] - weights(parent)["head.weight"] for folder in (a, kept)]
    assert head.arcs[0].angle == pytest.approx(slerp(*difference, 0.5).angle, abs=1e-4)


# What lies in the folder


def test_the_folder_is_like_the_first_models(family: tuple[Path, list[Path]], tmp_path: Path):
    parent, (a, b, _) = family
    first = shutil.copytree(a, tmp_path / "a")
    for name in ("README.md", "parity.json", "trainer_state.json", "LICENSE.txt"):
        (first / name).write_text("what only the first model is")
    (first / "chat_template.jinja").write_text("{{ messages }}")
    second = in_one_file(shutil.copytree(b, tmp_path / "b"))
    merge_checkpoints([first, second], tmp_path / "out", Method(), parent)
    files = {file.name for file in (tmp_path / "out").iterdir()}
    of_the_first = {"README.md", "parity.json", "trainer_state.json", "LICENSE.txt"}
    assert files == {file.name for file in first.iterdir()} - of_the_first | {"tamis.json"}
    for name in files - {"tamis.json"}:
        ours, theirs = (tmp_path / "out" / name).read_bytes(), (first / name).read_bytes()
        if name.endswith(".safetensors"):
            header = 8 + int.from_bytes(theirs[:8], "little")
            assert len(ours) == len(theirs)
            assert ours[:header] == theirs[:header]
        else:
            assert ours == theirs
    assert not list(tmp_path.glob(".*"))


def test_equal_models_give_the_same_bytes(family: tuple[Path, list[Path]], tmp_path: Path):
    _, (a, _, _) = family
    report = merge_checkpoints([a, a], tmp_path / "out", Method())
    assert report.equal == len(report.tensors)
    assert report.linear_share == 0
    for file in a.glob("*.safetensors"):
        assert (tmp_path / "out" / file.name).read_bytes() == file.read_bytes()


def test_what_all_models_learnt_alike_is_added_up_by_task_arithmetic(family: tuple[Path, list[Path]], tmp_path: Path):
    parent, (a, _, _) = family
    merge_checkpoints([a, a], tmp_path / "out", Method("task-arithmetic", weight=1.0), parent)
    base, one = weights(parent), weights(a)
    assert_close(tmp_path / "out", {name: base[name] + 2 * (one[name] - base[name]) for name in base})


@pytest.mark.parametrize("kind", ["querit", "yes-no", "causal", "bert", "modernbert", "warm", "stock"])
def test_merged_rerankers_of_every_family_score_between_their_parents(
    kind: str, tmp_path: Path, tiny_encoder: Path, warm_folder: Path, stock_folder: Path
):
    parent = tmp_path / "parent"
    if kind in ("warm", "stock"):
        shutil.copytree(warm_folder if kind == "warm" else stock_folder, parent)
    elif kind == "querit":
        querit_family(tmp_path, children=0)
    elif kind in ("yes-no", "causal"):
        (build_yes_no if kind == "yes-no" else build_causal)(parent)
    else:
        build_encoder(parent, kind, tiny_encoder)
    a, b = (sibling(parent, tmp_path / name, seed, 0.001) for seed, name in enumerate("ab"))
    merge_checkpoints([a, b], tmp_path / "out", Method(), parent)
    pairs = [("How do I add a user?", "Add a user with the adduser script."), ("Wo ist die Uhr?", "Sie holt es.")]
    scores = {name: Reranker(tmp_path / name, device="cpu").predict(pairs) for name in ("parent", "a", "out")}
    assert scores["out"] == pytest.approx(scores["parent"], abs=0.05)
    assert list(scores["out"]) != list(scores["a"])
    assert Reranker(tmp_path / "out", device="cpu").family == Reranker(parent, device="cpu").family


def test_a_merge_never_reads_more_than_a_stretch(
    family: tuple[Path, list[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    parent, children = family
    read, longest = Checkpoint.read, 0

    def watched(self: Checkpoint, name: str, start: int, stop: int) -> torch.Tensor:
        nonlocal longest
        found = read(self, name, start, stop)
        longest = max(longest, found.numel())
        assert found.untyped_storage().nbytes() == found.nbytes  # not a view of the mapped file
        return found

    monkeypatch.setattr(Checkpoint, "read", watched)
    for name in methods.NAMES:
        merge_checkpoints(children, tmp_path / name, Method(name), parent)
    assert longest == LONGEST


# Number formats


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_is_merged_in_float32_and_rounded_once(
    family: tuple[Path, list[Path]], tmp_path: Path, dtype: torch.dtype
):
    parent, children = family
    low = [changed(child, tmp_path / child.name, lambda _, x: x.to(dtype)) for child in children]
    base = changed(parent, tmp_path / "base", lambda _, x: x.to(dtype))
    exact = [changed(child, tmp_path / f"exact-{child.name}", lambda _, x: x.float()) for child in low]
    merge_checkpoints(low, tmp_path / "out", Method(), base)
    merge_checkpoints(exact, tmp_path / "exact", Method(), base)
    expected = {name: tensor.to(dtype) for name, tensor in weights(tmp_path / "exact").items()}
    found = weights(tmp_path / "out")
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_models_in_different_formats_are_written_as_the_first(family: tuple[Path, list[Path]], tmp_path: Path):
    parent, (a, b, _) = family
    low = changed(b, tmp_path / "b", lambda _, x: x.bfloat16())
    merge_checkpoints([low, a], tmp_path / "out", Method(t=1.0), parent)
    expected = {name: tensor.bfloat16() for name, tensor in weights(a).items()}
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(tmp_path / "out").items())
    same = changed(low, tmp_path / "same", lambda _, x: x.float())
    assert merge_checkpoints([low, same], tmp_path / "equal", Method()).linear == 0


def with_buffer(folder: Path, out: Path, values: torch.Tensor) -> Path:
    shutil.copytree(folder, out)
    in_one_file(out)
    save_file(weights(out) | {"positions": values}, out / "model.safetensors")
    return out


def test_integers_are_copied_where_equal_and_refused_where_they_differ(family: tuple[Path, list[Path]], tmp_path: Path):
    _, (a, b, _) = family
    first, second = (with_buffer(one, tmp_path / one.name, torch.arange(700)) for one in (a, b))
    merge_checkpoints([first, second], tmp_path / "out", Method())
    assert torch.equal(weights(tmp_path / "out")["positions"], torch.arange(700))
    other = with_buffer(b, tmp_path / "other", torch.arange(700) + (torch.arange(700) == 600))
    with pytest.raises(ModelError) as caught:
        merge_checkpoints([first, other], tmp_path / "none", Method())
    assert str(caught.value) == (
        f"{first}: the tensor 'positions' holds int64 values, which cannot be merged where they differ; give "
        "checkpoints in float32, bfloat16 or float16"
    )
    assert not list(tmp_path.glob("*none*"))


@pytest.mark.parametrize("first_has_it", [True, False])
def test_positions_that_an_older_version_saved_are_copied(
    family: tuple[Path, list[Path]], tmp_path: Path, first_has_it: bool
):
    parent, (a, b, _) = family
    old = shutil.copytree(a, tmp_path / "old")
    ids, name = torch.arange(7)[None], "model.embeddings.position_ids"
    save_file(weights(in_one_file(old)) | {name: ids}, old / "model.safetensors")
    merge_checkpoints([old, b] if first_has_it else [b, old], tmp_path / "out", Method("ties"), parent)
    merge_checkpoints([a, b] if first_has_it else [b, a], tmp_path / "plain", Method("ties"), parent)
    found, expected = weights(tmp_path / "out"), weights(tmp_path / "plain")
    assert torch.equal(found.pop(name), ids) if first_has_it else name not in found
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[one], expected[one]) for one in expected)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", methods.NAMES)
def test_a_value_that_is_not_finite_is_named(family: tuple[Path, list[Path]], tmp_path: Path, value: float, name: str):
    parent, (a, b, _) = family

    def broken(name: str, x: torch.Tensor) -> torch.Tensor:
        return torch.where(torch.arange(x.numel()).reshape(x.shape) == 700, value, x) if "embed" in name else x

    bad = changed(b, tmp_path / "bad", broken)
    with pytest.raises(ModelError) as caught:
        merge_checkpoints([a, bad], tmp_path / "out", Method(name), parent)
    assert str(caught.value) == (
        f"{bad}: the tensor 'model.embed_tokens.weight' has a value that is not finite; a broken checkpoint cannot be "
        "merged"
    )
    assert not list(tmp_path.glob("*out*"))


def test_what_overflows_the_format_is_named(family: tuple[Path, list[Path]], tmp_path: Path):
    parent, (a, b, _) = family

    def large(factor: float):
        return lambda name, x: (x * 0 + factor if name == "head.bias" else x).half()

    first, second = changed(a, tmp_path / "a", large(6e4)), changed(b, tmp_path / "b", large(6e4))
    base = changed(parent, tmp_path / "base", large(1.0))
    with pytest.raises(ModelError, match=r"^the merged tensor 'head\.bias' is too large for torch\.float16; put a"):
        merge_checkpoints([first, second], tmp_path / "out", Method("task-arithmetic", weight=1.0), base)


# tamis.json


@pytest.fixture
def warm_pair(warm_folder: Path, tmp_path: Path) -> tuple[Path, Path]:
    a, b = (sibling(warm_folder, tmp_path / name, seed, 0.001) for seed, name in enumerate("ab"))
    edit(a / "tamis.json", scale=8.0, bias=-5.0, match=4.0)
    edit(b / "tamis.json", scale=10.0, bias=-7.0, match=0.0, first_stage_weights={"bm25": 0.5, "hybrid": 1.0})
    return a, b


@pytest.mark.parametrize(
    ("method", "head"),
    [(Method(t=0.25), (8.5, -5.5, 3.0)), *((Method(name), (9.0, -6.0, 2.0)) for name in ("slerp", "ties", "dare"))],
)
def test_the_numbers_of_a_warm_head_go_straight_whatever_the_method(
    warm_pair: tuple[Path, Path], warm_folder: Path, tmp_path: Path, method: Method, head: tuple[float, float, float]
):
    merge_checkpoints(warm_pair, tmp_path / "out", method, warm_folder)
    facts = read_facts(tmp_path / "out")
    assert facts.warm == (2, -2.0, *map(pytest.approx, head))
    assert facts.serializer == read_facts(warm_folder).serializer


def test_first_stage_weights_stay_where_all_models_agree(
    warm_pair: tuple[Path, Path], warm_folder: Path, tmp_path: Path
):
    merge_checkpoints(warm_pair, tmp_path / "out", Method())
    assert read_facts(warm_folder).deployment.first_stage_weights == {"bm25": 0.5, "hybrid": 2.0}
    assert read_facts(tmp_path / "out").deployment.first_stage_weights == {"bm25": 0.5}


def test_a_base_needs_no_tamis_json(warm_pair: tuple[Path, Path], tiny_encoder: Path, tmp_path: Path):
    report = merge_checkpoints(warm_pair, tmp_path / "out", Method(), tiny_encoder)
    assert report.linear_share < 0.2


def test_the_lineage_says_where_the_weights_come_from(family: tuple[Path, list[Path]], tmp_path: Path):
    parent, children = family
    merge_checkpoints(children, tmp_path / "slerp", Method(), parent)
    lineage = read_facts(tmp_path / "slerp").deployment.lineage
    assert (lineage["method"], lineage["t"]) == ("slerp", [1 / 2, 1 / 3])
    assert [one["folder"] for one in lineage["parents"]] == list(map(str, children))
    for origin, folder in zip([*lineage["parents"], lineage["base"]], [*children, parent], strict=True):
        assert origin["sha256"] == {
            file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.glob("*.safetensors")
        }
    merge_checkpoints(children, tmp_path / "dare", Method("dare", seed=3), parent)
    lineage = read_facts(tmp_path / "dare").deployment.lineage
    settings = {key: lineage.get(key) for key in ("method", "t", "weight", "density", "seed")}
    assert settings == {"method": "dare", "t": None, "weight": 0.4, "density": 0.2, "seed": 3}
    merge_checkpoints(children, tmp_path / "weights", Method())
    assert read_facts(tmp_path / "weights").deployment.lineage["base"] is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"joint_layers": 1}, "joint_layers and cross_bias is (1, -2.0) in tamis.json, expected (2, -2.0) as in "),
        ({"activation": "identity"}, "activation is 'identity' in tamis.json, expected 'sigmoid' as in "),
        ({"family": "encoder"}, "family is 'encoder' in tamis.json, expected 'warm' as in "),
        (
            {"serializer": {"kind": "apart", "query_prefix": "q: "}},
            "serializer is Apart(query_prefix='q: ', document_prefix='', ",
        ),
    ],
)
def test_facts_that_differ_are_named(
    warm_pair: tuple[Path, Path], tmp_path: Path, changes: dict[str, object], expected: str
):
    a, b = warm_pair
    edit(b / "tamis.json", **changes)
    with pytest.raises(ModelError) as caught:
        merge_checkpoints([a, b], tmp_path / "out", Method())
    assert str(caught.value).startswith(f"{b}: {expected}")
    assert str(caught.value).endswith(f"as in {a}; only models that read a pair in the same way can be merged")
    assert not (tmp_path / "out").exists()


# Errors


@pytest.mark.parametrize(
    ("method", "with_base", "complaint"),
    [
        (Method("soup"), True, "--method soup: expected one of slerp, linear, task-arithmetic, ties, dare"),
        (Method("ties"), False, "--method ties: needs --base, the model that all of them started from"),
        (Method(t=1.5), False, "--t 1.5: expected a number from 0 (the first model) to 1 (the next)"),
        (Method("dare", t=0.5), True, "--t 0.5: not for dare, only for slerp, linear"),
        (Method("ties", density=0.0), True, "--density 0: expected a share above 0 and at most 1"),
        (Method(density=0.5), True, "--density 0.5: not for slerp, only for ties, dare"),
        (Method("linear", weight=1.0), True, "--weight 1: not for linear, only for task-arithmetic, ties, dare"),
    ],
)
def test_settings_that_do_not_fit_are_named(
    family: tuple[Path, list[Path]], tmp_path: Path, method: Method, with_base: bool, complaint: str
):
    parent, children = family
    with pytest.raises(InputError) as caught:
        merge_checkpoints(children, tmp_path / "out", method, parent if with_base else None)
    assert str(caught.value) == complaint


def test_one_model_alone_and_a_folder_that_is_there_are_refused(family: tuple[Path, list[Path]], tmp_path: Path):
    _, (a, b, _) = family
    with pytest.raises(InputError, match=r"^merge needs two or more model folders, got 1; for the stage of a recipe"):
        merge_checkpoints([a], tmp_path / "out", Method())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(InputError, match=r"out: already holds something else; remove it or name another folder$"):
        merge_checkpoints([a, b], tmp_path / "out", Method())
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["mine"]


def test_modules_of_sentence_transformers_come_along_unless_they_have_weights(
    family: tuple[Path, list[Path]], tmp_path: Path
):
    _, (a, b, _) = family
    first = shutil.copytree(a, tmp_path / "a")
    (first / "1_Pooling").mkdir()
    (first / "1_Pooling" / "config.json").write_text("{}")
    (first / "onnx").mkdir()
    (first / "onnx" / "config.json").write_text("{}")
    (first / "modules.json").write_text(json.dumps([{"path": ""}, {"path": "1_Pooling"}]))
    merge_checkpoints([first, b], tmp_path / "out", Method())
    assert (tmp_path / "out" / "1_Pooling" / "config.json").is_file()
    assert not (tmp_path / "out" / "onnx").exists()
    save_file({"linear": torch.ones(1)}, first / "1_Pooling" / "model.safetensors")
    with pytest.raises(ModelError, match=r"/a: the module '1_Pooling' lies elsewhere or has weights of its own"):
        merge_checkpoints([first, b], tmp_path / "none", Method())
    for place in ("../b", "2_Dense"):
        (first / "modules.json").write_text(json.dumps([{"path": place}]))
        with pytest.raises(ModelError, match=f"/a: the module '{place}' lies elsewhere"):
            merge_checkpoints([first, b], tmp_path / "none", Method())


@pytest.fixture
def classifiers(tmp_path: Path) -> tuple[Path, Path]:
    a = build_causal(tmp_path / "a")
    return a, sibling(a, tmp_path / "b", 1)


@pytest.mark.parametrize("field", ["sbert_ce_default_activation_function", "sentence_transformers"])
def test_an_activation_that_sentence_transformers_stored_must_be_the_same(
    classifiers: tuple[Path, Path], tmp_path: Path, field: str
):
    a, b = classifiers
    named = "torch.nn.modules.linear.Identity"
    edit(b / "config.json", **{field: named if field.startswith("sbert") else {"activation_fn": named}})
    with pytest.raises(ModelError, match="activation is 'identity' in the files of sentence-transformers, expected 's"):
        merge_checkpoints([a, b], tmp_path / "out", Method())


def test_a_padding_token_that_one_configuration_lost_is_no_difference(classifiers: tuple[Path, Path], tmp_path: Path):
    a, b = classifiers
    edit(b / "config.json", pad_token_id=None)
    merge_checkpoints([a, b], tmp_path / "out", Method("linear"))
