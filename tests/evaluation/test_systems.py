import json
import shutil
from collections import Counter

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import zscore

from tamis import Reranker
from tamis.errors import InputError
from tamis.evaluation.figures import ComparedPair, Measured, PairedTests, correct, measure_system, set_figures
from tamis.evaluation.judged import Question, draw_questions, read_questions
from tamis.evaluation.sets import JudgedSet
from tamis.evaluation.systems import Pool, System, pairs_to_score, rerank_head, student_runs, systems_of
from tamis.formulas.measures import parse_measures
from tamis.models.checkpoint import Deployment
from tamis.records import WAYS, Candidates, Document
from tamis.stages.evaluate.targets import ADAPTATION
from tests.conftest import TOPICS

DOC_IDS = [f"d{number}" for number in range(30)]
SEEDS = st.integers(0, 10_000)


def random_questions(rng, count=12, languages=("de", "en", "ja")):
    return [
        Question(
            f"q{number}",
            f"question {number}",
            languages[int(rng.integers(len(languages))) if number >= len(languages) else number],
            {d: int(rng.integers(0, 3)) for d in rng.choice(DOC_IDS, 5, replace=False)} | {DOC_IDS[number]: 1},
        )
        for number in range(count)
    ]


def random_run(rng, questions, depth=20):
    return {q.query_id: rng.permutation(DOC_IDS)[: int(rng.integers(0, depth + 1))].tolist() for q in questions}


# Measures


def judged_set(questions):
    documents = {doc_id: Document(doc_id, "text", "en") for doc_id in (*DOC_IDS, "d", "8", "9", "10")}
    return JudgedSet("set", "sets/set", documents, {q.query_id: q for q in questions})


def measure(runs, questions):
    """nDCG@10 of every question by run."""
    judged, measures = judged_set(questions), parse_measures(["nDCG@10"])
    return {
        name: dict(
            zip(
                judged.questions,
                measure_system(judged, System(name, name, "run", None), run.items(), measures, lambda: None)
                .values["nDCG@10"]
                .tolist(),
                strict=True,
            )
        )
        for name, run in runs.items()
    }


def figures(per_query, questions, pairs=(), seed=3, rounds=2000):
    """What is said of a set whose means are taken over languages."""
    tests = PairedTests(
        [ComparedPair(*pair, [seed, number]) for number, pair in enumerate(pairs)], rounds, over="languages"
    )
    measured = [
        Measured(System(name, name, "run", None), {"nDCG@10": np.array([of[q.query_id] for q in questions])}, 0.0, {})
        for name, of in per_query.items()
    ]
    found = set_figures(judged_set(questions), measured, "nDCG@10", tests, {})
    correct({"set": found})
    return found


@given(seed=SEEDS)
@settings(max_examples=30)
def test_ndcg_is_that_of_trec_eval_and_a_question_without_results_counts_0(seed):
    rng = np.random.default_rng(seed)
    questions = random_questions(rng)
    runs = {"one": random_run(rng, questions), "two": random_run(rng, questions)}
    evaluator = pytrec_eval.RelevanceEvaluator({q.query_id: dict(q.relevant) for q in questions}, {"ndcg_cut_10"})
    measured = measure(runs, questions)
    assert measured.keys() == runs.keys()
    for name, run in runs.items():
        scored = {query_id: {d: 100.0 - rank for rank, d in enumerate(ranked)} for query_id, ranked in run.items()}
        expected = {q: found["ndcg_cut_10"] for q, found in evaluator.evaluate(scored).items()}
        assert measured[name].keys() == {q.query_id for q in questions}
        for query_id, value in measured[name].items():
            assert value == pytest.approx(expected[query_id] if run[query_id] else 0.0, abs=1e-9)


def test_a_question_that_is_missing_in_a_run_counts_0():
    questions = [Question("q1", "one", "en", {"d1": 1}), Question("q2", "two", "en", {"d2": 1})]
    assert measure({"run": {"q1": ["d1"]}}, questions) == {"run": {"q1": 1.0, "q2": 0.0}}
    assert measure({"empty": {}}, questions) == {"empty": {"q1": 0.0, "q2": 0.0}}


