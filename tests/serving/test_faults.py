"""Clients, disks and kills that a server must outlive: nothing hangs, nothing leaks."""

import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tamis.serving.connection import Connection
from tamis.serving.dialects.choosing import PATHS
from tamis.serving.limits import Limits
from tamis.serving.logs import log_to
from tests.serving.running import Running, served

BODY: dict[str, Any] = {"model": "m", "query": "How do I add a user?", "documents": ["one", "two"]}
HEAD = b"POST /v2/rerank HTTP/1.1\r\nhost: localhost\r\n"


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def connect(server: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1])), timeout=10)


def status_of(client: socket.socket) -> int:
    """Read an answer."""
    answer = http.client.HTTPResponse(client)
    answer.begin()
    answer.read()
    return answer.status


def until_cut_off(client: socket.socket) -> int:
    """Bytes that came before the end of a connection; it has to end."""
    size = 0
    with suppress(ConnectionResetError):
        while part := client.recv(1 << 20):
            size += len(part)
    return size


def drip(client: socket.socket) -> None:
    """Send a byte now and then, until nobody takes them any more."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        client.sendall(b"x")
        time.sleep(0.05)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Connection, "head_seconds", 0.4)
    monkeypatch.setattr(Connection, "answer_seconds", 1.0)


@pytest.mark.usefixtures("impatient")
def test_heads_that_do_not_come_to_an_end_are_given_up(stock_folder: Path):
    with served({"m": stock_folder}) as server, ExitStack() as clients:
        silent = [clients.enter_context(connect(server)) for _ in range(100)]
        slow = [clients.enter_context(connect(server)) for _ in range(100)]
        for client in slow:
            client.sendall(HEAD)
        assert server.post("/v2/rerank", BODY).status_code == 200
        with pytest.raises(OSError, match=r"reset|[Bb]roken pipe"):
            drip(slow[0])
        assert [until_cut_off(client) for client in (*silent, *slow[1:])] == [0] * 199
        until(lambda: len(server.server.server_state.connections) <= 1)  # httpx2's own


@pytest.mark.usefixtures("impatient")
def test_a_second_head_on_a_connection_is_waited_for_no_longer_than_the_first(stock_folder: Path):
    content = json.dumps(BODY).encode()
    request = HEAD + b"content-length: %d\r\n\r\n" % len(content) + content
    with served({"m": stock_folder}) as server, connect(server) as client:
        for _ in range(2):
            client.sendall(request)
            assert status_of(client) == 200
        client.sendall(HEAD)
        assert until_cut_off(client) == 0


@pytest.mark.usefixtures("impatient")
def test_a_request_under_way_has_its_own_deadline(stock_folder: Path):
    content = json.dumps(BODY).encode()
    with served({"m": stock_folder}, Limits(seconds=20)) as server, connect(server) as client:
        client.sendall(HEAD + b"content-length: %d\r\n\r\n" % len(content))
        for start in range(0, len(content), 10):  # slower than a head may come
            client.sendall(content[start : start + 10])
            time.sleep(0.1)
        assert status_of(client) == 200


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
def test_answers_that_nobody_fetches_are_given_up_and_those_fetched_slowly_are_not(stock_folder: Path):
    documents = [f"{number} {'x' * 20_000}" for number in range(800)]
    content = json.dumps({"query": "a", "documents": documents, "return_documents": True}).encode()
    request = HEAD.replace(b"v2", b"v1") + b"content-length: %d\r\n\r\n" % len(content) + content
    with served({"m": stock_folder}) as server, connect(server) as lazy, connect(server) as slow:
        for client in (lazy, slow):
            client.sendall(request)
        size = 0
        while size < len(content) and (part := slow.recv(1 << 18)):
            size += len(part)
            time.sleep(0.03)
        assert size >= len(content)
        until(lambda: len(server.server.server_state.connections) <= 1)
        assert until_cut_off(lazy) < len(content)


@pytest.mark.parametrize(("key", "status"), [("wrong", 401), ("right", 413)])
def test_who_is_still_sending_sees_why_nothing_is_read(stock_folder: Path, key: str, status: int):
    """RFC 9112, 9.6: closed with data unread, a connection is reset, and the answer on it is lost."""
    with served({"m": stock_folder}, keys=("right",)) as server, connect(server) as client:
        length = 32 * 2**20
        head = f"POST /v2/rerank HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {key}\r\nContent-Length: {length}\r\n\r\n"
        client.sendall(head.encode())
        time.sleep(0.05)  # the answer is there before the body
        client.sendall(b" " * length)
        assert status_of(client) == status
        assert client.recv(1) == b""


def test_what_is_no_http_is_refused(stock_folder: Path):
    endless = HEAD + b"".join(b"x-%d: %s\r\n" % (number, b"y" * 1000) for number in range(200))
    with served({"m": stock_folder}) as server:
        for wrong in (b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n", HEAD + b"content-length: -1\r\n\r\n", endless):
            with connect(server) as client:
                client.sendall(wrong + b"\r\n\r\n")
                assert client.recv(1 << 16).startswith(b"HTTP/1.1 400")
        assert server.post("/v2/rerank", BODY).status_code == 200


def test_a_log_that_cannot_be_written_stops_nothing(stock_folder: Path):
    with Path("/dev/full").open("w", buffering=1) as full, served({"m": stock_folder}) as server:
        log_to(full)
        for _ in range(3):
            assert server.post("/v2/rerank", BODY).status_code == 200
            assert server.post("/v2/rerank", {}).status_code == 422
        with pytest.raises(OSError, match="No space left"):
            full.write("\n")
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())  # what is buffered has to go somewhere


class Process:
    """`tamis serve` in a process of its own, without any help of the tests."""

    def __init__(self, folder: Path, port: int, log: Path) -> None:
        command = [sys.executable, "-m", "tamis", "serve", f"m={folder}", "--port", str(port)]
        with log.open("wb") as said:
            self.process = subprocess.Popen(command, stdout=said, stderr=said)
        self.url = f"http://127.0.0.1:{port}"
        until(self._answers, 60)

    def _answers(self) -> bool:
        assert self.process.poll() is None
        try:
            return httpx2.get(f"{self.url}/ready", timeout=5).status_code == 200
        except httpx2.TransportError:
            return False


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        found: int = free.getsockname()[1]
    return found


@pytest.mark.slow
def test_a_server_that_was_killed_starts_again_at_once_on_the_same_port(stock_folder: Path, port: int, tmp_path: Path):
    with ExitStack() as clients:
        for _ in range(2):
            server = Process(stock_folder, port, tmp_path / "log")
            try:
                assert httpx2.post(f"{server.url}/v2/rerank", json=BODY).status_code == 200
                for _ in range(5):  # connections under way, whose ends stay behind
                    client = clients.enter_context(socket.create_connection(("127.0.0.1", port)))
                    client.sendall(HEAD + b"content-length: 9\r\n\r\n{")
                server.process.send_signal(signal.SIGKILL)
                assert server.process.wait(10) == -signal.SIGKILL
            finally:
                server.process.kill()


@pytest.mark.slow
def test_a_full_disk_stops_neither_the_server_nor_its_end(stock_folder: Path, port: int):
    server = Process(stock_folder, port, Path("/dev/full"))
    try:
        for _ in range(5):
            assert httpx2.post(f"{server.url}/v2/rerank", json=BODY).status_code == 200
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0
    finally:
        server.process.kill()


def broken(content: bytes, chance: random.Random) -> bytes:
    """A body with some of its bytes missing, doubled or changed."""
    found = bytearray(content)
    for _ in range(chance.randint(1, 6)):
        place = chance.randrange(len(found))
        change = chance.randrange(4)
        if change == 0:
            del found[place : place + chance.randint(1, 40)]
        elif change == 1:
            found[place:place] = found[place : place + 20]
        else:
            found[place] = chance.choice(b'{}[]":,0-e\\\x00\xff') if change == 2 else chance.randrange(256)
        if not found:
            break
    return bytes(found)


@pytest.mark.slow
def test_ten_thousand_malformed_bodies_leave_nothing_behind(stock_folder: Path):
    chance = random.Random(0)
    good = json.dumps(BODY | {"texts": ["one"], "top_n": 1, "instruction": None}).encode()
    with served({"m": stock_folder}) as server:
        engine = server.service.engines["m"]
        memory: list[int] = []
        threads = 0
        for number in range(10_000):
            path = chance.choice(list(PATHS))
            answer = server.client.post(path, content=broken(good, chance))
            assert answer.status_code in (200, 400, 404, 422), answer.text
            if number % 1000 == 999:
                memory.append(resident())
                threads = threads or threading.active_count()
        assert threading.active_count() == threads
        assert (engine.pairs, server.service.under_way, server.service._held) == (0, 0, 0)
        until(lambda: len(server.server.server_state.tasks) == 0)
        assert len(server.server.server_state.connections) <= 1
        assert memory[-1] - memory[1] < 8 << 20
        assert server.post("/v2/rerank", BODY).status_code == 200


def resident() -> int:
    """Bytes of memory that this process holds."""
    found = re.findall(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[0]) << 10
