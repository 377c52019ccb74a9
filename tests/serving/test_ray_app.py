"""Replicas on a real Ray cluster of this machine, started by the command that the documentation gives."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from tamis import Reranker
from tests.conftest import TOPICS

QUERY = "How do I install a package?"
DOCUMENTS = [answer for _, answer in TOPICS["en"]]

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is an extra"),
    pytest.mark.filterwarnings("ignore"),  # Ray copies its settings, deprecated ones too
    pytest.mark.cluster,
    pytest.mark.slow,
]


@pytest.fixture
def url(warm_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """Two replicas that `serve run` has started."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("TAMIS_API_KEYS", "one")
    import ray
    from ray import serve

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ray.init(num_cpus=2, object_store_memory=100 << 20, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    monkeypatch.setenv("RAY_ADDRESS", ray.get_runtime_context().gcs_address)
    command = [Path(sys.executable).with_name("serve"), "run", "tamis.serving.ray_app:build"]
    log = tmp_path / "log"
    with log.open("wb") as said:
        running = subprocess.Popen([*command, f"model=tiny={warm_folder}", "replicas=2"], stdout=said, stderr=said)
    try:
        end = time.monotonic() + 120
        while len(replicas()) < 2 or not ready(f"http://127.0.0.1:{port}"):
            assert running.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        running.send_signal(signal.SIGINT)
        running.wait(60)
        serve.shutdown()
        ray.shutdown()


def replicas() -> set[int]:
    """Processes that answer."""
    found = set()
    for process in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            if (process / "cmdline").read_text().startswith("ray::ServeReplica:default:tamis"):
                found.add(int(process.name))
    return found


def ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/ready", timeout=5).status_code == 200
    except httpx2.TransportError:
        return False


def ask(url: str) -> httpx2.Response:
    body: dict[str, Any] = {"model": "tiny", "query": QUERY, "documents": DOCUMENTS}
    return httpx2.post(f"{url}/v2/rerank", json=body, headers={"authorization": "Bearer one"}, timeout=20)


def test_the_file_for_a_cluster_is_understood():
    from ray.serve.schema import ServeDeploySchema

    from tamis.serving.ray_app import Arguments

    file = Path(__file__).parents[2] / "deploy" / "ray.yaml"
    application = ServeDeploySchema.model_validate(yaml.safe_load(file.read_text(encoding="utf-8"))).applications[0]
    assert application.import_path == "tamis.serving.ray_app:build"
    assert Arguments(**application.args) == Arguments(model="model=/model", replicas=2, keys=Path("/etc/tamis/keys"))


def test_two_replicas_answer_and_go_on_when_one_is_killed(url: str, warm_folder: Path):
    expected = {hit["corpus_id"]: hit["score"] for hit in Reranker(warm_folder).rank(QUERY, DOCUMENTS)}
    found = {hit["index"]: hit["relevance_score"] for hit in ask(url).json()["results"]}
    assert found == pytest.approx(expected, abs=1e-5)
    assert httpx2.post(f"{url}/v2/rerank", json={}).status_code == 401
    before = replicas()
    assert len(before) == 2
    killed = min(before)
    os.kill(killed, signal.SIGKILL)
    end = time.monotonic() + 60
    answered = 0
    while answered < 20 or len(replicas() - {killed}) < 2:
        answered = answered + 1 if ask(url).status_code == 200 else 0
        assert time.monotonic() < end
    assert replicas() != before