def test_ids_that_look_like_numbers_do_not_let_a_tool_break_ties_its_own_way():
    questions = [Question("1", "one", "en", {"9": 1})]
    assert measure({"run": {"1": ["10", "9", "8"]}}, questions)["run"]["1"] == pytest.approx(1 / np.log2(3))


def test_the_mean_is_over_languages_and_not_over_questions():
    questions = [Question(f"q{n}", "?", "en" if n < 9 else "de", {"d": 1}) for n in range(10)]
    values = {q.query_id: 1.0 if q.language == "en" else 0.0 for q in questions}
    found = figures({"run": values}, questions)
    assert found["figures"]["run"]["nDCG@10"] == 0.5
    by_language = {language: group["figures"]["run"] for language, group in found["groups"]["language"].items()}
    assert by_language == {"de": 0.0, "en": 1.0}


# Reranking


def test_given_runs_are_reranked_beside_our_own_first_stages_with_weight_1_and_may_be_silent():
    question = Question("q", "question", "en", {"d0": 1})
    rankings = {name: DOC_IDS[:4] for name in ("bm25", "hybrid", "mine")} | {"silent": []}
    scores = {name: np.array([4.0, 3.0, 2.0, -9.0]) for name in ("bm25", "hybrid", "mine")} | {"silent": np.zeros(0)}
    pools = [pool_of(question, rankings, scores)]
    given = ("mine", "silent")
    assert set(pairs_to_score(pools, 3, given)) == {("q", doc_id) for doc_id in DOC_IDS[:3]}
    logits = {("q", "d0"): 0.0, ("q", "d1"): 1.0, ("q", "d2"): 1.1}
    runs, ties = student_runs("s", pools, logits, Deployment({"bm25": 0.0, "hybrid": 1.0}, {}), 3, given)
    assert runs["s@mine"]["q"] == runs["s+bm25"]["q"] == ["d2", "d1", "d0", "d3"]
    assert runs["s~mine"] == runs["s@mine"]  # nothing says how far to trust an order
    assert runs["s+mine"]["q"] == runs["s+hybrid"]["q"]
    assert runs["s+silent"]["q"] == []
    assert ties["s@silent"] == 0.0
    names = {system.name for system in systems_of(given)}
    assert {"mine", "untrained@silent", "merged~mine", "merged+mine"} <= names


def pool_of(question, rankings, scores):
    """What each first stage found, from ids and scores by its name."""
    query_id = question.query_id
    found = {name: Candidates(query_id, tuple(ids), tuple(scores[name])) for name, ids in rankings.items()}
    return Pool(question, found)


def reranked(pool, first_stage, *how):
    return rerank_head(pool.question, first_stage, pool.found[first_stage], *how)


def random_pool(rng, candidates=12):
    """A pool whose hybrid and bm25 rankings share some documents."""
    rankings, scores = {}, {}
    for name in ("bm25", "hybrid"):
        rankings[name] = rng.permutation(DOC_IDS)[:candidates].tolist()
        scores[name] = np.sort(rng.normal(size=candidates))[::-1]
    return pool_of(Question("q", "question", "en", {"d0": 1}), rankings, scores)


def weighed(weight):
    """A checkpoint that trusts an order and BM25's scores by one weight, and other first stages by another."""
    return Deployment({"bm25": weight, "order": weight, "other": 7.0}, {})


@given(
    seed=SEEDS, depth=st.integers(1, 20), weight=st.sampled_from([0.0, 0.5, 2.0]), sign=st.sampled_from(sorted(WAYS))
)
@settings(max_examples=90)
def test_the_head_is_reordered_by_the_fused_score_and_the_tail_keeps_its_order(seed, depth, weight, sign):
    rng = np.random.default_rng(seed)
    pool = random_pool(rng)
    ranked = list(pool.found["bm25"].doc_ids)
    head, tail = ranked[:depth], ranked[depth:]
    logits = rng.normal(size=len(head))
    fused = logits
    if len(head) > 1:
        beside = {"~": [-np.log(rank) for rank in range(1, len(head) + 1)], "@": logits}
        fused = zscore(logits) + weight * zscore(beside.get(sign, pool.found["bm25"].scores[:depth]))
    ranking, tied = reranked(pool, "bm25", logits, sign, weighed(weight))
    assert ranking == [head[i] for i in np.argsort(-fused)] + tail
    assert not tied


