import numpy as np

from tamis.records import Candidates, Query, ScoredCandidates
from tamis.stages.scores import score_candidates

QUERIES = {name: Query(name, f"text of {name}", "en", "target", "d1", "test") for name in ("q1", "q2")}
FOUND = [Candidates("q2", ("d3", "d1"), (2.0, 1.0)), Candidates("q1", ("d1", "d2", "d3"), (0.5, 0.5, 0.25))]


def by_number(query, doc_ids):
    """A teacher that one can follow: the number of the document, and of the query behind the point."""
    return np.array([int(doc_id[1:]) + int(query.query_id[1:]) / 10 for doc_id in doc_ids])


def test_every_candidate_gets_the_teachers_score_and_keeps_its_place_and_first_stage_score():
    assert list(score_candidates(FOUND, QUERIES, by_number)) == [
        ScoredCandidates("q2", ("d3", "d1"), (2.0, 1.0), (3.2, 1.2)),
        ScoredCandidates("q1", ("d1", "d2", "d3"), (0.5, 0.5, 0.25), (1.1, 2.1, 3.1)),
    ]


def test_scores_are_plain_numbers_that_a_file_can_hold():
    for scored in score_candidates(FOUND, QUERIES, lambda query, ids: by_number(query, ids).astype(np.float32)):
        assert all(type(score) is float for score in scored.teacher)


def test_candidates_are_scored_one_query_after_another():
    asked = []

    def teach(query, doc_ids):
        asked.append(query.query_id)
        return np.zeros(len(doc_ids))

    scored = score_candidates(iter(FOUND), QUERIES, teach)
    assert asked == []
    next(scored)
    assert asked == ["q2"]


def test_nothing_found_is_nothing_scored():
    assert list(score_candidates([], QUERIES, by_number)) == []
