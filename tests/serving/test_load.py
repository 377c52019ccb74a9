"""Many requests at once, and what goes wrong: full queues, clients that leave, models that raise, signals."""

import asyncio
import io
import json
import os
import re
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from tamis import Reranker
from tamis.serving.app import Service, create_app
from tamis.serving.engine import Engine
from tamis.serving.fleet import Fleet
from tamis.serving.keys import ApiKeys, read_keys
from tamis.serving.limits import Limits
from tamis.serving.logs import log_to
from tamis.serving.metrics import Metrics
from tamis.serving.serve import DrainingServer, listen
from tests.commands import start, tamis
from tests.conftest import TOPICS
from tests.serving.running import Running, served

QUERIES = [question for topics in TOPICS.values() for question, _ in topics]
DOCUMENTS = [answer for topics in TOPICS.values() for _, answer in topics]


class Gate:
    """Holds a reranker's batches back until it is opened, and lets them fail where they are told to."""

    def __init__(self, reranker: Reranker) -> None:
        self.open = threading.Event()
        self.entered = threading.Event()
        self.fails: Callable[[Any], bool] = lambda rows: False
        self.rows = 0
        self._logits = reranker.scorer.logits
        reranker.scorer.logits = self.logits  # type: ignore[method-assign]

    def logits(self, rows: Any, *known: Any) -> np.ndarray:
        self.entered.set()
        assert self.open.wait(20)
        self.rows += len(rows)
        if self.fails(rows):
            raise ValueError("the model stumbled over a secret text")
        return self._logits(rows, *known)


@pytest.fixture
def gated(stock_folder: Path) -> tuple[Reranker, Gate]:
    reranker = Reranker(stock_folder, token_budget=64)
    return reranker, Gate(reranker)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as executor:
        yield executor


def body(documents: list[str], query: str = QUERIES[0]) -> dict[str, Any]:
    return {"model": "m", "query": query, "documents": documents}


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def ask(threads: ThreadPoolExecutor, server: Running, documents: list[str]) -> Future[httpx2.Response]:
    return threads.submit(httpx2.post, f"{server.url}/v2/rerank", json=body(documents), timeout=20)


@pytest.mark.parametrize("kind", ["warm_folder", "stock_folder"])
def test_scores_do_not_depend_on_what_else_is_in_flight(kind: str, request, threads: ThreadPoolExecutor):
    folder = request.getfixturevalue(kind)
    offline = Reranker(folder)
    generator = np.random.default_rng(0)
    asked = []
    for number in range(12):
        count = [1, 5, 30][number % 3]
        texts = [" ".join(generator.choice(DOCUMENTS, 1 + place % 3)) for place in range(count)]
        asked.append((QUERIES[number % len(QUERIES)], texts))
    with served({"m": Reranker(folder, token_budget=256)}) as server:
        url = f"{server.url}/v2/rerank"
        answers = [threads.submit(httpx2.post, url, json=body(texts, query), timeout=20) for query, texts in asked]
        for (query, texts), answer in zip(asked, answers, strict=True):
            results = sorted(answer.result().json()["results"], key=lambda hit: hit["index"])
            expected = offline.predict([(query, text) for text in texts])
            assert [hit["relevance_score"] for hit in results] == pytest.approx(expected, abs=1e-5)


def test_a_full_queue_is_told_with_the_time_to_come_again(gated, threads: ThreadPoolExecutor):
    reranker, gate = gated
    with served({"m": reranker}, queue_pairs=5) as server:
        first = ask(threads, server, DOCUMENTS[:4])
        assert gate.entered.wait(10)
        refused = server.post("/v2/rerank", body(DOCUMENTS[:2]))
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["message"] == "4 pairs wait already, at most 5 may; try again later"
        tei = server.post("/rerank", {"query": "a", "texts": DOCUMENTS[:2]})
        assert (tei.status_code, tei.json()["error_type"]) == (429, "Overloaded")
        gate.open.set()
        assert first.result().status_code == 200
        assert server.post("/v2/rerank", body(DOCUMENTS[:2])).status_code == 200


