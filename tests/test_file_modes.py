"""Whatever tamis writes, whoever the umask lets may read."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tamis.artifacts import open_cache
from tamis.file_modes import write_tensors
from tamis.models.saving import save_student
from tamis.retrievers.vectors import VectorFile
from tamis.stages.train.checkpoint import StateFile
from tamis.weights.e5_small import convert_e5_binary
from tamis.weights.wheels import file_sha256
from tests.commands import tamis, write_recipe
from tests.conftest import tiny_recipe, write_beir
from tests.corpora.packaged import made_weights, write_e5_binary
from tests.rerankers import DEPLOYMENT, new_warm

TENSORS = {"a": torch.arange(3.0)}


@contextmanager
def under(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(0o022, id="umask 022"),
        pytest.param(0o077, id="umask 077", marks=pytest.mark.slow),  # every way to write has it in the tests below
    ],
)
def umask(request) -> Iterator[int]:
    with under(request.param):
        yield request.param


@pytest.fixture(scope="module")
def written(umask, tmp_path_factory, tiny_encoder, warm_folder, stock_folder) -> Path:
    """What each command leaves, in a folder of its name."""
    base = tmp_path_factory.mktemp("modes")
    content = tiny_recipe(write_beir(base / "corpus"), write_beir(base / "general", "g-"), tiny_encoder)
    copies = ("--report", base / "copies" / "report.html", "--results", base / "copies" / "results.json")
    for words in (
        ("run", write_recipe(content, base), "--out", base / "run", *copies),
        ("evaluate", warm_folder, "--on", base / "corpus", "--depth", 4, "--out", base / "evaluate"),
        ("write-lists", base / "run", "--format", "beir", "--out", base / "write-lists"),
        ("merge", warm_folder, warm_folder, "--out", base / "merge"),
        ("export", stock_folder, base / "transformers", "--to", "transformers"),
    ):
        outcome = tamis(*words)
        assert outcome.status == 0, outcome.err
    return base


def other_modes(folder: Path, umask: int) -> dict[str, str]:
    """The files and folders below a folder that have another mode than a new one, of at least one file."""
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if not path.is_symlink()}
    assert any(path.is_file() for path in modes), folder
    return {
        str(path.relative_to(folder)): f"{mode:03o}"
        for path, mode in modes.items()
        if mode != (0o777 if path.is_dir() else 0o666) & ~umask
    }


@pytest.mark.parametrize("name", ["run", "copies", "evaluate", "write-lists", "merge", "transformers"])
def test_all_that_a_command_leaves_has_the_mode_of_a_new_file(written, umask, name):
    assert other_modes(written / name, umask) == {}


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_graphs_for_other_engines_have_it_too(stock_folder, umask, tmp_path, engine):
    assert tamis("export", stock_folder, tmp_path / "out", "--to", engine).status == 0
    assert other_modes(tmp_path / "out", umask) == {}


def fetched_e5(folder: Path) -> None:
    binary = write_e5_binary(folder / "e5.bin", made_weights())
    convert_e5_binary(binary, file_sha256(binary), folder / "e5")


WRITERS = {
    "tensors": lambda folder: write_tensors(folder / "x.safetensors", TENSORS),
    "unfinished training": lambda folder: StateFile(folder / "x.safetensors").save(TENSORS, {"step": 1}),
    "failed batch": lambda folder: StateFile(folder / "x.safetensors").failed({"step": 1}),
    "vectors": lambda folder: VectorFile(folder / "x.f32", 2).write(0, np.zeros((1, 2), np.float32)),
    "answers": lambda folder: open_cache(folder / "cache").put([("key", b"value")]),
    "fetched weights": fetched_e5,
}


@pytest.mark.parametrize("mask", [0o002, 0o022, 0o077], ids=lambda mask: f"umask {mask:03o}")
@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_so_has_what_is_written_by_itself(write, mask, tmp_path):
    out = tmp_path / "out"
    with under(mask):
        out.mkdir()
        write(out)
        assert other_modes(out, mask) == {}


def test_a_private_file_that_is_replaced_is_private_no_more(tmp_path):
    file = tmp_path / "x.safetensors"
    file.touch(mode=0o600)
    with under(0o022):
        write_tensors(file, TENSORS, {"format": "pt"})
    assert other_modes(tmp_path, 0o022) == {}
    assert load_file(file)["a"].equal(TENSORS["a"])


def test_a_model_beside_other_files_changes_none_of_them(encoder, tmp_path):
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    with under(0o022):
        save_student(new_warm(encoder), tmp_path, DEPLOYMENT)
    assert other_modes(tmp_path, 0o022) == {"secret": "600"}
