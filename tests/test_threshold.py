"""`tamis threshold`: the level that graded pairs give, what is kept of it, and what leaves documents out by it."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import precision_score, recall_score

from tamis import Reranker
from tamis.errors import InputError, SettingsError
from tamis.models.checkpoint import model_identity, read_facts
from tamis.threshold import threshold
from tests.commands import tamis
from tests.conftest import TOPICS

QUERY = "How do I install a package?"
TEXTS = {f"{language}/{n}": text for language, found in TOPICS.items() for n, (_, text) in enumerate(found)}


@pytest.fixture
def model(warm_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(warm_folder, tmp_path / "model")


@pytest.fixture(scope="module")
def judged(tmp_path_factory, warm_folder) -> Path:
    """Twenty questions, five documents of each graded: the model's best ones are mostly relevant."""
    folder = tmp_path_factory.mktemp("threshold") / "judged"
    (folder / "qrels").mkdir(parents=True)
    queries = {f"q/{language}/{n}": one for language, found in TOPICS.items() for n, (one, _) in enumerate(found)}
    for name, rows in (("corpus", TEXTS), ("queries", queries)):
        lines = (json.dumps({"_id": key, "text": text, "metadata": {"lang": "en"}}) for key, text in rows.items())
        (folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines))
    rng = np.random.default_rng(0)
    pairs = [(q, str(d)) for q in queries for d in rng.choice(list(TEXTS), 5, replace=False)]
    logits = Reranker(warm_folder).score_pairs([(queries[q], TEXTS[d]) for q, d in pairs]).logits
    chance = 1 / (1 + np.exp(-3 * (logits - np.quantile(logits, 0.7)) / logits.std()))
    graded = (f"{q}\t{d}\t{int(rng.random() < p)}" for (q, d), p in zip(pairs, chance, strict=True))
    (folder / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *graded]) + "\n")
    return folder


def graded_scores(judged: Path, model: Path) -> tuple[np.ndarray, np.ndarray]:
    """Published scores of the graded pairs, and which are relevant."""
    texts = {
        name: {
            (row := json.loads(line))["_id"]: row["text"]
            for line in (judged / f"{name}.jsonl").read_text().splitlines()
        }
        for name in ("corpus", "queries")
    }
    rows = [line.split("\t") for line in (judged / "qrels" / "test.tsv").read_text().splitlines()[1:]]
    scores = Reranker(model).predict([(texts["queries"][q], texts["corpus"][d]) for q, d, _ in rows])
    return scores, np.array([grade != "0" for *_, grade in rows])


def test_the_level_has_the_precision_that_was_asked_for_and_is_kept(model, judged):
    before = model_identity(model)
    found = threshold(str(model), str(judged), 0.8)
    scores, relevant = graded_scores(judged, model)
    level = read_facts(model).deployment.min_score
    assert found.chosen is not None
    assert level == found.chosen.level.score
    kept = scores >= level
    assert precision_score(relevant, kept) == pytest.approx(found.chosen.level.precision.value)
    assert found.chosen.level.precision.value >= 0.8
    assert recall_score(relevant, kept) == pytest.approx(found.chosen.level.recall.value)
    lower = [one for one in np.unique(scores) if one < level]
    assert all(precision_score(relevant, scores >= one) < 0.8 for one in lower)
    assert model_identity(model) == before  # the level changes no score
    facts = json.loads((model / "tamis.json").read_text())
    assert facts["min_score"]["pairs"] == relevant.size
    assert facts["first_stage_weights"] == {"bm25": 0.5, "hybrid": 2.0}


def test_a_copy_gets_the_level_and_the_model_stays(model, judged, tmp_path):
    before = (model / "tamis.json").read_bytes()
    said = tamis("threshold", model, "--on", judged, "--precision", 0.8, "--out", tmp_path / "copy")
    assert said.status == 0, said.err
    assert "level for 80% precision" in said.out
    assert (model / "tamis.json").read_bytes() == before
    level = read_facts(tmp_path / "copy").deployment.min_score
    told = tamis("threshold", model, "--on", judged, "--precision", 0.8, "--out", tmp_path / "other", "--json")
    chosen = json.loads(told.out)["chosen"]
    assert chosen["level"]["score"] == level
    assert 0 < chosen["probability"] < 1


def test_nothing_is_kept_where_no_level_is_precise_enough(model, judged, tmp_path):
    folder = shutil.copytree(judged, tmp_path / "judged")
    scores, _ = graded_scores(folder, model)
    rows = (folder / "qrels" / "test.tsv").read_text().splitlines()
    lowest = np.argsort(scores)[:4]
    marked = [row.rpartition("\t")[0] + f"\t{int(n in lowest)}" for n, row in enumerate(rows[1:])]
    (folder / "qrels" / "test.tsv").write_text("\n".join([rows[0], *marked]) + "\n")
    found = threshold(str(model), str(folder))
    assert found.chosen is None
    assert "no level has a precision of 90%: nothing was kept" in found.notes
    assert read_facts(model).deployment.min_score is None