def test_under_too_much_load_all_that_is_taken_is_answered_in_time_and_the_rest_told_when_to_come(
    stock_folder: Path, threads: ThreadPoolExecutor
):
    reranker = Reranker(stock_folder, token_budget=64)
    logits = reranker.scorer.logits
    longest = 3.0

    def slow(rows: Any, *known: Any) -> np.ndarray:
        time.sleep(sum(row.length for row in rows) / 1000)
        return logits(rows, *known)

    reranker.scorer.logits = slow  # type: ignore[method-assign]
    with served({"m": reranker}, Limits(seconds=longest)) as server:
        server.post("/v2/rerank", body(DOCUMENTS[:4]))  # the rate is known from the first batch on
        sizes = [DOCUMENTS[:4], DOCUMENTS[:4], DOCUMENTS[:4], [*DOCUMENTS, *DOCUMENTS]]
        answers = [ask(threads, server, sizes[number % 4]) for number in range(64)]
        found = [answer.result() for answer in answers]
    statuses = Counter(answer.status_code for answer in found)
    assert set(statuses) == {200, 429}
    assert min(statuses.values()) >= 3
    assert all(1 <= int(one.headers["retry-after"]) <= 60 for one in found if one.status_code == 429)
    assert max(one.elapsed.total_seconds() for one in found if one.status_code == 200) <= longest


def test_a_client_that_leaves_frees_its_work(gated):
    reranker, gate = gated
    with served({"m": reranker}) as server:
        engine = server.service.engines["m"]
        content = json.dumps(body(DOCUMENTS)).encode()
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as client:
            head = f"POST /v2/rerank HTTP/1.1\r\nhost: {host}\r\ncontent-length: {len(content)}\r\n\r\n"
            client.sendall(head.encode() + content)
            assert gate.entered.wait(10)
            assert engine.pairs == len(DOCUMENTS)
        until(lambda: engine.pairs == 0)
        gate.open.set()
        assert server.post("/v2/rerank", body(["alone"])).status_code == 200
        assert gate.rows < len(DOCUMENTS)  # the batch under way and the one alone
        assert 'tamis_abandoned_requests_total{dialect="cohere"} 1.0' in server.get("/metrics").text


def test_a_request_that_takes_too_long_is_told_so(gated):
    reranker, gate = gated
    with served({"m": reranker}, Limits(seconds=0.3)) as server:
        late = server.post("/v2/rerank", body(DOCUMENTS[:3]))
        assert (late.status_code, late.json()["message"]) == (504, "not done within 0.3 seconds")
        assert server.service.engines["m"].pairs == 0
        gate.open.set()


def test_a_body_that_comes_too_slowly_is_given_up(gated):
    with served({"m": gated[0]}, Limits(seconds=0.3)) as server:
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as client:
            client.sendall(b"POST /v2/rerank HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{")
            assert client.recv(1000).startswith(b"HTTP/1.1 408")


