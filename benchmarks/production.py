"""What a server does while it is operated: models swapped and put back under load, traffic split, memory given back.

    make bench-production                          # every part
    python benchmarks/production.py split          # one of them; the others stay as they were measured

`tamis serve` in a process of its own, asked over the loopback by clients in this one. The parts:

- changes: 10,000 requests while a model is swapped 20 times and put back 20 times. Two tiny classifiers, built as the
  tests build them, score every pair of a pool beforehand; each answer must be that of the version which it names.
- split: 10,000 requests that ask for one name with the weights 9 and 1, by chance, and as many by a header.
- memory: tamis-base, which ships, swapped 20 times for a copy of other weights; what the process holds after each.

Each part says at which commit and where it was measured. Writes benchmarks/results/production.json and production.md.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from machine import DOCS
from parts import Part, Parts, asked_parts, write_parts
from results import show_in_readme

SEED = 11
CLIENTS = 4
REQUESTS = 10_000
CHANGES = 20
"""Times that a model is swapped, and times that the one before is put back."""

WEIGHTS = {"old": 9, "new": 1}
EQUAL = 1e-5
"""Scores of a served model are those of the same model offline to this."""

KEY = {"authorization": "Bearer bench"}


@contextmanager
def running(settings: Mapping[str, Any], folder: Path) -> Iterator[tuple[str, str]]:
    """`tamis serve` with a file of settings; gives its address and that of its metrics once it is ready."""
    file = folder / "serve.yaml"
    file.write_text(yaml.safe_dump({"port": 0, "metrics_port": 0, **settings}), "utf-8")
    told = os.environ | {"TAMIS_ADMIN_KEY": "bench", "HF_HUB_OFFLINE": "1"}
    log = folder / "serve.log"
    command = [sys.executable, "-m", "tamis", "serve", "--config", str(file)]
    with log.open("wb") as said, subprocess.Popen(command, stdout=said, stderr=said, env=told) as process:
        try:
            facts = _facts(process, log)
            while not _ready(facts["url"]):
                time.sleep(0.1)
            yield facts["url"], facts["metrics"]
        finally:
            process.terminate()


def _facts(process: "subprocess.Popen[bytes]", log: Path) -> dict[str, Any]:
    while True:
        for line in log.read_text("utf-8").splitlines():
            if '"listening"' in line:
                found: dict[str, Any] = json.loads(line)
                return found
        if process.poll() is not None:
            raise SystemExit(log.read_text("utf-8"))
        time.sleep(0.1)


def _ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/readyz", timeout=5).status_code == 200
    except httpx2.TransportError:
        return False


def change(url: str, method: str, path: str, body: Any = None) -> float:
    """Have a model changed; the seconds that it took."""
    start = time.perf_counter()
    answer = httpx2.request(method, f"{url}/admin/{path}", json=body, headers=KEY, timeout=120)
    if answer.status_code != 200:
        raise SystemExit(answer.text)
    return time.perf_counter() - start


def tiny_models(folder: Path) -> tuple[Path, Path]:
    """Two classifiers of the same body with other heads."""
    from tamis.models.encoder import Encoder
    from tamis.models.saving import save_student
    from tests.conftest import build_tiny_encoder
    from tests.rerankers import DEPLOYMENT, new_stock

    body = build_tiny_encoder(folder / "body")
    for name, seed in (("old", 1), ("new", 7)):
        save_student(new_stock(Encoder.load(body), seed), folder / name, DEPLOYMENT)
    return folder / "old", folder / "new"


def pool() -> tuple[list[str], list[str]]:
    """Questions and documents that requests are drawn from."""
    from tests.conftest import TOPICS

    pairs = [pair for topics in TOPICS.values() for pair in topics]
    answers = [answer for _, answer in pairs]
    longer = [" ".join(found) for found in pairwise(answers)]
    return [question for question, _ in pairs], [*answers, *longer]


def scored(folder: Path, queries: Sequence[str], documents: Sequence[str]) -> np.ndarray:
    """Scores of all pairs without a server: [queries, documents]."""
    from tamis import Reranker

    pairs = [(query, document) for query in queries for document in documents]
    found: np.ndarray = Reranker(folder).predict(pairs)
    return found.reshape(len(queries), len(documents))


@dataclass
class Seen:
    """What the clients of one load saw.

    Attributes:
        statuses: How many answers of each; 0 where none came.
        versions: How many answers named each version.
        seconds: Of each request.
        gap: Largest difference of a score from that of the version which its answer names.
        wrong: Answers with a score that is further away than `EQUAL`.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    gap: float = 0.0
    wrong: int = 0


