"""How fast `tamis serve` answers: beside its engine without a server, and beside other servers of the same weights.

    make bench-serving
    python benchmarks/serving.py --seconds 20 --overload 600 --infinity /path/to/venv/bin/infinity_emb

The naive server is FastAPI around sentence-transformers' CrossEncoder. infinity-emb needs older libraries than tamis,
so it stands in an environment of its own: `pip install 'infinity-emb[torch,server]' 'transformers<5'` (its torch
engine, on the processor). All compute in float32, and their first answers must be the same. Writes
benchmarks/results/serving.json and serving.md. All clients are in this process, on the loopback; each sends its
next request when the last one is answered. Who is refused asks again when told to, and waits from the first try on.
Requests hold 20 documents of the Debian FAQ; under mixed load further clients send 200. Three clients that never pause
wait at least three times as long as one, whatever the order in which they are served, less what batches gain by being
shared; so the mixture of three and one says what shared batches gain, those with one and two small clients what large
requests cost small ones. At last, requests come at twice the rate that was reached, whether answers come or not: what
is refused must be told so, and the memory must not grow. Before that, requests come at 25, 50, 75 and 90 % of the rate
that `tamis serve --plan` plans for a replica of this machine's cores, at random times that are drawn beforehand: each
latency counts from the time at which its request should have been sent, so that a server which is slow for a moment
does not hide what it kept from being sent. Servers and the engine take turns, round after round, since a
machine that has neighbours is faster in one minute than in another; those whose turn it is not are idle.
"""

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice
from operator import itemgetter
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urljoin

import httpx2
import numpy as np

from machine import DOCS, ROOT, commit
from results import checked, publish, targets_table
from scoring_engines import DEMO, stock_model

SMALL, LARGE = 20, 200
FEW = 8
"""Clients up to which a load is repeated; more of them need minutes for one request each."""

MIXTURES = ((1, 8), (2, 2), (3, 1))
"""Clients that send small requests, clients that send large ones."""


PLANNED = (0.25, 0.5, 0.75, 0.9)
"""Shares of the planned rate at which requests come."""


@dataclass
class Load:
    """What clients saw.

    Attributes:
        seconds: How long they asked.
        latencies: Seconds of each answered small request.
        pairs: Scored in answered requests.
        statuses: How many answers of each.
    """

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    pairs: int = 0
    statuses: dict[int, int] = field(default_factory=dict)

    def add(self, other: "Load") -> None:
        """Put what was seen at another time beside it."""
        self.seconds += other.seconds
        self.latencies += other.latencies
        self.pairs += other.pairs
        for status, count in other.statuses.items():
            self.statuses[status] = self.statuses.get(status, 0) + count

    def summary(self) -> dict[str, Any]:
        """Rates and percentiles."""
        found = self.latencies or [float("nan")]
        return {
            "pairs_per_second": self.pairs / self.seconds,
            "p50": float(np.percentile(found, 50)),
            "p99": float(np.percentile(found, 99)),
            "statuses": self.statuses,
        }


def requests(count: int) -> Iterator[dict[str, Any]]:
    """Bodies of `count` documents each, without end; questions and answers of the FAQ in turn."""
    folder = DEMO / "data" / "debian-faq"
    texts = [json.loads(line)["text"] for line in (folder / "corpus.jsonl").read_text("utf-8").splitlines()]
    questions = [json.loads(line)["text"] for line in (folder / "queries.jsonl").read_text("utf-8").splitlines()]
    np.random.default_rng(0).shuffle(texts)
    stream = cycle(texts)
    for question in cycle(questions):
        yield {"model": "m", "query": question, "documents": list(islice(stream, count))}


@dataclass(frozen=True)
class Server:
    """How a server is started and asked.

    Attributes:
        command: Its words; {model} and {port} are filled in.
        ready: Path that answers 200 once the model is loaded.
        rerank: Path of requests.
    """

    command: tuple[str, ...]
    ready: str = "/ready"
    rerank: str = "/v2/rerank"


def servers(infinity: Path | None) -> dict[str, Server]:
    """The servers by name; infinity where it is installed."""
    naive = str(ROOT / "serving_naive.py")
    found = {
        "tamis": Server((sys.executable, "-m", "tamis", "serve", "m={model}", "--port", "{port}")),
        "naive": Server((sys.executable, naive, "{model}", "{port}")),
    }
    if infinity:
        words = "v2 --model-id {model} --served-model-name m --host 127.0.0.1 --port {port} --engine torch --device cpu"
        words += " --no-bettertransformer --no-compile --dtype float32"
        found["infinity"] = Server((str(infinity), *words.split()), "/health", "/rerank")
    return found


