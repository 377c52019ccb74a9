"""`tamis weigh`: what the user's own engine counts beside a model, what is written, and what is refused."""

import json
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import permutation_test
from sklearn.metrics import ndcg_score

from tamis.artifacts import write_records
from tamis.errors import InputError, SettingsError
from tamis.formulas.first_stage import with_first_stage
from tamis.formulas.weights import steady_weight
from tamis.models.checkpoint import read_facts
from tamis.models.reranker import Reranker
from tamis.records import Query, TrainingList
from tamis.stages.merge.settings import MergeSettings
from tamis.stages.merge.weights import deal_folds
from tamis.weighing.config import WeighingConfig
from tamis.weighing.export import export_queries
from tamis.weighing.inputs import read_queries
from tamis.weighing.weigh import Weighed, weigh
from tests.commands import tamis
from tests.conftest import TOPICS, write_beir

CHOICES = MergeSettings().first_stage_weights
DOCUMENTS = {f"{language}/{n}": text for language, found in TOPICS.items() for n, (_, text) in enumerate(found)}
QUERIES = [
    (doc_id, " ".join(text.split()[start : start + 4])) for doc_id, text in DOCUMENTS.items() for start in range(3)
]
"""Documents with texts about them, three of each; their ids are the numbers of their rows."""


@pytest.fixture
def model(warm_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(warm_folder, tmp_path / "model")


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "written.tsv", QUERIES)


def write_rows(file: Path, queries: list[tuple[str, str]]) -> Path:
    lines = "".join(f"{doc_id}\t{text}\n" for doc_id, text in queries)
    file.write_text(f"document-id\tquery\n{lines}", encoding="utf-8")
    return file


Scores = dict[str, dict[str, float]]


def engine(sees: Callable[[str], float], seed: int = 0) -> Scores:
    """Scores of all documents of each query's language: noise, and for the own one what is seen of it besides."""
    rng = np.random.default_rng(seed)
    return {
        str(number): {
            doc_id: float(rng.standard_normal() + (sees(own) if doc_id == own else 0))
            for doc_id in DOCUMENTS
            if doc_id[:2] == own[:2]
        }
        for number, (own, _) in enumerate(QUERIES, 1)
    }


def write_trec(file: Path, scores: Scores, rank: Callable[[int], int] = lambda place: place) -> Path:
    ranked = {query_id: sorted(found.items(), key=lambda item: -item[1]) for query_id, found in scores.items()}
    file.write_text(
        "".join(
            f"{query_id} Q0 {doc_id} {rank(place)} {score} x\n"
            for query_id, found in ranked.items()
            for place, (doc_id, score) in enumerate(found, 1)
        ),
        encoding="utf-8",
    )
    return file


def weighed(model: Path, corpus: Path, written: Path, run: Path, **more: Any) -> Weighed:
    return weigh(WeighingConfig(str(model), corpus, written, [f"mine={run}"], **more))