def test_a_model_that_raises_fails_only_the_requests_of_its_batch(gated, threads: ThreadPoolExecutor):
    reranker, gate = gated
    said = io.StringIO()
    log_to(said)
    bad = "secret kernel modules"
    poison = reranker.scorer.encode([(QUERIES[0], bad)])[0].ids.tolist()
    gate.fails = lambda rows: any(row.ids.tolist() == poison for row in rows)
    gate.open.set()
    with served({"m": reranker}) as server:
        for dialect, path in [("message", "/v2/rerank"), ("detail", "/v1/rerank")]:
            broken = server.post(path, body([bad]))
            assert broken.status_code == 500
            assert broken.json()[dialect] == "the model failed on this request or on one scored beside it"
        gate.open.clear()
        gate.entered.clear()
        first = ask(threads, server, [DOCUMENTS[0]])  # under way while the others gather
        assert gate.entered.wait(10)
        mixed, other = ask(threads, server, [bad]), ask(threads, server, DOCUMENTS)
        until(lambda: server.service.engines["m"].pairs == 2 + len(DOCUMENTS))
        time.sleep(0.05)
        gate.open.set()
        assert [first.result().status_code, mixed.result().status_code] == [200, 500]
        assert other.result().status_code in (200, 500)  # 500 only where it shared the batch
        assert server.post("/v2/rerank", body(DOCUMENTS)).status_code == 200
        assert server.get("/health").status_code == 200
        assert 'tamis_failed_batches_total{model="m"}' in server.get("/metrics").text
    lines = [json.loads(line) for line in said.getvalue().splitlines()]
    assert {line["error"] for line in lines if line["event"] == "a model failed"} == {"ValueError"}
    assert "secret" not in said.getvalue()


def test_scores_that_are_not_finite_are_an_error(gated):
    reranker, gate = gated
    gate.open.set()
    gate._logits = lambda rows: np.full(len(rows), np.nan, np.float32)
    with served({"m": reranker}) as server:
        answer = server.post("/rerank", {"query": "a", "texts": ["b"]})
        assert (answer.status_code, answer.json()["error_type"]) == (500, "Backend")


def test_a_server_that_drains_answers_what_is_under_way_and_refuses_the_rest(gated, threads: ThreadPoolExecutor):
    reranker, gate = gated
    with served({"m": reranker}) as server:
        first = ask(threads, server, DOCUMENTS[:4])
        assert gate.entered.wait(10)
        server.service.draining = True
        assert server.get("/ready").status_code == 503
        assert server.get("/health").status_code == 200
        refused = server.post("/rerank", {"query": "a", "texts": ["b"]})
        assert refused.status_code == 503
        gate.open.set()
        assert first.result().status_code == 200


def test_limits_are_told_in_the_dialects_own_shape(stock_folder: Path):
    limits = Limits(body_bytes=2000, documents=3, characters=50)
    with served({"m": stock_folder}, limits) as server:
        large = server.post("/v2/rerank", body(["x" * 3000]))
        assert (large.status_code, large.json()["message"]) == (413, "the body is larger than 2000 bytes")
        parts = (b'{"query":' + b" " * 500 for _ in range(10))
        chunked = httpx2.post(f"{server.url}/v1/rerank", content=parts)
        assert (chunked.status_code, chunked.json()) == (413, {"detail": "the body is larger than 2000 bytes"})
        many = server.post("/rerank", {"query": "a", "texts": ["b"] * 4})
        assert (many.status_code, many.json()["error"]) == (422, "4 documents, at most 3 are taken")
        long = server.post("/rerank", body(["x" * 50]) | {"query": "x" * 51})
        assert long.status_code == 400
        assert long.json()["error"]["message"] == "query has 51 characters, at most 50 are taken"


def test_bodies_on_their_way_are_bounded_together(stock_folder: Path):
    with served({"m": stock_folder}, Limits(body_bytes=2000)) as server, ExitStack() as clients:
        address = ("127.0.0.1", int(server.url.rsplit(":", 1)[1]))
        for _ in range(16):
            client = clients.enter_context(socket.create_connection(address))
            client.sendall(b"POST /v2/rerank HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2000\r\n\r\n" + b" " * 1990)
        until(lambda: server.service._held == 16 * 1990)
        refused = server.post("/v2/rerank", body(["x" * 500]))
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        clients.close()
        until(lambda: server.service._held == 0)
        assert server.post("/v2/rerank", body(["x" * 500])).status_code == 200