def test_a_checkpoint_weighs_an_order_and_scores_by_language_and_unknown_first_stages_as_any_other():
    rng = np.random.default_rng(2)
    rankings = {name: DOC_IDS[:9] for name in ("bm25", "hybrid", "mine")}
    scores = {name: np.sort(rng.normal(size=9))[::-1] for name in rankings}
    texts = {"de": "Wie stelle ich die Uhr auf die richtige Zeit?", "en": "How do I set the clock to the right time?"}
    pools = [pool_of(Question(lang, text, lang, {"d0": 1}), rankings, scores) for lang, text in texts.items()]
    logits = {(lang, doc_id): float(rng.normal()) for lang in ("de", "en") for doc_id in DOC_IDS[:9]}
    weights = {"order": 0.4, "bm25": 0.25, "other": 0.7}
    deployment = Deployment(weights, {}, {"order": {"de": 3.0}, "bm25": {"en": 0.0}})
    runs, _ = student_runs("s", pools, logits, deployment, 6, ("mine",))
    places = [-np.log(rank) for rank in range(1, 7)]
    for lang, order, bm25 in (("de", 3.0, 0.25), ("en", 0.4, 0.0)):
        own = np.array([logits[lang, doc_id] for doc_id in DOC_IDS[:6]])
        told = {"s~bm25": order * zscore(places), "s~mine": order * zscore(places)}
        told |= {"s+bm25": bm25 * zscore(scores["bm25"][:6]), "s+mine": 0.7 * zscore(scores["mine"][:6])}
        for name, beside in told.items():
            expected = [DOC_IDS[i] for i in np.argsort(-(zscore(own) + beside))]
            assert runs[name][lang] == [*expected, *DOC_IDS[6:9]], name


def test_an_order_that_is_trusted_enough_is_kept_and_one_without_a_weight_changes_nothing():
    pool = random_pool(np.random.default_rng(4))
    logits = np.random.default_rng(5).normal(size=12)
    assert reranked(pool, "bm25", logits, "~", weighed(1e6))[0] == list(pool.found["bm25"].doc_ids)
    alone = reranked(pool, "bm25", logits, "@", weighed(2))
    assert reranked(pool, "bm25", logits, "~", weighed(0)) == alone
    # A server asked for nothing counts an order only where its general weight says so.
    german = Question("q", "Wie stelle ich die Uhr auf die richtige Zeit?", "de", {"d0": 1})
    in_german = Deployment({"order": 0.0}, {}, {"order": {"de": 1e6}})
    assert reranked(Pool(german, pool.found), "bm25", logits, "~", in_german) == alone
    # A model that has no opinion leaves the order as it is.
    assert reranked(pool, "bm25", np.ones(12), "~", weighed(1))[0] == list(pool.found["bm25"].doc_ids)


@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_as_served_and_with_scores_are_what_the_reranker_of_that_checkpoint_answers(warm_folder, tmp_path, weight):
    folder = shutil.copytree(warm_folder, tmp_path / "model")
    facts = json.loads((folder / "tamis.json").read_text(encoding="utf-8"))
    facts["first_stage_weights"] = {"order": weight, "bm25": 0.5, "hybrid": 0.5}
    (folder / "tamis.json").write_text(json.dumps(facts), encoding="utf-8")
    reranker = Reranker(folder)
    question, documents = TOPICS["de"][2][0], [answer for _, answer in TOPICS["de"]]
    asked, squares = Question("q", question, "de", {"d0": 1}), np.arange(10.0)[::-1] ** 2
    pool = pool_of(asked, {"bm25": DOC_IDS[:10]}, {"bm25": squares})
    logits = reranker.score_pairs([(question, text) for text in documents]).logits
    scores = squares.tolist()
    for sign, said in (("~", "order" if weight else None), ("@", None), ("+", ("bm25", scores))):
        answered = [DOC_IDS[entry["corpus_id"]] for entry in reranker.rank(question, documents, first_stage=said)]
        assert reranked(pool, "bm25", logits, sign, reranker.deployment)[0] == answered


