"""Teachers behind servers in a run: many requests at a time, none of them twice, whatever folder or process asks."""

import json
import math
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tamis.artifacts import ItemStore, read_json, read_records
from tamis.errors import RunError
from tamis.formulas.ranking import fuse, z_scores
from tamis.models.reranker import Reranker
from tamis.pipeline.parts import open_parts
from tamis.pipeline.reading import recipe_from
from tamis.pipeline.run import run_recipe
from tamis.records import Document, Dropped, Query, ScoredCandidates, Tokens
from tamis.remote.spending import spent_in
from tests.commands import kill_when, start, tamis, write_recipe
from tests.keys import settings_of
from tests.remote.scripted_server import Reply, Seen, scripted
from tests.stages.scores.test_judge import verdict

KEY = "sk-very-secret-0123456789"


def overlap(query: str, document: str) -> float:
    """What the servers here believe: words in common, and a little by length, so that no two documents tie."""
    words = [set(text.lower().replace("?", " ").replace(".", " ").split()) for text in (query, document)]
    return len(words[0] & words[1]) + len(document) / 1000


def believe(seen: Seen, before: int) -> Reply:
    """A judge, a reranker and an encoder on one address."""
    if seen.path.endswith("/rerank"):
        rows = [overlap(seen.body["query"], text) for text in seen.body["documents"]]
        return Reply({"results": [{"index": n, "relevance_score": score} for n, score in enumerate(rows)]})
    if seen.path.endswith("/embeddings"):
        return Reply({"data": [{"index": n, "embedding": letters(text)} for n, text in enumerate(seen.body["input"])]})
    shown = seen.prompt.split("Query: ")[1]
    query, document = shown.split("\n\nPassage: ")
    odds = overlap(query, document.split("\n\n")[0])
    return Reply(verdict({"Yes": -math.log1p(math.exp(-odds)), "No": -math.log1p(math.exp(odds))}))


def letters(text: str) -> list[float]:
    """A vector that is easy to make again: how often each letter stands in a text."""
    return [float(text.count(letter)) for letter in "abcdefghijklmnopqrstuvwxyz: "]


def taught_by(recipe: dict[str, Any], *teachers: dict[str, Any], concurrency: int = 8) -> dict[str, Any]:
    """The recipe with these teachers alone; few documents, so that a run takes a second."""
    content: dict[str, Any] = json.loads(json.dumps(recipe))
    content["scores"] = {"dense": 0, "bm25": 0, "use": 0, "teachers": list(teachers)}
    content["corpus"]["general"] = []
    content["candidates"]["depth"] = 3
    content["queries"]["per_document"] = 1
    content["machine"]["requests"] = {"concurrency": concurrency, "attempts": 2, "wait": 0.01, "timeout": 20}
    return content


def judge(url: str, **settings: Any) -> dict[str, Any]:
    return {"kind": "judge", "url": url, "model": "org/judge", **settings}


def score(content: dict[str, Any], root: Path) -> dict[str, Path]:
    return run_recipe(recipe_from(content, "tiny"), root, "scores")


def texts_of(folders: dict[str, Path]) -> tuple[dict[str, str], dict[str, str], list[ScoredCandidates]]:
    queries = {q.query_id: q.text for q in read_records(folders["queries"] / "queries.parquet", Query)}
    documents = {d.doc_id: d.text for d in read_records(folders["corpus"] / "corpus.parquet", Document)}
    return queries, documents, read_records(folders["scores"] / "scores.parquet", ScoredCandidates)


