"""Query writers in a run: what is asked, kept, counted, and never paid for twice."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tamis.artifacts import read_json, read_records
from tamis.errors import RunError, SettingsError
from tamis.pipeline.reading import recipe_from
from tamis.pipeline.run import run_recipe
from tamis.records import Dropped, Query
from tests.commands import kill_when, start, write_recipe
from tests.keys import writers_settings
from tests.remote.scripted_server import Reply, Seen, chat, scripted

KEY = "sk-very-secret-0123456789"


def with_endpoint(recipe: dict[str, Any], url: str, concurrency: int = 4, **endpoint: Any) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(json.dumps(recipe))
    content["queries"] |= {"generator": "endpoint", "endpoint": {"url": url, "model": "org/writer", **endpoint}}
    content["machine"]["requests"] = {"concurrency": concurrency, "attempts": 2, "wait": 0.01, "timeout": 5}
    return content


def write(content: dict[str, Any], root: Path) -> Path:
    return run_recipe(recipe_from(content, "tiny"), root, "queries")["queries"]


def answer(seen: Seen, before: int) -> Reply:
    """A query of its own for each request."""
    passage = seen.prompt.rstrip(":").rsplit(":", 1)[1].split()
    return Reply(chat(" ".join([*passage[:4], str(seen.body["seed"]), passage[-1]]), (50, 10)))


def test_queries_of_an_endpoint_keep_their_evidence(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with scripted(answer) as server:
        content = with_endpoint(recipe, server.url, prompt_price=1.0, completion_price=2.0)
        content["queries"] |= {"generator": ["extractive", "endpoint"], "documents": 6}
        folder = write(content, tmp_path / "run")
        calls = len(server.seen)
    queries = read_records(folder / "queries.parquet", Query)
    written = [query for query in queries if query.generator == "org--writer"]
    assert calls == 12
    assert len(written) == 12
    assert Counter(query.language for query in written) == {"en": 6, "de": 6}
    for query in written:
        assert (query.model, len(query.prompt)) == ("org/writer", 12)
        assert query.temperature == (0.8 if query.seed % 2 else 0.2)
    asked = {(query.language, query.kind, query.query_id.split("/")[1]) for query in written}
    assert {kind for _, kind, _ in asked} <= {"question", "keyword", "claim"}
    assert len({kind for _, kind, _ in asked}) > 1
    assert len({query.prompt for query in written}) == len(asked)  # the first of a document in other words
    assert {(q.model, q.temperature, q.kind) for q in queries if q.generator in ("extractive", "given")} == {
        ("", None, "")
    }
    manifest = read_json(folder / "manifest.json")
    assert manifest["spent"] == {
        "org--writer": {
            "prompt_tokens": 600,
            "completion_tokens": 120,
            "requests": 12,
            "money": 0.00084,
            "failed_attempts": {},
        }
    }
    assert manifest["generators"]["org--writer"]["in"] == 12
    for file in (path for path in (tmp_path / "run").rglob("*") if path.is_file()):
        assert KEY.encode() not in file.read_bytes()


def test_a_query_that_cannot_be_written_is_counted_as_dropped(recipe: dict[str, Any], tmp_path: Path) -> None:
    def script(seen: Seen, before: int) -> Reply:
        return Reply(b"<html>") if "modprobe" in seen.prompt else answer(seen, before)

    with scripted(script) as server:
        folder = write(with_endpoint(recipe, server.url), tmp_path / "run")
    dropped = [d for d in read_records(folder / "dropped.parquet", Dropped) if d.reason == "malformed answer"]
    assert len(dropped) == 4  # two documents, in English and in German, twice each
    counts = read_json(folder / "manifest.json")["counts"]
    assert counts["dropped"]["malformed answer"] == 4
    assert counts["kept"] + sum(counts["dropped"].values()) == counts["in"]


def test_blank_and_cut_answers_are_dropped_with_the_reason_and_the_cut_ones_are_told(
    recipe: dict[str, Any], tmp_path: Path
) -> None:
    def script(seen: Seen, before: int) -> Reply:
        whole = answer(seen, before)
        if "modprobe" in seen.prompt:
            return Reply(chat(" \x00\n", (50, 0)))
        return Reply(chat("Where is", (50, 60), end="length")) if "adduser" in seen.prompt else whole

    with scripted(script) as server:
        content = with_endpoint(recipe, server.url, max_tokens=60)
        folder = write(content, tmp_path / "run")
        blank = sum("modprobe" in seen.prompt for seen in server.seen)
        cut = sum("adduser" in seen.prompt for seen in server.seen)
        assert min(blank, cut) > 0
        assert len(server.seen) == 40
    dropped = read_records(folder / "dropped.parquet", Dropped)
    assert Counter(d.reason for d in dropped if d.record_id.startswith("org--writer")) == {
        "no text in the answer": blank,
        "cut at max_tokens": cut,
    }
    assert {d.text for d in dropped if d.reason == "cut at max_tokens"} == {"Where is"}
    manifest = read_json(folder / "manifest.json")
    assert manifest["counts"]["kept"] + sum(manifest["counts"]["dropped"].values()) == manifest["counts"]["in"]
    told = f"{cut} answers were cut at max_tokens 60: raise queries.endpoint.max_tokens"
    assert told in manifest["warnings"]
    # There is no server any more: what was cut or blank is known, and told again by another run folder.
    again = write(content, tmp_path / "other")
    assert told in read_json(again / "manifest.json")["warnings"]


def test_only_recipes_whose_queries_a_language_model_writes_know_how_answers_are_read(recipe: dict[str, Any]) -> None:
    def facts(content: dict[str, Any]) -> str:
        return json.dumps(writers_settings(recipe_from(content, "tiny")))

    assert 'read": ' not in facts(recipe)
    assert 'read": ' in facts(with_endpoint(recipe, "http://nobody.invalid/v1"))


def test_what_no_file_or_terminal_can_hold_is_left_out_of_an_answer(recipe: dict[str, Any], tmp_path: Path) -> None:
    def rubbish(seen: Seen, before: int) -> Reply:
        words = seen.prompt.rstrip(":").rsplit(":", 1)[1].split()
        return Reply(chat(f"\ud83d{words[0]} \x1b[2J\x00 {words[1]}\t{seen.body['seed']}\udc00"))

    with scripted(rubbish) as server:
        folder = write(with_endpoint(recipe, server.url), tmp_path / "run")
    queries = [q for q in read_records(folder / "queries.parquet", Query) if q.generator == "org--writer"]
    assert queries
    for query in queries:
        first, escape, second, seed = query.text.split(" ")
        assert (escape, seed) == ("[2J", str(query.seed))
        assert first
        assert second


def test_a_run_that_stopped_at_its_budget_goes_on_with_a_larger_one(recipe: dict[str, Any], tmp_path: Path) -> None:
    with scripted(answer) as server:
        small = with_endpoint(recipe, server.url, concurrency=1, budget_tokens=1000, max_tokens=20)
        with pytest.raises(RunError, match=r"queries\.endpoint\.budget_tokens: the next request could exceed 1,000: "):
            write(small, tmp_path / "run")
        first = len(server.seen)
        assert 0 < first < 40
        with pytest.raises(
            RunError, match=f"1,000: {50 * first:,} tokens of prompts and {10 * first:,} of answers are sp"
        ):
            write(small, tmp_path / "run")
        assert len(server.seen) == first
        large = with_endpoint(recipe, server.url, concurrency=1, budget_tokens=100_000, max_tokens=20)
        folder = write(large, tmp_path / "run")
        assert len(server.seen) == 40
    assert read_json(folder / "manifest.json")["spent"]["org--writer"]["prompt_tokens"] == 40 * 50


def test_a_run_that_is_killed_repeats_no_finished_call(recipe: dict[str, Any], tmp_path: Path) -> None:
    def slow(seen: Seen, before: int) -> Reply:
        return Reply(answer(seen, before).body, delay=0.05)

    with scripted(slow) as server:
        content = with_endpoint(recipe, server.url, concurrency=3)
        file = write_recipe(content, tmp_path)
        command = (tmp_path / "log.txt", "run", file, "--out", tmp_path / "run", "--until", "queries")
        kill_when(lambda: len(server.seen) >= 15, *command)
        before = len(server.seen)
        assert 15 <= before < 40
        again = start(*command)
        again.join()
        assert again.exitcode == 0, (tmp_path / "log.txt").read_text(encoding="utf-8")
        requests = Counter((seen.prompt, seen.body["seed"]) for seen in server.seen)
        one_go = with_endpoint(recipe, server.url)
        one_go["machine"]["cache"] = str(tmp_path / "another-cache")
        folder = write(one_go, tmp_path / "other")
    assert len(requests) == 40
    assert requests.total() <= 40 + 3  # those under way are asked again
    (killed_folder,) = (tmp_path / "run" / "queries").iterdir()
    for name in ("queries.parquet", "dropped.parquet"):
        assert (killed_folder / name).read_bytes() == (folder / name).read_bytes()


def test_two_writers_of_one_name_are_refused(recipe: dict[str, Any], tmp_path: Path) -> None:
    with scripted(answer) as server:
        content = with_endpoint(recipe, server.url, model="extractive")
        content["queries"]["generator"] = ["extractive", "endpoint"]
        with pytest.raises(SettingsError, match="queries: two writers are called 'extractive'; give one model another"):
            write(content, tmp_path / "run")


# What the key of the stage knows


def facts(content: dict[str, Any]) -> str:
    return json.dumps(writers_settings(recipe_from(content, "tiny")), sort_keys=True)


def test_where_and_how_fast_a_server_is_and_what_it_may_cost_is_in_no_key(recipe: dict[str, Any]) -> None:
    one = with_endpoint(recipe, "http://here/v1")
    other = with_endpoint(
        recipe,
        "https://there:8000/v1",
        concurrency=99,
        key_variable="OTHER_KEY",
        prompt_price=1.0,
        budget_money=5.0,
        budget_tokens=7,
    )
    assert facts(one) == facts(other)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("endpoint.model", "another"),
        ("endpoint.mode", "completion"),
        ("endpoint.max_tokens", 5),
        ("endpoint.extra", {"top_p": 0.5}),
        ("temperatures", [0.0, 1.0]),
        ("documents", 3),
        ("per_document", 1),
        ("prompt", {"kinds": {"claim": 1}}),
        ("prompt", {"persona": "a nurse"}),
        ("generator", ["extractive", "endpoint"]),
    ],
)
def test_what_changes_the_queries_changes_the_key(recipe: dict[str, Any], setting: str, value: object) -> None:
    one, other = with_endpoint(recipe, "http://here/v1"), with_endpoint(recipe, "http://here/v1")
    *sections, key = setting.split(".")
    part = other["queries"]
    for section in sections:
        part = part[section]
    part[key] = value
    assert facts(one) != facts(other)


def test_an_own_template_counts_by_its_content(recipe: dict[str, Any], tmp_path: Path) -> None:
    content = with_endpoint(recipe, "http://here/v1")
    words = "passage: Text\nkinds: {question: {label: Ask, task: Ask something.}}\n"
    found = set()
    for name, text in (("a", words), ("b", words), ("c", words.replace("Ask something.", "Ask a riddle."))):
        (tmp_path / name).write_text(text, encoding="utf-8")
        content["queries"]["prompt"] = {"template": str(tmp_path / name), "examples": 0}
        found.add(facts(content))
    assert len(found) == 2


def test_settings_of_writers_that_are_not_used_are_in_no_key(recipe: dict[str, Any]) -> None:
    other = with_endpoint(recipe, "http://here/v1")
    other["queries"] |= {"generator": "extractive", "prompt": {"persona": "a nurse"}, "documents": 5}
    assert facts(recipe) == facts(other)


def test_a_causal_model_writes_in_a_run(recipe: dict[str, Any], tmp_path: Path) -> None:
    from transformers import Qwen3ForCausalLM

    from tests.families import lively, qwen3_config, tokenizer

    folder = tmp_path / "tiny-causal"
    words = tokenizer(folder)
    lively(Qwen3ForCausalLM(qwen3_config(words)), seed=1).save_pretrained(folder)  # type: ignore[operator]
    recipe["queries"] = {
        "generator": "transformers",
        "transformers": {"path": str(folder)},
        "per_document": 1,
        "documents": 4,
        "prompt": {"examples": 0},
    }
    found = write(recipe, tmp_path / "run")
    manifest = read_json(found / "manifest.json")
    assert manifest["generators"]["tiny-causal"]["in"] == 4
    assert "spent" not in manifest