@given(seed=SEEDS, weight=st.sampled_from([0.0, 0.5]))
@settings(max_examples=40)
def test_with_scores_the_order_of_the_candidates_does_not_matter_even_where_scores_are_tied(seed, weight):
    rng = np.random.default_rng(seed)
    pool = random_pool(rng)
    logits = rng.integers(0, 3, 12).astype(float)
    order = rng.permutation(12)
    shuffled = pool_of(
        pool.question,
        {name: [found.doc_ids[i] for i in order] for name, found in pool.found.items()},
        {name: np.array(found.scores)[order] for name, found in pool.found.items()},
    )
    straight, tied = reranked(pool, "bm25", logits, "+", weighed(weight))
    again, tied_again = reranked(shuffled, "bm25", logits[order], "+", weighed(weight))
    assert straight == again
    assert tied == tied_again
    if not weight:
        assert tied == (list(logits).count(max(logits)) > 1)


def test_a_constant_scorer_measures_as_chance_whether_the_answers_come_in_first_or_last():
    questions = [Question(f"q{number}", "?", "en", {"d0": 1}) for number in range(600)]
    chance = np.mean([1 / np.log2(place + 2) for place in range(10)])
    means = []
    for candidates in (DOC_IDS[:10], DOC_IDS[9::-1]):
        run = {}
        for question in questions:
            pool = pool_of(question, {"bm25": candidates}, {"bm25": np.zeros(10)})
            run[question.query_id], tied = reranked(pool, "bm25", np.full(10, 0.5), "@", weighed(1))
            assert tied
        means.append(np.mean(list(measure({"constant": run}, questions)["constant"].values())))
    assert means[0] == means[1]
    assert means[0] == pytest.approx(chance, abs=0.03)


def test_only_what_the_first_stages_found_is_scored_and_a_missed_answer_stays_missed():
    pool = pool_of(
        Question("q", "question", "en", {"missed": 1, "d3": 1}),
        {"bm25": ["d1", "d2", "d3"], "hybrid": ["d2", "d4", "d5"], "dense": ["missed"], "teacher": ["missed"]},
        {"bm25": [3.0, 2.0, 1.0], "hybrid": [3.0, 2.0, 1.0], "dense": [1.0], "teacher": [1.0]},
    )
    assert pairs_to_score([pool], 2) == [("q", "d1"), ("q", "d2"), ("q", "d4")]
    ranking, _ = reranked(pool, "bm25", np.array([0.0, 5.0]), "+", weighed(1))
    assert sorted(ranking) == ["d1", "d2", "d3"]


# Comparisons

SYSTEMS = [
    System("base", "base", "first stage", None),
    System("better", "better", "model", "base"),
    System("same", "same", "model", "base"),
]


def compared(per_query, questions, systems=SYSTEMS, seed=3, rounds=2000):
    pairs = [(system.name, system.baseline) for system in systems if system.baseline]
    entries = figures(per_query, questions, pairs, seed, rounds)["comparisons"]
    assert [(entry["system"], entry["baseline"]) for entry in entries] == pairs
    return {entry["system"]: entry for entry in entries}


@pytest.fixture(scope="module")
def compared_example():
    rng = np.random.default_rng(5)
    questions = [Question(f"q{n}", "?", "en" if n < 80 else "de", {"d": 1}) for n in range(100)]
    base = {q.query_id: float(rng.uniform(0, 0.5)) for q in questions}
    better = {i: value + float(rng.uniform(0.2, 0.4)) for i, value in base.items()}
    noise = rng.permutation([0.01] * 40 + [-0.01] * 40 + [0.0] * 20)
    same = {i: value + float(change) for (i, value), change in zip(base.items(), noise, strict=True)}
    per_query = {"base": base, "better": better, "same": same}
    return per_query, questions, compared(per_query, questions)


