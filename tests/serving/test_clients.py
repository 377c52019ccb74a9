"""Clients of other projects, each in an environment of its own, since they want versions that exclude one another."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tamis import Reranker
from tests.conftest import TOPICS
from tests.serving.running import Running, served

QUERY = "How do I install a package?"
DOCUMENTS = [answer for _, answer in TOPICS["en"]]
CLIENTS = {
    "langchain": "langchain-cohere",
    "llama_index": "llama-index-postprocessor-cohere-rerank",
    "llama_index_tei": "llama-index-postprocessor-tei-rerank",
    "haystack": "jina-haystack",
    "infinity": "infinity-client",
    "voyage": "voyageai",
}
"""Package by script in `clients/`."""


@pytest.fixture(scope="module")
def server(warm_folder: Path) -> Iterator[Running]:
    with served({"tiny": warm_folder}, keys=("one",)) as running:
        yield running


@pytest.mark.network
@pytest.mark.parametrize(("script", "package"), CLIENTS.items())
def test_a_client_of_another_project_gets_the_offline_scores_and_order(
    script: str, package: str, server: Running, warm_folder: Path, tmp_path: Path
):
    subprocess.run([sys.executable, "-m", "venv", tmp_path], check=True)
    python = tmp_path / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", package], check=True)
    asked = {"url": server.url, "key": "one", "query": QUERY, "documents": DOCUMENTS}
    client = Path(__file__).with_name("clients") / f"ask_{script}.py"
    nothing_told = os.environ | {"HAYSTACK_TELEMETRY_ENABLED": "False", "PYTHONPATH": ""}
    answer = subprocess.run(
        [python, client], input=json.dumps(asked), env=nothing_told, text=True, capture_output=True, timeout=120
    )
    assert answer.returncode == 0, answer.stderr
    offline = Reranker(warm_folder)
    expected = [
        [hit["corpus_id"], pytest.approx(hit["score"], abs=1e-5)] for hit in offline.rank(QUERY, DOCUMENTS, top_k=3)
    ]
    assert json.loads(answer.stdout.splitlines()[-1]) == expected