def test_judge_reranker_and_encoder_teach_together(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with scripted(believe) as server:
        folders = score(
            taught_by(
                recipe,
                judge(server.url, prompt_price=1.0, completion_price=2.0),
                {"kind": "remote-reranker", "url": server.url, "model": "r", "weight": 2.0, "batch": 3},
                {"kind": "remote-encoder", "url": server.url, "model": "e", "query_prefix": "q: ", "max_chars": 40},
            ),
            tmp_path / "run",
        )
        assert 4 < server.most_at_once <= 8
    queries, documents, scored = texts_of(folders)
    assert len(scored) == len(queries) > 10
    for found in scored:
        query, shown = queries[found.query_id], [documents[doc_id] for doc_id in found.doc_ids]
        said = np.array([overlap(query, text) for text in shown])
        vectors = np.array([letters(text) for text in (f"q: {query}", *(text[:40] for text in shown))])
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        expected = fuse([said, said, vectors[1:] @ vectors[0]], [1.0, 2.0, 1.0])
        np.testing.assert_allclose(found.teacher, expected, atol=2e-3)
    pairs = {(queries[f.query_id], documents[d]) for f in scored for d in f.doc_ids}
    requests = Counter(seen.path.rsplit("/", 1)[1] for seen in server.seen)
    assert requests["completions"] == len(pairs)
    assert all(len(seen.body["documents"]) <= 3 for seen in server.seen if seen.path.endswith("/rerank"))
    spent = read_json(folders["scores"] / "manifest.json")["spent"]
    assert spent["judge org/judge"] == {
        "prompt": 50 * len(pairs),
        "completion": len(pairs),
        "requests": len(pairs),
        "money": round(52e-6 * len(pairs), 6),
        "failed_attempts": {},
    }
    assert spent["remote-reranker r"]["requests"] == requests["rerank"]
    ledger = spent_in(tmp_path / "run")
    assert ledger["judge org/judge"].tokens == Tokens(50 * len(pairs), len(pairs), len(pairs))
    assert ledger["judge org/judge"].money == pytest.approx(52e-6 * len(pairs))
    shown = tamis("inspect", tmp_path / "run").out
    assert f"judge org/judge {len(pairs)} {50 * len(pairs):,} {len(pairs)}" in " ".join(shown.split())
    for file in (path for path in tmp_path.rglob("*") if path.is_file()):
        assert KEY.encode() not in file.read_bytes()


def test_another_folder_asks_nothing_again_until_the_cache_is_emptied(recipe: dict[str, Any], tmp_path: Path) -> None:
    with scripted(believe) as server:

        def asked(name: str, **settings: Any) -> int:
            before = len(server.seen)
            encoder = {"kind": "remote-encoder", "url": server.url, "model": "e"}
            folders = score(taught_by(recipe, judge(server.url, **settings), encoder), tmp_path / name)
            assert len(texts_of(folders)[2]) > 10
            return sum(seen.path.endswith("completions") for seen in server.seen[before:])

        first = asked("one")
        everything = len(server.seen)
        assert asked("two") == 0
        assert len(server.seen) == everything
        of = [next((tmp_path / name / "scores").iterdir()) / "scores.parquet" for name in ("one", "two")]
        assert of[0].read_bytes() == of[1].read_bytes()
        assert asked("revision", prompt_price=3.0, weight=2.0, revision="2") == first
        shutil.rmtree(recipe["machine"]["cache"])
        assert asked("emptied") == first


def test_a_score_is_known_by_model_revision_prompt_and_what_else_is_asked_for(
    recipe: dict[str, Any], tmp_path: Path
) -> None:
    def known_as(**settings: Any) -> str:
        content = taught_by(recipe, judge("http://here/v1") | settings)
        with open_parts(recipe_from(content, "tiny"), ItemStore(tmp_path / "items.sqlite")) as parts:
            return parts.teachers.members[0].identity()

    (tmp_path / "own.yaml").write_text("prompt: 'Query {query} {document}'\nyes: [Yes]\nno: [No]\n", encoding="utf-8")
    different: list[dict[str, Any]] = [
        {},
        {"model": "m"},
        {"revision": "2"},
        {"template": str(tmp_path / "own.yaml")},
        {"extra": {"seed": 1}},
    ]
    assert len({known_as(**one) for one in different}) == len(different)
    for one in ({"url": "http://there/v1"}, {"weight": 2.0}, {"max_chars": 9}, {"budget_tokens": 1}):
        assert known_as(**one) == known_as()


def test_a_reranker_on_this_machine_is_asked_once_for_all_folders(
    recipe: dict[str, Any], tmp_path: Path, stock_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = taught_by(recipe, {"kind": "reranker", "path": str(stock_folder)})
    queries, documents, scored = texts_of(score(content, tmp_path / "one"))
    reranker = Reranker(stock_folder)
    for found in scored[:5]:
        pairs = [(queries[found.query_id], documents[doc_id]) for doc_id in found.doc_ids]
        np.testing.assert_allclose(found.teacher, z_scores(reranker.score_pairs(pairs).logits), atol=1e-3)
    monkeypatch.setattr(Reranker, "score_pairs", lambda *_: pytest.fail("a pair is scored again"))
    assert texts_of(score(content, tmp_path / "two"))[2] == scored


def test_two_processes_share_the_cache_and_a_third_one_asks_nothing(recipe: dict[str, Any], tmp_path: Path) -> None:
    with scripted(believe) as server:
        content = taught_by(recipe, judge(server.url), concurrency=4)
        file = write_recipe(content, tmp_path)
        both = [
            start(tmp_path / f"{name}.txt", "run", file, "--out", tmp_path / name, "--until", "scores")
            for name in ("one", "two")
        ]
        for process in both:
            process.join()
        assert [process.exitcode for process in both] == [0, 0], (tmp_path / "one.txt").read_text()
        asked = Counter(server.prompts())
        assert set(asked.values()) <= {1, 2}
        score(content, tmp_path / "three")
        assert Counter(server.prompts()) == asked
    found = [next((tmp_path / n / "scores").iterdir()) / "scores.parquet" for n in ("one", "two", "three")]
    assert len({file.read_bytes() for file in found}) == 1


def test_a_kill_loses_the_requests_under_way_only(recipe: dict[str, Any], tmp_path: Path) -> None:
    def slow(seen: Seen, before: int) -> Reply:
        return Reply(believe(seen, before).body, delay=0.03)

    with scripted(slow) as server:
        content = taught_by(recipe, judge(server.url), concurrency=3)
        file = write_recipe(content, tmp_path)
        command = (tmp_path / "log.txt", "run", file, "--out", tmp_path / "run", "--until", "scores")
        kill_when(lambda: len(server.seen) >= 15, *command)
        before = len(server.seen)
        assert 15 <= before < 40
        folders = score(content, tmp_path / "run")
        asked = Counter(server.prompts())
    queries, documents, scored = texts_of(folders)
    pairs = {(queries[f.query_id], documents[d]) for f in scored for d in f.doc_ids}
    assert len(asked) == len(pairs)
    assert asked.total() <= len(pairs) + 3 + 1  # those under way, and one that was answered and not yet kept
    assert spent_in(tmp_path / "run")["judge org/judge"].tokens.requests >= len(pairs) - 3


def test_a_run_that_stopped_at_its_budget_keeps_its_scores(recipe: dict[str, Any], tmp_path: Path) -> None:
    with scripted(believe) as server:
        small = judge(server.url, budget_tokens=51 * 10 + 600)
        with pytest.raises(RunError, match=r"^scores\.teachers\.0\.budget_tokens: .*finished scores are kept") as error:
            score(taught_by(recipe, small), tmp_path / "run")
        first = len(server.seen)
        assert f"{50 * first:,} tokens of prompts and {first} of answers" in str(error.value)
        shown = tamis("inspect", tmp_path / "run").out  # what an unfinished stage has cost
        assert f"judge org/judge {first}" in " ".join(shown.split())
        with pytest.raises(RunError, match=f"{50 * first:,} tokens of prompts"):
            score(taught_by(recipe, small), tmp_path / "run")
        assert len(server.seen) == first
        score(taught_by(recipe, judge(server.url)), tmp_path / "run")
        assert max(Counter(server.prompts()).values()) == 1


@pytest.mark.parametrize("status", [500, 400])
def test_a_pair_that_always_fails_costs_its_query_and_no_other(
    recipe: dict[str, Any], tmp_path: Path, status: int
) -> None:
    failing: set[str] = set()

    def script(seen: Seen, before: int) -> Reply:
        if not failing:
            failing.add(seen.prompt)
        return Reply({}, status) if seen.prompt in failing else believe(seen, before)

    with scripted(script) as server:
        content = taught_by(recipe, judge(server.url))
        folders = score(content, tmp_path / "run")
        asked = len(server.seen)
        score(content, tmp_path / "other")  # what was refused is known as that; what failed is tried again
        assert (len(server.seen) == asked) == (status == 400)
        dropped = read_records(folders["scores"] / "dropped.parquet", Dropped)
        assert [record.reason for record in dropped] == ["no score by a teacher"]
        assert f"Query: {dropped[0].text}" in failing.pop()
        counts = read_json(folders["scores"] / "manifest.json")["counts"]
        assert counts["kept"] + len(dropped) == counts["in"]
        assert (
            "dropped in scores: no score by a teacher" in tamis("inspect", tmp_path / "run", dropped[0].record_id).out
        )
        run_recipe(recipe_from(content, "tiny"), tmp_path / "run", "lists")


# What the key of the stage knows


def facts(content: dict[str, Any]) -> str:
    return json.dumps(settings_of(recipe_from(content, "tiny"), "scores"), sort_keys=True)


def test_where_a_server_is_and_what_it_may_cost_is_in_no_key(recipe: dict[str, Any]) -> None:
    one = taught_by(recipe, judge("http://here/v1"))
    other = taught_by(recipe, judge("https://there/v1", key_variable="OTHER", prompt_price=1.0, budget_money=2.0))
    other["machine"]["cache"] = "/elsewhere"
    assert facts(one) == facts(other)
    reranker = {"kind": "remote-reranker", "url": "http://here/v1", "model": "r"}
    assert facts(taught_by(recipe, reranker)) == facts(taught_by(recipe, reranker | {"batch": 5}))


@pytest.mark.parametrize(
    "change", [{"model": "m"}, {"revision": "2"}, {"weight": 2.0}, {"max_chars": 9}, {"extra": {"seed": 1}}]
)
def test_what_changes_the_scores_changes_the_key(recipe: dict[str, Any], change: dict[str, Any]) -> None:
    one = judge("http://here/v1")
    assert facts(taught_by(recipe, one)) != facts(taught_by(recipe, one | change))


def test_a_judges_own_prompt_counts_by_its_content(recipe: dict[str, Any], tmp_path: Path) -> None:
    found = set()
    for name, word in (("a", "Query"), ("b", "Query"), ("c", "Question")):
        file = tmp_path / name
        file.write_text(f"prompt: '{word} {{query}} {{document}}'\nyes: [yes]\nno: [no]\n", encoding="utf-8")
        found.add(facts(taught_by(recipe, judge("http://here/v1", template=str(file)))))
    assert len(found) == 2