def test_the_difference_is_that_of_the_means_over_languages(compared_example):
    per_query, questions, entries = compared_example
    for name in ("better", "same"):
        gains = {"de": [], "en": []}
        for question in questions:
            gains[question.language].append(per_query[name][question.query_id] - per_query["base"][question.query_id])
        means = {language: np.mean(own) for language, own in gains.items()}
        assert entries[name]["difference"] == pytest.approx(np.mean(list(means.values())), abs=1e-12)
        for language, found in entries[name]["per_language"].items():
            assert found["difference"] == pytest.approx(means[language], abs=1e-12)
        low, high = entries[name]["interval"]
        assert low < entries[name]["difference"] < high


def test_a_large_steady_effect_is_significant_and_none_is_not(compared_example):
    _, _, entries = compared_example
    assert entries["better"]["p_holm"] < 0.01
    assert all(found["p_holm"] < 0.01 for found in entries["better"]["per_language"].values())
    assert entries["better"]["interval"][0] > 0
    assert entries["same"]["p_holm"] > 0.1
    assert entries["same"]["interval"][0] < 0 < entries["same"]["interval"][1]


def test_wins_ties_and_losses_are_counted_by_question(compared_example):
    _, _, entries = compared_example
    counts = {name: tuple(entries[name][key] for key in ("wins", "ties", "losses")) for name in entries}
    assert counts == {"better": (100, 0, 0), "same": (40, 20, 40)}


def test_p_values_are_corrected_by_holm_over_the_systems(compared_example):
    _, _, entries = compared_example
    low, high = sorted(entries.values(), key=lambda entry: entry["p_value"])
    assert low["p_holm"] == pytest.approx(min(1.0, 2 * low["p_value"]))
    assert high["p_holm"] == pytest.approx(max(high["p_value"], low["p_holm"]))


def test_more_systems_make_the_same_effect_less_certain(compared_example):
    per_query, questions, few = compared_example
    many = [*SYSTEMS, *(System(f"copy{n}", "copy", "model", "base") for n in range(8))]
    copies = {f"copy{n}": per_query["same"] for n in range(8)}
    entries = compared({**per_query, **copies}, questions, many)
    assert entries["better"]["p_value"] == few["better"]["p_value"]
    assert entries["better"]["p_holm"] == pytest.approx(10 * few["better"]["p_value"])


def test_a_comparison_is_the_same_every_time(compared_example):
    per_query, questions, entries = compared_example
    assert compared(per_query, questions) == entries


def test_a_system_that_equals_its_baseline_differs_by_nothing():
    questions = [Question(f"q{n}", "?", "en", {"d": 1}) for n in range(10)]
    values = {q.query_id: 0.5 for q in questions}
    entry = compared({"base": values, "better": values, "same": values}, questions)["same"]
    assert entry["difference"] == 0
    assert entry["p_value"] == entry["p_holm"] == 1.0


def test_every_system_is_compared_with_a_first_stage_of_the_table():
    systems = systems_of()
    names = [system.name for system in systems]
    assert Counter(names).most_common(1)[0][1] == 1
    assert {s.baseline for s in systems} - {None} <= {s.name for s in systems if s.group == "first stage"}
    assert {s.name: s.baseline for s in systems}["merged+hybrid"] == "hybrid"
    assert {name for pair in ADAPTATION for name in pair} <= set(names)
    titles = {s.name: (s.title, s.group) for s in systems}
    assert titles["merged~hybrid"] == ("merged student, as served, on hybrid", "as served")
    for first_stage in ("bm25", "hybrid"):  # what a client gets stands first
        assert [name for name in names if name in {f"merged{sign}{first_stage}" for sign in "@+~"}] == [
            f"merged{sign}{first_stage}" for sign in "~@+"
        ]


# Reading

LANGUAGE_OF = {"d1": "en", "d2": "de", "d3": "zh-cn"}


