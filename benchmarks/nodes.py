"""What two machines of a Ray cluster do when one of them dies: the server's replicas, and a run's workers.

    make bench-nodes                        # both parts; as root, for it makes network namespaces
    python benchmarks/nodes.py serve        # one of them; the other stays as it was measured

Each machine is a network namespace with an address, an interface and a shared memory of its own, and runs Ray's
processes from `ray start`; both share this machine's processors and disk. Clients ask from a third address. A machine
dies by SIGKILL to every process in its namespace at once, and does not come back. The parts:

- serve: two replicas of a tiny model, deployed from deploy/ray.yaml, one on each machine. Eight clients ask without a
  pause, half of them each machine's proxy, and each score is held against the model's own. The second machine dies; a
  client that cannot connect any more asks the other proxy, as a load balancer does. The full rate is back when two
  replicas run on machines that live and a second brings nine tenths of the answers of before.
- one_address: the same, but all clients ask the first machine's proxy, which is told to use both machines' replicas
  alike (RAY_SERVE_PROXY_PREFER_LOCAL_NODE_ROUTING=0): it has requests with the replica that dies.
- run: `tamis run --engine ray` of a small corpus with a reranker as teacher, one worker on each machine. The second
  machine dies while its worker is at a piece and half of the teacher's pairs are kept. Its files are held against
  those of a run in one process.

Writes benchmarks/results/nodes.json and nodes.md.
"""

import importlib.util
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from machine import DOCS, ROOT
from parts import Part, Parts, asked_parts, write_parts
from results import show_in_readme

SEED = 7
CLIENTS = 8
BEFORE = 20.0
"""Seconds of load before the machine dies, and the least after it."""

PATIENCE = 180.0
"""Seconds that anything may take."""

FULL = 0.9
"""Share of the answers of before that is the full rate again."""

EQUAL = 1e-5
DOCUMENTS = 120
"""Documents of each language of the run's corpus."""

BRIDGE = "tamis-bridge"
HERE = "198.51.100.254"
"""This machine's address beside the two; the network is one that RFC 5737 keeps for documentation."""


@dataclass(frozen=True)
class Node:
    """A machine of the cluster: a network namespace.

    Attributes:
        name: Of the namespace, and of this end of its cable.
        address: Of the other end.
    """

    name: str
    address: str

    def inside(self, *command: object) -> list[str]:
        """A command, run in the namespace."""
        return ["ip", "netns", "exec", self.name, *map(str, command)]

    def processes(self) -> list[int]:
        """Ids of all processes in it."""
        found = subprocess.run(["ip", "netns", "pids", self.name], check=False, capture_output=True, text=True)
        return [int(line) for line in found.stdout.split()]

    def kill(self) -> int:
        """End all of them at once, and wait until they have let go of everything; how many there were."""
        killed: set[int] = set()
        while found := self.processes():  # again, for those that were being started
            for process in found:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            killed.update(found)
        while any(_holds(process) for process in killed):
            time.sleep(0.002)
        return len(killed)


def _holds(process: int) -> bool:
    """Whether any thread of a killed process still has its files; they outlive the namespace's list of processes."""
    try:
        status = Path(f"/proc/{process}/status").read_text("utf-8")
    except OSError:
        return False
    return "State:\tZ" not in status or "Threads:\t1\n" not in status


HEAD = Node("tamis-head", "198.51.100.1")
WORKER = Node("tamis-worker", "198.51.100.2")


# The machines


def refuse(line: str) -> None:
    """End with what is missing, before anything was begun."""
    print(f"nodes.py: {line}", file=sys.stderr)
    raise SystemExit(2)


def check_machine() -> None:
    """See that namespaces can be made and Ray is there, or end."""
    if os.geteuid() != 0:
        refuse("network namespaces are made by root; run it as root")
    if not shutil.which("ip"):
        refuse("the program ip makes network namespaces; apt-get install iproute2")
    if importlib.util.find_spec("ray") is None:
        refuse("Ray is not installed; pip install 'tamis[ray,serve,train]'")


def ip(*words: str) -> None:
    """One command of iproute2, which has to succeed."""
    done = subprocess.run(["ip", *words], check=False, capture_output=True, text=True)
    if done.returncode:
        refuse(
            f"ip {' '.join(words)}: {' '.join(done.stderr.split())}; this machine lets nobody make network namespaces"
        )