@pytest.mark.parametrize("kind", ["warm_folder", "stock_folder"])
def test_long_documents_are_tokenised_a_few_at_a_time(kind: str, request):
    """Small requests wait for what is tokenised at once, whatever a large one holds."""
    offline = Reranker(request.getfixturevalue(kind))
    reranker = Reranker(request.getfixturevalue(kind))
    tokenised: list[list[int]] = []
    encode = reranker.scorer.encode

    def watched(pairs: Any, *more: Any) -> Any:
        tokenised.append([len(document) for _, document in pairs])
        return encode(pairs, *more)

    reranker.scorer.encode = watched  # type: ignore[method-assign]
    texts = [f"{number} {DOCUMENTS[number % len(DOCUMENTS)]} {'x ' * 60_000}" for number in range(8)]
    with served({"m": reranker}) as server:
        answer = server.post("/v2/rerank", body(texts) | {"max_tokens_per_doc": 4096})
        plain = server.post("/v2/rerank", body(texts))
    assert len(tokenised) == 6
    assert max(map(sum, tokenised)) <= 400_000
    assert answer.headers["x-truncated-docs"] == plain.headers["x-truncated-docs"] == "8"
    scores = {hit["index"]: hit["relevance_score"] for hit in answer.json()["results"]}
    assert [scores[place] for place in range(8)] == pytest.approx(
        offline.predict([(QUERIES[0], text) for text in texts]), abs=1e-5
    )


def test_bodies_are_bounded_together_until_they_are_answered(gated, threads: ThreadPoolExecutor):
    """Their texts are in memory as long as they wait for the model, however few pairs they are."""
    reranker, gate = gated
    with served({"m": reranker}, Limits(body_bytes=2000)) as server:
        waiting = [ask(threads, server, ["x" * 1900]) for _ in range(16)]
        until(lambda: server.service.engines["m"].pairs == 16)
        refused = server.post("/v2/rerank", body(["x" * 1900]))
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        gate.open.set()
        assert {answer.result().status_code for answer in waiting} == {200}
        until(lambda: server.service._held == 0)
        assert server.post("/v2/rerank", body(["x" * 1900])).status_code == 200


def test_keys_are_asked_for_on_every_path_but_health(stock_folder: Path):
    with served({"m": stock_folder}, keys=("one", "two")) as server:
        for path in ("/health", "/ready"):
            assert server.get(path).status_code == 200
        for path in ("/v1/models", "/metrics", "/openapi.json", "/nowhere"):
            assert server.get(path).status_code == 401, path
        for key in ("", "Bearer three", "Bearer", "Basic one", "one", "Bearer One"):
            wrong = server.post("/v2/rerank", body(["a"]), authorization=key)
            assert (wrong.status_code, wrong.json().keys()) == (401, {"id", "message"}), key
            assert wrong.headers["www-authenticate"] == "Bearer"  # RFC 9110, 15.5.2: it must be there
        assert server.post("/rerank", {"query": "a", "texts": ["b"]}).json() == {"error": "Unauthorized"}
        for key in ("one", "two"):
            assert server.post("/v2/rerank", body(["a"]), authorization=f"Bearer {key}").status_code == 200
            assert server.get("/metrics", authorization=f"bearer {key}").status_code == 200


def test_a_key_may_hold_any_letters(stock_folder: Path, tmp_path: Path):
    (tmp_path / "keys").write_bytes("\ufeff  # of the shop\r\n  clé-ключ\r\n".encode())
    keys = read_keys(tmp_path / "keys", {})
    assert len(keys) == 1
    assert keys.accept("Bearer clé-ключ".encode().decode("latin-1"))  # as servers hand headers on
    assert not keys.accept("Bearer # of the shop")