def content(model: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((model / "tamis.json").read_text(encoding="utf-8"))
    return found


def ndcg(model: Path, scores: Scores) -> np.ndarray:
    """NDCG@10 by weight and query, worked out from the model and the run by other means."""
    pairs = [
        (QUERIES[int(query_id) - 1][1], DOCUMENTS[doc_id]) for query_id, found in scores.items() for doc_id in found
    ]
    logits = np.split(Reranker(model).score_pairs(pairs).logits, len(scores))
    values = [
        [
            ndcg_score(
                [[float(doc_id == QUERIES[int(query_id) - 1][0]) for doc_id in found]],
                [with_first_stage(own, np.array([*found.values()]), weight)],
                k=10,
            )
            for (query_id, found), own in zip(scores.items(), logits, strict=True)
        ]
        for weight in CHOICES
    ]
    return np.array(values)


def test_the_weight_is_that_of_the_rule_and_the_figures_are_those_of_the_model(model, corpus, written, tmp_path):
    scores = engine(lambda _: 1.5)
    before = content(model)
    found = weighed(model, corpus, written, write_trec(tmp_path / "mine.trec", scores))
    values = ndcg(model, scores)
    weight = steady_weight(CHOICES, values)
    (row, of_order) = (row for row in found.rows if not row.language)
    assert (row.name, row.queries, row.weight) == ("mine", 60, weight)
    assert row.alone == pytest.approx(values[0].mean(), abs=1e-4)
    assert row.first == pytest.approx(
        np.mean(
            [ndcg_score([[d == QUERIES[int(q) - 1][0] for d in f]], [[*f.values()]], k=10) for q, f in scores.items()]
        )
    )
    assert (of_order.name, of_order.queries, of_order.weight) == ("mine: order", 60, found.order)
    after = content(model)
    assert after.pop("first_stage_weights") == before.pop("first_stage_weights") | {"mine": weight}
    assert after.pop("weights_by_language").keys() <= {"mine"}
    before.pop("weights_by_language")
    assert after == before


def test_an_engine_that_sees_more_than_the_model_counts_and_a_blind_one_does_not(model, corpus, written, tmp_path):
    sees, blind = (write_trec(tmp_path / f"{n}.trec", engine(lambda _, n=n: n)) for n in (4, 0))
    found = weigh(WeighingConfig(str(model), corpus, written, [f"sees={sees}", f"blind={blind}"]))
    rows = {row.name: row for row in found.rows if not row.language}
    assert rows["sees"].weight >= 1
    assert rows["sees"].together > rows["sees"].alone
    assert rows["sees"].p_alone < 0.01
    assert rows["blind"].weight < 1
    facts = read_facts(model).deployment
    assert (facts.weight_of("sees"), facts.weight_of("blind")) == (rows["sees"].weight, rows["blind"].weight)


def test_the_order_is_kept_only_when_that_is_asked_for(model, corpus, written, tmp_path):
    run = write_trec(tmp_path / "mine.trec", engine(lambda _: 1))
    found = weighed(model, corpus, written, run)
    assert found.order > 0
    assert "order" not in content(model)["first_stage_weights"]
    again = weighed(model, corpus, written, run, order=True)
    assert content(model)["first_stage_weights"]["order"] == again.order == found.order
    constant = write_trec(tmp_path / "blind.trec", engine(lambda _: 0))
    assert weighed(model, corpus, written, constant, order=True).order == 0
    assert content(model)["first_stage_weights"]["order"] == 0


def test_a_language_that_is_sure_of_another_weight_gets_a_row_and_a_weight(model, corpus, written, tmp_path):
    run = write_trec(tmp_path / "mine.trec", engine(lambda own: 2 if own.startswith("en") else -2, seed=1))
    found = weighed(model, corpus, written, run)
    rows = {row.language: row for row in found.rows if row.name == "mine"}
    assert rows.keys() > {""}
    assert all(row.queries == 30 for language, row in rows.items() if language)
    assert content(model)["weights_by_language"]["mine"] == {name: row.weight for name, row in rows.items() if name}
    weighed(model, corpus, written, write_trec(tmp_path / "other.trec", engine(lambda _: 0)))
    assert "mine" not in content(model)["weights_by_language"]  # what was learnt before goes with its weight


def test_a_copy_has_the_weights_and_the_model_stays(model, corpus, written, tmp_path):
    before = {file.name: file.read_bytes() for file in model.iterdir()}
    out = tmp_path / "copy"
    found = weighed(model, corpus, written, write_trec(tmp_path / "mine.trec", engine(lambda _: 2)), out=out)
    assert found.model == out
    assert {file.name: file.read_bytes() for file in model.iterdir()} == before
    assert {file.name for file in out.iterdir()} == before.keys()
    assert Reranker(out).deployment.knows("mine")


def test_what_is_written_has_the_mode_that_the_umask_says_and_leaves_nothing_beside_it(
    model, corpus, written, tmp_path
):
    names = {file.name for file in model.iterdir()}
    (model / "tamis.json").chmod(0o600)
    (tmp_path / "any").touch()
    weighed(model, corpus, written, write_trec(tmp_path / "mine.trec", engine(lambda _: 2)))
    assert {file.name for file in model.iterdir()} == names
    assert stat.S_IMODE((model / "tamis.json").stat().st_mode) == stat.S_IMODE((tmp_path / "any").stat().st_mode)


def test_a_model_of_others_gets_a_tamis_json(stock_folder, corpus, written, tmp_path):
    model = shutil.copytree(stock_folder, tmp_path / "model")
    (model / "tamis.json").unlink()
    scores = Reranker(model).predict([("a package", "install a package")])
    weighed(model, corpus, written, write_trec(tmp_path / "mine.trec", engine(lambda _: 2)))
    assert Reranker(model).deployment.knows("mine")
    assert Reranker(model).predict([("a package", "install a package")]) == scores


def test_all_that_was_left_out_is_said(model, corpus, tmp_path):
    written = write_rows(tmp_path / "written.tsv", [*QUERIES, ("en/99", "nowhere"), ("en/1", "not asked")])
    scores = engine(lambda _: 2)
    scores["1"] |= {"gone/1": 9.0, "gone/2": 8.0}
    scores["2"] = {"gone/1": 9.0}
    scores["61"] = {"en/1": 1.0}
    run = write_trec(tmp_path / "mine.trec", scores, rank=lambda place: -place)
    found = weighed(model, corpus, written, run)
    assert next(iter(found.rows)).queries == 59
    said = "\n".join(found.notes)
    assert f"1 queries left out, their own document is not in {corpus}" in said
    assert f"3 documents of mine passed over, they are not in {corpus}" in said
    assert "2 queries left out, mine has nothing for them" in said
    assert "mine.trec: for 59 of 61 queries the ranks contradict the scores; the scores count" in said
    assert "mine: 59 queries are few, its weight may be luck; take 100 or more" in said


def test_scores_decide_whatever_the_ranks_say(model, corpus, written, tmp_path):
    scores = engine(lambda _: 2)
    one = weighed(model, corpus, written, write_trec(tmp_path / "one.trec", scores))
    other = weighed(model, corpus, written, write_trec(tmp_path / "other.trec", scores, rank=lambda place: -place))
    assert one.rows == other.rows


def test_too_many_queries_are_drawn_from_and_that_is_said(model, corpus, written, tmp_path, monkeypatch):
    monkeypatch.setattr("tamis.weighing.inputs.WEIGHING", 40)
    found = weighed(model, corpus, written, write_trec(tmp_path / "mine.trec", engine(lambda _: 2)))
    assert {row.queries for row in found.rows if not row.language} == {40}
    assert "mine: 40 of 60 queries weigh it, at most 40 do" in found.notes
    out = tmp_path / "out.tsv"
    assert export_queries(WeighingConfig("any", corpus, written), out) == (40, 60, [])
    asked = dict(line.split("\t") for line in out.read_text(encoding="utf-8").splitlines())
    assert all(QUERIES[int(query_id) - 1][1] == text for query_id, text in asked.items())
    few = {query_id: found for query_id, found in engine(lambda _: 2).items() if query_id in asked}
    again = weighed(model, corpus, written, write_trec(tmp_path / "few.trec", few))
    assert again.rows == found.rows  # whoever asked only for those that were written weighs by the same ones


def test_a_run_that_answers_what_was_exported_lacks_nothing(model, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("tamis.weighing.inputs.WEIGHING", 40)
    written = write_rows(tmp_path / "written.tsv", [*QUERIES, *((f"gone/{n}", "nowhere") for n in range(30))])
    out = tmp_path / "out.tsv"
    outcome = tamis("weigh", "any", corpus, "--queries", written, "--queries-out", out)
    assert outcome.out.splitlines() == [
        f"- 30 queries left out, their own document is not in {corpus}",
        f"queries: 40 of 60 in {out}",
    ]
    asked = [line.split("\t")[0] for line in out.read_text(encoding="utf-8").splitlines()]
    scores = {query_id: found for query_id, found in engine(lambda _: 2).items() if query_id in asked}
    found = weighed(model, corpus, written, write_trec(tmp_path / "all.trec", scores))
    assert [note for note in found.notes if "queries weigh" in note or "left out" in note] == [
        f"30 queries left out, their own document is not in {corpus}",
        "mine: 40 of 60 queries weigh it, at most 40 do",
    ]
    scores.pop(asked[0])
    found = weighed(model, corpus, written, write_trec(tmp_path / "less.trec", scores))
    assert "mine: 39 of 60 queries weigh it, at most 40 do; its run has nothing for 1 more" in found.notes


def test_gain_and_p_values_are_of_weights_that_other_queries_chose(model, corpus, written, tmp_path):
    scores = engine(lambda _: 1.5)
    found = weighed(model, corpus, written, write_trec(tmp_path / "mine.trec", scores))
    row = found.rows[0]
    values = ndcg(model, scores)
    fold_of = deal_folds({query_id: QUERIES[int(query_id) - 1][0] for query_id in scores})
    folds = np.array([fold_of[query_id] for query_id in scores])
    chosen = [CHOICES.index(steady_weight(CHOICES, values[:, folds != fold])) for fold in folds]
    assert "mine" not in content(model)["weights_by_language"]  # else languages would have a say
    together = values[chosen, np.arange(len(folds))]
    assert row.together == pytest.approx(together.mean(), abs=1e-4)
    gains = (together - values[0]).reshape(-1, 3).sum(axis=1)  # three queries a document, one after the other
    test = permutation_test((gains, np.zeros_like(gains)), lambda a, b, axis: (a - b).mean(axis), vectorized=True,
                            permutation_type="samples", n_resamples=10_000, rng=np.random.default_rng(0))  # fmt: skip
    assert row.p_alone == pytest.approx(test.pvalue, abs=0.02)


@pytest.mark.parametrize("by_vectors", [False, True])
def test_what_repeats_the_own_document_counts_as_right(model, tmp_path, tiny_encoder, by_vectors, written):
    rows = {**DOCUMENTS, **{f"{doc_id}/again": text for doc_id, text in DOCUMENTS.items()}}
    corpus = tmp_path / "twice.jsonl"
    lines = [json.dumps({"_id": doc_id, "text": text, "lang": doc_id[:2]}) for doc_id, text in rows.items()]
    corpus.write_text("\n".join(lines) + "\n", encoding="utf-8")
    scores = {
        query_id: {doc_id if doc_id != own else f"{own}/again": score for doc_id, score in found.items()}
        for (query_id, found), (own, _) in zip(engine(lambda _: 2).items(), QUERIES, strict=True)
    }
    run = write_trec(tmp_path / "mine.trec", scores)
    found = weighed(model, corpus, written, run, encoder=str(tiny_encoder) if by_vectors else None)
    told = "their vectors" if by_vectors else "their words, --encoder ENCODER tells translations too"
    (note,) = (note for note in found.notes if "say what a query's own document says" in note)
    count, _, how = note.partition(" candidates say what a query's own document says and count as right, told by ")
    assert how == told
    assert int(count) >= 60
    if not by_vectors:
        assert int(count) == 60
        originals = weighed(model, corpus, written, write_trec(tmp_path / "own.trec", engine(lambda _: 2)))
        assert [row.first for row in found.rows] == [row.first for row in originals.rows]


def test_the_librarys_own_first_stages_search_where_there_is_no_run(model, corpus, written, tiny_encoder, tmp_path):
    out = tmp_path / "copy"
    command = ["weigh", model, corpus, "--queries", written, "--first", "bm25", "--first", "dense"]
    outcome = tamis(*command, "--encoder", tiny_encoder, "--out", out, "--depth", 5)
    assert outcome.status == 0, outcome.err
    assert "bm25: order" in outcome.out
    assert content(out)["first_stage_weights"].keys() == {"bm25", "dense", "hybrid"}


def test_the_command_prints_figures_and_where_the_weights_lie(model, corpus, written, tmp_path):
    run = write_trec(tmp_path / "mine.trec", engine(lambda _: 3))
    outcome = tamis("weigh", model, corpus, "--queries", written, "--run", f"mine={run}")
    assert outcome.status == 0, outcome.err
    assert "mine: order" in outcome.out
    assert "was not kept; --order keeps it" in outcome.out
    assert f"weights of mine: {model / 'tamis.json'}" in outcome.out


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """What a run leaves of its lists and queries."""
    run = tmp_path / "run"
    lists, queries = run / "lists" / "a", run / "queries" / "b"
    for folder, reads in ((lists, {"queries": "b"}), (queries, {})):
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(json.dumps({"reads": reads}), encoding="utf-8")
    kinds = {"kept": ("held-out", "extractive"), "learnt": ("train", "extractive"), "typed": ("held-out", "given")}
    one = (("a", "b"), (0.0, 1.0), (0, 1), (1.0, 0.0))
    write_records(
        lists / "lists.parquet", [TrainingList(q, "x", split, *one) for q, (split, _) in kinds.items()], TrainingList
    )
    stored = [Query(q, "a  package\nmanager", "en", "target", "en/0", writer) for q, (_, writer) in kinds.items()]
    write_records(queries / "queries.parquet", stored, Query)
    return run


def test_of_a_run_the_held_out_written_queries_are_taken(run_folder, corpus, tmp_path):
    assert [query.query_id for query in read_queries(run_folder)] == ["kept"]
    out = tmp_path / "queries.tsv"
    outcome = tamis("weigh", "any", corpus, "--queries", run_folder, "--queries-out", out)
    assert outcome.out == f"queries: 1 of 1 in {out}\n"
    assert out.read_text(encoding="utf-8") == "kept\ta package manager\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("w.jsonl", '{"_id": "q1", "document_id": "en/0", "text": "a package", "lang": "en"}\n'),
        ("w.csv", "id,doc_id,question,language\nq1,en/0,a package,en\n"),
        ("w.tsv", "qid\tcorpus-id\tquery\tlang\nq1\ten/0\ta package\ten\n"),
    ],
)
def test_written_queries_may_have_ids_and_languages_of_their_own(name, text, tmp_path):
    (tmp_path / name).write_text(text, encoding="utf-8")
    (query,) = read_queries(tmp_path / name)
    assert (query.query_id, query.document_id, query.text, query.language) == ("q1", "en/0", "a package", "en")


