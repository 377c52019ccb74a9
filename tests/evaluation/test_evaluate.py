"""`tamis evaluate`: models and first stages on judged sets, as it is typed, and against ir-measures from the files."""

import html
import json
import random
import re
import shutil
import time
from pathlib import Path

import ir_measures
import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.stats import permutation_test, zscore

from tamis import Reranker
from tamis.evaluation import scores
from tamis.evaluation.comparing import compare
from tamis.evaluation.costs import time_requests
from tamis.evaluation.reading import read_sets
from tamis.formulas.overlap import content_sample
from tests.commands import Outcome, tamis
from tests.conftest import TOPICS, write_beir
from tests.schemas import complaints, undescribed

MODELS = ("warm", "stock")


@pytest.fixture(scope="module")
def base(tmp_path_factory, tiny_encoder, warm_folder, stock_folder) -> Path:
    base = tmp_path_factory.mktemp("evaluate")
    write_beir(base / "set")
    (base / "set" / "qrels" / "dev.tsv").write_text("query-id\tcorpus-id\tscore\nq/en/0\ten/0\t1\nq/en/0\tde/0\t2\n")
    # Another engine, with ties: three scores for all documents.
    rng = np.random.default_rng(0)
    ids = [f"{language}/{n}" for language in TOPICS for n in range(10)]
    lines = [f"q/{q} Q0 {d} 0 {rng.integers(3)} other" for q in ids for d in ids]
    (base / "other.trec").write_text("\n".join(lines) + "\n")
    return base


@pytest.fixture(scope="module")
def arguments(base, tiny_encoder, warm_folder, stock_folder) -> tuple[object, ...]:
    first = ("--first", "bm25", "--first", "hybrid", "--first", f"given={base / 'other.trec'}")
    measures = ("--measure", "nDCG@10", "--measure", "MRR@10", "--measure", "P@5")
    models = (f"warm={warm_folder}", f"stock={stock_folder}")
    return (
        *models,
        *first,
        *measures,
        "--encoder",
        tiny_encoder,
        "--depth",
        8,
        "--run",
        f"other={base / 'other.trec'}",
    )


@pytest.fixture(scope="module")
def outcome(base, arguments) -> Outcome:
    found = tamis("evaluate", *arguments, "--on", base / "set", "--out", base / "out")
    assert found.status == 0, found.err
    return found


@pytest.fixture(scope="module")
def results(base, outcome) -> dict:
    return json.loads((base / "out" / "results.json").read_text(encoding="utf-8"))


def test_every_figure_is_what_ir_measures_finds_in_the_run_files(base, results):
    found = results["sets"]["set"]
    qrels = list(ir_measures.read_trec_qrels(str(base / "out" / "sets" / "set" / "qrels.trec")))
    names = {system["name"] for system in found["systems"]}
    assert names == {file.stem for file in (base / "out" / "sets" / "set" / "runs").glob("*.trec")}
    assert {"bm25", "hybrid", "given", "other", "warm@bm25", "warm+hybrid", "stock@given", "oracle@hybrid"} <= names
    assert {"warm~bm25", "stock~given"} <= names
    for name in names:
        run = list(ir_measures.read_trec_run(str(base / "out" / "sets" / "set" / "runs" / f"{name}.trec")))
        theirs = ir_measures.calc_aggregate([ir_measures.parse_measure(m) for m in results["measures"]], qrels, run)
        assert found["figures"][name] == pytest.approx({str(m): value for m, value in theirs.items()}, abs=1e-9)


def test_results_are_as_their_schema_and_the_page_of_it_say(results):
    assert complaints(results) == []
    assert complaints(results | {"more": 1}) != []
    assert undescribed() == []


