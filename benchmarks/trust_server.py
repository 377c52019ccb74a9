"""What a server outlives: it is killed and comes back, a day's requests in fast motion leave its memory as it was.

    make bench-trust_server
    python benchmarks/trust_server.py --only killed --model tamis-base

Writes benchmarks/results/trust_server.json and trust_server.md, and the table in docs/trust.md. The model is the tests'
tiny one unless another is named: what is looked at are the process and its memory, not the model. `beside` takes the
p99 of small requests alone and beside large ones in turns of some seconds, so that both are of the same minutes.
"""

import argparse
import asyncio
import math
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import httpx2

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from machine import DOCS, commit, machine
from results import checked, earlier_results, print_targets, show_in_readme, targets_table, write_results

SEED = 25
PATIENCE = 120.0
"""Seconds after which a server that does not come back is a fault."""

WORDS = ("user", "add", "package", "install", "kernel", "module", "print", "network", "disk", "mount", "file", "boot")

Row = dict[str, Any]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def tiny_model(folder: Path) -> Path:
    """The tests' stock reranker."""
    from tamis.models.encoder import Encoder
    from tamis.models.saving import save_student
    from tests.conftest import build_tiny_encoder
    from tests.rerankers import DEPLOYMENT, new_stock

    save_student(new_stock(Encoder.load(build_tiny_encoder(folder / "encoder"))), folder / "model", DEPLOYMENT)
    return folder / "model"


def body(rng: random.Random, documents: int = 5, words: int = 12) -> Row:
    """A request of random words."""
    texts = [" ".join(rng.choices(WORDS, k=words)) + f" {rng.randrange(10**9)}" for _ in range(documents)]
    return {"query": " ".join(rng.choices(WORDS, k=4)), "documents": texts}


