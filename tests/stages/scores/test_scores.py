import numpy as np

from tamis.records import Candidates, Dropped, Query, ScoredCandidates
from tamis.stages.scores.score import score_candidates

QUERIES = {name: Query(name, f"text of {name}", "en", "target", "d1", "test") for name in ("q1", "q2")}
FOUND = [Candidates("q2", ("d3", "d1"), (2.0, 1.0)), Candidates("q1", ("d1", "d2", "d3"), (0.5, 0.5, 0.25))]


def by_number(asked):
    """A teacher that one can follow: the number of the document, and of the query behind the point."""
    return [np.array([int(d[1:]) + int(query.query_id[1:]) / 10 for d in doc_ids]) for query, doc_ids in asked]


def test_every_candidate_gets_the_teachers_score_and_keeps_its_place_and_first_stage_score():
    assert list(score_candidates(FOUND, QUERIES, by_number)) == [
        ScoredCandidates("q2", ("d3", "d1"), (2.0, 1.0), (3.2, 1.2)),
        ScoredCandidates("q1", ("d1", "d2", "d3"), (0.5, 0.5, 0.25), (1.1, 2.1, 3.1)),
    ]


def test_scores_are_plain_numbers_that_a_file_can_hold():
    for scored in score_candidates(FOUND, QUERIES, lambda asked: [one.astype(np.float32) for one in by_number(asked)]):
        assert all(type(score) is float for score in scored.teacher)


def test_the_teacher_is_asked_about_whole_queries_with_many_pairs_together():
    found = [Candidates(f"q{n % 2 + 1}", tuple(f"d{i}" for i in range(1000)), (0.0,) * 1000) for n in range(7)]
    asked = []

    def teach(block):
        asked.append([len(doc_ids) for _, doc_ids in block])
        return by_number(block)

    scored = score_candidates(iter(found), QUERIES, teach)
    assert asked == []
    next(scored)
    assert asked == [[1000] * 3]
    assert len(list(scored)) == 6
    assert asked == [[1000] * 3, [1000] * 3, [1000]]


def test_a_query_that_the_teacher_could_not_score_is_dropped_with_the_reason():
    def teach(asked):
        return [np.array([1.0, np.nan]), *by_number(asked[1:])]

    dropped, kept = score_candidates(FOUND, QUERIES, teach)
    assert dropped == Dropped("q2", "no score by a teacher", "en", "text of q2")
    assert kept.query_id == "q1"


def test_nothing_found_is_nothing_scored():
    assert list(score_candidates([], QUERIES, by_number)) == []
