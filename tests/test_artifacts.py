"""Keys, folders that are whole or not there, and the item store."""

import copy
import errno
import fcntl
import random
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from contextlib import closing
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tamis.artifacts import (
    ItemStore,
    RecordWriter,
    RunFolder,
    drop_counts,
    file_hash,
    find_records,
    folder_bytes,
    inputs,
    item_key,
    item_store,
    kept_in,
    newest_results,
    open_cache,
    read_column,
    read_json,
    read_records,
    read_stream,
    record_files,
    run_folder,
    split_dropped,
    stage_key,
    stream_columns,
    versions,
    write_records,
    writing,
)
from tamis.artifacts.output import write_output, write_stream
from tamis.errors import InputError, RunError
from tamis.records import (
    Candidates,
    Document,
    Dropped,
    Prompt,
    Query,
    QueryAnswer,
    QueryRequest,
    ScoredCandidates,
    Tokens,
    TrainingList,
)
from tamis.remote.spending import Ledger, Spending, spent_in
from tamis.stages.queries.settings import EndpointSettings
from tamis.stages.queries.write import Generate, WritingPlan, write_queries
from tamis.stages.queries.writers.cached import CachedWriter, kept_answers
from tests.commands import fork_server

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
contents = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))
many_files = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)


# Keys