def test_what_cannot_be_weighed_is_one_line_and_nothing_changes(model, corpus, written, tmp_path):
    run = write_trec(tmp_path / "mine.trec", engine(lambda _: 2))
    foreign = write_trec(tmp_path / "foreign.trec", {"q/1": {"en/0": 1.0}})
    strange = write_trec(tmp_path / "strange.trec", {"1": {"gone": 1.0}})
    elsewhere = write_beir(tmp_path / "elsewhere", "x-")
    before = (model / "tamis.json").read_bytes()
    mine = ["--run", f"mine={run}"]
    for arguments, message in (
        ([model, corpus], "nothing to weigh: give your engine's results for the queries with --run NAME=RUN"),
        ([model, corpus, "--run", run], f"--run {run}: expected NAME=RUN"),
        ([model, corpus, "--run", f"order={run}"], "none of order, other, none"),
        ([model, corpus, "--run", f"a b={run}"], "expected NAME=RUN, a name of at most 100 letters"),
        ([model, corpus, *mine, *mine], "the name 'mine' stands for two first stages"),
        ([model, corpus, *mine, "--depth", 1], "--depth is 1, expected at least 2"),
        ([model, corpus, "--first", "splade"], "--first splade: expected bm25, dense, hybrid"),
        ([model, corpus, "--first", "dense"], "--first dense: dense search needs a bi-encoder"),
        ([model, corpus, "--run", "mine=nowhere"], "nowhere: cannot be read"),
        ([model, corpus, "--run", f"mine={foreign}"], f"{foreign}: holds none of the queries of {written}; it has ids "
         "like 'q/1', they are called like '1'"),
        ([model, corpus, "--run", f"mine={strange}"], "mine: none of the documents of its run is in"),
        ([model, elsewhere, *mine], f"{written}: not one document that its queries belong to is in {elsewhere}"),
        (["tamis-base", corpus, *mine], "tamis-base is shared by all that use it here: give --out FOLDER"),
        (["some/hub-name", corpus, *mine], "some/hub-name: no folder here"),
        ([model, corpus, *mine, "--out", corpus], f"{corpus}: already holds something else"),
    ):  # fmt: skip
        outcome = tamis("weigh", *arguments, "--queries", written)
        assert outcome.status == 2, arguments
        assert message in outcome.complaint, arguments
    assert (model / "tamis.json").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("none.tsv", None, "none.tsv: no such file; expected written queries"),
        ("w.txt", "a query\n", "w.txt: cannot read .txt; expected written queries"),
        ("w.tsv", "document-id\tquery\n", "w.tsv: no queries in it"),
        (
            "w.tsv",
            "query\na package\n",
            "w.tsv, line 2: it has query, expected the id of a document in a field document-id (or document_id",
        ),
        ("w.tsv", "document-id\tquery\nen/0\t \n", "w.tsv, line 2: query '1' is empty"),
        ("w.tsv", "document-id\tanswer\nen/0\tyes\n", "w.tsv, line 2: no query; expected a field query, text or"),
    ],
)
def test_queries_that_cannot_be_read_are_named(model, corpus, tmp_path, name, text, message):
    if text is not None:
        (tmp_path / name).write_text(text, encoding="utf-8")
    outcome = tamis("weigh", model, corpus, "--queries", tmp_path / name, "--first", "bm25")
    assert message in outcome.complaint