@contextmanager
def running(name: str, server: Server, model: Path, work: Path) -> Iterator[str]:
    """A server in a process of its own; gives the address for requests once it is ready."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [word.format(model=model.resolve(), port=port) for word in server.command]
    url = f"http://127.0.0.1:{port}"
    quiet = os.environ | {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}
    file = work / f"{name}.log"
    with file.open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log, env=quiet) as process:
        try:
            while not _ready(url + server.ready):
                if process.poll() is not None:
                    raise SystemExit(file.read_text("utf-8"))
                time.sleep(0.2)
            yield url + server.rerank
        finally:
            process.terminate()


def _ready(url: str) -> bool:
    try:
        return httpx2.get(url, timeout=2).status_code == 200
    except httpx2.TransportError:
        return False


def first_scores(url: str) -> np.ndarray:
    """The scores of the first request, in the order of its documents: [20]."""
    found = httpx2.post(url, json=next(requests(SMALL)), timeout=600).json()["results"]
    return np.array([result["relevance_score"] for result in sorted(found, key=itemgetter("index"))])


async def ask(
    client: httpx2.AsyncClient,
    url: str,
    body: dict[str, Any],
    load: Load,
    again: bool = False,
    due: float | None = None,
) -> None:
    """Send one request, again as often as it is refused if `again`, each time when told; write down what came.

    The latency is that of all tries together, from `due` on where that is when it should have been sent.
    """
    start = time.perf_counter() if due is None else due
    while True:
        answer = await client.post(url, json=body)
        load.statuses[answer.status_code] = load.statuses.get(answer.status_code, 0) + 1
        if answer.status_code != 429 or not again:
            break
        await asyncio.sleep(float(answer.headers["retry-after"]))
    if answer.status_code == 200:
        load.pairs += len(body["documents"])
        if len(body["documents"]) == SMALL:
            load.latencies.append(time.perf_counter() - start)


async def closed(url: str, small: int, large: int, seconds: float) -> Load:
    """Clients that wait for each answer before they ask the next thing."""
    load = Load()
    small_ones, large_ones = requests(SMALL), requests(LARGE)
    end = time.perf_counter() + seconds
    async with httpx2.AsyncClient(timeout=600, limits=httpx2.Limits(max_connections=None)) as client:

        async def one(stream: Iterator[dict[str, Any]]) -> None:
            while time.perf_counter() < end:
                await ask(client, url, next(stream), load, again=True)

        start = time.perf_counter()
        await asyncio.gather(*[one(small_ones) for _ in range(small)], *[one(large_ones) for _ in range(large)])
        load.seconds = time.perf_counter() - start
    return load


async def constant(url: str, rate: float, seconds: float) -> Load:
    """Requests at a constant mean rate, at random times that nothing delays; latencies from the scheduled times.

    Args:
        url: Of the server.
        rate: Requests a second.
        seconds: How long they come.
    """
    load = Load()
    gaps = np.random.default_rng(0).exponential(1 / rate, max(1, round(rate * seconds)))
    stream = requests(SMALL)
    async with httpx2.AsyncClient(timeout=600, limits=httpx2.Limits(max_connections=None)) as client:
        start = time.perf_counter()

        async def one(body: dict[str, Any], due: float) -> None:
            await asyncio.sleep(max(0.0, start + due - time.perf_counter()))
            await ask(client, url, body, load, due=start + due)

        await asyncio.gather(*[one(next(stream), float(due)) for due in np.cumsum(gaps)])
        load.seconds = time.perf_counter() - start
    return load


def planned(model: Path, url: str, seconds: float) -> dict[str, Any]:
    """The plan for a replica of this machine's cores, and what requests at shares of its rate saw."""
    from tamis import Reranker
    from tamis.serving.planning import Load as Wanted
    from tamis.serving.planning import plan

    tokens = mean_tokens(model)
    probe = plan(lambda: Reranker(model, device="cpu"), Wanted(1.0, SMALL, tokens))[-1]
    loads = {}
    for share in PLANNED:
        found = asyncio.run(constant(url, share * probe.planned, seconds)).summary()
        loads[f"{share:.0%}"] = found | {"requests_per_second": share * probe.planned}
        print("plan", share, json.dumps(found), file=sys.stderr)
    return {"cores": probe.cores, "requests_per_second": probe.planned, "seconds": probe.seconds, "loads": loads}