class Clients:
    """Clients that ask until so many requests were answered, and hold every answer against the version it names."""

    def __init__(self, url: str, right: Mapping[str, np.ndarray]) -> None:
        self.url = url
        self.right = right
        self.seen = Seen()
        self.queries, self.documents = pool()
        self._lock = threading.Lock()
        self._left = REQUESTS

    def run(self, number: int) -> None:
        """Be one of them."""
        generator = random.Random(f"{SEED}/{number}")
        with httpx2.Client(base_url=self.url, timeout=60) as client:
            while self._take():
                query = generator.randrange(len(self.queries))
                chosen = generator.sample(range(len(self.documents)), generator.randint(1, 6))
                self._ask(client, query, chosen)

    def _take(self) -> bool:
        with self._lock:
            self._left -= 1
            return self._left >= 0

    @property
    def done(self) -> int:
        """Requests that were answered or failed."""
        return len(self.seen.seconds)

    def _ask(self, client: httpx2.Client, query: int, chosen: list[int]) -> None:
        body = {"query": self.queries[query], "documents": [self.documents[place] for place in chosen]}
        start = time.perf_counter()
        try:
            answer = client.post("/v1/rerank", json=body)
        except httpx2.HTTPError:
            answer = None
        seconds = time.perf_counter() - start
        with self._lock:
            self.seen.seconds.append(seconds)
            self.seen.statuses[answer.status_code if answer else 0] += 1
            if answer and answer.status_code == 200:
                self._compare(answer, query, chosen)

    def _compare(self, answer: httpx2.Response, query: int, chosen: list[int]) -> None:
        version = answer.headers["x-model-version"]
        self.seen.versions[version] += 1
        right = self.right[version][query, chosen]
        gap = max(abs(hit["relevance_score"] - float(right[hit["index"]])) for hit in answer.json()["results"])
        self.seen.gap = max(self.seen.gap, gap)
        self.seen.wrong += gap > EQUAL


def changes(folder: Path) -> Part:
    """Swap a model and put the old one back, again and again, under load."""
    from tamis.serving.loading import version_of

    old, new = tiny_models(folder)
    queries, documents = pool()
    right = {version_of(str(one)).short: scored(one, queries, documents) for one in (old, new)}
    took: list[float] = []
    with running({"models": {"m": str(old)}}, folder) as (url, _), ThreadPoolExecutor(CLIENTS) as threads:
        clients = Clients(url, right)
        working = [threads.submit(clients.run, number) for number in range(CLIENTS)]
        for place in range(2 * CHANGES):
            while clients.done < REQUESTS * (place + 0.5) / (2 * CHANGES):
                time.sleep(0.002)
            back = place % 2 == 1
            took.append(change(url, "POST", "back/m") if back else change(url, "PUT", "models/m", {"folder": str(new)}))
        for one in working:
            one.result()
    return _changes_part(clients, right, took)


def _changes_part(clients: Clients, right: Mapping[str, np.ndarray], took: Sequence[float]) -> Part:
    seen, (one, other) = clients.seen, right.values()
    failed = REQUESTS - seen.statuses[200]
    figures = {
        "requests": len(seen.seconds),
        "statuses": dict(seen.statuses),
        "versions": dict(seen.versions),
        "changes": len(took),
        "seconds_of_a_change": float(np.median(took)),
        "p50": float(np.percentile(seen.seconds, 50)),
        "p99": float(np.percentile(seen.seconds, 99)),
        "longest": max(seen.seconds),
        "models_differ_by_at_least": float(np.abs(one - other).min()),
        "models_differ_by_in_the_median": float(np.median(np.abs(one - other))),
    }
    rows = [
        (f"of {REQUESTS:,} requests during {CHANGES} swaps and {CHANGES} steps back failed", failed, "= 0"),
        ("answers that are not those of the version they name", seen.wrong, "= 0"),
        ("largest difference of a score from that version's", seen.gap, f"<= {EQUAL:g}"),
    ]
    return Part(figures, rows, (SEED,))


