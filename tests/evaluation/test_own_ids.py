"""A question that is a document of its corpus does not find itself, as in the field's own evaluators."""

import json
from pathlib import Path

import numpy as np
import pytest
import pytrec_eval

from tamis.api.evaluate import evaluate
from tamis.artifacts import ItemStore
from tamis.errors import InputError
from tamis.evaluation.candidates import Wanted, find
from tamis.evaluation.comparing import compare
from tamis.evaluation.ir_datasets import _joined
from tamis.evaluation.reading import read_set
from tamis.formats.trec import read_run
from tamis.formulas.measures import measure_rankings, parse_measures
from tamis.own_parts import Retriever
from tests.commands import tamis

WORDS = ("apple", "pear", "plum", "quince", "cherry", "medlar")
COUNTS = np.random.default_rng(1).integers(1, 30, (9, 6)).tolist()  # so that no two scores are the same
TEXTS = {
    f"d{n}": " ".join(" ".join([word] * count) for word, count in zip(WORDS, row, strict=True))
    for n, row in enumerate(COUNTS)
}
ASKED = ("d0", "d3", "d7")
MEASURES = {"nDCG@10": "ndcg_cut_10", "RR@10": "recip_rank", "R@100": "recall_100", "Success@1": "success_1"}


def write_set(folder: Path, prefix: str = "", more: tuple[str, ...] = ()) -> Path:
    """A set whose questions are documents with `prefix` before their ids; each has two relevant ones."""
    (folder / "qrels").mkdir(parents=True)
    corpus = "".join(json.dumps({"_id": doc_id, "text": text}) + "\n" for doc_id, text in TEXTS.items())
    (folder / "corpus.jsonl").write_text(corpus)
    queries = "".join(json.dumps({"_id": prefix + q, "text": TEXTS[q]}) + "\n" for q in ASKED)
    (folder / "queries.jsonl").write_text(queries)
    judged = [f"{prefix}{q}\td{(int(q[1]) + step) % 9}\t{step}" for q in ASKED for step in (1, 2)]
    (folder / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *judged, *more]) + "\n")
    return folder


def found_by(folder: Path, wanted: Wanted):
    (judged,) = read_set(str(folder))
    items = ItemStore(folder / "items.sqlite")
    try:
        return judged, find(judged, wanted, items)
    finally:
        items.close()


@pytest.mark.parametrize("depth", [3, 8, 100])
def test_what_is_found_is_what_another_question_with_the_same_words_finds_without_that_document(tmp_path, depth):
    _, renamed = found_by(write_set(tmp_path / "renamed", "q/"), Wanted(["bm25"], {}, 9, "any", None))
    judged, own = found_by(write_set(tmp_path / "own"), Wanted(["bm25"], {}, depth, "any", None))
    popped = {q: [d for d in renamed["bm25"][f"q/{q}"].doc_ids if d != q][:depth] for q in ASKED}
    assert {q: list(c.doc_ids) for q, c in own["bm25"].items()} == popped
    assert judged.own == set(ASKED)
    # The figures are trec_eval's of the same rankings.
    ours = measure_rankings(popped.items(), judged.grades, parse_measures(MEASURES))
    run = {q: {d: 100.0 - rank for rank, d in enumerate(ranked)} for q, ranked in popped.items()}
    theirs = pytrec_eval.RelevanceEvaluator(judged.grades, set(MEASURES.values())).evaluate(run)
    for name, key in MEASURES.items():
        assert ours[name] == pytest.approx({q: theirs[q][key] for q in ASKED})


def test_given_runs_and_full_rankings_leave_it_out_before_the_cut(tmp_path):
    folder = write_set(tmp_path / "set")
    run = tmp_path / "mine.trec"
    lines = [f"{q} Q0 {d} 0 {9 - abs(int(d[1]) - int(q[1]))} mine" for q in ASKED for d in TEXTS]
    run.write_text("\n".join(lines) + "\n")
    _, found = found_by(folder, Wanted(["mine", "full"], {"mine": run}, 2, "any", None))
    assert all(len(c.doc_ids) == 2 and q not in c.doc_ids for q, c in found["mine"].items())
    assert all({*c.doc_ids} == TEXTS.keys() - {q} for q, c in found["full"].items())
    (comparison,) = compare(run, run, str(folder), "nDCG@10", None, 1, 1)
    assert all(change.rankings[0][0].doc_id != change.query_id for change in comparison.changes)
    # Each run has the question itself first. What is left begins with its neighbours, which are relevant.
    assert comparison.before > 0.5