@contextmanager
def network() -> Iterator[None]:
    """Two namespaces and a bridge between them and this machine; nothing of it is left afterwards."""
    clear()  # what a killed run may have left
    try:
        ip("link", "add", "name", BRIDGE, "type", "bridge")
        ip("address", "add", f"{HERE}/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        for node in (HEAD, WORKER):
            ip("netns", "add", node.name)
            ip("link", "add", node.name, "type", "veth", "peer", "name", "eth0", "netns", node.name)
            ip("link", "set", node.name, "master", BRIDGE, "up")
            ip("-n", node.name, "address", "add", f"{node.address}/24", "dev", "eth0")
            ip("-n", node.name, "link", "set", "eth0", "up")
            ip("-n", node.name, "link", "set", "lo", "up")
        yield
    finally:
        clear()


def clear() -> None:
    """End what runs in the namespaces, and take them and the bridge away."""
    for node in (HEAD, WORKER):
        node.kill()
        subprocess.run(["ip", "netns", "delete", node.name], check=False, capture_output=True)
    subprocess.run(["ip", "link", "delete", BRIDGE], check=False, capture_output=True)


def told(folder: Path, **more: str) -> dict[str, str]:
    """The environment of what runs in the namespaces: no proxy, no hub, a cache of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    own = {
        "PYTHONPATH": str(ROOT.parent / "src"),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "XDG_CACHE_HOME": str(folder / "cache"),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",
    }
    return kept | own | more


def beside(name: str) -> Path:
    """A command of this environment."""
    return Path(sys.executable).with_name(name)


def call(command: Sequence[str], folder: Path, **more: str) -> None:
    """Run a command to its end; end the benchmark with what it said where it fails."""
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env=told(folder, **more), cwd=folder, timeout=PATIENCE
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


@contextmanager
def cluster(folder: Path, cpus: int, **more: str) -> Iterator[None]:
    """Ray on both machines, each with so many processors, a folder and a shared memory of its own; `more` variables."""
    common = ["--num-cpus", cpus, "--object-store-memory", 200 << 20]
    first = ["--head", "--port", 6379, "--dashboard-host", "0.0.0.0"]
    with network():
        for node, role in ((HEAD, first), (WORKER, ["--address", f"{HEAD.address}:6379"])):
            own = folder / node.name.removeprefix("tamis-")[0]  # short: the path of a socket has 107 bytes
            start = [beside("ray"), "start", *role, "--node-ip-address", node.address, "--temp-dir", own, *common]
            call(node.inside("sh", "-c", 'mount -t tmpfs tmpfs /dev/shm && exec "$@"', "sh", *start), folder, **more)
        yield


def wait_for(reached: Callable[[], bool], what: str) -> float:
    """Wait until something is reached; the seconds that it took."""
    start = time.monotonic()
    while not reached():
        if time.monotonic() - start > PATIENCE:
            raise SystemExit(f"not within {PATIENCE:.0f} s: {what}")
        time.sleep(0.1)
    return time.monotonic() - start


# Replicas of the server


@dataclass(frozen=True)
class Asked:
    """One request: seconds on the clock, and how it ended.

    Attributes:
        start: When it was sent.
        end: When its answer or its failure came.
        status: Of the answer; 0 where none came.
        gap: Largest difference of a score from the model's own.
        moved: Whether its first proxy took no connection, and the other one was asked.
        said: Beginning of an answer that is not 200.
    """

    start: float
    end: float
    status: int
    gap: float = 0.0
    moved: bool = False
    said: str = ""


class Load:
    """Clients that ask one after the other until they are told to stop."""

    def __init__(self, urls: Sequence[str], folder: Path) -> None:
        """Ask `urls` in turn, with the scores of the model in `folder` beside."""
        from tamis import Reranker
        from tests.conftest import TOPICS

        pairs = [pair for topics in TOPICS.values() for pair in topics]
        self.queries, self.documents = zip(*pairs, strict=True)
        every = [(query, document) for query in self.queries for document in self.documents]
        self.right = Reranker(folder).predict(every).reshape(len(self.queries), len(self.documents))
        self.urls, self.seen, self.stop = urls, list[Asked](), threading.Event()

    def run(self, number: int) -> None:
        """Be one client."""
        generator = random.Random(f"{SEED}/{number}")
        urls = [*self.urls[number % len(self.urls) :], *self.urls]  # the first that takes a connection
        with httpx2.Client(timeout=60, trust_env=False) as client:
            while not self.stop.is_set():
                self.seen.append(self._ask(client, urls, generator.randrange(len(self.queries))))

    def _ask(self, client: httpx2.Client, urls: list[str], query: int) -> Asked:
        body = {"model": "tiny", "query": self.queries[query], "documents": self.documents}
        start, moved = time.monotonic(), False
        try:
            try:
                answer = _post(client, urls[0], body)
            except httpx2.ConnectError:  # nothing was sent yet
                urls[:], moved = urls[1:] or urls, True
                answer = _post(client, urls[0], body)
        except httpx2.HTTPError as error:
            return Asked(start, time.monotonic(), 0, moved=moved, said=f"{type(error).__name__}: {error}"[:200])
        end = time.monotonic()
        if answer.status_code != 200:
            return Asked(start, end, answer.status_code, moved=moved, said=answer.text[:200])
        return Asked(start, end, 200, self._gap(answer, query), moved)

    def _gap(self, answer: httpx2.Response, query: int) -> float:
        hits = answer.json()["results"]
        if len(hits) != len(self.documents):
            return float("inf")
        return max(abs(float(hit["relevance_score"]) - float(self.right[query, hit["index"]])) for hit in hits)

    def rate(self, start: float, end: float) -> float:
        """Answers a second between two moments."""
        return sum(start <= one.end < end and one.status == 200 for one in list(self.seen)) / (end - start)


def _post(client: httpx2.Client, url: str, body: Mapping[str, Any]) -> httpx2.Response:
    return client.post(f"{url}/v2/rerank", json=body, headers={"authorization": "Bearer one"})


@dataclass
class Watched:
    """What was seen around the death of a machine, in seconds on the clock.

    Attributes:
        addresses: Of the machines that the replicas were on before, and at the end.
        before: Answers a second before.
        worked: Processor seconds of the replica on each machine until then.
        dies: When the killing began.
        dead: When the last process of the machine was gone.
        replicas_again: When two replicas ran on machines that live.
        full: When the full rate was back.
        steps: Seconds since the death and answers a second, for each second.
    """

    addresses: list[list[str]] = field(default_factory=list)
    before: float = 0.0
    worked: tuple[float, float] = (0.0, 0.0)
    dies: float = 0.0
    dead: float = 0.0
    replicas_again: float = 0.0
    full: float = 0.0
    steps: list[tuple[int, float]] = field(default_factory=list)


def serve(folder: Path) -> Part:
    """Let one machine of two die while both machines' proxies are asked."""
    return _serve(folder, (HEAD, WORKER))


def one_address(folder: Path) -> Part:
    """Let one machine of two die while the other one's proxy gives requests to both."""
    return _serve(folder, (HEAD,), RAY_SERVE_PROXY_PREFER_LOCAL_NODE_ROUTING="0")


def _serve(folder: Path, asked: Sequence[Node], **more: str) -> Part:
    model = tiny_model(folder)
    with cluster(folder, 2, **more):
        call(HEAD.inside(beside("serve"), "deploy", deployment(folder, model)), folder)
        wait_for(lambda: len(replicas()) == 2, "two replicas")
        load = Load([f"http://{node.address}:8000" for node in asked], model)
        with ThreadPoolExecutor(CLIENTS) as threads:
            working = [threads.submit(load.run, number) for number in range(CLIENTS)]
            try:
                watched = watch(load)
            finally:
                load.stop.set()
            for one in working:
                one.result()
    return _served(load.seen, watched)


def tiny_model(folder: Path) -> Path:
    """The warm cross-encoder that the tests serve."""
    from tamis.models.encoder import Encoder
    from tamis.models.saving import save_student
    from tests.conftest import build_tiny_encoder
    from tests.rerankers import DEPLOYMENT, new_warm

    save_student(new_warm(Encoder.load(build_tiny_encoder(folder / "body"))), folder / "model", DEPLOYMENT)
    return folder / "model"


def deployment(folder: Path, model: Path) -> Path:
    """deploy/ray.yaml with this model and these keys in place of its own."""
    content = yaml.safe_load((ROOT.parent / "deploy" / "ray.yaml").read_text("utf-8"))
    keys = folder / "keys"
    keys.write_text("one\n", "utf-8")
    content["applications"][0]["args"] |= {"model": f"tiny={model}", "keys": str(keys)}
    file = folder / "ray.yaml"
    file.write_text(yaml.safe_dump(content), "utf-8")
    return file


def replicas() -> list[str]:
    """Addresses of the machines of replicas that Ray says are running."""
    try:
        url = f"http://{HEAD.address}:8265/api/serve/applications/"
        answer = httpx2.get(url, timeout=10, trust_env=False).json()
        found = answer["applications"]["tamis"]["deployments"]["tamis"]["replicas"]
    except (httpx2.HTTPError, KeyError, ValueError):
        return []
    return sorted(one["node_ip"] for one in found if one["state"] == "RUNNING")


def worked(node: Node) -> float:
    """Processor seconds of the replicas on a machine."""
    seconds = 0.0
    for process in node.processes():
        with suppress(OSError):
            if Path(f"/proc/{process}/cmdline").read_text("utf-8").startswith("ray::ServeReplica:tamis"):
                ticks = Path(f"/proc/{process}/stat").read_text("utf-8").rpartition(")")[2].split()[11:13]
                seconds += sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
    return seconds


def watch(load: Load) -> Watched:
    """Kill the second machine under load, and wait for the full rate."""
    found = Watched([replicas()])
    wait_for(lambda: sum(one.status == 200 for one in list(load.seen)) > 10 * CLIENTS, "the first answers")
    begun, idle = time.monotonic(), (worked(HEAD), worked(WORKER))
    time.sleep(BEFORE)
    found.worked = worked(HEAD) - idle[0], worked(WORKER) - idle[1]
    found.dies = time.monotonic()
    found.before = load.rate(begun, found.dies)
    WORKER.kill()
    found.dead = time.monotonic()
    wait_for(lambda: _full(load, found), "two replicas and the full rate")
    found.full = time.monotonic()
    time.sleep(max(0.0, BEFORE - (found.full - found.dead)))
    found.addresses.append(replicas())
    seconds = range(int(time.monotonic() - found.dead))
    found.steps = [(at, load.rate(found.dead + at, found.dead + at + 1)) for at in seconds]
    return found


def _full(load: Load, found: Watched) -> bool:
    now = time.monotonic()
    if not found.replicas_again and replicas() == [HEAD.address] * 2:
        found.replicas_again = now
    return found.replicas_again > 0 and load.rate(now - 1, now) >= FULL * found.before


def _served(seen: Sequence[Asked], found: Watched) -> Part:
    failed = [one for one in seen if one.status != 200]
    later = sum(one.start > found.dead for one in failed)
    wrong = sum(one.gap > EQUAL for one in seen)
    seconds = found.full - found.dead
    share = found.worked[1] / (sum(found.worked) or 1)
    figures = {
        "requests": len(seen),
        "requests_sent_after_the_death": sum(one.start > found.dead for one in seen),
        "under_way_at_the_death": sum(one.start <= found.dead and one.end > found.dies for one in seen),
        "failed_under_way": len(failed) - later,
        "failed_sent_after": later,
        "asked_the_other_proxy": sum(one.moved for one in seen),
        "failures": [
            {"sent": one.start - found.dead, "ended": one.end - found.dead, "status": one.status, "said": one.said}
            for one in failed[:20]
        ],
        "machines_of_replicas": found.addresses,
        "processor_seconds_of_replicas": found.worked,
        "answers_a_second_before": found.before,
        "seconds_to_two_replicas": found.replicas_again - found.dead,
        "seconds_to_full_rate": seconds,
        "longest_request_seconds": max(one.end - one.start for one in seen),
        "answers_in_each_second_after": found.steps,
    }
    rows = [
        ("share of the scoring that the machine did which dies", share, "0.25 to 0.75"),
        ("requests lost that were sent after the machine's death", later, "= 0"),
        ("requests lost that were under way", len(failed) - later, f"<= {CLIENTS}"),
        ("answers with other scores than the model's", wrong, "= 0"),
        ("seconds to the full rate with the machine gone", seconds, "<= 60"),
    ]
    return Part(figures, rows, (SEED,))


# A run


def run(folder: Path) -> Part:
    """Let one machine of two die halfway through a run."""
    recipe = mining(folder)
    start = time.monotonic()
    call(command(recipe, folder / "here", "local"), folder)
    alone = time.monotonic() - start
    whole = pairs_kept(folder / "here-cache")
    with cluster(folder, 1), (folder / "there.log").open("wb") as said:
        start = time.monotonic()
        there = HEAD.inside(*command(recipe, folder / "there", "ray"))
        environment = told(folder, RAY_ADDRESS=f"{HEAD.address}:6379")
        with subprocess.Popen(there, stdout=said, stderr=said, env=environment, cwd=folder) as process:
            at = die_halfway(process, folder / "there-cache", whole)
            status = process.wait(PATIENCE)
        seconds = time.monotonic() - start
    if status:
        raise SystemExit((folder / "there.log").read_text("utf-8"))
    return _ran(folder, {"pairs": whole, "seconds_alone": alone, "seconds_of_the_cluster": seconds, **at})


def mining(folder: Path) -> Path:
    """A recipe over texts of shuffled words, in which a reranker teaches for half a minute."""
    from tamis.models.encoder import Encoder
    from tamis.models.saving import save_student
    from tests.commands import write_recipe
    from tests.conftest import build_tiny_encoder, tiny_recipe, write_beir
    from tests.rerankers import DEPLOYMENT, new_stock

    corpus = folder / "documents.jsonl"
    corpus.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in shuffled()), "utf-8")
    body = build_tiny_encoder(folder / "first-stage")
    teacher = Encoder.load(build_tiny_encoder(folder / "teacher-body", hidden=192, layers=6))
    save_student(new_stock(teacher), folder / "teacher", DEPLOYMENT)
    content = tiny_recipe(write_beir(folder / "judged"), corpus, body)
    content["corpus"] = {"target": str(corpus)}
    content["candidates"]["depth"] = 30
    content["scores"]["teachers"] = [{"kind": "reranker", "path": str(folder / "teacher")}]
    recipe: Path = write_recipe(content, folder)
    return recipe