@pytest.fixture
def files(tmp_path):
    def write(queries, qrels):
        (tmp_path / "queries.jsonl").write_bytes(queries if isinstance(queries, bytes) else queries.encode())
        (tmp_path / "qrels.tsv").write_bytes(qrels if isinstance(qrels, bytes) else qrels.encode())
        return tmp_path / "queries.jsonl", tmp_path / "qrels.tsv"

    return write


def line(query_id, text="text", language=None):
    metadata = {"metadata": {"lang": language}} if language else {}
    return json.dumps({"_id": query_id, "text": text, **metadata}, ensure_ascii=False) + "\n"


def test_questions_are_read_with_the_judgements_of_their_own_language(files):
    queries = line("q1", "one", "de") + line("q2", "two") + line("q3", "three", "ja") + line("q4", "four", "zh_CN")
    qrels = "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\t2\nq2\td1\t0\nq2\td3\t1\nq3\td1\t1\nq4\td3\t1\nq4\td1\t1\n"
    assert read_questions(*files(queries, qrels), LANGUAGE_OF)[0] == [
        Question("q1", "one", "de", {"d2": 2}),
        Question("q2", "two", "zh-cn", {"d3": 1}),
        Question("q3", "three", "en", {"d1": 1}),
        Question("q4", "four", "zh-cn", {"d3": 1}),
    ]


@pytest.mark.parametrize("field", ["lang", "language"])
def test_a_question_says_its_language_in_the_fields_in_which_a_document_may(files, field):
    queries = json.dumps({"_id": "q1", "text": "one", field: "de"}) + "\n"
    qrels = "q1\td1\t1\nq1\td2\t2\n"
    assert read_questions(*files(queries, qrels), LANGUAGE_OF)[0] == [Question("q1", "one", "de", {"d2": 2})]


def test_questions_that_search_all_languages_keep_all_their_judgements_and_their_own_language(files):
    queries = line("q1", "one", "de") + line("q2", "two") + line("q3", "three", "ja")
    qrels = "q1\td1\t1\nq1\td2\t2\nq2\td1\t0\nq2\td3\t1\nq3\td1\t1\n"
    assert read_questions(*files(queries, qrels), LANGUAGE_OF, "any")[0] == [
        Question("q1", "one", "de", {"d1": 1, "d2": 2}),
        Question("q2", "two", "zh-cn", {"d1": 0, "d3": 1}),
        Question("q3", "three", "ja", {"d1": 1}),
    ]


def test_questions_that_cross_languages_keep_the_judgements_of_other_languages(files):
    queries = line("q1", "one", "de") + line("q2", "two", "en") + line("q3", "three", "ja")
    qrels = "q1\td1\t1\nq1\td2\t2\nq2\td1\t1\nq3\td1\t1\n"
    found, asked = read_questions(*files(queries, qrels), LANGUAGE_OF, "cross")
    assert found == [Question("q1", "one", "de", {"d1": 1}), Question("q3", "three", "ja", {"d1": 1})]
    assert asked == 3


def test_a_question_that_crosses_languages_has_to_say_its_own(files):
    with pytest.raises(InputError, match=r"question 'q1' does not say its language, which candidates\.languages cross"):
        read_questions(*files(line("q1", "one"), "q1\td1\t1\n"), LANGUAGE_OF, "cross")


def test_a_question_without_a_relevant_document_in_the_corpus_is_left_out(files):
    queries = "".join(line(f"q{number}") for number in range(4))
    qrels = "q0\telsewhere\t1\nq1\td1\t0\nq2\td1\t1\n"  # q3 is not judged
    assert [q.query_id for q in read_questions(*files(queries, qrels), LANGUAGE_OF)[0]] == ["q2"]


@given(seed=SEEDS, most=st.integers(1, 6))
@settings(max_examples=20)
def test_a_draw_takes_so_many_questions_of_each_language_whatever_their_order(seed, most):
    rng = np.random.default_rng(seed)
    questions = random_questions(rng)
    drawn = draw_questions(questions, most)
    counts = Counter(question.language for question in questions)
    assert Counter(q.language for q in drawn) == {language: min(most, n) for language, n in counts.items()}
    assert drawn == [question for question in questions if question in drawn]
    shuffled = [questions[i] for i in rng.permutation(len(questions))]
    assert {q.query_id for q in draw_questions(shuffled, most)} == {q.query_id for q in drawn}
    assert draw_questions(questions, 0) == questions


