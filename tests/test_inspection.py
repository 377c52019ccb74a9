"""`tamis inspect` says what the files of a run say, in sums that add up."""

import os
from collections import Counter
from pathlib import Path

import pytest

from tamis.artifacts import read_json, read_records
from tamis.errors import InputError, RunError
from tamis.inspection import Inspection
from tamis.pipeline.reading import recipe_from
from tamis.pipeline.run import run_recipe
from tamis.records import Candidates, Document, Dropped, Query, ScoredCandidates, TrainingList
from tests.commands import tamis
from tests.conftest import tiny_recipe, write_beir


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("inspected")
    content = tiny_recipe(write_beir(base / "corpus"), write_beir(base / "general", "g-"), tiny_encoder)
    return run_recipe(recipe_from(content, "tiny"), base / "run", until="lists")


@pytest.fixture(scope="module")
def inspection(folders: dict[str, Path]) -> Inspection:
    return Inspection(folders["lists"].parent.parent)


def records(folders: dict[str, Path], stage: str, kind: type) -> list:
    return read_records(folders[stage] / f"{stage}.parquet", kind)


def test_the_stages_say_what_their_manifests_say_and_languages_add_up(folders, inspection):
    stages = {stage.name: stage for stage in inspection.stages()}
    assert list(stages) == ["corpus", "queries", "candidates", "scores", "lists"]
    for name, stage in stages.items():
        counts = read_json(folders[name] / "manifest.json")["counts"]
        assert (stage.kept, stage.dropped) == (counts["kept"], counts["dropped"])
        assert sum(stage.kept_of.values()) == stage.kept
        assert sum((Counter(reasons) for reasons in stage.dropped_of.values()), Counter()) == stage.dropped
    languages = Counter(query.language for query in records(folders, "queries", Query))
    assert stages["queries"].kept_of == languages


def test_the_history_of_a_query_that_was_learnt_from(folders, inspection):
    learnt = records(folders, "lists", TrainingList)[0]
    query = next(q for q in records(folders, "queries", Query) if q.query_id == learnt.query_id)
    found = next(c for c in records(folders, "candidates", Candidates) if c.query_id == learnt.query_id)
    scored = next(s for s in records(folders, "scores", ScoredCandidates) if s.query_id == learnt.query_id)
    documents = {d.doc_id: d for d in records(folders, "corpus", Document)}
    history = inspection.history(query.query_id)
    assert (history.query, history.source) == (query, documents[query.document_id])
    assert (history.domain, history.split, history.dropped) == (learnt.domain, learnt.split, None)
    assert [entry.document.doc_id for entry in history.entries] == list(found.doc_ids)
    assert [entry.rank for entry in history.entries] == list(range(1, len(found.doc_ids) + 1))
    assert [entry.teacher for entry in history.entries] == list(scored.teacher)
    labelled = {entry.document.doc_id: (entry.bin, entry.label) for entry in history.entries if entry.bin is not None}
    assert labelled == dict(zip(learnt.doc_ids, zip(learnt.bins, learnt.labels, strict=True), strict=True))


def test_the_history_of_a_query_that_was_dropped_names_stage_and_reason(folders, inspection):
    for stage in ("queries", "lists"):
        for record in read_records(folders[stage] / "dropped.parquet", Dropped):
            history = inspection.history(record.record_id)
            assert history.dropped == (stage, record.reason)
            assert not history.split


def test_a_query_is_found_by_a_piece_of_its_text_that_no_other_holds(folders, inspection):
    queries = records(folders, "queries", Query)
    texts = [query.text.casefold() for query in queries]
    unique = next(query for query in queries if sum(query.text.casefold() in text for text in texts) == 1)
    assert inspection.history(unique.text.upper()).query == unique


def test_no_such_query_and_several_are_said(inspection):
    with pytest.raises(InputError, match="no query has the id 'xyzzy' or holds this text"):
        inspection.history("xyzzy")
    with pytest.raises(InputError, match=r"queries hold 'extractive'; name one of extractive/.*, "):
        inspection.history("extractive")


def test_the_newest_result_is_shown(folders, inspection, tmp_path):
    root = folders["lists"].parent.parent
    old = root / "corpus" / "0123456789ab"
    old.mkdir()
    (old / "manifest.json").write_text('{"stage": "corpus", "key": "0123456789ab", "reads": {}}')
    os.utime(old / "manifest.json", (1, 1))
    assert [stage.kept for stage in Inspection(root).stages()] == [stage.kept for stage in inspection.stages()]


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="no finished stage in it; expected the folder of a run"):
        Inspection(tmp_path)


def test_the_command_shows_counts_and_histories(folders):
    root = folders["lists"].parent.parent
    shown = tamis("inspect", str(root))
    assert shown.status == 0, shown.err
    reasons = {r for f in folders.values() for r in read_json(f / "manifest.json")["counts"]["dropped"]}
    assert all(reason in " ".join(shown.out.split()) for reason in reasons)
    left_out = read_records(folders["queries"] / "dropped.parquet", Dropped)
    assert left_out
    for reason, count in Counter(record.reason for record in left_out).items():
        languages = Counter(record.language for record in left_out if record.reason == reason)
        told = f"{count} {reason} ({', '.join(f'{tag} {n}' for tag, n in sorted(languages.items()))})"
        assert told in " ".join(shown.out.split())
    query = records(folders, "queries", Query)[0]
    shown = tamis("inspect", str(root), query.query_id)
    assert shown.status == 0, shown.err
    assert query.document_id in shown.out
    refused = tamis("inspect", str(root), "no such query")
    assert refused.status == 2
    assert refused.complaint.startswith(str(root))
