"""What a search found, for the rerankers of every framework: the texts, its scores, and what `Reranker.rank` says."""

import re
from pathlib import Path

from tamis import Reranker
from tests.conftest import TOPICS

QUERY = "How do I install a package?"
TEXTS = [answer for _, answer in reversed(TOPICS["en"])]
SCORES = [9.0, 8.5, 1.0, 0.5, 7.0, 0.25, 3.0, 2.0, 6.0, 0.0]
"""Neither in the order of the texts nor in that of the model."""


def ranked(folder, first_stage, texts=TEXTS, query=QUERY):
    """(place, score) of each text, best first, by the Python API."""
    hits = Reranker(folder).rank(query, texts, first_stage=first_stage)
    return [(hit["corpus_id"], hit["score"]) for hit in hits]


def run_the_page(module, folder, monkeypatch, tmp_path):
    """Run what docs/behind/frameworks.md shows of a module, with another model."""
    page = (Path(__file__).parents[2] / "docs" / "behind" / "frameworks.md").read_text(encoding="utf-8")
    (code,) = [one for one in re.findall(r"^```py\n(.*?)^```$", page, re.DOTALL | re.MULTILINE) if module in one]
    monkeypatch.chdir(tmp_path)
    exec(compile(code.replace("demo/model", str(folder)), module, "exec"), {})
