"""Bytes that once were a fault, well-made inputs and damaged ones are read or told, by every reader and dialect."""

import random
from pathlib import Path

import pytest

from tests.fuzz.targets import SEEDS, TARGETS

CORPUS = Path(__file__).parent / "fuzz" / "corpus"
FOUND = [pytest.param(file, id=f"{file.parent.name}/{file.name}") for file in sorted(CORPUS.glob("*/*"))]
DAMAGED = 20
"""Damaged copies of each input; the search itself is `make fuzz`."""


@pytest.mark.parametrize("file", FOUND)
def test_what_a_search_found_stays_mended(file: Path) -> None:
    TARGETS[file.parent.name](file.read_bytes())


@pytest.mark.filterwarnings("ignore")  # libraries warn of what is odd in a file
@pytest.mark.parametrize("name", TARGETS)
def test_damaged_inputs_are_told(name: str) -> None:
    rng = random.Random(name)
    for seed in (b"", b"\xff\xfe\x00", b"[[[[", *SEEDS.get(name, ())):
        TARGETS[name](seed)
        for _ in range(DAMAGED if seed else 0):
            damaged = bytearray(seed)
            for _ in range(rng.randrange(1, 4)):
                place = rng.randrange(len(damaged))
                damaged[place : place + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
                damaged = damaged or bytearray(b"\n")
            TARGETS[name](bytes(damaged))
