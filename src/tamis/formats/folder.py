"""A folder of files as people have them: which of them are documents, which are not, and why."""

import errno
import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from tamis.errors import SettingsError
from tamis.formats.kinds import NO_FORM, PLAIN, kind_of, why_unread
from tamis.formats.tables import TABLES
from tamis.languages import UNKNOWN_LANGUAGE
from tamis.records import Dropped

LARGEST: Final = 100 << 20
"""Bytes of the largest file that is one document; tables of rows are streamed and may be of any size."""

_BUILT: Final = frozenset({"node_modules", "bower_components", "__pycache__", "_build", "site-packages", "__macosx"})
_OF_VERSION_CONTROL: Final = frozenset({"cvs", "_darcs", "rcs", "sccs"})
_BUILT_BESIDE_A_PROJECT: Final = frozenset({"build", "dist", "out", "target"})
_PROJECTS: Final = frozenset(
    {
        "build.gradle",
        "cargo.toml",
        "cmakelists.txt",
        "makefile",
        "package.json",
        "pom.xml",
        "pyproject.toml",
        "setup.py",
    }
)
_MARKS_OF_CACHES: Final = ("CACHEDIR.TAG", "pyvenv.cfg")
_HIDDEN: Final = "hidden files and folders"
_BUILDS: Final = "folders of builds, caches and archivers"
QUESTIONS: Final = "questions or judgements, no documents"
_LINKS: Final = "links to what is read"
_QUESTIONS: Final = re.compile(
    r"(^|/)((queries|qrels)(-\d+-of-\d+)?(\.\w+)+|([^/]+-)?(queries|qrels)/[^/]+)$", re.IGNORECASE
)
"""Of BEIR and of the hub: `queries.jsonl`, `queries-00000-of-00001.parquet`, or a table in `queries` or `de-qrels`."""
_OF_QUERIES: Final = re.compile(_QUESTIONS.pattern.replace("(queries|qrels)", "queries"), re.IGNORECASE)

_ESCAPED: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\udc80-\udcff]")


