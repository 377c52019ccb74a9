"""What a kill costs in requests: a server that counts, and runs that are killed while they pay."""

import hashlib
import json
import os
import random
import re
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.failing_disk import SIGKILLED, attempt
from trust_jobs import command, recipe_file

CONCURRENCY = 4
"""Requests under way at a time."""

DELAY = 0.03
"""Seconds that the server takes for an answer."""


@dataclass
class Paid:
    """Requests of runs that were killed.

    Attributes:
        kills: How often a run was killed.
        sent: Requests that came to the server.
        again: How many of them had come before a kill already.
        most_again: Most of them after one kill.
        forgotten: Most requests that a finished run folder's own count lacks, for each kill.
    """

    kills: int = 0
    sent: int = 0
    again: int = 0
    most_again: int = 0
    forgotten: float = 0.0

    def facts(self) -> dict[str, Any]:
        """For the results."""
        return {**vars(self), "concurrency": CONCURRENCY}


class _Handler(BaseHTTPRequestHandler):
    """Writes queries, judges and reranks, always the same way, and notes each request down as it comes."""

    protocol_version = "HTTP/1.1"
    log: Path

    def do_POST(self) -> None:
        """Answer after a while."""
        body = self.rfile.read(int(self.headers["content-length"]))
        digest = hashlib.sha256(self.path.encode() + body).hexdigest()[:16]
        with self.log.open("a", encoding="ascii") as stream:
            stream.write(f"{digest}\n")
        time.sleep(DELAY)
        answer = json.dumps(_answer(self.path, json.loads(body))).encode()
        try:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)
        except OSError:
            self.close_connection = True  # the client was killed

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _answer(path: str, asked: dict[str, Any]) -> dict[str, Any]:
    usage = {"usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}}
    if path.endswith("/rerank"):
        scores = [int(hashlib.sha256(text.encode()).hexdigest()[:4], 16) / 65536 for text in asked["documents"]]
        return {"results": [{"index": n, "relevance_score": score} for n, score in enumerate(scores)], **usage}
    words = re.findall(r"\w+", asked["messages"][-1]["content"])
    drawn = random.Random(json.dumps(asked, sort_keys=True)).sample(words[-30:], 6)
    choice = {"index": 0, "message": {"role": "assistant", "content": " ".join(drawn)}, "finish_reason": "stop"}
    return {"choices": [choice], **usage}


class _Server(ThreadingHTTPServer):
    """Does not complain of clients that were killed."""

    def handle_error(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def counting(log: Path) -> Iterator[str]:
    """A server in a process of its own while the block lasts; its address."""
    log.touch()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"log": log}))
    if not (child := os.fork()):
        server.serve_forever()
        os._exit(0)
    server.socket.close()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def killed_while_paying(base: Path, kills: int, seed: int) -> Paid:
    """Kill runs that ask a server for queries and scores, at random moments, until they come to an end; count.

    Each run folder is begun anew when its run has ended, until so many kills were counted.
    """
    paid, rng = Paid(), random.Random(seed)
    place, log = base / "paid", base / "requests.txt"
    recipe = recipe_file(base / "paid-inputs", place)
    with counting(log) as url:
        _ask(recipe, url)
        work = command(place, "run", recipe, "--yes", "--out", place / "run", "--until", "scores")
        while paid.kills < kills:
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            log.write_text("", encoding="ascii")
            of_folder = _one_folder(work, place, log, rng, paid)
            lacking = len(_requests(log)) - _counted(place)
            paid.forgotten = max(paid.forgotten, lacking / max(1, of_folder))
    return paid


def _one_folder(work: Any, place: Path, log: Path, rng: random.Random, paid: Paid) -> int:
    """Kill the runs of one folder until one ends; how many were killed."""
    killed = 0
    while True:
        before = _requests(log)
        ended = attempt(work, place, killed_after=rng.uniform(0.1, 1.5) if killed < 20 else None)
        time.sleep(2 * DELAY)  # the server may be about to note down what had been sent
        new = _requests(log)[len(before) :]
        again = sum(one in set(before) for one in new)
        paid.sent, paid.again = paid.sent + len(new), paid.again + again
        paid.most_again = max(paid.most_again, again)
        if ended.status != SIGKILLED:
            if ended.status:
                raise SystemExit(ended.said)
            return killed
        killed += 1
        paid.kills += bool(new)  # before the first request a kill costs nothing


def _requests(log: Path) -> list[str]:
    return log.read_text(encoding="ascii").split()


def _counted(place: Path) -> int:
    """Requests that the run folder itself has counted."""
    from tamis.remote.spending import spent_in

    return sum(spending.tokens.requests for spending in spent_in(place / "run").values())


def _ask(recipe: Path, url: str) -> None:
    """Let the server write the recipe's queries and be one of its teachers."""
    content = json.loads(recipe.read_text(encoding="utf-8"))
    server = {"url": url, "model": "m", "prompt_price": 1.0}
    content["queries"] = {"generator": "endpoint", "per_document": 2, "endpoint": server}
    content["scores"]["teachers"] = [{**server, "kind": "remote-reranker", "model": "r", "batch": 4}]
    content["machine"]["requests"] = {"concurrency": CONCURRENCY, "wait": 0.01}
    recipe.write_text(json.dumps(content), encoding="utf-8")