def shuffled() -> Iterator[dict[str, Any]]:
    """Documents of three sentences, each of the words of three answers in another order."""
    from tests.conftest import TOPICS

    generator = random.Random(SEED)
    for language, topics in TOPICS.items():
        for number in range(DOCUMENTS):
            yield {"_id": f"{language}/{number}", "text": _text(generator, topics), "metadata": {"lang": language}}


def _text(generator: random.Random, topics: Sequence[tuple[str, str]]) -> str:
    sentences = []
    for _ in range(3):
        words = " ".join(answer for _, answer in generator.sample(topics, 3)).replace(".", "").lower().split()
        generator.shuffle(words)
        sentences.append(" ".join(words[:12]).capitalize() + ".")
    return " ".join(sentences)


def command(recipe: Path, out: Path, engine: str) -> list[str]:
    """`tamis run` with a cache that no other run has filled."""
    own = f"machine.cache={out}-cache"
    words = ["run", recipe, "--out", out, "--until", "lists", "--engine", engine, "--set", own, "--yes"]
    return [sys.executable, "-m", "tamis", *map(str, words)]


def pairs_kept(cache: Path) -> int:
    """Pairs that the teacher has scored so far."""
    try:
        with closing(sqlite3.connect(f"file:{cache / 'answers.sqlite'}?mode=ro", uri=True)) as store:
            count: int = store.execute("SELECT count(*) FROM items").fetchone()[0]
    except sqlite3.OperationalError:  # not there yet
        return 0
    return count