@dataclass(frozen=True)
class Choice:
    """Which files of a folder to read.

    Attributes:
        include: Patterns as in a `.gitignore`; where there are any, a file must match one. What matches and has an
            ending that says nothing is read as plain text.
        exclude: Patterns of files to leave out.
    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()


EVERYTHING: Final = Choice()


@dataclass(frozen=True, slots=True)
class Found:
    """A file to read.

    Attributes:
        file: Where it lies.
        name: Its path in the folder, with slashes, by which the document is called. What no id can hold (line breaks,
            bytes in no encoding) stands there as in a URL: `%0A`.
        kind: Its ending, see `kind_of`.
    """

    file: Path
    name: str
    kind: str

    @property
    def rows(self) -> bool:
        """Whether it is a table, whose rows are documents."""
        return self.kind in TABLES


@dataclass
class Folder:
    """What lies in a folder.

    Attributes:
        files: Those to read, by name.
        left_out: Those that cannot be read, with the reason.
        skipped: How many files and folders were passed over, by what they are.
    """

    files: list[Found] = field(default_factory=list)
    left_out: list[Dropped] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    @property
    def facts(self) -> Mapping[str, Any]:
        """What a manifest says of it."""
        return {"read": len(self.files), "left_out": len(self.left_out), "skipped": dict(self.skipped.most_common())}


def list_folder(root: Path, choice: Choice = EVERYTHING) -> Folder:
    """Walk through a folder; nothing is opened.

    Hidden files, and folders of version control, builds, caches and archivers, are skipped. A link is followed unless
    what it leads to is read under its own path anyway; no file comes twice.

    Args:
        root: The folder.
        choice: What to read of it.

    Raises:
        SettingsError: A pattern that is none.
    """
    walk = _Walk(root, choice)
    walk.enter(root, "")
    while walk.links:  # after all real files, so that those keep their paths
        walk.follow(*walk.links.pop(0))
    walk.found.files.sort(key=lambda found: found.name)
    return walk.found


def holds_questions(name: str) -> bool:
    """Whether a table is of questions or judgements, by its path in its folder."""
    return _QUESTIONS.search(name) is not None


def tables_of_queries(folder: Path, tables: list[Path]) -> list[Path]:
    """Of the tables in a folder those that are called queries; all of them where none is.

    Of the hub's sets, documents and judgements lie beside them, which nobody asks.
    """
    called = [file for file in tables if _OF_QUERIES.search(file.relative_to(folder).as_posix())]
    return called or tables


def left_out(name: str, reason: str, detail: str = "") -> Dropped:
    """The record of a file that was not read."""
    return Dropped(name, reason, UNKNOWN_LANGUAGE, detail)


class _Walk:
    def __init__(self, root: Path, choice: Choice) -> None:
        self.found = Folder()
        self.links: list[tuple[Path, str]] = []
        self._seen: set[tuple[int, int]] = set()  # device and number of files and folders
        self._above = {_number(parent.stat()) for parent in root.resolve().parents}
        self._included = _matcher("include", choice.include) if choice.include else None
        self._excluded = _matcher("exclude", choice.exclude)
        self._why_unread = cache(why_unread)

    def enter(self, folder: Path, name: str) -> None:
        """Take in what lies in a folder that was not entered yet; `name` is its path in the root with a slash."""
        waiting = [(folder, name)]
        while waiting:  # a stack, since folders may be nested deeper than Python recurses
            folder, name = waiting.pop()
            try:
                self._seen.add(_number(folder.stat()))
                entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
            except OSError as error:
                self._leave_out(name, why(error), str(error.strerror))
                continue
            beside = {entry.name.lower() for entry in entries}
            for entry in entries:
                self._take(entry, name + _id(entry.name), beside, waiting)

    def follow(self, link: Path, name: str) -> None:
        """Take in what a link leads to, if nothing else has brought it."""
        try:
            status = link.stat()
        except OSError as error:
            reason = "loop of links" if error.errno == errno.ELOOP else "broken link"
            self._leave_out(name, reason, str(error.strerror))
            return
        if _number(status) in self._above:
            self._leave_out(name, "link to a folder around this one")
        elif _number(status) in self._seen:
            self.found.skipped[_LINKS] += 1
        elif stat.S_ISDIR(status.st_mode):
            self.enter(link, f"{name}/")
        else:
            self._take_file(link, name, status)

    def _take(self, entry: "os.DirEntry[str]", name: str, beside: set[str], waiting: list[tuple[Path, str]]) -> None:
        path, skipped = Path(entry.path), _skipped(entry.name, beside)
        folder = entry.is_dir(follow_symlinks=False)
        if skipped and (folder or entry.is_symlink() or skipped == _HIDDEN):
            self.found.skipped[skipped] += 1
        elif entry.is_symlink():
            self.links.append((path, name))
        elif folder and _is_cache(path):
            self.found.skipped[_BUILDS] += 1
        elif folder:
            waiting.append((path, f"{name}/"))
        else:
            try:
                self._take_file(path, name, entry.stat(follow_symlinks=False))
            except OSError as error:  # deleted since it was listed
                self._leave_out(name, why(error), str(error.strerror))

    def _take_file(self, file: Path, name: str, status: os.stat_result) -> None:
        if self._excluded(name) or (self._included and not self._included(name)):
            self.found.skipped["not chosen by corpus.include and corpus.exclude"] += 1
            return
        kind = kind_of(file.name)
        unread = "" if kind in TABLES else self._why_unread(kind)
        if unread.endswith(NO_FORM) and self._included:
            kind, unread = PLAIN, ""
        if _number(status) in self._seen:
            self.found.skipped[_LINKS] += 1
            return
        self._seen.add(_number(status))
        reason = unread or _unfit(file, name, kind, status)
        if reason:
            self._leave_out(name, reason)
        else:
            self.found.files.append(Found(file, name, kind))

    def _leave_out(self, name: str, reason: str, detail: str = "") -> None:
        self.found.left_out.append(left_out(name or ".", reason, detail))


def _skipped(name: str, beside: set[str]) -> str:
    """What a file or folder is that nobody means by documents; empty for any other."""
    low = name.lower()
    if low.startswith((".", "~$")):
        return _HIDDEN
    if low in _OF_VERSION_CONTROL:
        return "folders of version control"
    built = low in _BUILT or low.endswith(".egg-info") or (low in _BUILT_BESIDE_A_PROJECT and beside & _PROJECTS)
    return _BUILDS if built else ""


def _is_cache(folder: Path) -> bool:
    """Whether a folder says that it is a cache; one that nobody may enter says nothing, and `enter` tells why."""
    with suppress(OSError):
        return any((folder / mark).exists() for mark in _MARKS_OF_CACHES)
    return False


def _unfit(file: Path, name: str, kind: str, status: os.stat_result) -> str:
    """Why a file cannot be a document, as far as it can be known before it is opened."""
    if not stat.S_ISREG(status.st_mode):
        return "no regular file"
    if kind in TABLES and holds_questions(name):
        return QUESTIONS
    if kind not in TABLES and status.st_size > LARGEST:
        return f"larger than {LARGEST >> 20} MB"
    return "" if os.access(file, os.R_OK) else "no permission to read it"


def why(error: OSError) -> str:
    """The reason for a file that the system does not give."""
    return "no permission to read it" if isinstance(error, PermissionError) else "cannot be read"


def _number(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _id(name: str) -> str:
    return _ESCAPED.sub(lambda found: "".join(f"%{byte:02X}" for byte in os.fsencode(found[0])), name)


def _matcher(setting: str, patterns: Sequence[str]) -> Callable[[str], bool]:
    from pathspec import PathSpec

    try:
        spec = PathSpec.from_lines("gitignore", patterns)
    except (ValueError, TypeError) as error:
        raise SettingsError(f"corpus.{setting}: {error}; expected patterns as in a .gitignore") from None
    return lambda name: bool(spec.match_file(name))
