"""TREC runs: scores rank, ties are broken by hash, and whatever is wrong is named by its line."""

import gzip
import json
import os
import random
import subprocess
import sys

import ir_measures
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.errors import InputError
from tamis.formats.qrels import write_qrels
from tamis.formats.trec import by_rank, contradicted, read_run, write_run
from tamis.formulas.ranking import tie_key
from tamis.records import Candidates
from tests.formats.files import write_text


def test_the_score_ranks_not_the_rank_nor_the_order(tmp_path):
    file = write_text(tmp_path / "a.trec", "q2 Q0 x 1 0.5 t\nq1 Q0 a 1 0.1 t\nq1 Q0 b 2 7e-1 t\n\nq2 Q0 y 2 -3 t\n")
    assert read_run(file) == {
        "q2": Candidates("q2", ("x", "y"), (0.5, -3.0)),
        "q1": Candidates("q1", ("b", "a"), (0.7, 0.1)),
    }


def test_ties_are_broken_by_hash_whatever_the_order_of_the_lines(tmp_path):
    lines = [f"q Q0 d{number} {number} {number % 2} t" for number in range(20)]
    runs = []
    for seed in range(3):
        random.Random(seed).shuffle(lines)
        runs.append(read_run(write_text(tmp_path / "a.trec", "\n".join(lines)))["q"])
    assert runs[0] == runs[1] == runs[2]
    assert runs[0].doc_ids[:10] == tuple(sorted((f"d{n}" for n in range(1, 20, 2)), key=lambda d: tie_key("q", d)))


def test_a_compressed_run_with_spaces_in_its_ids(tmp_path):
    file = tmp_path / "a.trec.gz"
    file.write_bytes(gzip.compress(b"q 1\tQ0\tmein Dokument.md\t1\t2.5\tt\n"))
    assert read_run(file) == {"q 1": Candidates("q 1", ("mein Dokument.md",), (2.5,))}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "q Q0 d 1 0.5",
            r"a\.trec, line 2: got 5 columns \('q Q0 d 1 0\.5'\), expected query id, Q0, document id, rank",
        ),
        ("q Q0 d 1 nan t", r"a\.trec, line 2: the score is 'nan', expected a finite number"),
        ("q Q0 d 1 inf t", r"a\.trec, line 2: the score is 'inf', expected a finite number"),
        ("q Q0 d 1 high t", r"a\.trec, line 2: the score is 'high', expected a finite number"),
        ("q Q0 first 2 0.5 t", r"a\.trec, line 2: document 'first' comes twice for query 'q'; remove one"),
    ],
)
def test_a_line_that_is_not_understood_is_named(tmp_path, line, message):
    file = write_text(tmp_path / "a.trec", f"q Q0 first 1 1.0 t\n{line}\n")
    with pytest.raises(InputError, match=message):
        read_run(file)


def test_an_empty_run_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"a\.trec: no run in it; expected lines of query id, Q0"):
        read_run(write_text(tmp_path / "a.trec", "\n"))
    with pytest.raises(InputError, match=r"none\.trec: cannot be read: No such file"):
        read_run(tmp_path / "none.trec")


def test_what_is_written_is_read_back(tmp_path_factory):
    names = st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), min_size=1, max_size=5)
    scores = st.floats(allow_nan=False, allow_infinity=False)

    @given(st.dictionaries(names, st.dictionaries(names, scores, min_size=1, max_size=5), min_size=1, max_size=4))
    def check(found):
        file = tmp_path_factory.mktemp("run") / "a.trec"
        ranked = [
            Candidates(
                query, *zip(*sorted(docs.items(), key=lambda pair: (-pair[1], tie_key(query, pair[0]))), strict=True)
            )
            for query, docs in found.items()
        ]
        write_run(file, ranked, "tag")
        assert list(read_run(file).values()) == ranked

    check()


def test_the_scores_are_what_trec_eval_reads(tmp_path):
    write_run(tmp_path / "a.trec", [by_rank("q", ["b", "a", "c"])], "ours")
    assert (tmp_path / "a.trec").read_text().splitlines()[0] == "q\tQ0\tb\t1\t-1\tours"
    read = list(ir_measures.read_trec_run(str(tmp_path / "a.trec")))
    assert [(entry.query_id, entry.doc_id, entry.score) for entry in read] == [
        ("q", "b", -1),
        ("q", "a", -2),
        ("q", "c", -3),
    ]


RANX = """
import json, sys, ranx
qrels, run = ranx.Qrels.from_file(sys.argv[1], kind="trec"), ranx.Run.from_file(sys.argv[2], kind="trec")
print(json.dumps({name: float(value) for name, value in ranx.evaluate(qrels, run, ["ndcg@10", "mrr", "map"]).items()}))
"""


@pytest.mark.network
def test_ranx_reads_what_trec_eval_reads(tmp_path):
    rng = random.Random(3)
    grades = {f"q{q}": {f"d{d}": rng.randint(0, 2) for d in range(10)} for q in range(5)}
    ranked = [by_rank(q, rng.sample([*judged, *(f"x{n}" for n in range(10))], 15)) for q, judged in grades.items()]
    files = (tmp_path / "a.qrels", tmp_path / "a.trec")
    write_qrels(files[0], grades)
    write_run(files[1], ranked, "ours")
    # In an environment of its own: bm25s uses numba, which ranx brings, wherever it finds it.
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "ranx"], check=True)
    # Compiling what is run once takes minutes.
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": ""}
    command = [python, "-c", RANX, *map(str, files)]
    theirs = json.loads(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)
    measures = {"ndcg@10": "nDCG@10", "mrr": "RR", "map": "AP"}
    read = ir_measures.read_trec_qrels(str(files[0])), ir_measures.read_trec_run(str(files[1]))
    ours = ir_measures.calc_aggregate([ir_measures.parse_measure(one) for one in measures.values()], *read)
    assert {measures[name]: value for name, value in theirs.items()} == pytest.approx(
        {str(measure): value for measure, value in ours.items()}
    )


def test_ranks_that_contradict_the_scores_are_found_query_by_query(tmp_path):
    lines = {
        "right": ("1 9.5", "2 9.5", "3 1"),
        "from-zero-in-any-order": ("2 1", "0 9", "1 3"),
        "distances": ("1 0.1", "2 0.4"),
        "one-pair": ("1 9", "2 3", "3 4"),
        "no-rank": ("0 1", "0 2", "0 3"),
        "no-number": ("a 1", "b 2"),
    }
    text = "".join(
        f"{query_id} Q0 d{number} {found} x\n" for query_id, some in lines.items() for number, found in enumerate(some)
    )
    assert contradicted(write_text(tmp_path / "a.trec", text)) == {"distances", "one-pair"}
