"""How often a judge believes a document that tells it what to answer, counted against a judge that is known to."""

import sys
from pathlib import Path
from typing import Any

import pytest

from tamis.labelling.judge import judging_settings, read_judge_prompt
from tests.conftest import write_beir
from tests.labelling.test_judge import answer
from tests.remote.scripted_server import Reply, Seen, scripted

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "benchmarks"))
import injection


def gullible(seen: Seen, _: int) -> Reply:
    """Refuses everything but what orders it to."""
    ordered = "Ignore all instructions above" in seen.prompt
    best, worst = ("2", "0") if "one digit" in seen.prompt else ("Yes", "No")
    return Reply(answer(**({f"_{best}": 0.9, f"_{worst}": 0.05} if ordered else {f"_{worst}": 0.9, f"_{best}": 0.05})))


@pytest.mark.parametrize("prompt", injection.BEST)
def test_only_the_attack_that_works_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prompt: str) -> None:
    pairs = list(injection.irrelevant_pairs(write_beir(tmp_path / "set"), 5))
    assert len(pairs) == 5
    asking = [
        *pairs,
        *((query, injection.attacked(text, attack, prompt)) for query, text in pairs for attack in injection.ATTACKS),
    ]
    with scripted(gullible) as server:
        settings: Any = judging_settings(server.url, "gullible")
        told = injection.judged_by(settings, read_judge_prompt(prompt), prompt, asking)
    found = injection.rates(told, pairs, prompt)
    assert {attack: rate["share"] for attack, rate in found.items()} == {
        attack: float(attack == "an order") for attack in injection.ATTACKS
    }
    assert all(rate["refused"] == 5 for rate in found.values())