class Kept:
    """A server that is started again whenever it ends, as systemd or Kubernetes would; `url` stays."""

    def __init__(self, model: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = [sys.executable, "-m", "tamis", "serve", f"any={model}", "--port", str(self.port)]
        self._ended = threading.Event()
        self._failed = ""
        self.process = self._start()
        self._watch = threading.Thread(target=self._keep, daemon=True)
        self._watch.start()

    def _start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def _keep(self) -> None:
        while not self._ended.is_set():
            _, said = self.process.communicate()
            if self.process.returncode >= 0 and not self._ended.is_set():  # nobody killed it
                self._failed = said.decode(errors="replace")[-500:]
                return
            if not self._ended.is_set():
                self.process = self._start()

    def ready(self) -> float:
        """Wait until it is ready; seconds that took."""
        began = time.monotonic()
        while time.monotonic() - began < PATIENCE:
            if self._failed:
                raise SystemExit(f"the server ended: {self._failed}")
            with suppress(httpx2.HTTPError):
                if httpx2.get(f"{self.url}/ready", timeout=2).status_code == 200:
                    return time.monotonic() - began
            time.sleep(0.02)
        raise SystemExit(f"the server is not ready after {PATIENCE} s")

    def end(self) -> None:
        """End it for good."""
        self._ended.set()
        self.process.terminate()
        self._watch.join(30)


@contextmanager
def kept(model: str) -> Iterator[Kept]:
    """A server that is ready and kept alive."""
    server = Kept(model)
    try:
        server.ready()
        yield server
    finally:
        server.end()


def asked_until_answered(url: str, content: Row) -> int:
    """Send a request until it is answered, as clients with retries do; how many times it was sent.

    Raises:
        SystemExit: It was answered by anything but 200, 429 or 503.
    """
    end, tries = time.monotonic() + PATIENCE, 0
    while time.monotonic() < end:
        tries += 1
        with suppress(httpx2.TransportError):
            found = httpx2.post(f"{url}/v1/rerank", json={"model": "any", **content}, timeout=30)
            if found.status_code == 200:
                return tries
            if found.status_code not in (429, 503):
                raise SystemExit(f"{found.status_code}: {found.text[:200]}")
        time.sleep(0.1)
    raise SystemExit("a request was not answered")


def killed(model: str, kills: int) -> Row:
    """Kill the server again and again while a client asks it."""
    rng, seconds, answered, repeated = random.Random(SEED), [], 0, 0
    done = threading.Event()

    def ask() -> None:
        nonlocal answered, repeated
        own = random.Random(SEED + 1)
        while not done.is_set():
            repeated += asked_until_answered(server.url, body(own)) - 1
            answered += 1

    with kept(model) as server:
        client = threading.Thread(target=ask)
        client.start()
        for _ in range(kills):
            time.sleep(rng.uniform(0.2, 1.0))
            server.process.kill()
            time.sleep(0.02)
            seconds.append(server.ready())
        done.set()
        client.join(PATIENCE)
    return {
        "kills": kills,
        "seconds": seconds,
        "answered": answered,
        "repeated": repeated,
        "unanswered": client.is_alive(),
    }


def memory_of(process: int) -> int:
    """Resident bytes."""
    return int(Path(f"/proc/{process}/statm").read_text("utf-8").split()[1]) * 4096


def fast_motion(model: str, requests: int) -> Row:
    """Many different requests one after the other, four at a time; the server's memory beside."""
    rng = random.Random(SEED)
    samples: list[int] = []

    async def send() -> None:
        limits = httpx2.Limits(max_connections=4)
        async with httpx2.AsyncClient(base_url=server.url, limits=limits, timeout=60) as client:
            left = iter(range(requests))

            async def worker() -> None:
                for number in left:
                    found = await client.post("/v1/rerank", json={"model": "any", **body(rng, rng.randrange(1, 8))})
                    found.raise_for_status()
                    if number % max(1, requests // 200) == 0:
                        samples.append(memory_of(server.process.pid))

            await asyncio.gather(*(worker() for _ in range(4)))

    with kept(model) as server:
        began = time.monotonic()
        asyncio.run(send())
        seconds = time.monotonic() - began
    fifth = len(samples) // 5
    settled = samples[fifth:]
    grown = median(settled[-fifth:]) / median(settled[:fifth]) - 1
    return {"requests": requests, "seconds": seconds, "memory_bytes": samples, "grown": grown}


def beside(model: str, large: int, turns: int, seconds: float) -> Row:
    """p99 of small requests alone and beside large ones, in turns."""
    times: dict[str, list[float]] = {"alone": [], "beside": []}

    async def turn(name: str, clients: int, client: httpx2.AsyncClient, rng: random.Random) -> None:
        end = time.monotonic() + seconds

        async def ask_large() -> None:
            while time.monotonic() < end:
                await client.post("/v1/rerank", json={"model": "any", **body(rng, 200, 100)})

        async def ask_small() -> None:
            while time.monotonic() < end:
                began = time.monotonic()
                found = await client.post("/v1/rerank", json={"model": "any", **body(rng, 20, 100)})
                if found.status_code == 200:
                    times[name].append(time.monotonic() - began)

        await asyncio.gather(ask_small(), *(ask_large() for _ in range(clients)))

    async def send() -> None:
        rng = random.Random(SEED)
        async with httpx2.AsyncClient(base_url=server.url, timeout=120) as client:
            for _ in range(turns):
                await turn("alone", 0, client, rng)
                await turn("beside", large, client, rng)

    with kept(model) as server:
        asyncio.run(send())
    p99 = {name: quantiles(values, n=100)[98] for name, values in times.items()}
    return {"large": large, "requests": {name: len(values) for name, values in times.items()}, "p99": p99}


def rows_of(found: Mapping[str, Any]) -> list[Row]:
    """What has to hold, and whether it does."""
    rows: list[tuple[str, float, str]] = []
    for model, one in found.get("killed", {}).items():
        slowest = max(one["seconds"])
        name = f"{model}: seconds from kill -9 to ready, the slowest of {one['kills']}"
        rows.append((name, slowest, "<= 30"))
        name = f"{model}: of {one['answered']:,} requests of a client that repeats, unanswered or wrong"
        rows.append((name, one["unanswered"] if one["answered"] else math.inf, "= 0"))
    for model, one in found.get("memory", {}).items():
        name = f"{model}: memory of the last fifth against that after the first fifth, {one['requests']:,} requests"
        rows.append((name, one["grown"], "<= 0.05"))
    for model, one in found.get("beside", {}).items():
        ratio = one["p99"]["beside"] / one["p99"]["alone"]
        name = f"{model}: p99 of 20 documents beside {one['large']} x 200 against alone, same minutes"
        rows.append((name, ratio, "<= 3"))
    return checked(rows)


def main() -> None:
    """Measure what is asked for, beside what earlier calls have found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=("killed", "memory", "beside"))
    parser.add_argument("--model", default="", help="Reranker; the tests' tiny one unless given")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--large", type=int, default=1, help="Clients that send 200 documents at a time")
    parser.add_argument("--turns", type=int, default=10)
    asked = parser.parse_args()
    found: Row = earlier_results("trust_server")
    with tempfile.TemporaryDirectory() as folder:
        model, name = (asked.model, Path(asked.model).name) if asked.model else (str(tiny_model(Path(folder))), "tiny")
        if asked.only in (None, "killed"):
            found.setdefault("killed", {})[name] = killed(model, asked.kills)
        if asked.only in (None, "memory"):
            found.setdefault("memory", {})[name] = fast_motion(model, asked.requests)
        if asked.only in (None, "beside"):
            found.setdefault("beside", {})[name] = beside(model, asked.large, asked.turns, 5.0)
        shutil.rmtree(folder, ignore_errors=True)
    found |= {"commit": commit(), "machine": machine(), "seeds": [SEED], "targets": rows_of(found)}
    table = "\n".join([*targets_table(found["targets"]), ""])
    write_results("trust_server", found, table)
    show_in_readme(table, "trust_server", DOCS / "trust.md")
    print_targets(found["targets"])


if __name__ == "__main__":
    main()