def at_work() -> bool:
    """Whether the second machine has an actor that is at a piece of work."""
    for process in WORKER.processes():
        with suppress(OSError):
            title = Path(f"/proc/{process}/cmdline").read_text("utf-8")
            if title.startswith("ray::MapWorker") and ".submit" in title:
                return True
    return False


def die_halfway(process: "subprocess.Popen[bytes]", cache: Path, whole: int) -> dict[str, Any]:
    """Kill the second machine when half of the pairs are kept and its worker is at work."""
    while process.poll() is None:
        kept = pairs_kept(cache)
        if 2 * kept >= whole and at_work():
            return {"pairs_kept_at_the_death": kept, "processes_killed": WORKER.kill()}
        time.sleep(0.02)
    return {"pairs_kept_at_the_death": whole, "processes_killed": 0}


def files_of(root: Path) -> dict[str, str]:
    """Hash of every file of the stages, and every byte of the vectors."""
    from tests.commands import results_by_hash

    stages = {
        f"{stage}/{file}": found for stage, files in results_by_hash(root).items() for file, found in files.items()
    }
    return stages | {f"vectors/{file.name}": file.read_bytes().hex() for file in (root / "vectors").iterdir()}


def _ran(folder: Path, figures: Mapping[str, Any]) -> Part:
    here, there = files_of(folder / "here"), files_of(folder / "there")
    other = sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name))
    share = figures["pairs_kept_at_the_death"] / figures["pairs"]
    killed = figures["processes_killed"]
    rows = [
        ("processes of the worker's machine that were killed", killed, ">= 1"),
        ("share of the teacher's pairs that were kept then", share, "0.5 to 0.9"),
        ("files that differ from those of one process", len(other), "= 0"),
    ]
    return Part({**figures, "files": len(here), "differ": other}, rows, (SEED,))


PARTS: Parts = {"serve": serve, "one_address": one_address, "run": run}
"""What is measured, each by a function that is given an empty folder."""


def main() -> None:
    """Measure what was asked for; then write."""
    chosen = asked_parts(__doc__, PARTS)
    check_machine()
    import ray

    table = write_parts("nodes", PARTS, chosen, {"ray": ray.__version__}, titled=True)
    show_in_readme(table, "nodes", DOCS / "scale.md")


if __name__ == "__main__":
    main()