def test_only_line_feeds_end_a_line(files):
    text = "line\u2028separator\u0085and\x0bothers"
    found, asked = read_questions(*files(line("q1", text) + line("q2"), "q1\td1\t1\nq2\td1\t1\n"), LANGUAGE_OF)
    assert asked == 2
    assert [q.text for q in found] == [text, "text"]


def test_windows_line_ends_byte_order_marks_blank_lines_and_numbers_as_ids_are_read(files):
    queries = b'\xef\xbb\xbf{"_id": 7, "text": "one"}\r\n\r\n{"_id": "q2", "text": "two"}\r\n'
    qrels = b"\xef\xbb\xbfquery-id\tcorpus-id\tscore\r\n7\td1\t1\r\nq2\td1\t1\r\n\r\n"
    assert [q.query_id for q in read_questions(*files(queries, qrels), LANGUAGE_OF)[0]] == ["7", "q2"]


@pytest.mark.parametrize(
    "broken",
    [
        "no json",
        "[]",
        "3",
        '"text"',
        "{}",
        '{"_id": "q9"}',
        '{"_id": "q9", "text": 3}',
        '{"_id": "q9", "text": null}',
        '{"_id": "q9", "text": " "}',
        '{"_id": "q9", "text": "x", "metadata": "de"}',
        '{"_id": "q9", "text": "x", "metadata": ["de"]}',
        "[" * 100_000,
    ],
)
def test_a_line_that_is_no_question_is_named_by_its_number(files, broken):
    queries, qrels = files(line("q1") + "\n" + broken + "\n", "q1\td1\t1\n")
    with pytest.raises(InputError, match=r'queries\.jsonl, line 3: expected \{"_id": \.\.\., "text": \.\.\.\}, got '):
        read_questions(queries, qrels, LANGUAGE_OF)


def test_an_id_that_comes_twice_is_refused_with_both_lines(files):
    queries, qrels = files(line("q1") + line("q2") + line("q1", "other"), "q1\td1\t1\n")
    with pytest.raises(InputError, match=r"id 'q1' stands on line 1 and on line 3"):
        read_questions(queries, qrels, LANGUAGE_OF)


@pytest.mark.parametrize("broken", ["q1 d1 1", "q1\td1\thigh", "q1\td1\t0.5", "q1\td1", "a\tb\tscore"])
def test_a_line_that_is_no_judgement_is_named_by_its_number(files, broken):
    queries, qrels = files(line("q1"), f"query-id\tcorpus-id\tscore\nq1\td1\t1\n{broken}\n")
    with pytest.raises(InputError, match=r"qrels\.tsv, line 3: expected query-id, corpus-id and a whole number"):
        read_questions(queries, qrels, LANGUAGE_OF)


def test_files_that_cannot_be_read_are_named(files, tmp_path):
    queries, qrels = files(line("q1"), "q1\td1\t1\n")
    with pytest.raises(InputError, match=r"none\.jsonl: cannot be read: No such file"):
        read_questions(tmp_path / "none.jsonl", qrels, LANGUAGE_OF)
    with pytest.raises(InputError, match=r"none\.tsv: cannot be read: No such file"):
        read_questions(queries, tmp_path / "none.tsv", LANGUAGE_OF)
    queries.write_bytes(line("q1").encode() + b"\xff")
    with pytest.raises(InputError, match=r"queries\.jsonl: not UTF-8 at byte "):
        read_questions(queries, qrels, LANGUAGE_OF)


def test_judgements_of_another_corpus_are_refused(files):
    queries, qrels = files(line("q1"), "q1\tother\t1\n")
    with pytest.raises(InputError, match="do the ids belong together"):
        read_questions(queries, qrels, LANGUAGE_OF)