def mean_tokens(model: Path) -> int:
    """Tokens of a pair of the requests."""
    from tamis import Reranker

    reranker, body = Reranker(model, device="cpu"), next(requests(SMALL))
    rows = reranker.scorer.encode([(body["query"], text) for text in body["documents"]])
    return round(sum(int(row.length) for row in rows) / len(rows))


async def overload(url: str, rate: float, seconds: float) -> dict[str, Any]:
    """Requests at a rate of `rate` pairs a second, whether they are answered or not; the server's memory beside."""
    load = Load()
    memory: list[float] = []
    stream = requests(SMALL)
    metrics = urljoin(url, "/metrics")
    async with httpx2.AsyncClient(timeout=600, limits=httpx2.Limits(max_connections=None)) as client:
        start = time.perf_counter()
        sent: list[asyncio.Task[None]] = []
        while (passed := time.perf_counter() - start) < seconds:
            while len(sent) < passed * rate / SMALL:
                sent.append(asyncio.create_task(ask(client, url, next(stream), load)))
            if len(memory) <= passed:
                lines = (await client.get(metrics)).text.splitlines()
                memory += [float(line.split()[1]) for line in lines if line.startswith("process_resident_memory_bytes")]
            await asyncio.sleep(0.01)
        ended = await asyncio.gather(*sent, return_exceptions=True)
        load.seconds = time.perf_counter() - start
    settled = memory[len(memory) // 5 :]
    return load.summary() | {
        "sent": len(sent),
        "unanswered": sum(isinstance(one, BaseException) for one in ended),
        "memory_bytes": [memory[0], *settled[:: max(1, len(settled) // 100)]],
    }


def offline(model: Path, pairs: int) -> Load:
    """The engine without a server, on the same requests."""
    from tamis import Reranker

    reranker = Reranker(model, device="cpu")
    bodies = islice(requests(SMALL), -(-pairs // SMALL))
    work = [(body["query"], text) for body in bodies for text in body["documents"]]
    reranker.score_pairs(work[:SMALL])
    start = time.perf_counter()
    reranker.score_pairs(work)
    return Load(time.perf_counter() - start, pairs=len(work))


def measure(
    model: Path, infinity: Path | None, clients: list[int], seconds: float, rounds: int, overloaded: float
) -> dict[str, Any]:
    """Everything, of one model."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as open_servers:
        urls = {
            name: open_servers.enter_context(running(name, server, model, Path(folder)))
            for name, server in servers(infinity).items()
        }
        scores = {name: first_scores(url) for name, url in urls.items()}
        for url in urls.values():
            asyncio.run(closed(url, 1, 0, min(seconds, 2)))  # warm up
        loads = {name: {n: Load() for n in clients} for name in urls}
        engine = Load()
        for turn in range(rounds):
            for n in clients if turn == 0 else [n for n in clients if n <= FEW]:
                for name, url in urls.items():
                    loads[name][n].add(asyncio.run(closed(url, n, 0, seconds)))
                    print(turn, name, n, json.dumps(loads[name][n].summary()), file=sys.stderr)
            engine.add(offline(model, round(loads["tamis"][clients[0]].summary()["pairs_per_second"] * seconds)))
        rows = {name: {n: load.summary() for n, load in of.items()} for name, of in loads.items()}
        url = urls["tamis"]
        mixed = {
            f"{small} small, {large} large": asyncio.run(closed(url, small, large, rounds * seconds)).summary()
            for small, large in MIXTURES
        }
        constant_rate = planned(model, url, rounds * seconds)
        best = max(row["pairs_per_second"] for row in rows["tamis"].values())
        over = asyncio.run(overload(url, 2 * best, overloaded))
    return {
        "servers": {name: {"clients": of} for name, of in rows.items()},
        "mixed": mixed,
        "planned": constant_rate,
        "overload": over,
        "offline_pairs_per_second": engine.summary()["pairs_per_second"],
        "score_difference": max(float(np.abs(one - scores["tamis"]).max()) for one in scores.values()),
    }


def drift_and_swing(memory: Sequence[float]) -> tuple[float, float]:
    """How the median of the last fifth differs from that of the first, and how far single moments lie from the median.

    A batch under way holds memory that one between batches does not: two moments say nothing of growth.
    """
    fifth = max(1, len(memory) // 5)
    middle = median(memory)
    return median(memory[-fifth:]) / median(memory[:fifth]) - 1, max(abs(one / middle - 1) for one in memory)


def targets_of(found: dict[str, Any]) -> list[dict[str, Any]]:
    """What was asked for, and what was reached."""
    ours = found["servers"]["tamis"]["clients"]
    saturated = max(row["pairs_per_second"] for row in ours.values()) / found["offline_pairs_per_second"]
    unloaded = next(iter(ours.values()))["p50"]
    over = found["overload"]
    drift, swing = drift_and_swing(over["memory_bytes"][1:])
    loads = [*(row for server in (ours, found["mixed"], found["planned"]["loads"]) for row in server.values()), over]
    wrong = over["unanswered"] + sum(
        count for load in loads for status, count in load["statuses"].items() if status not in (200, 429)
    )
    rows: list[tuple[str, float, str]] = [
        ("share of the offline engine's pairs a second", saturated, ">= 0.9"),
        ("overload: memory of the last fifth against the first", drift, "within 0.05"),
        ("overload: memory of single moments from the median", swing, "<= 0.05"),
        ("all loads: neither answered nor told 429", wrong, "= 0"),
    ]
    for mixture, row in found["mixed"].items():
        slower = row["p99"] / unloaded
        rows.append((f"p99 of 20 documents against unloaded p50, {mixture}", slower, "<= 3"))
    at = found["planned"]["loads"]["75%"]
    slower = at["p99"] / at["p50"]
    rows.append(("p99 against p50 at 75 % of the plan", slower, "<= 3"))
    for name, bound in (("naive", 2.0), ("infinity", 1.5)):
        for clients, row in found["servers"].get(name, {"clients": {}})["clients"].items():
            ratio = ours[clients]["pairs_per_second"] / row["pairs_per_second"]
            rows.append((f"against {name}, {clients} clients", ratio, f">= {bound:g}"))
    gap = found["score_difference"]
    rows.append(("largest difference of scores between servers", gap, "<= 1e-4"))
    return checked(rows)


def markdown(content: dict[str, Any]) -> str:
    """The tables."""
    lines = ["| server | clients | pairs/s | p50, s | p99, s | refused tries |", "|---|---|---:|---:|---:|---:|"]
    loads = {(name, n): row for name, of in content["servers"].items() for n, row in of["clients"].items()}
    loads |= {("tamis", mixture): row for mixture, row in content["mixed"].items()}
    loads |= {("tamis", f"{share} of the plan"): row for share, row in content["planned"]["loads"].items()}
    loads["tamis", "twice the rate, refused ones leave"] = content["overload"]
    for (name, clients), row in loads.items():
        figures = f"{row['pairs_per_second']:.1f} | {row['p50']:.2f} | {row['p99']:.2f}"
        lines.append(f"| {name} | {clients} | {figures} | {row['statuses'].get(429, 0):,} |")
    lines += [f"| no server | | {content['offline_pairs_per_second']:.1f} | | | |", ""]
    return "\n".join([*lines, *targets_table(content["targets"])]) + "\n"


def main() -> None:
    """Run, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="one-label classifier; default that of benchmarks/scoring.py")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--seconds", type=float, default=20, help="of each turn")
    parser.add_argument("--rounds", type=int, default=3, help=f"turns of each load of up to {FEW} clients")
    parser.add_argument("--overload", type=float, default=600, help="seconds at twice the rate that was reached")
    parser.add_argument("--infinity", type=Path, help="infinity_emb's command in its environment")
    chosen = parser.parse_args()
    model = chosen.model or stock_model()
    at = commit()
    content = {
        "versions": {name: __import__(name).__version__ for name in ("torch", "starlette", "uvicorn", "fastapi")},
        "model": model.name,
        "seconds": chosen.seconds,
        "rounds": chosen.rounds,
    } | measure(model, chosen.infinity, chosen.clients, chosen.seconds, chosen.rounds, chosen.overload)
    content["targets"] = targets_of(content)
    pages = [DOCS / "serving.md"] if chosen.infinity and not chosen.model else []
    publish("serving", at, content, markdown(content), pages)


if __name__ == "__main__":
    main()