def test_the_table_of_questions_holds_the_same_figures(base, results):
    table = pq.read_table(base / "out" / "per_query.parquet").to_pylist()
    found = results["sets"]["set"]
    by_system = {}
    for row in table:
        by_system.setdefault(row["system"], []).append(row)
    for name, figures in found["figures"].items():
        assert len(by_system[name]) == found["questions"] == 20
        for measure, mean in figures.items():
            assert np.mean([row[measure] for row in by_system[name]]) == pytest.approx(mean)
    for entry in found["comparisons"]:
        rows = {row["query_id"]: row for row in by_system[entry["system"]]}
        against = {row["query_id"]: row["nDCG@10"] for row in by_system[entry["baseline"]]}
        differences = np.array([row["nDCG@10"] - against[q] for q, row in rows.items()])
        assert differences.mean() == pytest.approx(entry["difference"])
        wins, losses = (differences > 0).sum(), (differences < 0).sum()
        assert (entry["wins"], entry["ties"], entry["losses"]) == (wins, 20 - wins - losses, losses)
        if rows["q/en/0"]["baseline"] == entry["baseline"]:
            assert differences == pytest.approx([row["difference"] for row in rows.values()])


def test_p_values_are_those_of_scipy_and_holms_are_over_all_comparisons(base, results):
    table = pq.read_table(base / "out" / "per_query.parquet").to_pandas()
    entries = results["sets"]["set"]["comparisons"]
    values = {name: rows.set_index("query_id")["nDCG@10"] for name, rows in table.groupby("system")}
    for entry in entries[:3]:
        differences = (values[entry["system"]] - values[entry["baseline"]]).to_numpy()
        theirs = permutation_test(
            (differences,), np.mean, permutation_type="samples", n_resamples=20_000, rng=np.random.default_rng(0)
        )
        assert entry["p_value"] == pytest.approx(theirs.pvalue, abs=0.02)
    smallest = min(entries, key=lambda entry: entry["p_value"])
    assert smallest["p_holm"] == pytest.approx(min(1, smallest["p_value"] * len(entries)))


def test_a_model_reorders_the_candidates_by_its_own_logits(base, results, stock_folder):
    runs = base / "out" / "sets" / "set" / "runs"
    first = [line.split("\t") for line in (runs / "bm25.trec").read_text().splitlines()]
    ours = [line.split("\t") for line in (runs / "stock@bm25.trec").read_text().splitlines()]
    candidates = [columns[2] for columns in first if columns[0] == "q/de/3"]
    texts = {f"{language}/{n}": answer for language, topics in TOPICS.items() for n, (_, answer) in enumerate(topics)}
    assert len(candidates) == 8
    logits = Reranker(stock_folder).score_pairs([(TOPICS["de"][3][0], texts[d]) for d in candidates]).logits
    expected = [candidates[i] for i in np.argsort(-logits)]
    assert [columns[2] for columns in ours if columns[0] == "q/de/3"] == expected


def ranking(run: Path, query_id: str) -> list[str]:
    rows = (line.split("\t") for line in run.read_text(encoding="utf-8").splitlines())
    return [columns[2] for columns in rows if columns[0] == query_id]


@pytest.fixture(scope="module")
def served(base, warm_folder) -> Path:
    """An evaluation of a model whose checkpoint trusts orders, in German more, and scores of unknown engines."""
    folder = shutil.copytree(warm_folder, base / "trusting")
    facts = json.loads((folder / "tamis.json").read_text(encoding="utf-8"))
    facts["first_stage_weights"] = {"order": 0.5, "bm25": 0.0, "other": 0.3}
    facts["weights_by_language"] = {"order": {"de": 2.0}}
    (folder / "tamis.json").write_text(json.dumps(facts), encoding="utf-8")
    given = ("--first", "bm25", "--first", f"given={base / 'other.trec'}")
    found = tamis("evaluate", f"m={folder}", *given, "--depth", 8, "--on", base / "set", "--out", base / "served")
    assert found.status == 0, found.err
    return base / "served"


@pytest.mark.parametrize("language", ["de", "en"])
def test_as_served_is_the_models_logits_and_the_order_by_the_weights_of_the_checkpoint(served, base, language):
    runs = served / "sets" / "set" / "runs"
    query, query_id = TOPICS[language][3][0], f"q/{language}/3"
    texts = {f"{lang}/{n}": answer for lang, topics in TOPICS.items() for n, (_, answer) in enumerate(topics)}
    reranker = Reranker(base / "trusting")
    for first in ("bm25", "given"):
        candidates = ranking(runs / f"{first}.trec", query_id)
        logits = reranker.score_pairs([(query, texts[d]) for d in candidates]).logits.astype(np.float64)
        places = [-np.log(rank) for rank in range(1, len(candidates) + 1)]
        told = zscore(logits) + {"de": 2.0, "en": 0.5}[language] * zscore(places)
        assert ranking(runs / f"m~{first}.trec", query_id) == [candidates[i] for i in np.argsort(-told)]


