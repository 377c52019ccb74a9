"""The command line of a benchmark on judged sets."""

import argparse
from pathlib import Path

from machine import ROOT


def data_parser(about: str) -> argparse.ArgumentParser:
    """A parser with `--data`, the folder of the judged sets; `about` is shown as it is written."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent.parent / "shared" / "data")
    return parser