def test_the_path_that_is_answered_is_the_one_that_a_key_is_asked_for(stock_folder: Path):
    """Whatever a client says the host is, and wherever the application is mounted."""
    with Engine(Reranker(stock_folder), 4096) as engine:
        metrics = Metrics()
        app = create_app(Service(Fleet.of({"m": engine}, metrics), Limits(), ApiKeys(["one"]), metrics))

        def status(path: str, prefix: str = "", host: bytes = b"h", key: bytes = b"") -> int:
            headers = [(b"host", host), (b"authorization", key)]
            scope = {"type": "http", "method": "POST" if "rerank" in path else "GET", "scheme": "http"}
            scope |= {"path": prefix + path, "root_path": prefix, "query_string": b"", "headers": headers}
            sent: list[Any] = []
            told = iter([{"type": "http.request", "body": b'{"query": "a", "texts": ["b"]}', "more_body": False}])

            async def receive() -> Any:
                return next(told, None) or await asyncio.Event().wait()

            async def send(message: Any) -> None:
                sent.append(message)

            asyncio.run(app({**scope}, receive, send))
            return sent[0]["status"]

        for host in (b"h/health?", b"h/health#", b"h/health;", b"h\\health?", b"["):
            assert status("/metrics", host=host) == 401, host
        for prefix in ("", "/shop", "/health"):
            assert status("/health", prefix) == 200, prefix
            assert status("/metrics", prefix) == 401, prefix
            assert status("/rerank", prefix) == 401, prefix
            assert status("/rerank", prefix, key=b"Bearer one") == 200, prefix
            assert status("/nowhere", prefix, key=b"Bearer one") == 404, prefix


def test_other_web_pages_may_ask_only_where_they_are_named(stock_folder: Path):
    asking = {"origin": "https://page.example", "access-control-request-method": "POST"}
    for origins, allowed in [((), None), (("https://page.example",), "https://page.example")]:
        with served({"m": stock_folder}, keys=("one",), origins=origins) as server:
            answer = server.client.options("/v2/rerank", headers=asking)
            assert answer.headers.get("access-control-allow-origin") == allowed


def test_a_web_page_reads_nothing_by_a_name_that_it_leads_here(stock_folder: Path):
    """DNS rebinding: the page's own name gets the address 127.0.0.1, and its browser sends that name as the host."""
    own = [
        "localhost",
        "localhost:8000",
        "LOCALHOST:1",
        "shop.localhost:8000",
        "127.0.0.1:8000",
        "[::1]:8000",
        "10.0.0.2",
    ]
    others = ["elsewhere.example", "elsewhere.example:8000", "localhost.example", "127.0.0.1.example:80", "a b"]

    def statuses(server: Running, hosts: list[str], **headers: str) -> set[int]:
        asked = [headers | {"host": host} for host in hosts]
        found = {server.client.get("/v1/models", headers=one).status_code for one in asked}
        return found | {server.client.post("/v2/rerank", json=body(["a"]), headers=one).status_code for one in asked}

    with served({"m": stock_folder}) as server:
        assert statuses(server, own) == {200}
        assert statuses(server, others) == {403}
        assert server.client.get("/health", headers={"host": others[0]}).status_code == 200
        refused = server.client.post("/v2/rerank", json=body(["a"]), headers={"host": others[0]})
        assert refused.json()["message"].startswith(
            "this server has no keys and answers to localhost and addresses only"
        )
    with served({"m": stock_folder}, keys=("one",)) as server:  # which no page knows
        assert statuses(server, own + others, authorization="Bearer one") == {200}
    with served({"m": stock_folder}, local=False) as server:
        assert statuses(server, own + others) == {200}


def test_refused_requests_are_counted(stock_folder: Path):
    with served({"m": stock_folder}, keys=("one",)) as server:
        server.post("/v2/rerank", body(["a"]))
        counted = server.get("/metrics", authorization="Bearer one").text
        assert 'tamis_requests_total{dialect="cohere",model="",status="401"} 1.0' in counted
        described = server.get("/openapi.json", authorization="Bearer one").json()
        assert described["security"] == [{"key": []}]
        assert described["paths"]["/health"]["get"]["security"] == []