def same(a: Any, b: Any) -> bool:
    """Whether two contents are the same; 1, 1.0 and True are not."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return repr(a) == repr(b)


def reordered(content: Any) -> Any:
    """The same content with all mappings in the opposite order."""
    if isinstance(content, dict):
        return {name: reordered(content[name]) for name in reversed(content)}
    return [reordered(one) for one in content] if isinstance(content, list) else copy.copy(content)


@given(contents, contents)
def test_a_key_differs_exactly_where_the_settings_differ(a: Any, b: Any) -> None:
    assert (stage_key("lists", 1, a, {}) == stage_key("lists", 1, b, {})) == same(a, b)


@given(contents, st.dictionaries(texts, texts, max_size=3))
def test_the_order_of_settings_and_inputs_does_not_matter(content: Any, reads: dict[str, str]) -> None:
    assert stage_key("lists", 1, content, reads) == stage_key("lists", 1, reordered(content), reordered(reads))


def test_name_version_and_inputs_are_part_of_a_key() -> None:
    keys = {
        stage_key("lists", 1, {}, {}),
        stage_key("train", 1, {}, {}),
        stage_key("lists", 2, {}, {}),
        stage_key("lists", 1, {}, {"scores": "a"}),
        stage_key("lists", 1, {}, {"scores": "b"}),
    }
    assert len(keys) == 5
    assert all(len(key) == 12 and set(key) <= set("0123456789abcdef") for key in keys)


@given(st.lists(texts, max_size=4), st.lists(texts, max_size=4))
def test_an_item_key_differs_exactly_where_its_parts_differ(a: list[str], b: list[str]) -> None:
    assert (item_key(*a) == item_key(*b)) == (a == b)


@many_files
@given(
    files=st.lists(st.dictionaries(st.sampled_from(["a", "b", "c/d"]), st.binary(max_size=3)), min_size=2, max_size=2)
)
def test_the_hash_of_a_folder_differs_exactly_where_names_or_bytes_differ(
    tmp_path_factory: pytest.TempPathFactory, files: list[dict[str, bytes]]
) -> None:
    hashes = []
    for content in files:
        folder = tmp_path_factory.mktemp("folder")
        for name, data in content.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(data)
        hashes.append(file_hash(folder))
    assert (hashes[0] == hashes[1]) == (files[0] == files[1])


def test_files_that_are_named_do_not_count_in_the_hash_of_a_folder(tmp_path: Path) -> None:
    for name in ("a", "README.md"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    before = file_hash(tmp_path, ["README.md"]), file_hash(tmp_path)
    (tmp_path / "README.md").write_text("another", encoding="utf-8")
    assert file_hash(tmp_path, ["README.md"]) == before[0]
    assert file_hash(tmp_path) != before[1]


# Folders of stages


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run", "demo")


def fill_with(content: str) -> Any:
    def fill(folder: Path) -> dict[str, Any]:
        (folder / "below").mkdir()
        (folder / "below" / "file.txt").write_text(content, encoding="utf-8")
        return {"counts": {"in": 1, "kept": 1, "dropped": {}}}

    return fill


def test_a_manifest_says_where_a_result_came_from_and_what_is_in_it(run: RunFolder) -> None:
    folder = run.build("lists", "k1", {"settings": [1], "reads": {"scores": "k0"}}, fill_with("text"))
    manifest = read_json(folder / "manifest.json")
    assert folder == run.folder("lists", "k1")
    assert manifest["stage"] == "lists"
    assert manifest["key"] == "k1"
    assert manifest["settings"] == [1]
    assert manifest["reads"] == {"scores": "k0"}
    assert manifest["counts"] == {"in": 1, "kept": 1, "dropped": {}}
    assert manifest["files"].keys() == {"below/file.txt"}
    assert manifest["seconds"] >= 0
    assert {"python", "torch", "numpy"} <= manifest["versions"].keys()


def test_the_hash_of_a_file_does_not_depend_on_where_it_lies(run: RunFolder, tmp_path: Path) -> None:
    folder = run.build("lists", "k1", {}, fill_with("text"))
    (tmp_path / "elsewhere").write_text("text", encoding="utf-8")
    assert read_json(folder / "manifest.json")["files"]["below/file.txt"] == file_hash(tmp_path / "elsewhere")


def test_a_stage_that_fails_is_not_there_and_its_leavings_do_no_harm(run: RunFolder) -> None:
    def fail(folder: Path) -> dict[str, Any]:
        (folder / "half.txt").write_text("half", encoding="utf-8")
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        run.build("lists", "k1", {}, fail)
    assert not run.finished("lists", "k1")
    folder = run.build("lists", "k1", {}, fill_with("whole"))
    assert run.finished("lists", "k1")
    assert not (folder / "half.txt").exists()
    assert [path.name for path in (run.root / "lists").iterdir()] == ["k1"]


def test_a_failing_disk_is_one_line_and_other_errors_pass() -> None:
    full = r"^run/lists: cannot be written: No space left on device; finished stages are kept, make room or choose"
    with pytest.raises(RunError, match=full), writing(Path("run/lists")):
        raise OSError(28, "No space left on device")
    with (
        pytest.raises(RunError, match=r"^items: cannot be written: database or disk is full; "),
        writing(Path("items")),
    ):
        raise sqlite3.OperationalError("database or disk is full")
    with pytest.raises(RunError, match=r"^/proc/x/y: cannot be written: No such file"), writing(Path("/proc/x/y")):
        Path("/proc/x/y").mkdir(parents=True)
    with pytest.raises(FileNotFoundError), writing(Path("run/lists")):
        Path("an input").read_bytes()
    with pytest.raises(ValueError, match="a bug"), writing(Path("run")):
        raise ValueError("a bug")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"reads": ["scores"]}'])
def test_a_result_whose_manifest_is_damaged_is_named(run: RunFolder, content: str) -> None:
    folder = run.build("lists", "k1", {"reads": {}}, fill_with("text"))
    assert newest_results(run.root, "lists") == {"lists": folder}
    (folder / "manifest.json").write_text(content, encoding="utf-8")
    with pytest.raises(RunError, match="lists/k1: no manifest that is understood; run the recipe again"):
        newest_results(run.root, "lists")


def test_a_package_that_is_not_there_is_told_among_the_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_folder, "VERSIONS_OF", ("numpy", "no-such-package"))
    found = versions()
    assert found["no-such-package"] == "not installed"
    assert found["numpy"][0].isdigit()


def test_the_folder_of_another_recipe_is_refused_by_name(run: RunFolder) -> None:
    with pytest.raises(
        RunError, match="holds runs of the recipe 'demo', not of 'other'; choose another one with --out"
    ):
        RunFolder(run.root, "other")
    assert RunFolder(run.root, "demo").root == run.root


@pytest.mark.parametrize("content", ["", "{", "[]", '{"name": "other program"}'])
def test_a_strange_run_json_is_refused_by_name(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content, encoding="utf-8")
    with pytest.raises(RunError, match=r"run\.json: not written by tamis; choose another folder with --out"):
        RunFolder(tmp_path, "demo")


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work", encoding="utf-8")
    with pytest.raises(RunError, match="not empty and not a run folder; choose another one with --out"):
        RunFolder(tmp_path, "demo")
    with pytest.raises(RunError, match=r"thesis\.tex: a file, not a run folder"):
        RunFolder(tmp_path / "thesis.tex", "demo")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_kill_while_the_folder_is_made_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / ".run.json.part").write_text("{", encoding="utf-8")
    RunFolder(tmp_path, "demo")
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


# Records


finite = st.floats(allow_nan=False, allow_infinity=False)
tuples_of = {str: st.lists(texts, max_size=3).map(tuple), float: st.lists(finite, max_size=3).map(tuple)}
records = st.one_of(
    st.lists(st.builds(Document, texts, texts, texts, texts)),
    st.lists(st.builds(Query, texts, texts, texts, texts, texts, texts, texts, st.integers(0, 2**31))),
    st.lists(st.builds(Candidates, texts, tuples_of[str], tuples_of[float])),
    st.lists(st.builds(ScoredCandidates, texts, tuples_of[str], tuples_of[float], tuples_of[float])),
    st.lists(
        st.builds(
            TrainingList,
            texts,
            texts,
            texts,
            tuples_of[str],
            tuples_of[float],
            st.lists(st.integers(0, 15), max_size=3).map(tuple),
            tuples_of[float],
        )
    ),
)


@many_files
@given(written=records)
def test_records_come_back_as_they_were_written(tmp_path: Path, written: list[Any]) -> None:
    kind = type(written[0]) if written else Dropped
    write_records(tmp_path / "records.parquet", written, kind)
    assert read_records(tmp_path / "records.parquet", kind) == written


def test_dropped_records_are_told_apart_and_counted_by_reason() -> None:
    mixed = [
        Document("a", "text", "en"),
        Dropped("b", "too short", "en"),
        Dropped("c", "too long", "en"),
        Dropped("d", "too long", "en"),
    ]
    kept, dropped = split_dropped(mixed)
    assert kept == mixed[:1]
    assert list(drop_counts(dropped).items()) == [("too long", 2), ("too short", 1)]


# Items


@pytest.fixture
def items(tmp_path: Path) -> Iterator[ItemStore]:
    store = ItemStore(tmp_path / "items.sqlite")
    yield store
    store.close()


def test_items_are_found_again_by_key_after_the_file_was_closed(tmp_path: Path) -> None:
    content = {item_key(number): bytes([number % 256]) * number for number in range(1200)}
    store = ItemStore(tmp_path / "items.sqlite")
    store.put(content.items())
    store.put([(item_key(5), b"new")])
    store.close()
    store = ItemStore(tmp_path / "items.sqlite")
    assert store.get([*content, item_key("unknown")]) == {**content, item_key(5): b"new"}
    store.close()


def test_a_batch_is_kept_whole_or_not_at_all(items: ItemStore) -> None:
    def batch() -> Iterator[tuple[str, bytes]]:
        yield "first", b"1"
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError):
        items.put(batch())
    assert items.get(["first"]) == {}


def put_and_get(path: Path, name: str) -> int:
    store = ItemStore(path)
    for number in range(50):
        store.put([(f"{name}/{number}", name.encode()), ("shared", name.encode())])
    found = store.get([f"{name}/{number}" for number in range(50)])
    store.close()
    return len(found)


def test_several_processes_use_a_store_at_once(tmp_path: Path) -> None:
    names = ["a", "b", "c"]
    with ProcessPoolExecutor(len(names), mp_context=fork_server()) as pool:
        assert list(pool.map(put_and_get, [tmp_path / "items.sqlite"] * len(names), names)) == [50] * len(names)


def open_at(path: Path, moment: float) -> int:
    while time.monotonic() < moment:
        pass
    ItemStore(path).close()
    return 1


def test_several_processes_make_a_store_in_the_same_moment(tmp_path: Path) -> None:
    with ProcessPoolExecutor(3, mp_context=fork_server()) as pool:
        for number in range(25):
            moment = time.monotonic() + 0.01
            opened = pool.map(open_at, [tmp_path / f"{number}.sqlite"] * 3, [moment] * 3)
            assert list(opened) == [1, 1, 1]


def put_many(path: Path, under_way: Event) -> None:
    store = ItemStore(path)
    for number in range(2000):
        store.put([(f"{number}/{part}", b"x" * 5000) for part in range(4)])
        if number == 10:
            under_way.set()


def test_a_kill_leaves_whole_batches(tmp_path: Path) -> None:
    path = tmp_path / "items.sqlite"
    context = fork_server()
    under_way = context.Event()
    writer = context.Process(target=put_many, args=(path, under_way), daemon=True)
    writer.start()
    assert under_way.wait(30)
    writer.kill()
    writer.join()
    check_batches(path, at_least=10)


@pytest.mark.parametrize("seed", range(5))
def test_a_write_ahead_log_that_was_torn_anywhere_leaves_whole_batches(tmp_path: Path, seed: int) -> None:
    store = ItemStore(tmp_path / "items.sqlite")
    for number in range(8):
        store.put([(f"{number}/{part}", b"x" * 5000) for part in range(4)])
    torn = tmp_path / "torn"
    torn.mkdir()
    for name in ("items.sqlite", "items.sqlite-wal"):
        (torn / name).write_bytes((tmp_path / name).read_bytes())
    store.close()
    log = torn / "items.sqlite-wal"
    rng = random.Random(seed)
    end = rng.randrange(len(log.read_bytes()))
    log.write_bytes(log.read_bytes()[:end] + rng.randbytes(rng.randrange(100)))
    check_batches(torn / "items.sqlite", at_least=0)


def check_batches(path: Path, at_least: int) -> None:
    store = ItemStore(path)
    found = store.get([f"{number}/{part}" for number in range(2000) for part in range(4)])
    batches = {key.split("/")[0] for key in found}
    assert len(batches) >= at_least
    assert len(found) == 4 * len(batches)
    store.put([("after", b"")])
    assert store.get(["after"]) == {"after": b""}
    store.close()


def test_a_store_that_another_program_holds_is_named_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(item_store, "_PATIENCE", 0.1)
    path = tmp_path / "items.sqlite"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE theirs (key)")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(RunError, match=r"items\.sqlite: cannot be written: database is locked; "):
            ItemStore(path)


def test_a_store_that_another_program_lets_go_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "items.sqlite"
    with closing(sqlite3.connect(path, check_same_thread=False)) as other:
        other.execute("CREATE TABLE theirs (key)")
        other.execute("BEGIN EXCLUSIVE")
        letting_go = threading.Timer(0.1, other.rollback)
        letting_go.start()
        store = ItemStore(path)
        letting_go.join()
    store.put([("a", b"1")])
    assert store.get(["a"]) == {"a": b"1"}
    store.close()


def test_nothing_is_asked_of_a_store_for_no_keys(items: ItemStore) -> None:
    assert items.get([]) == {}


def test_a_damaged_store_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "items.sqlite"
    path.write_bytes(random.Random(0).randbytes(5000))
    with pytest.raises(RunError, match=r"items\.sqlite: damaged \(file is not a database\); delete it"):
        ItemStore(path)


# Values by content


def test_known_values_are_told_and_missing_ones_computed_once(items: ItemStore) -> None:
    kept = kept_in(items, lambda item: f"square {item}", lambda value: str(value).encode(), int)
    asked: list[list[int]] = []

    def squares(groups: Iterator[list[int]]) -> Iterator[list[tuple[int, int | None]]]:
        for group in groups:
            asked.append(group)
            yield [(item, item * item if item != 4 else None) for item in group]

    assert kept.values([1, 2], squares) == [1, 4]
    told: list[tuple[int, int]] = []
    batches = list(kept.complete([[1, 2], [2, 3, 4]], squares, told.extend))
    assert told == [(1, 1), (2, 4), (2, 4)]
    assert batches == [[(3, 9), (4, None)]]
    assert kept.find([1, 3, 4]) == [1, 9, None]  # of 4 nothing came, so it is asked again
    assert asked == [[1, 2], [3, 4]]


# What a stage writes, and what a recipe names


@pytest.mark.parametrize("streamed", [True, False])
def test_what_is_kept_and_what_is_dropped_adds_up(tmp_path: Path, streamed: bool) -> None:
    kept = [Document("a", "one", "en"), Document("b", "zwei", "de"), Document("c", "drei", "de")]
    dropped = [Dropped("d", "too long", "en"), Dropped("e", "empty", "en"), Dropped("f", "empty", "en")]
    if streamed:
        facts = write_stream(tmp_path, "corpus", [kept[0], *dropped, *kept[1:]], Document)
    else:
        facts = write_output(tmp_path, "corpus", kept, Document, dropped)
        assert facts["languages"] == {"de": 2, "en": 1}
    assert facts["counts"] == {"in": 6, "kept": 3, "dropped": {"empty": 2, "too long": 1}}
    assert read_records(tmp_path / "corpus.parquet", Document) == kept
    assert read_records(tmp_path / "dropped.parquet", Dropped) == dropped


def test_records_without_a_language_and_no_records_at_all_count_none(tmp_path: Path) -> None:
    for kept in ([], [TrainingList("q", "all", "train", ("d",), (1.0,), (0,), (1.0,))]):
        folder = tmp_path / str(len(kept))
        folder.mkdir()
        assert "languages" not in write_output(folder, "lists", kept, TrainingList, [])


def test_inputs_are_hashed_by_content_and_what_is_missing_or_unreadable_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"same")
    two.write_bytes(b"same")
    assert inputs.input_hashes([one, two], "queries") == [file_hash(two)] * 2
    with pytest.raises(InputError, match=r"none: not found; the recipe's queries section names it\. Give a BEIR"):
        inputs.input_hashes([tmp_path / "none"], "queries")
    with pytest.raises(InputError, match=r"the recipe's candidates section names it\. Correct the path, or leave"):
        inputs.input_hashes([tmp_path / "none"], "candidates")

    def unreadable(_: Path) -> str:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(inputs, "file_hash", unreadable)
    with pytest.raises(InputError, match="one: cannot be read: Input/output error"):
        inputs.input_hashes([one], "queries")


def test_a_folder_without_a_finished_stage_is_named_and_its_size_told(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no finished stage train in it; expected the folder of a run"):
        newest_results(tmp_path, "train")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a").write_bytes(b"123")
    (tmp_path / "b").write_bytes(b"45")
    assert folder_bytes(tmp_path) == 5
    assert folder_bytes(tmp_path / "nothing") == 0


# Queries of a language model


NOTHING = Tokens()


class CountingGenerator:
    """Writes the seed; a fake of what costs seconds or money a query."""

    name = "fake"
    model = "fake"

    def __init__(self, stop_after: int = 1_000_000, cost: Tokens = NOTHING) -> None:
        self.calls = 0
        self._stop_after, self._cost = stop_after, cost

    def write(self, requests: Iterable[QueryRequest]) -> Iterator[QueryAnswer]:
        for request in requests:
            if self.calls == self._stop_after:
                raise KeyboardInterrupt
            self.calls += 1
            yield QueryAnswer(request.place, f"{request.document.text}? {request.seed}", tokens=self._cost)


def asked_about(document: Document, kind: str, number: int, seed: int) -> Prompt:
    return Prompt(f"About {document.text}:", "h")


TWICE = WritingPlan(2, 1, ask=asked_about)


def remember(
    generator: Generate,
    items: ItemStore,
    identity: str = "m",
    plan: WritingPlan = TWICE,
    cache: ItemStore | None = None,
) -> list[Query | Dropped]:
    """What a run writes; its cache is a file of its own only where a test says so."""
    documents = [Document(f"d{number}", f"text {number}", "en") for number in range(5)]
    kept = kept_answers(identity, Ledger(items, "fake"), cache or items)
    remembered = CachedWriter(generator, kept, lambda: None)
    return list(write_queries(documents, remembered, plan))


def test_a_language_model_is_never_asked_twice(items: ItemStore) -> None:
    stopped, second, third = CountingGenerator(stop_after=4), CountingGenerator(), CountingGenerator()
    with pytest.raises(KeyboardInterrupt):
        remember(stopped, items)
    queries = remember(second, items)
    assert (stopped.calls, second.calls) == (4, 6)
    assert remember(third, items) == queries
    assert third.calls == 0
    assert [q.text for q in queries] == [
        f"text {n // 2}? {q.seed}" for n, q in enumerate(queries) if isinstance(q, Query)
    ]


@pytest.mark.parametrize(
    ("identity", "plan"),
    [
        ("other", TWICE),
        ("m", WritingPlan(2, 1, ask=lambda document, *_: Prompt(f"Otherwise {document.text}:", "h"))),
        ("m", WritingPlan(2, 1, temperatures=(0.1, 0.1), ask=asked_about)),
        ("m", WritingPlan(2, 2, ask=asked_about)),
    ],
    ids=["model", "prompt", "temperature", "seed"],
)
def test_another_model_prompt_temperature_or_seed_is_asked_anew(
    items: ItemStore, identity: str, plan: WritingPlan
) -> None:
    remember(CountingGenerator(), items)
    other = CountingGenerator()
    remember(other, items, identity, plan)
    assert other.calls == 10


def test_what_was_spent_is_kept_with_the_queries(items: ItemStore) -> None:
    assert Ledger(items, "fake").spent == Tokens()
    with pytest.raises(KeyboardInterrupt):
        remember(CountingGenerator(stop_after=4, cost=Tokens(100, 10, 1)), items)
    assert Ledger(items, "fake").spent == Tokens(400, 40, 4)
    remember(CountingGenerator(cost=Tokens(100, 10, 1)), items)
    remember(CountingGenerator(cost=Tokens(100, 10, 1)), items)
    assert Ledger(items, "fake").spent == Tokens(1000, 100, 10)
    remember(CountingGenerator(cost=Tokens(1, 1, 1)), items, "other prompts of the same model")
    assert Ledger(items, "fake").spent == Tokens(1010, 110, 20)


def test_another_run_folder_pays_for_no_query_again(items: ItemStore, tmp_path: Path) -> None:
    shared = open_cache(tmp_path / "shared")
    queries = remember(CountingGenerator(cost=Tokens(100, 10, 1)), items, cache=shared)
    elsewhere, again = ItemStore(tmp_path / "elsewhere.sqlite"), CountingGenerator(cost=Tokens(100, 10, 1))
    assert remember(again, elsewhere, cache=shared) == queries
    assert again.calls == 0
    assert Ledger(elsewhere, "fake").spent == Tokens()
    shared.close()
    empty = open_cache(tmp_path / "another")
    assert remember(again, items, cache=empty) == queries  # the run folder knows them, too
    assert again.calls == 0
    elsewhere.close()
    empty.close()


def test_what_models_have_cost_is_read_without_a_trace(items: ItemStore, tmp_path: Path) -> None:
    prices = EndpointSettings(url="http://h/v1", model="m", prompt_price=1.0, completion_price=2.0, request_price=0.5)
    ledger = Ledger(items, "queries m", prices)
    for _ in range(2):
        items.put([ledger.entry(Tokens(1_000_000, 500_000, 1000)), ("spend", b"another item")])
    assert spent_in(tmp_path) == {"queries m": Spending(Tokens(2_000_000, 1_000_000, 2000), 2 * (1.0 + 1.0 + 0.5))}
    assert spent_in(tmp_path / "no run") == {}
    assert not (tmp_path / "no run").exists()


def test_a_cache_that_cannot_be_made_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(RunError, match=r"file/cache: cannot be written: Not a directory; .*set machine\.cache to"):
        open_cache(tmp_path / "file" / "cache")


class FailingGenerator(CountingGenerator):
    """Has no query; says whether asking again would be of use."""

    def __init__(self, final: bool) -> None:
        super().__init__()
        self._final = final

    def write(self, requests: Iterable[QueryRequest]) -> Iterator[QueryAnswer]:
        for request in requests:
            self.calls += 1
            yield QueryAnswer(request.place, reason="no use", final=self._final, tokens=Tokens(1, 0, 1))


@pytest.mark.parametrize("final", [True, False])
def test_a_failure_is_kept_if_it_would_be_paid_again(items: ItemStore, final: bool) -> None:
    remember(FailingGenerator(final), items)
    assert Ledger(items, "fake").spent == Tokens(10, 0, 10)
    again = FailingGenerator(final)
    queries = remember(again, items)
    assert again.calls == (0 if final else 10)
    assert all(isinstance(q, Dropped) and q.reason == "no use" for q in queries)


def test_a_folder_serves_one_run_at_a_time(run):
    other = RunFolder(run.root, "demo")
    taken = "another run is at work in this folder; wait for it, or choose another one with --out"
    with run.held(), pytest.raises(RunError, match=taken), other.held():
        pass
    with other.held():
        pass  # free again


def test_a_file_system_without_locks_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with RunFolder(tmp_path, "demo").held():
        pass


def test_of_two_runs_that_make_a_folder_at_once_one_gets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = run_folder.write_json
    others: list[Future[RunFolder]] = []

    def disturbed(path: Path, content: object) -> None:
        """Another run comes while the first one writes down whose folder it is."""
        monkeypatch.setattr(run_folder, "write_json", write)
        others.append(pool.submit(RunFolder, tmp_path, "other"))
        wait(others, 0.3)
        write(path, content)

    monkeypatch.setattr(run_folder, "write_json", disturbed)
    with ThreadPoolExecutor(1) as pool:
        with RunFolder(tmp_path, "first").held():
            assert read_json(tmp_path / "run.json")["recipe"] == "first"
        with pytest.raises(RunError, match="holds runs of the recipe 'first', not of 'other'"):
            others[0].result()
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_stream_is_read_as_it_was_written_and_as_a_whole_file_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_files, "STREAMED", 4)
    records = [
        ScoredCandidates(f"q{n}", tuple(f"d{i}" for i in range(n)), tuple(map(float, range(n))), (0.5,) * n)
        for n in range(11)
    ]
    with RecordWriter(tmp_path / "stream.parquet", ScoredCandidates) as file:
        for record in records:
            file.write(record)
    write_records(tmp_path / "whole.parquet", records, ScoredCandidates)
    for name in ("stream.parquet", "whole.parquet"):
        assert list(read_stream(tmp_path / name, ScoredCandidates)) == records
        assert read_records(tmp_path / name, ScoredCandidates) == records
        assert read_column(tmp_path / name, "query_id") == [record.query_id for record in records]
        assert list(stream_columns(tmp_path / name, "doc_ids", "query_id")) == [
            (list(record.doc_ids), record.query_id) for record in records
        ]
        found = find_records(tmp_path / name, ScoredCandidates, "query_id", {"q9", "q2", "no such query"})
        assert list(found) == [records[2], records[9]]
        assert not list(find_records(tmp_path / name, ScoredCandidates, "query_id", ()))
    assert pq.ParquetFile(tmp_path / "stream.parquet").num_row_groups == 3


def test_an_empty_stream_is_a_file_without_records(tmp_path: Path) -> None:
    with RecordWriter(tmp_path / "empty.parquet", ScoredCandidates):
        pass
    assert not list(read_stream(tmp_path / "empty.parquet", ScoredCandidates))
    assert not list(stream_columns(tmp_path / "empty.parquet", "query_id"))
    assert not list(find_records(tmp_path / "empty.parquet", ScoredCandidates, "query_id", ["q0"]))
    assert read_records(tmp_path / "empty.parquet", ScoredCandidates) == []
