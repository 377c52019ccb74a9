"""Search for bytes that a reader or a dialect cannot take, with atheris: `make fuzz SECONDS=60`.

    python -m tests.fuzz --seconds 60                 # every target so long, a process each
    python -m tests.fuzz --seconds 3600 --only form   # those whose name holds it

What is found lies in tests/fuzz/corpus/TARGET/ afterwards and is a test from then on (tests/test_fuzz.py). Mend it and
keep the file.
"""

import argparse
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
LONGEST = 20
"""Seconds that one input may take."""


def search(name: str, seconds: int) -> None:
    """Feed one target in this process, which ends with it."""
    import atheris

    with atheris.instrument_imports(
        include=["tamis.formats", "tamis.serving", "tamis.text"], enable_loader_override=False
    ):
        from tests.fuzz.targets import SEEDS, TARGETS
    found = CORPUS / name
    found.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(SEEDS.get(name, [b""])):
            (Path(folder) / str(number)).write_bytes(seed)
        bounds = [f"-max_total_time={seconds}", f"-timeout={LONGEST}", "-rss_limit_mb=4096", "-print_final_stats=1"]
        atheris.Setup([sys.argv[0], *bounds, f"-artifact_prefix={found}/", folder, str(found)], TARGETS[name])
        atheris.Fuzz()


def main() -> None:
    """Search every target in a process of its own and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=60, help="For each target")
    parser.add_argument("--only", default="", help="Text in the names of targets")
    parser.add_argument("--target", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.target:
        search(asked.target, asked.seconds)
        return
    from tests.fuzz.targets import TARGETS

    faults = []
    for name in (name for name in TARGETS if asked.only in name):
        command = [sys.executable, "-m", "tests.fuzz", "--target", name, "--seconds", str(asked.seconds)]
        ended = subprocess.run(command, check=False, capture_output=True, text=True)
        with suppress(OSError):
            (CORPUS / name).rmdir()  # where nothing was found
        tried = [line for line in ended.stderr.splitlines() if "number_of_executed_units" in line]
        print(
            f"{name}: {'a fault' if ended.returncode else 'nothing found'}, {(tried or ['?'])[-1].split()[-1]} inputs",
            flush=True,
        )
        if ended.returncode:
            faults.append(name)
            print("\n".join(ended.stderr.splitlines()[-30:]), flush=True)
    raise SystemExit(bool(faults))


if __name__ == "__main__":
    main()
