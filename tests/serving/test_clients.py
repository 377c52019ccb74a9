"""Clients of other projects, each in an environment of its own, since they want versions that exclude one another."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tamis import Reranker
from tamis.serving.limits import Limits
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
    with served({"tiny": warm_folder}, Limits(documents=50, body_bytes=10**6), keys=("one",)) as running:
        yield running


@pytest.mark.network
@pytest.mark.parametrize(("script", "package"), CLIENTS.items())
def test_a_client_of_another_project_gets_the_offline_scores_and_order(
    script: str, package: str, server: Running, warm_folder: Path, tmp_path: Path
):
    found = told(f"ask_{script}", package, server, tmp_path)
    offline = Reranker(warm_folder)
    expected = [
        [hit["corpus_id"], pytest.approx(hit["score"], abs=1e-5)] for hit in offline.rank(QUERY, DOCUMENTS, top_k=3)
    ]
    assert found == expected


@pytest.mark.network
def test_voyages_client_raises_its_own_exceptions_and_reads_their_messages(server: Running, tmp_path: Path):
    """By its table of statuses: 401 is about the key, 422 about the body, and those without a class are `APIError`."""
    found = told("voyage_errors", "voyageai", server, tmp_path)
    assert {case: tuple(raised[:2]) for case, raised in found.items()} == {
        "key": ("AuthenticationError", 401),
        "model": ("APIError", 404),
        "query": ("MalformedRequestError", 422),
        "documents": ("MalformedRequestError", 422),
        "many": ("MalformedRequestError", 422),
        "type": ("MalformedRequestError", 422),
        "top_k": ("MalformedRequestError", 422),
        "long": ("MalformedRequestError", 422),
        "large": ("APIError", 413),
        "later": ("MalformedRequestError", 422),
        "later and well": ("none", 200),
    }
    assert found["many"][2] == "100 documents, at most 50 are taken"
    assert found["later"][2] == "list of documents must not be empty"


def told(script: str, package: str, server: Running, environment: Path) -> Any:
    """What a script of `clients/` writes in an environment of its own."""
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", package], check=True)
    asked = {"url": server.url, "key": "one", "query": QUERY, "documents": DOCUMENTS}
    client = Path(__file__).with_name("clients") / f"{script}.py"
    nothing_told = os.environ | {"HAYSTACK_TELEMETRY_ENABLED": "False", "PYTHONPATH": ""}
    answer = subprocess.run(
        [python, client], input=json.dumps(asked), env=nothing_told, text=True, capture_output=True, timeout=120
    )
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout.splitlines()[-1])
