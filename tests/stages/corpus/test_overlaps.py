"""What repeats other records or overlaps an evaluation set is left out, with its reason and what it overlaps."""

from pathlib import Path
from typing import Any

import pytest

from tamis.artifacts import read_records
from tamis.errors import InputError
from tamis.pipeline.reading import recipe_from
from tamis.pipeline.run import run_recipe
from tamis.records import Document, Dropped, Query
from tamis.stages.corpus.overlaps import drop_near_duplicates, drop_overlaps
from tests.commands import manifests
from tests.conftest import TOPICS, write_beir
from tests.formats.files import write_jsonl
from tests.keys import settings_of

NAMED = {
    "set:q1": "How do I install a package?",
    "set:q2": "Where are kernel modules kept on a modern system with many of them?",
}


def query(text: str, query_id: str, origin: str = "target", language: str = "en") -> Query:
    return Query(query_id, text, language, origin, "d", "given")


def dropped(records: list[Any]) -> dict[str, tuple[str, str]]:
    return {each.record_id: (each.reason, each.overlaps) for each in records if isinstance(each, Dropped)}


def test_each_way_to_overlap_has_its_reason() -> None:
    queries = [
        query("how do I install a package", "same"),
        query("Please tell me: how do I install a package on Debian?", "holds"),
        query("where are kernel modules kept on a modern system with many of those", "near"),
        query("Which desktop should I choose?", "none"),
    ]
    results = list(drop_overlaps(queries, NAMED, 2))
    assert dropped(results) == {
        "same": ("kept out: same words", "set:q1"),
        "holds": ("kept out: shared passage", "set:q1"),
        "near": ("kept out: near-duplicate", "set:q2"),
    }
    assert [each.query_id for each in results if isinstance(each, Query)] == ["none"]
    assert list(drop_overlaps(queries, {}, 2)) == queries


def test_documents_to_adapt_to_stay_whatever_they_say() -> None:
    documents = [Document(origin, NAMED["set:q1"], "en", origin) for origin in ("target", "general")]
    assert dropped(list(drop_overlaps(documents, NAMED, 5))) == {"general": ("kept out: same words", "set:q1")}


def test_near_duplicates_are_of_one_origin_and_language() -> None:
    text = "one two three four five six seven eight nine ten eleven twelve"
    queries = [
        query(text, "1"),
        query(f"{text} more", "2"),
        query(text, "3", "general"),
        query(text, "4", language="de"),
    ]
    results = list(drop_near_duplicates(queries, 0.8, 2))
    assert len(dropped(results)) == 1
    assert dropped(results).items() <= {("1", ("near-duplicate", "2")), ("2", ("near-duplicate", "1"))}
    assert dropped(list(drop_near_duplicates(queries[::-1], 0.8, 2))) == dropped(results)
    assert list(drop_near_duplicates(queries, 0, 2)) == queries


def keys(content: dict[str, Any]) -> list[str]:
    recipe = recipe_from(content, "tiny")
    return [repr(settings_of(recipe, stage)) for stage in ("corpus", "queries")]


def test_a_run_lists_what_it_left_out(recipe: dict[str, Any], tmp_path: Path) -> None:
    before = keys(recipe)
    evaluated = write_beir(tmp_path / "judged", "j-", ("en",))
    question, answer = TOPICS["en"][0]
    write_jsonl(evaluated / "corpus.jsonl", {"_id": "j-en/0", "text": f"In short: {answer}"})
    write_jsonl(evaluated / "queries.jsonl", {"_id": "q/j-en/0", "text": question})
    (evaluated / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq/j-en/0\tj-en/0\t1\n", encoding="utf-8")
    recipe["queries"]["keep_out"] = [str(evaluated)]
    recipe["corpus"]["near_duplicate"] = recipe["queries"]["near_duplicate"] = 0.8
    assert all(first != second for first, second in zip(before, keys(recipe), strict=True))
    folders = run_recipe(recipe_from(recipe, "tiny"), tmp_path / "run", "queries")

    (left_out,) = read_records(folders["corpus"] / "dropped.parquet", Dropped)
    assert (left_out.record_id, left_out.reason) == ("general:g-en/0", "kept out: shared passage")
    assert left_out.overlaps == "document judged:j-en/0"
    left_out_queries = read_records(folders["queries"] / "dropped.parquet", Dropped)
    assert not any(each.record_id.endswith("g-en/0") for each in left_out_queries)  # went with its document
    for manifest in manifests(tmp_path / "run").values():
        counts = manifest["counts"]
        assert counts["kept"] + sum(counts["dropped"].values()) == counts["in"]


def test_a_question_of_an_evaluation_set_is_no_given_query(recipe: dict[str, Any], tmp_path: Path) -> None:
    question = TOPICS["de"][3][0]
    recipe["queries"]["keep_out"] = [str(write_jsonl(tmp_path / "topics.jsonl", {"qid": 7, "query": question.upper()}))]
    folders = run_recipe(recipe_from(recipe, "tiny"), tmp_path / "run", "queries")
    found = read_records(folders["queries"] / "dropped.parquet", Dropped)
    assert [(each.record_id, each.overlaps) for each in found if each.reason == "kept out: same words"] == [
        ("given/q/g-de/3/general:g-de/3", "query topics.jsonl:7")
    ]


def test_an_evaluation_set_that_is_not_there(recipe: dict[str, Any], tmp_path: Path) -> None:
    recipe["queries"]["keep_out"] = [str(tmp_path / "nowhere")]
    with pytest.raises(InputError, match="nowhere: no evaluation set that can be read"):
        run_recipe(recipe_from(recipe, "tiny"), tmp_path / "run", "queries")
