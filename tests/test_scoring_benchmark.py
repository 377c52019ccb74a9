"""What the benchmark of scoring reckons, and how it speaks with its peers."""

import importlib
import io
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from tests.conftest import TOPICS

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
PAIRS = [(f"q{question}", f"d{place}") for question in range(4) for place in range(3)]
GRADES = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
LOGITS = np.array([3, 2, 1, 3, 2, 1, 3, 2, 1, 3, 2, 1], np.float32)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """A script by its name; scripts find each other in their folder."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


def engine_of(turns: Any, name: str, scores: np.ndarray, seconds: Sequence[float], bounded: bool = False) -> Any:
    """A contestant that says what it is told, block by block."""
    left, clock = list(scores), iter(seconds)

    def score(pairs: Sequence[tuple[str, str]]) -> tuple[np.ndarray, float]:
        found, left[:] = left[: len(pairs)], left[len(pairs) :]
        return np.array(found, np.float32), next(clock)

    return turns.Contestant(name, score, bounded)


def test_figures_are_of_the_median_block_and_of_the_same_block(script: Callable[[str], Any]) -> None:
    turns = script("scoring_turns")
    base = engine_of(turns, "base", LOGITS, [2.0, 20.0, 2.0, 2.0])
    other = engine_of(turns, "other", LOGITS[::-1], [1.0, 10.0, 1.0, 1.0])  # a neighbour made one block slow for both
    found = turns.take_turns([base, other], turns.blocks_of(PAIRS, 3), {"gone": "not installed"})
    rows = turns.rows_of(found, "base", GRADES)
    assert rows["other"]["ratio"] == 2
    assert rows["other"]["pairs_per_second"] == 3
    assert rows["base"]["largest_difference"] == rows["base"]["ndcg10_change"] == rows["base"]["standard_error"] == 0
    assert rows["other"]["largest_difference"] == 2
    # The answer is first, second or third of three, and the order of each list is turned around.
    gain = [1.0, 1 / np.log2(3), 0.5]
    changes = np.array([gain[2] - gain[0], 0, gain[0] - gain[2], gain[2] - gain[0]])
    assert rows["other"]["ndcg10_change"] == pytest.approx(changes.mean())
    assert rows["other"]["standard_error"] == pytest.approx(changes.std(ddof=1) / 2)
    table = turns.table_of(rows, found.absent)
    assert len(table) == 2 + 3
    assert table[-1] == "| gone | not measured: not installed | | | | |"
    assert len({line.count("|") for line in table}) == 1


def test_sigmoids_are_compared_with_sigmoids(script: Callable[[str], Any]) -> None:
    turns = script("scoring_turns")
    base = engine_of(turns, "base", LOGITS, [1.0])
    bounded = engine_of(turns, "bounded", expit(LOGITS), [1.0], bounded=True)
    rows = turns.rows_of(turns.take_turns([base, bounded], [PAIRS], {}), "base", GRADES)
    assert rows["bounded"]["largest_difference"] < 1e-6
    assert rows["bounded"]["tau"] == pytest.approx(1)
    assert "of sigmoids" in turns.table_of(rows, {})[-1]


def test_who_fails_midway_is_absent_and_the_others_go_on(script: Callable[[str], Any]) -> None:
    turns, engines = script("scoring_turns"), script("scoring_engines")
    blocks = turns.blocks_of(PAIRS, 6)

    def fail(pairs: Sequence[tuple[str, str]]) -> tuple[np.ndarray, float]:
        if pairs is blocks[1]:
            raise engines.AbsentError("its process ended with status 1")
        return np.zeros(len(pairs), np.float32), 1.0

    base = engine_of(turns, "base", LOGITS, [1.0, 1.0])
    found = turns.take_turns([turns.Contestant("fails", fail), base], blocks, {})
    assert found.scores.keys() == {"base"}
    assert found.absent == {"fails": "its process ended with status 1"}
    assert found.scores["base"].tolist() == LOGITS.tolist()


def test_a_peer_answers_in_the_order_of_the_pairs_and_tells_what_it_raises(
    script: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    peers = script("scoring_peers")

    def rank(query: str, documents: list[str]) -> list[float]:
        if query == "bad":
            raise ValueError("no\nsuch query")
        ranked = [{"id": place, "score": float(len(text))} for place, text in enumerate(documents)]
        return peers.in_order(sorted(ranked, key=lambda one: -one["score"]), "id", "score")

    monkeypatch.setitem(peers.PEERS, "mine", ("pytest", lambda folder: peers.query_by_query(rank)))
    lines = [{"pairs": [["a", "xx"], ["a", "xxx"], ["b", "x"], ["a", ""]]}, {"pairs": [["bad", "x"]]}]
    answers = io.StringIO()
    peers.serve("mine", Path(), io.StringIO("".join(json.dumps(line) + "\n" for line in lines)), answers)
    first, good, bad = map(json.loads, answers.getvalue().splitlines())
    assert first["peer"] == f"pytest {pytest.__version__}"
    assert good["scores"] == [2, 3, 1, 0]
    assert good["seconds"] >= 0
    assert bad == {"error": "ValueError: no such query"}


def test_a_peer_that_is_not_there_says_so(script: Callable[[str], Any], tmp_path: Path) -> None:
    engines = script("scoring_engines")
    with (
        pytest.raises(engines.AbsentError, match="not installed"),
        engines.peer(tmp_path / "no", "x", tmp_path, tmp_path),
    ):
        pass
    # This environment has no fastembed: the process tells it.
    here, log = Path(sys.executable), tmp_path / "log"
    with pytest.raises(engines.AbsentError, match="fastembed"), engines.peer(here, "fastembed", tmp_path, log):
        pass


def test_documents_are_cut_to_what_a_model_reads(
    script: Callable[[str], Any], tiny_encoder: Path, tmp_path: Path
) -> None:
    from tamis import Reranker
    from tests.families import build_encoder

    reranker = Reranker(build_encoder(tmp_path / "model", "bert", tiny_encoder), device="cpu")
    short, long = ("a question", "a short text"), ("a question", "words without an end " * 200)
    kept = script("scoring_engines").fitted(reranker, [short, long])
    assert kept[0] == short
    assert long[1].startswith(kept[1][1])
    rows = reranker.scorer.encode(kept)
    assert not any(row.cut for row in rows)
    assert rows[1].length > reranker.serializer.max_tokens - 6


def test_passages_have_as_many_tokens_as_was_asked_for(script: Callable[[str], Any], tiny_encoder: Path) -> None:
    from transformers import AutoTokenizer

    words = AutoTokenizer.from_pretrained(tiny_encoder)
    text = " ".join(f"install the package {number}" for number in range(60))
    found = script("latency").passages_of(["too short", text], words, 20, 5)
    assert len(set(found)) == 5
    assert all(passage in text for passage in found)
    assert all(abs(len(words(passage, add_special_tokens=False)["input_ids"]) - 20) <= 1 for passage in found)


def test_every_system_ranks_the_same_passages_and_the_first_request_does_not_count(
    script: Callable[[str], Any],
) -> None:
    latency = script("latency")
    asked: dict[str, list[tuple[str, tuple[int, ...]]]] = {"one": [], "other": []}
    systems = {name: lambda query, places, name=name: asked[name].append((query, tuple(places))) for name in asked}
    found = latency.latencies(systems, ["a", "b"], 10, (2, 4), 3)
    assert asked["one"] == asked["other"]
    assert [len(places) for _, places in asked["one"]] == [2] * 4 + [4] * 4
    assert asked["one"][0][1] != asked["one"][1][1]
    figures = {name: {size: latency.summary(taken) for size, taken in row.items()} for name, row in found.items()}
    assert figures["one"][4]["requests"] == 3
    assert len({line.count("|") for line in latency.latency_table(figures)}) == 1
    assert latency.summary([1.0, 2.0, 3.0])["p50"] == 2


def test_questions_come_from_every_language_in_turns(script: Callable[[str], Any]) -> None:
    found = script("scoring").in_turns([[{"a": 1}, {"a": 2}, {"a": 3}], [{"b": 1}]])
    assert found == [{"a": 1}, {"b": 1}, {"a": 2}, {"a": 3}]


def test_ranks_become_logits_in_the_order_of_the_documents(script: Callable[[str], Any]) -> None:
    ranked = [{"corpus_id": 2, "logit": 3.0}, {"corpus_id": 0, "logit": 2.0}, {"corpus_id": 1, "logit": 1.0}]
    assert script("scoring_known").in_given_order(ranked) == [2.0, 1.0, 3.0]


# Tiny models on every path: a graph takes seconds


TEXTS = [(topics[0][0], answer) for topics in TOPICS.values() for _, answer in topics[:3]]
"""A question with three answers in each language, the first one right."""


@pytest.mark.slow
def test_all_engines_score_the_same_weights(
    script: Callable[[str], Any], stock_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    grades = [[1.0, 0.0, 0.0]] * (len(TEXTS) // 3)
    found = script("scoring").compare(stock_folder, TEXTS, grades, tmp_path / "none", tmp_path, "small")
    engines = script("scoring_engines")
    peers = {f"sentence-transformers, {name}" for name in ("onnx", "openvino")} | {"fastembed", "FlashRank"}
    assert all(found["absent"][name].startswith("not installed") for name in peers)
    assert found["absent"].keys() - peers <= {"llama.cpp, float16", "llama.cpp, q8_0"}
    assert not any(str(tmp_path) in why for name, why in found["absent"].items() if name not in peers)
    ours = [name for name in found["engines"] if name.startswith("tamis")]
    assert len(ours) == 6
    assert ours[-1] == engines.AUTO
    assert all(found["engines"][name]["largest_difference"] < 1e-4 for name in ours if "float32" in name)
    assert found["work"]["pairs"] == len(TEXTS)


@pytest.mark.slow
def test_known_documents_score_as_cold_ones(
    script: Callable[[str], Any], warm_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(script("scoring_known"), "MODEL", str(warm_folder))
    found = script("scoring").compare_known(TEXTS, [[1.0, 0.0, 0.0]] * (len(TEXTS) // 3), tmp_path)
    assert found["absent"] == {}
    assert len(found["engines"]) == 8
    exact = {name: row["largest_difference"] for name, row in found["engines"].items() if "float32" in name}
    assert exact["torch, float32, cold"] == 0
    assert exact["openvino, float32, cold"] < 1e-4
    assert exact["torch, float32, known documents"] < 0.02  # kept in float16


@pytest.mark.slow
def test_every_system_answers_a_request(
    script: Callable[[str], Any], stock_folder: Path, warm_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    latency = script("latency")
    passages = [text for _, text in TEXTS]
    systems = latency.systems_of(stock_folder, str(warm_folder), passages, TEXTS[0][0], tmp_path)
    for ask in systems.values():
        assert sorted(one["corpus_id"] for one in ask(TEXTS[0][0], [4, 2, 1])) == [0, 1, 2]
    assert len(systems) == 4


def measured(**changed: float) -> dict[str, Any]:
    """What `scoring.measure` gives, in so far as targets read it; every target is met."""
    base = {"ratio": 1.0, "largest_difference": 0.0, "ndcg10_change": 0.0, "gflops": 80.0}
    of_size = {20: {"p50": 0.1}, 50: {"p50": 0.2}, 100: {"p50": 0.3}}
    rows = {
        "sentence-transformers, float32": base,
        "fastembed": base | {"ratio": changed.get("fastembed", 2.0)},
        "tamis, torch, float32": base | {"ratio": 1.5},
        "tamis, engine auto, precision auto": base | {"ratio": 6.5, "ndcg10_change": changed.get("ndcg", 0.0)},
    }
    return {
        "models": [{"engines": rows, "work": {"padding": 0.01}}],
        "latency": dict.fromkeys(("tamis-small", "tamis-base", "tamis-base, known documents"), of_size),
        "published_wrapper": {"ratio": 20.0, "largest_difference": 0.0},
        "first_answer": {"install": 40.0, "answer": changed.get("answer", 10.0)},
    }


@pytest.mark.parametrize(
    ("changed", "missed"),
    [
        ({}, ""),
        ({"ndcg": -0.004}, "nDCG@10 change of that"),
        ({"fastembed": 7.0}, "the fastest of all engines against that, ratio"),
        ({"answer": 25.0}, "seconds from pip install to the first answer"),
    ],
)
def test_targets_are_those_of_the_figures(script: Callable[[str], Any], changed: dict[str, float], missed: str) -> None:
    found = script("scoring").targets_of(measured(**changed), {"float32": 100.0})
    assert len(found) == 13
    assert [one["name"] for one in found if not one["met"]] == ([missed] if missed else [])


def test_what_was_not_installed_is_told_and_no_target(script: Callable[[str], Any]) -> None:
    scoring = script("scoring")
    content = measured() | {"first_answer": {"why": "-m pip wheel ended with status 1: no matching distribution"}}
    assert len(scoring.targets_of(content, {"float32": 100.0})) == 12
    assert "no matching distribution" in scoring._of_installing(content["first_answer"])
