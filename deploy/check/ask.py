"""Waits until a server on this machine is ready, asks it once and sees that two documents are ranked: ask.py PORT."""

import json
import sys
import time
import urllib.request
from typing import Final

KEY: Final = "a-key-of-the-check"
PATIENCE: Final = 120.0
"""Seconds until it has to be ready."""


def ask(url: str) -> None:
    """Ask a server.

    Raises:
        SystemExit: it is not ready in time, or gives something else than two documents.
    """
    end = time.monotonic() + PATIENCE
    while not _ready(url):
        if time.monotonic() > end:
            sys.exit(f"{url} is not ready after {PATIENCE:.0f} seconds")
        time.sleep(0.1)
    asked = {"model": "model", "query": "install a package", "documents": ["apt install NAME", "founded in 1993"]}
    body = json.dumps(asked).encode()
    request = urllib.request.Request(f"{url}/v2/rerank", body, {"authorization": f"Bearer {KEY}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        found = json.load(answer)
    if len(found["results"]) != 2:
        sys.exit(f"{url} answers {found}, expected two documents")


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


if __name__ == "__main__":
    ask(f"http://127.0.0.1:{sys.argv[1]}")
