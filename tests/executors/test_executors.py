"""An engine changes where mining runs and not a bit of what it gives."""

import importlib.util
import itertools
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tamis.artifacts import ItemStore
from tamis.errors import MissingPartError, ModelError, RunError, SettingsError
from tamis.executors.local import LOCAL, Executor, Mapped
from tamis.executors.ray import named_engine
from tamis.pipeline.reading import recipe_from
from tamis.pipeline.run import run_recipe
from tamis.records import Document, Query
from tamis.remote.attempts import Answer
from tamis.retrievers import embedding, sharded
from tamis.retrievers import index as index
from tamis.retrievers.index import FIRST_STAGES, QueryBatch, Searching, build_indexes
from tamis.retrievers.sharded import search_groups
from tamis.stages.queries.writers import causal
from tamis.stages.scores.teachers.cached import CachedScores, Group, GroupScores
from tests.commands import results_by_hash, tamis, write_recipe
from tests.executors import pieces
from tests.families import lively, qwen3_config, tokenizer


def copied(function: Callable[[Any], Any], work: Iterable[Any], /) -> Iterator[Any]:
    """As another process would run it: the function and the work go as bytes, and the work is read ahead."""
    there = pickle.loads(pickle.dumps(function))
    return iter([pickle.loads(pickle.dumps(there(pickle.loads(piece)))) for piece in list(map(pickle.dumps, work))])


COPIED = Executor(copied, elsewhere=True)


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "BLOCK", 6)
    monkeypatch.setattr(causal, "BLOCK", 5)
    monkeypatch.setattr(sharded, "SHARD", 4)
    monkeypatch.setattr(index, "QUERIES", 7)


@pytest.fixture
def mining(recipe: dict[str, Any], warm_folder: Path) -> dict[str, Any]:
    """A recipe in which every model that can be asked elsewhere is asked."""
    recipe["scores"]["teachers"] = [{"kind": "reranker", "path": str(warm_folder)}]
    return recipe


def build_causal(folder: Path) -> Path:
    from transformers import Qwen3ForCausalLM

    config = qwen3_config(tokenizer(folder), max_position_embeddings=2048)
    lively(Qwen3ForCausalLM(config), seed=5).save_pretrained(folder)
    return folder


@pytest.mark.usefixtures("small_pieces")
def test_mining_elsewhere_gives_the_same_files(mining: dict[str, Any], tmp_path: Path) -> None:
    mining["queries"] |= {
        "generator": ["extractive", "transformers"],
        "transformers": {"path": str(build_causal(tmp_path / "causal"))},
        "documents": 6,
    }
    for name, executor in (("here", LOCAL), ("there", COPIED)):
        content = with_own_cache(mining, tmp_path / name)
        run_recipe(recipe_from(content, "tiny"), tmp_path / name, "scores", executor=executor)
    same_results(tmp_path / "here", tmp_path / "there")


def with_own_cache(content: dict[str, Any], root: Path) -> dict[str, Any]:
    """So that nothing is known from the other run."""
    return content | {"machine": content["machine"] | {"cache": str(root.with_suffix(".cache"))}}


def same_results(one: Path, other: Path) -> None:
    found = results_by_hash(one)
    assert found.keys() >= {"corpus", "queries", "candidates", "scores"}
    assert results_by_hash(other) == found
    vectors = [{file.name: file.read_bytes() for file in (root / "vectors").iterdir()} for root in (one, other)]
    assert vectors[0] == vectors[1]


# Search


def english(count: int, seed: int) -> tuple[list[Document], dict[str, Any], QueryBatch]:
    """Documents of which many have the same words, the same vector, or both, and some queries."""
    rng = np.random.default_rng(seed)
    words = ["package", "print", "clock", "the", "document"]
    texts = [" ".join(rng.choice(words, rng.integers(1, 5))) for _ in range(count)]
    documents = [Document(f"d{number}", text, "en") for number, text in enumerate(texts)]
    kinds = rng.normal(size=(9, 8)).astype(np.float32)
    kinds /= np.linalg.norm(kinds, axis=1, keepdims=True)
    vectors = {document.doc_id: kinds[rng.integers(9)] for document in documents}
    asked = QueryBatch([f"q{number}" for number in range(10)], [*words, *texts[:5]], kinds[rng.integers(0, 9, 10)])
    return documents, vectors, asked


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("weights", [None, (0.5, 1.0)])
@pytest.mark.parametrize(("size", "looked"), [(7, 5), (30, 12), (60, 1000), (61, 3)])
def test_the_best_of_the_shards_are_the_best_of_the_shelf(
    monkeypatch: pytest.MonkeyPatch, seed: int, weights: tuple[float, float] | None, size: int, looked: int
) -> None:
    monkeypatch.setattr(index, "FUSED", looked)
    monkeypatch.setattr(index, "QUERIES", 4)
    monkeypatch.setattr(sharded, "SHARD", size)
    documents, vectors, asked = english(61, seed)
    indexes = build_indexes(documents, vectors, Searching(weights=weights))
    groups = [(("target", "en"), asked)]
    for wanted in (FIRST_STAGES, ("dense",), ("hybrid",), ("bm25",)):
        whole = list(search_groups(LOCAL, indexes, groups, 6, wanted))
        assert list(search_groups(COPIED, indexes, groups, 6, wanted)) == whole


# Teachers


