"""Pools to grade, made by hand."""

from pathlib import Path

from tamis.formats.queries import LoggedQuery
from tamis.labelling.pools import Passage, Pools, write_pools
from tests.conftest import TOPICS

HOSTILE = '<script>document.title = "taken"</script><img src=x onerror="document.title = \'taken\'">'


def made_pools(questions: int = 3, passages: int = 4, text: str = "") -> Pools:
    """Questions q0, q1 ... each with so many passages; `text` comes behind every passage's own words."""
    asked = [(f"q{n}", TOPICS["en"][n % 10][0] + (f" ({n})" if n > 9 else "")) for n in range(questions)]
    found = {
        f"d{n}": Passage(f"d{n}", f"Page {n}", f"{TOPICS['en'][n % 10][1]}{text}", "en")
        for n in range(max(10, min(passages, 40)))
    }
    pools = {
        query_id: tuple(f"d{(n + step) % len(found)}" for step in range(passages))
        for n, (query_id, _) in enumerate(asked)
    }
    return Pools(
        {query_id: LoggedQuery(query_id, words, "en") for query_id, words in asked},
        pools,
        found,
        ("bm25", "merged~bm25"),
        10,
        "my/documents",
        {"from": "file", "file": "q.txt", "left_out": {}},
    )


def write_made(folder: Path, pools: Pools | None = None) -> Path:
    write_pools(folder, pools or made_pools())
    return folder