def test_no_text_is_in_the_logs(stock_folder: Path):
    said = io.StringIO()
    log_to(said)
    with served({"m": stock_folder}) as server:
        server.post("/v2/rerank", body(["confidential document"], "confidential query"), x_request_id="one")
        server.post("/v2/rerank", body([""], "confidential query") | {"confidential": 1})
        server.client.post("/v2/rerank", content=b'{"confidential')
        server.client.post("/v2/rerank", content=b"\xff confidential")
    lines = [json.loads(line) for line in said.getvalue().splitlines() if "request_id" in line]
    assert [(line["status"], line["path"]) for line in lines] == [
        (200, "/v2/rerank"), (422, "/v2/rerank"), (422, "/v2/rerank"), (422, "/v2/rerank"),
    ]  # fmt: skip
    assert lines[0].items() >= {"request_id": "one", "model": "m", "pairs": 1, "dialect": "cohere"}.items()
    assert "confidential" not in said.getvalue()


def test_a_signal_lets_what_is_under_way_finish_and_then_ends_the_server(gated, threads: ThreadPoolExecutor):
    reranker, gate = gated
    with Engine(reranker, 4096) as engine, listen("127.0.0.1", 0) as listening:
        metrics = Metrics()
        service = Service(Fleet.of({"m": engine}, metrics), Limits(), ApiKeys([]), metrics)
        server = DrainingServer(service, (), local=True)
        running = threads.submit(asyncio.run, server.serve([listening]))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        first = threads.submit(httpx2.post, f"{url}/v2/rerank", json=body(DOCUMENTS), timeout=20)
        assert gate.entered.wait(10)
        server.handle_exit(signal.SIGTERM, None)
        assert httpx2.post(f"{url}/v2/rerank", json=body(DOCUMENTS)).status_code == 503
        assert not running.done()
        gate.open.set()
        assert len(first.result().json()["results"]) == len(DOCUMENTS)
        running.result(10)


@pytest.mark.slow
def test_sigterm_drains_a_real_process(stock_folder: Path, tmp_path: Path, threads: ThreadPoolExecutor):
    log = tmp_path / "log"
    log.touch()
    process = start(log, "serve", f"m={stock_folder}", "--port", 0)
    try:
        until_said = time.monotonic() + 60
        while not (found := re.search(r'"url": "([^"]+)"', log.read_text())):
            assert process.is_alive(), log.read_text()
            assert time.monotonic() < until_said
            time.sleep(0.05)
        url = found[1]
        until(lambda: _answers(url))
        many = [threads.submit(httpx2.post, f"{url}/v2/rerank", json=body(DOCUMENTS), timeout=20) for _ in range(16)]
        many[0].result()
        assert process.pid
        os.kill(process.pid, signal.SIGTERM)
        process.join(20)
        assert process.exitcode == 0
        ended = [outcome.result() for outcome in many if not isinstance(outcome.exception(), httpx2.TransportError)]
        assert {answer.status_code for answer in ended} <= {200, 503}
        events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
        assert {"model", "listening", "draining", "stopped"} <= set(events)
    finally:
        process.kill()


def _answers(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/ready").status_code == 200
    except httpx2.TransportError:
        return False


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["m=a", "m=b"], "'m' names two models; give one of them another name, as NAME=FOLDER"),
        (["=a"], "'=a': expected FOLDER or NAME=FOLDER"),
        (["a", "--queue", "9"], "--queue is 9, expected at least the 1000 documents that one request may hold"),
        (["a", "--precision", "int8"], "--precision: expected 'float32', 'bfloat16' or 'auto', got 'int8'"),
        (["a", "--keys", "EMPTY"], "--keys EMPTY: no key in it; put one on a line, or leave the option out"),
        (["a", "--host", "256.0.0.1"], "cannot listen on 256.0.0.1:8000: "),
        (["a", "--host", "127..0.1"], "cannot listen on 127..0.1:8000: "),
    ],
)
def test_what_cannot_be_served_is_told_in_one_line(arguments, complaint, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("EMPTY").write_text("# none yet\n")
    outcome = tamis("serve", *arguments)
    assert outcome.status == 2
    assert outcome.complaint.startswith(complaint)