def test_what_cannot_give_a_level_is_told(model, judged, tmp_path):
    folder = shutil.copytree(judged, tmp_path / "judged")
    rows = (folder / "qrels" / "test.tsv").read_text().splitlines()
    (folder / "qrels" / "test.tsv").write_text("\n".join([rows[0], *(f"{row[:-1]}1" for row in rows[1:])]) + "\n")
    with pytest.raises(InputError, match="no document has the grade 0, so that every score would do"):
        threshold(str(model), str(folder))
    with pytest.raises(InputError, match=r"--precision is 1\.2, expected a share"):
        threshold(str(model), str(judged), 1.2)
    with pytest.raises(SettingsError, match="tamis-base is shared by all"):
        threshold("tamis-base", str(judged))


def test_rank_leaves_out_what_is_below_and_nothing_is_an_empty_list(warm_folder):
    reranker = Reranker(warm_folder)
    documents = list(TEXTS.values())
    every = reranker.rank(QUERY, documents)
    for lowest in (every[5]["score"], every[5]["score"] + 1e-6, every[-1]["score"]):
        assert reranker.rank(QUERY, documents, min_score=lowest) == [one for one in every if one["score"] >= lowest]
    assert reranker.rank(QUERY, documents, top_k=3, min_score=every[9]["score"]) == every[:3]
    assert reranker.rank(QUERY, documents, min_score=1.0) == []
    beside = reranker.rank(QUERY, documents, first_stage=("bm25", list(range(len(documents)))))
    lowest = beside[4]["score"]
    found = reranker.rank(QUERY, documents, first_stage=("bm25", list(range(len(documents)))), min_score=lowest)
    assert found == [one for one in beside if one["score"] >= lowest]


def test_a_models_own_level_is_used_where_it_is_asked_for(model, judged):
    with pytest.raises(InputError, match="keeps no level; find one with tamis threshold"):
        Reranker(model).rank(QUERY, list(TEXTS.values()), min_score="model")
    threshold(str(model), str(judged), 0.8)
    reranker = Reranker(model)
    level = reranker.deployment.min_score
    every = reranker.rank(QUERY, list(TEXTS.values()))
    assert reranker.rank(QUERY, list(TEXTS.values()), min_score="model") == [
        one for one in every if one["score"] >= level
    ]


@pytest.mark.parametrize("given", [math.nan, True, "high", [0.5]])
def test_a_level_that_is_none_is_told(warm_folder, given):
    with pytest.raises(InputError, match=r"min_score is .*, expected a finite number or 'model'"):
        Reranker(warm_folder).rank(QUERY, ["a text"], min_score=given)


def test_the_command_line_leaves_out_what_is_below(warm_folder, tmp_path):
    (tmp_path / "lines.txt").write_text("\n".join(TEXTS.values()) + "\n")
    every = tamis("rerank", warm_folder, tmp_path / "lines.txt", "-q", QUERY, "--json")
    scores = [one["score"] for one in json.loads(every.out)["ranked"]]
    some = tamis("rerank", warm_folder, tmp_path / "lines.txt", "-q", QUERY, "--json", "--min-score", scores[3])
    assert [one["score"] for one in json.loads(some.out)["ranked"]] == scores[:4]
    none = tamis("rerank", warm_folder, tmp_path / "lines.txt", "-q", QUERY, "--min-score", 2)
    assert (none.status, none.out) == (0, "")
    wrong = tamis("rerank", warm_folder, tmp_path / "lines.txt", "-q", QUERY, "--min-score", "high")
    assert wrong.complaint == "--min-score is 'high', expected a number or model"


def test_the_page_shows_the_levels_of_the_table_and_no_foreign_markup(model, judged, tmp_path):
    page = tmp_path / "levels.html"
    found = threshold(str(model), str(judged), 0.5, report=page)
    text = page.read_text(encoding="utf-8")
    assert text.count("<svg") == 1
    assert "<script" not in text
    for row in found.rows:
        assert f"{row.level.score:.4f}" in text
        assert f"{row.level.precision.lower:.3f} to {row.level.precision.upper:.3f}" in text
    assert f"{found.chosen.level.score:.3f} was kept" in text


def test_a_page_in_a_folder_that_is_not_there_is_told_before_anything_is_scored(model, judged, tmp_path):
    before = (model / "tamis.json").read_bytes()
    with pytest.raises(InputError, match="there is no folder"):
        threshold(str(model), str(judged), report=tmp_path / "none" / "levels.html")
    assert (model / "tamis.json").read_bytes() == before