def test_scores_of_an_engine_that_no_checkpoint_knows_weigh_as_any_other(served, base):
    runs = served / "sets" / "set" / "runs"
    names = [system["name"] for system in json.loads((served / "results.json").read_text())["sets"]["set"]["systems"]]
    own = [name for name in names if name.startswith("m")]
    assert own == ["m~bm25", "m@bm25", "m~given", "m@given", "m+given"]  # BM25's scores weigh nothing
    rows = [line.split() for line in (base / "other.trec").read_text().splitlines()]
    scores = {columns[2]: float(columns[4]) for columns in rows if columns[0] == "q/en/5"}
    candidates = ranking(runs / "given.trec", "q/en/5")
    texts = {f"{lang}/{n}": answer for lang, topics in TOPICS.items() for n, (_, answer) in enumerate(topics)}
    scored = Reranker(base / "trusting").score_pairs([(TOPICS["en"][5][0], texts[d]) for d in candidates])
    given = np.array([scores[d] for d in candidates])
    beside = 0.3 * zscore(given) if given.std() else 0.0
    expected = [candidates[i] for i in np.argsort(-(zscore(scored.logits.astype(np.float64)) + beside))]
    assert ranking(runs / "m+given.trec", "q/en/5") == expected


def test_as_served_is_tested_and_compared_like_every_other_system(served):
    found = json.loads((served / "results.json").read_text(encoding="utf-8"))["sets"]["set"]
    entry = next(one for one in found["comparisons"] if one["system"] == "m~bm25")
    assert (entry["baseline"], list(entry["per_language"])) == ("bm25", ["de", "en"])
    assert entry["difference"] == pytest.approx(
        found["figures"]["m~bm25"]["nDCG@10"] - found["figures"]["bm25"]["nDCG@10"]
    )
    (again,) = compare(served, served, None, "nDCG@10", "m~bm25", 1, 1)
    assert (again.title, again.after) == ("set: m~bm25", pytest.approx(found["figures"]["m~bm25"]["nDCG@10"]))
    assert tamis("compare", served, served, "--system", "m~bm25").status == 0


def test_ties_are_counted_and_the_oracle_is_the_recall_of_the_candidates(results):
    found = results["sets"]["set"]
    assert found["tie_rate"]["other"] == 1.0  # twenty documents with three scores
    assert found["tie_rate"]["stock@bm25"] == 0.0
    assert found["tie_rate"]["oracle@bm25"] is None
    for first in ("bm25", "hybrid", "given"):
        best = found["figures"][f"oracle@{first}"]["nDCG@10"]
        assert all(best >= found["figures"][f"{model}@{first}"]["nDCG@10"] for model in MODELS)


def test_groups_add_up_to_the_whole(results):
    found = results["sets"]["set"]
    assert found["groups"]["language"].keys() == {"en", "de"}
    assert found["groups"]["domain"] == {}  # no question names one
    for groups in filter(None, found["groups"].values()):
        assert sum(group["questions"] for group in groups.values()) == found["questions"]
        for name, figures in found["figures"].items():
            weighted = sum(group["questions"] * group["figures"][name] for group in groups.values())
            assert weighted / found["questions"] == pytest.approx(figures["nDCG@10"])
    # No question has a relevant document in another language.
    assert {asked: list(row) for asked, row in found["matrix"].items()} == {"en": ["en"], "de": ["de"]}


