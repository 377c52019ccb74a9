"""Adapting again on documents that grew, shrank and changed: what is done anew, and what is told of it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tamis.artifacts import read_json
from tamis.cli.printing import print_since
from tamis.own_parts import Teacher, Writer
from tamis.pipeline.recipe import Recipe
from tamis.pipeline.run import run_recipe
from tamis.readaptation import FEWEST, compare_with_before
from tamis.stages.candidates.encoders import Encoders
from tamis.stages.report.since import Share, document_changes, since_before
from tests.conftest import TOPICS, tiny_recipe

WORDS = sorted({word for _, answer in TOPICS["en"] for word in answer.lower().replace(".", "").split()})
DOCUMENTS = 100


def written(folder: Path, texts: dict[str, str]) -> Path:
    """A corpus of rows; a folder of its own each time, as where documents are dumped anew."""
    folder.mkdir(parents=True)
    rows = [json.dumps({"_id": name, "text": text, "lang": "en"}) + "\n" for name, text in texts.items()]
    (folder / "documents.jsonl").write_text("".join(rows), encoding="utf-8")
    return folder / "documents.jsonl"


def made(seed: int, count: int = DOCUMENTS) -> dict[str, str]:
    """Documents of words that the tiny encoder knows."""
    rng = np.random.default_rng(seed)
    return {f"d{n}": " ".join(rng.choice(WORDS, 14)) + "." for n in range(count)}


class Counted:
    """Functions of one's own, and the bi-encoder, that count what they are asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.scored: list[tuple[str, str]] = []
        self.embedded: list[str] = []
        embed = Encoders.embed

        def counting(encoders: Encoders, wanted: Any, kind: str, texts: Sequence[str]) -> np.ndarray:
            self.embedded += texts
            return embed(encoders, wanted, kind, texts)

        monkeypatch.setattr(Encoders, "embed", counting)

    def write(self, documents: list[str]) -> list[list[str]]:
        self.asked += documents
        return [[" ".join(text.split()[:4]), " ".join(text.split()[6:10])] for text in documents]

    def score(self, query: str, documents: list[str]) -> list[float]:
        self.scored += [(query, text) for text in documents]
        return [float(len(set(query.split()) & set(text.split()))) for text in documents]

    def work(self) -> dict[str, int]:
        """How much was done since it was last asked."""
        found = {"asked": len(self.asked), "embedded": len(self.embedded), "scored": len(self.scored)}
        self.asked, self.scored, self.embedded = [], [], []
        return found

    def recipe(self, corpus: Path, encoder: Path, tmp_path: Path) -> Recipe:
        content = tiny_recipe(corpus, corpus, encoder)
        content["corpus"] = {"target": str(corpus), "languages": ["en"]}
        content["queries"] = {"writer": Writer(self.write, name="counted", version="1"), "per_document": 2}
        content["scores"] = {"teachers": [Teacher(self.score, name="counted", version="1")], "seed_bonus": 6.0}
        content["lists"] = {"documents": 4, "held_out": 0.3, "domains": {"corpus": "*"}}
        content["train"]["general_steps"] = 0
        content["machine"]["cache"] = str(tmp_path / "cache")
        del content["evaluate"]
        return Recipe(**content)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path):
    """Two runs in one folder: the second after 2 of 100 documents changed, 2 came and 1 went."""
    tmp_path = tmp_path_factory.mktemp("again")
    before = made(1)
    after = {name: text for name, text in before.items() if name != "d99"}
    after |= {"d3": made(2)["d3"], "d50": made(2)["d50"], "new1": made(3)["d1"], "new2": made(3)["d2"]}
    with pytest.MonkeyPatch.context() as patch:
        counted = Counted(patch)
        first = run_recipe(counted.recipe(written(tmp_path / "one", before), tiny_encoder, tmp_path), tmp_path / "run")
        work = counted.work()
        second = run_recipe(counted.recipe(written(tmp_path / "two", after), tiny_encoder, tmp_path), tmp_path / "run")
        return first, work, second, counted.work()


def test_after_five_in_a_hundred_documents_changed_little_is_asked_embedded_and_scored(runs: Any) -> None:
    _, work, _, again = runs
    assert all(work.values())
    assert again["asked"] == 4
    for what, count in again.items():
        assert count <= 0.15 * work[what], (what, count, work[what])


def test_what_is_told_to_be_new_is_what_was_done(runs: Any) -> None:
    first, work, second, again = runs
    since = since_before(second)
    assert since is not None
    assert since.model == first["merge"] / "model"
    assert since.documents == {"new": 2, "changed": 2, "gone": 1, "the same": 97}
    assert since.work["texts"].new == again["embedded"]
    assert since.work["pairs"].new == again["scored"]
    assert since.work["texts"].all <= work["embedded"] + again["embedded"]


def test_the_first_run_has_none_before_it_and_the_same_documents_are_no_change(runs: Any) -> None:
    first, _, second, _ = runs
    lone = {**second, "merge": second["merge"].parent / "other" / "place"}
    assert since_before({**lone, "merge": Path("elsewhere/merge/key")}) is None
    assert since_before({**first, "merge": second["merge"]}) is None


def test_the_report_says_what_changed_and_where_the_model_of_before_lies(runs: Any) -> None:
    first, _, second, _ = runs
    page = (second["report"] / "report.html").read_text(encoding="utf-8")
    assert "What changed since the run before" in page
    assert "2 documents are new, 2 changed, 1 are gone, and 97 are the same" in page
    assert f"merge/{first['merge'].name}/model" in page
    assert (first["merge"] / "model" / "tamis.json").is_file()
    assert "What changed since" not in (first["report"] / "report.html").read_text(encoding="utf-8")


def test_both_models_are_measured_on_held_out_queries_that_neither_learnt_from(runs: Any) -> None:
    first, _, second, _ = runs
    found = compare_with_before(second, first["merge"] / "model", None)
    folder = found.report.parent.parent
    asked = [json.loads(line)["text"] for line in (folder / "questions" / "queries.jsonl").read_text().splitlines()]
    assert found.questions == len(asked) >= FEWEST
    results = read_json(folder / "measured" / "results.json")
    figures = results["sets"]["questions"]["figures"]
    assert (found.before, found.after) == tuple(figures[f"{name}~bm25"]["nDCG@10"] for name in ("before", "after"))
    low, high = found.interval
    assert low <= found.after - found.before <= high
    assert compare_with_before(second, first["merge"] / "model", None) == found


def test_it_is_told_on_the_terminal(runs: Any, capsys: pytest.CaptureFixture[str]) -> None:
    first, _, second, _ = runs
    since = since_before(second)
    assert since is not None
    print_since(since, compare_with_before(second, since.model, None))
    work, verdict, stays = capsys.readouterr().out.splitlines()
    assert work.startswith("documents since the run before: 2 new, 2 changed, 1 gone, 97 the same; new work: ")
    assert "the new model" in verdict
    assert stays == f"the model before stays: {first['merge'] / 'model'}"


def test_documents_are_told_apart_by_id_and_text() -> None:
    before, after = {"a": "1", "b": "2", "c": "3"}, {"b": "2", "c": "4", "d": "5", "e": "6"}
    assert document_changes(before, after) == {"new": 2, "changed": 1, "gone": 1, "the same": 1}
    assert Share(1, 2).new == 1