def test_an_export_never_takes_the_place_of_a_file(corpus, written, tmp_path):
    before = written.read_bytes()
    asked = WeighingConfig("any", corpus, written)
    with pytest.raises(InputError, match=r"written\.tsv: is there already"):
        export_queries(asked, written)
    assert written.read_bytes() == before
    export_queries(asked, tmp_path / "new.tsv")
    assert {file.name for file in tmp_path.glob("*new*")} == {"new.tsv"}


@pytest.mark.parametrize("scores", ["same", "never"])
def test_a_run_that_tells_no_weight_from_another_changes_nothing(model, corpus, written, tmp_path, scores):
    run = {
        query_id: {d: 1.0 if scores == "same" else s for d, s in found.items() if scores == "same" or d != own}
        for (query_id, found), (own, _) in zip(engine(lambda _: 1).items(), QUERIES, strict=True)
    }
    before = (model / "tamis.json").read_bytes()
    with pytest.raises(InputError, match=r"60 of 60 queries of mine say nothing of a weight"):
        weighed(model, corpus, written, write_trec(tmp_path / "mine.trec", run))
    assert (model / "tamis.json").read_bytes() == before


def test_vast_scores_weigh_as_their_smaller_likeness(model, corpus, written, tmp_path):
    scores = engine(lambda _: 1)
    vast = {q: {d: 1e300 * s for d, s in found.items()} for q, found in scores.items()}
    small, large = (
        weighed(model, corpus, written, write_trec(tmp_path / f"{name}.trec", run), out=tmp_path / name)
        for name, run in (("small", scores), ("large", vast))
    )
    assert [row.weight for row in small.rows] == [row.weight for row in large.rows]


@pytest.mark.parametrize("name", ["Order", "NONE", "..", "-x", "x" * 101])
def test_a_name_that_no_client_can_mean_is_refused(model, corpus, written, tmp_path, name):
    with pytest.raises(SettingsError, match="expected NAME=RUN"):
        weigh(WeighingConfig(str(model), corpus, written, [f"{name}={tmp_path / 'x'}"]))