def test_the_command_says_so_and_gives_the_right_figure(tmp_path):
    folder = tmp_path / "argu"
    (folder / "qrels").mkdir(parents=True)
    pairs = {"a": "uniforms reduce bullying in schools", "b": "cars should leave the centre of cities"}
    corpus = [{"_id": q, "text": t} for q, t in pairs.items()]
    corpus += [{"_id": f"{q}x", "text": f"it is not so that {t}, and more is to be said"} for q, t in pairs.items()]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in corpus))
    (folder / "queries.jsonl").write_text("".join(json.dumps({"_id": q, "text": t}) + "\n" for q, t in pairs.items()))
    (folder / "qrels" / "test.tsv").write_text("a\tax\t1\nb\tbx\t1\n")
    outcome = tamis("evaluate", "--on", folder, "--out", tmp_path / "out")
    assert "note: 2 questions are documents of the corpus, by their ids; none is a candidate of its own question" in (
        " ".join(outcome.out.split())
    )
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["sets"]["argu"]["figures"]["bm25"]["nDCG@10"] == 1.0


def test_where_a_questions_own_id_is_relevant_ids_mean_nothing(tmp_path):
    judged, found = found_by(write_set(tmp_path / "set", more=("d0\td0\t1",)), Wanted(["bm25"], {}, 9, "any", None))
    assert judged.own == frozenset()
    assert all({*c.doc_ids} == TEXTS.keys() for c in found["bm25"].values())
    assert judged.notes == (
        "1 questions have the id of a document that is relevant to them: questions and documents are numbered apart, "
        "and no candidate is left out for its id",
    )


def test_sets_of_ir_datasets_go_by_their_ids_too(tmp_path):
    class Row:
        def __init__(self, **fields):
            self.__dict__ |= fields

        def default_text(self):
            return self.text

    class Dataset:
        has_docs = has_queries = has_qrels = staticmethod(lambda: True)
        docs_lang = queries_lang = staticmethod(lambda: "en")

        def docs_iter(self):
            return (Row(doc_id=doc_id, text=text) for doc_id, text in TEXTS.items())

        def queries_iter(self):
            return (Row(query_id=q, text=TEXTS[q]) for q in ASKED)

        def qrels_iter(self):
            return (Row(query_id=q, doc_id="d8", relevance=1) for q in ASKED)

    assert _joined("irds:x", "x", Dataset()).own == set(ASKED)


def test_judged_documents_that_the_corpus_lacks_are_counted_and_count_as_missed(tmp_path):
    more = ("d0\tgone\t2", "d3\tgone\t1", "d7\tlost\t1")
    judged, found = found_by(write_set(tmp_path / "set", more=more), Wanted(["bm25"], {}, 9, "any", None))
    assert judged.notes[0].startswith("2 judged documents are not in corpus.jsonl, the first is 'gone' (")
    assert "line 8); no system can find them, and they count as missed" in judged.notes[0]
    assert judged.grades["d0"]["gone"] == 2
    rankings = {q: c.doc_ids for q, c in found["bm25"].items()}
    ours = measure_rankings(rankings.items(), judged.grades, parse_measures(["nDCG@10"]))["nDCG@10"]
    run = {q: {d: 100.0 - rank for rank, d in enumerate(ranked)} for q, ranked in rankings.items()}
    theirs = pytrec_eval.RelevanceEvaluator(judged.grades, {"ndcg_cut_10"}).evaluate(run)
    assert ours == pytest.approx({q: theirs[q]["ndcg_cut_10"] for q in ASKED})
    assert tamis("evaluate", "--on", tmp_path / "set", "--out", tmp_path / "out").status == 0


@pytest.mark.parametrize("more", [("d0\tD1\t1",), ("d0\tD1\t1", "d0\tD2\t1", "d0\tgone\t1")])
def test_documents_that_are_written_otherwise_are_no_missing_ones(tmp_path, more):
    with pytest.raises(InputError, match=r"line 8: document 'D1' is not in corpus\.jsonl; did you mean 'd1'"):
        read_set(str(write_set(tmp_path / "set", more=more)))


def test_a_retriever_of_ones_own_is_asked_for_one_more(tmp_path):
    asked: list[int] = []

    def itself_first(queries: list[str], k: int) -> tuple[list[list[str]], list[list[float]]]:
        asked.append(k)
        own = [next(d for d, text in TEXTS.items() if text == query) for query in queries]
        return [[q, *(d for d in TEXTS if d != q)][:k] for q in own], [list(range(k, 0, -1)) for _ in own]

    first = [Retriever(itself_first, name="mine", version="1")]
    for prefix, wanted in (("", 4), ("q/", 3)):
        out = tmp_path / f"out{wanted}"
        evaluate([], on=write_set(tmp_path / f"set{wanted}", prefix), first=first, depth=3, out=out)
        assert asked.pop() == wanted
        found = read_run(out / "sets" / f"set{wanted}" / "runs" / "mine.trec")
        assert {query_id: len(each.doc_ids) for query_id, each in found.items()} == {prefix + q: 3 for q in ASKED}