def split(folder: Path) -> Part:
    """Ask for a name that two models share."""
    old, new = tiny_models(folder)
    figures: dict[str, Any] = {}
    rows = []
    for by in ("chance", "header:x-user"):
        settings = {"models": {"old": str(old), "new": str(new)}, "split": {"m": WEIGHTS}, "split_by": by}
        with running(settings, folder) as (url, _), ThreadPoolExecutor(CLIENTS) as threads:
            counted = sum(threads.map(lambda number, url=url: _drawn(url, number), range(CLIENTS)), Counter[str]())
        share = counted["new"] / counted.total()
        off = abs(share - WEIGHTS["new"] / sum(WEIGHTS.values()))
        figures[by] = dict(counted)
        rows.append((f"split by {by.partition(':')[0]}: share from its weight", off, "<= 0.01"))
    return Part(figures, rows)


def _drawn(url: str, number: int) -> Counter[str]:
    """Which models answered one client's share of the requests, each of another user."""
    found: Counter[str] = Counter()
    with httpx2.Client(base_url=url, timeout=60) as client:
        for place in range(REQUESTS // CLIENTS):
            body = {"model": "m", "query": "a user", "documents": ["one"]}
            answer = client.post("/v1/rerank", json=body, headers={"x-user": f"{number}/{place}"})
            found[answer.headers["x-model"]] += 1
    return found


def memory(folder: Path) -> Part:
    """Swap the model that ships for one of other weights, and look at what the process holds."""
    from safetensors.torch import load_file, save_file

    from tamis.models.checkpoint import find_checkpoint

    shipped = Path(find_checkpoint("tamis-base"))
    other = shutil.copytree(shipped, folder / "other")
    for file in other.glob("*.safetensors"):
        tensors = load_file(file)
        save_file({name: tensor * 1.001 for name, tensor in tensors.items()}, file, {"format": "pt"})
    texts = pool()[1]
    held, took = [], []
    with running({"models": {"m": str(shipped)}}, folder) as (url, metrics):
        for place in range(CHANGES + 1):
            httpx2.post(f"{url}/v1/rerank", json={"query": "a user", "documents": texts}, timeout=60).raise_for_status()
            time.sleep(2)  # what was let go is collected a second later
            held.append(_resident(metrics))
            to = str(other if place % 2 == 0 else shipped)
            took.append(change(url, "PUT", "models/m", {"folder": to}))
    size = sum(file.stat().st_size for file in shipped.glob("*.safetensors"))
    return _memory_part(held, took, size)


def _memory_part(held: Sequence[float], took: Sequence[float], size: int) -> Part:
    """The first swap also loads what stays, such as code; growth is counted from there."""
    growth = (held[-1] - held[1]) / (len(held) - 2)
    figures = {"resident_bytes": list(held), "seconds_of_a_change": float(np.median(took)), "model_bytes": size}
    rows = [
        ("memory that stays behind a swap, MB", growth / 1e6, f"<= {0.02 * held[1] / 1e6:.0f}"),
        (f"memory after {len(held) - 1} swaps against after the first", held[-1] / held[1] - 1, "<= 0.05"),
    ]
    return Part(figures, rows)


def _resident(metrics: str) -> float:
    lines = httpx2.get(metrics, timeout=20).text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("process_resident_memory_bytes"))


PARTS: Parts = {"changes": changes, "split": split, "memory": memory}
"""What is measured, each by a function that is given an empty folder; a new one needs a line here."""


def main() -> None:
    """Measure what was asked for; then write."""
    table = write_parts("production", PARTS, asked_parts(__doc__, PARTS), {}, titled=False)
    show_in_readme(table, "production", DOCS / "operating.md")


if __name__ == "__main__":
    main()