def test_domains_that_queries_name_are_groups_like_languages(base, tmp_path):
    folder = write_beir(tmp_path / "set")
    rows = [json.loads(line) for line in (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines()]
    for number, row in enumerate(rows):
        if number < 5:
            row["metadata"]["domain"] = "printers"
        elif number < 9:
            row["domain"] = "clocks"
    written = "".join(f"{json.dumps(row)}\n" for row in rows)
    (folder / "queries.jsonl").write_text(written, encoding="utf-8")
    assert tamis("evaluate", "--on", folder, "--out", tmp_path / "out").status == 0
    found = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))["sets"]["set"]
    groups = found["groups"]["domain"]
    assert {name: one["questions"] for name, one in groups.items()} == {"clocks": 4, "not said": 11, "printers": 5}
    table = pq.read_table(tmp_path / "out" / "per_query.parquet").to_pandas()
    means = table[table.system == "bm25"].groupby("domain")["nDCG@10"].mean()
    assert groups["printers"]["figures"]["bm25"] == pytest.approx(means["printers"])
    (folder / "queries.jsonl").write_text(written.replace('"printers"', "7"), encoding="utf-8")
    complaint = tamis("evaluate", "--on", folder, "--out", tmp_path / "out").complaint
    assert complaint == f"{folder / 'queries.jsonl'}, line 1: the domain is 7, expected a name such as medicine"


def test_the_page_shows_the_questions_that_the_best_model_changed_most(base, outcome, results):
    page = (base / "out" / "report.html").read_text(encoding="utf-8")
    found = results["sets"]["set"]
    own = [one for one in found["systems"] if one["group"] in ("as served", "model + first stage")]
    best = max(own, key=lambda one: found["figures"][one["name"]]["nDCG@10"])
    way = {"as served": "as served", "model + first stage": "with scores"}[best["group"]]
    model, first_stage = re.split("[~+]", best["name"])
    assert f"{first_stage} → {model} {way}" in page
    table = pq.read_table(base / "out" / "per_query.parquet").to_pandas()
    rows = table[table.system == best["name"]].sort_values("difference")
    shown = page.split('<h2 id="questions">')[1].split("<h2")[0]
    for row in (rows.iloc[0], rows.iloc[-1]):
        assert (html.escape(row.text) in shown) == (row.difference != 0)
    assert "<mark>" in shown


def test_what_a_model_costs_is_measured_and_kept(results, stock_folder):
    cost = results["models"]["stock"]["cost"]
    weights = Reranker(stock_folder).scorer.model
    assert cost["parameters"] == cost["active_parameters"] == sum(p.numel() for p in weights.parameters())
    assert cost["disk_bytes"] == sum(file.stat().st_size for file in stock_folder.iterdir())
    assert cost["pairs_per_second"] > 0 < cost["milliseconds_per_100"]
    assert 2**26 < cost["peak_memory_bytes"] < 2**36
    assert re.fullmatch(r"20\d\d-\d\d-\d\d \d\d:\d\d UTC", cost["measured"])
    assert 0 < cost["processor_share"] <= 1


def test_time_that_the_processor_did_not_give_is_told():
    spinning = time_requests(lambda _: sum(range(10**6)), [[("q", "d")]] * 2)
    waiting = time_requests(lambda _: time.sleep(0.05), [[("q", "d")]] * 2)
    assert waiting.processor_share < 0.5
    assert spinning.processor_share > waiting.processor_share
    assert waiting.seconds == pytest.approx(0.05 * 100, rel=0.5)  # a request of one document stands for 100


def test_a_second_call_loads_no_model_and_says_the_same(base, arguments, outcome, results, monkeypatch):
    monkeypatch.setattr(scores, "Reranker", None)
    again = tamis("evaluate", *arguments, "--on", base / "set", "--out", base / "out")
    assert (again.status, again.out) == (0, outcome.out)
    found = json.loads((base / "out" / "results.json").read_text(encoding="utf-8"))
    assert found | {"seconds": 0} == results | {"seconds": 0}


def test_another_order_of_every_input_gives_the_same_figures(base, arguments, results, tmp_path):
    folder = shutil.copytree(base / "set", tmp_path / "set")
    shuffle = random.Random(4).shuffle
    for file in (folder / "corpus.jsonl", folder / "queries.jsonl", folder / "qrels" / "test.tsv"):
        head, *lines = file.read_text(encoding="utf-8").splitlines()
        lines = lines if file.suffix == ".tsv" else [head, *lines]
        shuffle(lines)
        content = [head, *lines] if file.suffix == ".tsv" else lines
        file.write_text("\n".join(content) + "\n", encoding="utf-8")
    run = (base / "other.trec").read_text().splitlines()
    shuffle(run)
    (tmp_path / "other.trec").write_text("\n".join(run))
    turned = [str(a).replace(str(base / "other.trec"), str(tmp_path / "other.trec")) for a in arguments]
    assert tamis("evaluate", *turned, "--on", folder, "--out", tmp_path / "out").status == 0
    found = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))["sets"]["set"]
    for name, figures in results["sets"]["set"]["figures"].items():
        assert found["figures"][name] == pytest.approx(figures, abs=1e-12)
    assert found["tie_rate"] == results["sets"]["set"]["tie_rate"]


