"""Which queries the student answers already, against its own scores."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tamis.artifacts import ItemStore, read_column, read_json, read_records
from tamis.pipeline.parts import open_parts
from tamis.pipeline.reading import recipe_from
from tamis.pipeline.run import run_recipe
from tamis.records import Dropped, ScoredCandidates, TrainingList
from tamis.stages.lists.alike import alike_documents
from tamis.stages.lists.draw import Alike, draw_lists
from tamis.stages.lists.solved import LOOKED_AT, solved_queries
from tests.keys import settings_of
from tests.rerankers import logits


@pytest.fixture
def found(recipe: dict[str, Any], tmp_path: Path):
    recipe["lists"]["solved"] = 0.0
    recipe["student"] |= {"scale": 60.0}
    read = recipe_from(recipe, "tiny")
    folders = run_recipe(read, tmp_path / "run", "lists")
    with open_parts(read, ItemStore(tmp_path / "run" / "items.sqlite")) as parts:
        parts.context.folders.update(folders)
        yield parts, folders


def by_pairs(own, doc_ids):
    """As if every document with an even number said what the next one says."""
    pair = lambda doc_id: (doc_id.split("/")[0], int(doc_id.split("/")[1]) // 2)  # noqa: E731
    return np.array([pair(doc_id) == pair(own) for doc_id in doc_ids])


def held_out_of(parts, alike: Alike) -> set[str]:
    """The queries that drawing lists holds out."""
    scored = parts.context.stream("scores", ScoredCandidates)
    settings = parts.recipe.lists.model_copy(update={"round_trip": 100})
    lists = draw_lists(scored, parts.context.queries, settings, 0.5, parts.recipe.seed, alike=alike)
    return {one.query_id for one in lists if isinstance(one, TrainingList) and one.split == "held-out"}


@pytest.mark.parametrize("alike", [Alike(), Alike(covered=0.5, repeats=by_pairs)], ids=["no twins", "twins"])
def test_solved_are_the_queries_to_learn_from_whose_document_takes_nine_tenths_of_the_students_scores(found, alike):
    parts, folders = found
    solved = solved_queries(parts.students, parts.recipe.lists.held_out, alike)
    student, held_out = parts.students.untrained(), held_out_of(parts, alike)
    expected, rivals = set(), 0
    for one in read_records(folders["scores"] / "scores.parquet", ScoredCandidates):
        query = parts.context.queries[one.query_id]
        if query.origin != "target" or query.document_id not in one.doc_ids or one.query_id in held_out:
            continue
        twins = dict(zip(one.doc_ids, alike.repeats(query.document_id, one.doc_ids), strict=True))
        others = [doc_id for doc_id in one.doc_ids if doc_id != query.document_id and not twins[doc_id]]
        rivals += len(others)
        texts = [
            (query.text, parts.context.documents[doc_id].text)
            for doc_id in (query.document_id, *others[: LOOKED_AT - 1])
        ]
        weights = np.exp(logits(student, texts) - logits(student, texts).max())
        if weights[0] / weights.sum() >= 0.9:
            expected.add(one.query_id)
    assert solved == expected
    assert held_out
    assert rivals
    assert 0 < len(solved) < len(parts.context.queries) - len(held_out)


def test_a_query_whose_only_rivals_are_twins_of_its_document_is_solved_and_one_without_any_other_is_not_asked(found):
    parts, folders = found
    student, solved = parts.students.untrained(), solved_queries(parts.students, parts.recipe.lists.held_out, Alike())
    unsolved = parts.context.queries.keys() - solved - held_out_of(parts, Alike())
    beaten = 0
    for one in read_records(folders["scores"] / "scores.parquet", ScoredCandidates):
        query = parts.context.queries[one.query_id]
        if one.query_id not in unsolved or query.origin != "target":
            continue
        told = logits(student, [(query.text, parts.context.documents[doc_id].text) for doc_id in one.doc_ids])
        lead = told[one.doc_ids.index(query.document_id)] - told
        weak = {doc_id for doc_id, ahead in zip(one.doc_ids, lead, strict=True) if ahead > np.log(9 * len(told))}
        if weak:
            beaten += 1
            keep = {query.document_id, *weak}
            twins = Alike(repeats=lambda own, doc_ids, keep=keep: np.array([one not in keep for one in doc_ids]))
            assert one.query_id in solved_queries(parts.students, parts.recipe.lists.held_out, twins)
        if beaten:
            break
    assert beaten
    assert not solved_queries(
        parts.students,
        parts.recipe.lists.held_out,
        Alike(repeats=lambda own, doc_ids: np.ones(len(doc_ids), dtype=bool)),
    )


def test_no_held_out_query_is_scored(found, monkeypatch: pytest.MonkeyPatch):
    parts, _ = found
    asked = set()

    def scored(students, student, pairs, what):
        asked.update(query_id for query_id, _ in pairs)
        return dict.fromkeys(pairs, 0.0)

    monkeypatch.setattr("tamis.stages.lists.solved.score_pairs", scored)
    solved_queries(parts.students, parts.recipe.lists.held_out, Alike())
    held_out = held_out_of(parts, Alike())
    target = {one.query_id for one in parts.context.queries.values() if one.origin == "target"}
    assert held_out & target
    assert asked == target - held_out


def test_they_are_dropped_with_the_reason_and_counted(found):
    parts, folders = found
    dropped = read_records(folders["lists"] / "dropped.parquet", Dropped)
    left_out = {one.record_id for one in dropped if one.reason == "the student answers it already"}
    own = {parts.context.queries[query_id].document_id for query_id in read_column(
        folders["scores"] / "scores.parquet", "query_id")}  # fmt: skip
    alike = alike_documents(sorted(own - {""}), parts.context.documents, parts.embeddings.of_documents())
    solved = solved_queries(parts.students, parts.recipe.lists.held_out, alike)
    assert left_out
    assert left_out <= solved
    lists = read_records(folders["lists"] / "lists.parquet", TrainingList)
    assert {one.split for one in lists if one.query_id in solved} <= {"held-out"}
    assert read_json(folders["lists"] / "manifest.json")["solved"] == len(solved)


def test_where_all_are_learnt_from_the_student_is_not_asked_and_is_in_no_key(recipe: dict[str, Any]):
    read = recipe_from(recipe, "tiny")
    other = recipe_from(recipe | {"student": {"joint_layers": 2}}, "tiny")
    assert settings_of(read, "lists") == settings_of(other, "lists")
    asked = [recipe_from(recipe | {"lists": {**recipe["lists"], "solved": 0.5}, "student": s}, "tiny")
             for s in ({"joint_layers": 1}, {"joint_layers": 2})]  # fmt: skip
    assert settings_of(asked[0], "lists") != settings_of(asked[1], "lists")