def ahead(function: Callable[[Any], Any], work: Iterable[Any], /) -> Iterator[Any]:
    """Reads all work before it begins, as an engine may."""
    return iter([function(piece) for piece in list(work)])


@pytest.mark.parametrize("mapped", [map, ahead])
def test_pairs_that_two_queries_share_are_scored_once_and_by_the_first(tmp_path: Path, mapped: Mapped) -> None:
    documents = {number: Document(number, f"text {number}", "en") for number in "123"}
    queries = [Query(f"q{number}", "one text", "en", "target", "1", "given") for number in range(3)]
    seen: list[tuple[str, ...]] = []
    told: list[int] = []

    def judge(group: Group) -> GroupScores:
        seen.append(group.documents)
        return tuple(float(len(seen) * 10 + place) for place in range(len(group.documents)))

    def score(groups: Iterable[Group]) -> Iterator[Answer[Group, GroupScores]]:
        asked, sent = itertools.tee(groups)
        return map(Answer, asked, mapped(judge, sent))

    cache = ItemStore(tmp_path / "cache.sqlite")
    remembered = CachedScores(score, "judge", documents, cache)
    asked = [(queries[0], ["1", "2"]), (queries[1], ["2", "3"]), (queries[2], ["1"])]
    remembered.ask(asked, told.append)
    assert seen == [("text 1", "text 2"), ("text 3",)]
    assert sum(told) == 5
    assert not list(remembered.missing(asked))
    assert [found.tolist() for found in remembered(asked)] == [[10.0, 11.0], [11.0, 20.0], [10.0]]
    cache.close()


# Ray

with_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is an extra")
its_own_warnings = pytest.mark.filterwarnings("default")  # Ray copies its settings, deprecated ones too


@pytest.fixture(scope="module")
def two_workers() -> Iterator[str]:
    """A cluster of two machines of one processor each, of which RAY_ADDRESS tells."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # on 127.0.0.1
        patch.setenv("RAY_worker_niceness", "0")
        from ray.cluster_utils import Cluster

        machine = {"num_cpus": 1, "object_store_memory": 100 << 20, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=machine)
        cluster.add_node(**machine)
        patch.setenv("RAY_ADDRESS", cluster.address)
        yield cluster.address
        cluster.shutdown()


@with_ray
@its_own_warnings
@pytest.mark.cluster
@pytest.mark.slow
def test_a_worker_that_dies_is_replaced_and_its_piece_done_again(two_workers: str, tmp_path: Path) -> None:
    with named_engine("ray", 1, "cpu") as engine:
        found = list(engine.mapped(partial(pieces.deadly_once, tmp_path / "dead"), range(12)))
        assert (tmp_path / "dead").exists()
        assert [square for square, _ in found] == [number * number for number in range(12)]
        assert os.getpid() not in {process for _, process in found}
        with pytest.raises(
            ModelError, match=r"^worker \S+: models/0: not a model folder; with --engine ray all machines"
        ):
            list(engine.mapped(pieces.refuse, range(3)))
    with (
        named_engine("ray", 3, "cpu") as engine,
        pytest.raises(SettingsError, match=r"machine.threads .*\(3\), and no"),
    ):
        list(engine.mapped(pieces.square, range(3)))


def kill_one_worker(killed: list[int], stop: threading.Event) -> None:
    """Wait until an actor is at a piece of work, and kill it."""
    while not stop.wait(0.02):
        for process in Path("/proc").iterdir():
            try:
                title = (process / "cmdline").read_text()
            except (OSError, ValueError):
                continue
            if title.startswith("ray::MapWorker") and ".submit" in title:
                killed.append(int(process.name))
                os.kill(killed[0], signal.SIGKILL)
                return


@with_ray
@its_own_warnings
@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.usefixtures("small_pieces")
def test_two_workers_of_which_one_is_killed_leave_the_files_of_one_process(
    mining: dict[str, Any], two_workers: str, tmp_path: Path
) -> None:
    mining["queries"] |= {
        "generator": "transformers",
        "transformers": {"path": str(build_causal(tmp_path / "causal"))},
        "documents": 6,
    }
    run_recipe(recipe_from(with_own_cache(mining, tmp_path / "here"), "tiny"), tmp_path / "here", "scores")
    killed: list[int] = []
    stop = threading.Event()
    killer = threading.Thread(target=kill_one_worker, args=(killed, stop))
    killer.start()
    try:
        recipe = write_recipe(with_own_cache(mining, tmp_path / "there"), tmp_path)
        done = tamis("run", recipe, "--out", tmp_path / "there", "--until", "scores", "--engine", "ray")
    finally:
        stop.set()
        killer.join()
    assert done.status == 0, done.err
    assert len(killed) == 1
    same_results(tmp_path / "here", tmp_path / "there")


@with_ray
def test_an_address_without_a_cluster_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "nowhere:1:2")
    with (
        named_engine("ray", 1, "cpu") as engine,
        pytest.raises(RunError, match=r"^RAY_ADDRESS nowhere:1:2: no cluster"),
    ):
        list(engine.mapped(pieces.square, [1]))


def test_an_engine_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=r"^--engine spark: expected local or ray$"):
        named_engine("spark", 1, "cpu")
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(MissingPartError, match=r"^--engine ray: Ray is not .*pip install 'tamis\[ray\]'"),
        named_engine("ray", 1, "cpu"),
    ):
        pass