def test_splits_full_rankings_and_the_matrix_of_languages(base, stock_folder):
    found = tamis("evaluate", f"m={stock_folder}", "--on", f"{base / 'set'}:dev", "--full", "--out", base / "dev")
    assert found.status == 0
    results = json.loads((base / "dev" / "results.json").read_text(encoding="utf-8"))
    assert complaints(results) == []
    own = results["sets"]["set-dev"]
    assert {"m~full", "m+full"}.isdisjoint(own["figures"])  # every document, in no order
    assert own["questions"] == 1
    run = (base / "dev" / "sets" / "set-dev" / "runs" / "m@full.trec").read_text().splitlines()
    ranked = [line.split("\t")[2] for line in run]
    assert len(ranked) == 20
    # Ranked among the documents of its language only, the relevant one stands where that says.
    for language in ("en", "de"):
        among = [doc_id for doc_id in ranked if doc_id.startswith(language)]
        gain = 1 / np.log2(among.index(f"{language}/0") + 2)
        assert own["matrix"]["en"][language]["questions"] == 1
        assert own["matrix"]["en"][language]["figures"]["m@full"] == pytest.approx(gain)
    assert "language of the question (rows) and of the documents (columns)" in found.out
    same = tamis("evaluate", "--on", f"{base / 'set'}:dev", "--languages", "same", "--out", base / "same")
    assert same.status == 0
    results = json.loads((base / "same" / "results.json").read_text(encoding="utf-8"))
    assert "de" not in results["sets"]["set-dev"]["matrix"].get("en", {})


def test_several_sets_have_a_mean_over_what_is_complete(base, tmp_path):
    write_beir(tmp_path / "second", languages=("de",))
    runs = tmp_path / "runs"
    runs.mkdir()
    shutil.copy(base / "other.trec", runs / "set.trec")
    arguments = ("--on", base / "set", "--on", tmp_path / "second", "--run", f"half={runs}", "--out", tmp_path / "out")
    assert tamis("evaluate", *arguments).status == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert "half" in results["sets"]["set"]["figures"]
    assert results["means"].keys() == {"bm25", "oracle@bm25"}
    values = [found["figures"]["bm25"]["nDCG@10"] for found in results["sets"].values()]
    assert results["means"]["bm25"]["nDCG@10"] == pytest.approx(np.mean(values))


@pytest.mark.parametrize(
    ("target", "seen"),
    [
        (content_sample([TOPICS["en"][0][1], "a text of another corpus"]), True),
        (content_sample(["a text of another corpus"]), False),
        (None, False),
    ],
)
def test_a_model_that_learnt_from_a_document_of_the_set_is_marked(base, warm_folder, tmp_path, target, seen):
    folder = shutil.copytree(warm_folder, tmp_path / "model")
    facts = json.loads((folder / "tamis.json").read_text(encoding="utf-8"))
    facts["lineage"]["target"] = target and {"name": "corpus", "documents": 2, "sample": target}
    (folder / "tamis.json").write_text(json.dumps(facts), encoding="utf-8")
    (judged,) = read_sets([str(base / "set")], "any")
    assert scores.saw_documents(scores.model_of(f"m={folder}", "float32"), judged) is seen
    assert scores.saw_documents(scores.model_of(f"m={warm_folder}", "float32"), judged) is None


def test_the_report_lies_beside_the_results(base, outcome, results):
    page = (base / "out" / "report.html").read_text(encoding="utf-8")
    assert f"report:  {base / 'out' / 'report.html'}" in outcome.out
    assert all(name in page for name in results["sets"]["set"]["figures"])
    assert str(base) not in page
