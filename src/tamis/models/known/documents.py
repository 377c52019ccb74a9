"""An index of documents as whoever scores reads it: texts by id, and states by what a model reads of a text.

    OUT/index.sqlite    facts of the index; id -> text and key; key -> place of its states
    OUT/states-N.bin    states, one token after the other, memory-mapped; a text counts once index.sqlite names it

A key is a hash of the token ids that the model reads, prefix and special tokens included: a text is found whether it
comes by its id or as itself, and one that has changed is another text. `tamis.models.known.writing` makes the files.
"""

import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tamis.artifacts import file_hash
from tamis.errors import InputError
from tamis.models.known.values import VALUES, Floats
from tamis.models.remembered import TokenIds
from tamis.models.serializer import DocumentText

FORMAT: Final = 1

CATALOGUE: Final = "index.sqlite"

_ASKED: Final = 500
"""Rows asked for at once."""

_PATIENCE: Final = 60.0
"""Seconds to wait for whoever writes."""


@dataclass(frozen=True, slots=True)
class IndexFacts:
    """What an index says of itself.

    Attributes:
        model: Hash of the model's files, see `model_identity`.
        name: The model as it was named.
        hidden: Values of a token.
        values: Their form, one of `VALUES`.
        factors: Of 8 bits, see `tamis.models.known.values`; empty otherwise.
        format: Of the files.
    """

    model: str
    name: str
    hidden: int
    values: str
    factors: tuple[float, ...] = ()
    format: int = FORMAT

    def to_json(self) -> str:
        """For the catalogue."""
        return json.dumps(asdict(self))

    @property
    def token(self) -> np.dtype[Any]:
        """Type of a token's states on disk."""
        return VALUES[self.values].token(self.hidden)

    @property
    def own_factors(self) -> Floats:
        """float32 [hidden], or none."""
        return np.array(self.factors, np.float32)


def facts_from(text: str) -> IndexFacts:
    """What `to_json` gave.

    Raises:
        ValueError: it is of another format.
    """
    content = json.loads(text)
    if content["format"] != FORMAT:
        raise ValueError(f"format {content['format']}, expected {FORMAT}")
    return IndexFacts(**content | {"factors": tuple(content["factors"])})


class KnownDocuments:
    """An index that is open for reading. Threads may share it; another process may write to it meanwhile.

    Attributes:
        folder: Where it lies.
        facts: What it says of itself.
    """

    def __init__(self, folder: Path) -> None:
        """Open an index.

        Raises:
            InputError: there is none, it is damaged, or another version made it.
        """
        self.folder = folder
        self._lock = threading.Lock()
        self._map: tuple[str, NDArray[Any]] | None = None
        if not (folder / CATALOGUE).is_file():
            raise InputError(f"{folder}: no index of documents; make one with tamis index MODEL CORPUS {folder}")
        _finish_kill(folder / CATALOGUE)
        address = f"{(folder / CATALOGUE).resolve().as_uri()}?mode=ro"
        with self._reading():
            self._catalogue = sqlite3.connect(
                address, uri=True, timeout=_PATIENCE, check_same_thread=False, isolation_level=None
            )
            self.facts = facts_from(self._fact("facts"))
            self._whole()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{self.folder}: this index cannot be read ({error}); delete it and make it anew with tamis index"
            ) from None

    def _fact(self, name: str) -> str:
        row = self._catalogue.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise ValueError(f"it says nothing of its {name}")
        return str(row[0])

    def _whole(self) -> None:
        """Refuse states that are shorter than the catalogue says."""
        file, end = self._fact("file"), int(self._fact("end"))
        size = (self.folder / file).stat().st_size
        if size < end * self.facts.token.itemsize:
            raise ValueError(f"{file} has {size} bytes, expected {end * self.facts.token.itemsize}")

    def __len__(self) -> int:
        """Documents."""
        return self._count("documents")

    @property
    def tokens(self) -> int:
        """Tokens of all texts whose states are kept."""
        with self._lock, self._reading():
            return int(self._catalogue.execute("SELECT coalesce(sum(tokens), 0) FROM states").fetchone()[0])

    def _count(self, table: str) -> int:
        with self._lock, self._reading():
            return int(self._catalogue.execute(f"SELECT count(*) FROM {table}").fetchone()[0])

    def texts(self, ids: Iterable[str]) -> dict[str, str]:
        """Texts by id, of those that are known."""
        with self._lock, self._reading():
            return dict(self._rows("id, text", "documents", "id", list(filter(_whole, ids))))

    def states(self, texts: Iterable[TokenIds]) -> dict[TokenIds, Tensor]:
        """States of those texts that are known: float32 [tokens, hidden] each, on the processor.

        Args:
            texts: What a model reads of each, as `WarmScorer.encode` gives it.
        """
        by_key = {key_of(ids): ids for ids in texts}
        with self._lock, self._reading():
            try:
                places, tokens = self._places(list(by_key))
            except FileNotFoundError:  # it was written anew between two looks
                places, tokens = self._places(list(by_key))
            unpack, factors = VALUES[self.facts.values].unpack, self.facts.own_factors
            return {
                by_key[key]: torch.from_numpy(unpack(tokens[start : start + count], factors))
                for key, start, count in places
            }

    def _places(self, keys: Sequence[bytes]) -> tuple[list[tuple[bytes, int, int]], NDArray[Any]]:
        """Key, first token and number of tokens of each known text, and the tokens of the file that they lie in."""
        self._catalogue.execute("BEGIN")
        try:
            places = list(self._rows("key, start, tokens", "states", "key", keys))
            file, end = self._fact("file"), int(self._fact("end"))
        finally:
            self._catalogue.execute("COMMIT")
        return places, self._tokens(file, end)

    def _tokens(self, file: str, end: int) -> NDArray[Any]:
        if self._map is None or self._map[0] != file or len(self._map[1]) < end:
            empty = np.empty(0, self.facts.token)  # nothing can be mapped
            self._map = file, np.memmap(self.folder / file, self.facts.token, "r", shape=(end,)) if end else empty
        return self._map[1]

    def _rows(self, columns: str, table: str, key: str, wanted: Sequence[Any]) -> Iterator[Any]:
        for start in range(0, len(wanted), _ASKED):
            some = wanted[start : start + _ASKED]
            marks = ",".join("?" * len(some))
            yield from self._catalogue.execute(f"SELECT {columns} FROM {table} WHERE {key} IN ({marks})", some)

    def check_model(self, identity: str, name: str) -> None:
        """Refuse another model than the one that read these documents.

        Raises:
            InputError: names both.
        """
        if self.facts.model != identity:
            raise InputError(
                f"{self.folder}: this index is of {self.facts.name} as it was when it read the documents, not of "
                f"{name} as it is; make another one with tamis index"
            )

    def changed_files(self) -> list[str]:
        """Files of documents that have another content than when they were read, or are gone while others are there.

        A corpus of which nothing is left says nothing: an index may be used elsewhere.
        """
        with self._lock, self._reading():
            found = self._catalogue.execute("SELECT files FROM sources").fetchall()
        changed: list[str] = []
        for (files,) in found:
            known: Mapping[str, Sequence[Any]] = json.loads(files)
            if any(Path(file).exists() for file in known):
                changed += [file for file, facts in known.items() if not _is_as_it_was(Path(file), facts)]
        return changed

    def close(self) -> None:
        """Close the files."""
        self._catalogue.close()


def _finish_kill(catalogue: Path) -> None:
    """Take back what a killed process had half written; who may only read could not."""
    if catalogue.with_name(f"{catalogue.name}-journal").exists():
        with suppress(sqlite3.Error), closing(sqlite3.connect(catalogue, timeout=_PATIENCE)) as opened:
            opened.execute("SELECT count(*) FROM facts").fetchone()


def _whole(text: str) -> bool:
    """Whether a text has no half of a surrogate pair, which no file and thus no index holds."""
    return text == text.encode("utf-8", "replace").decode()


def checked_ids(ids: Iterable[Any]) -> list[str]:
    """Ids of documents as a caller gave them.

    Raises:
        InputError: names the first that is no string.
    """
    found = list(ids)
    for number, one in enumerate(found):
        if not isinstance(one, str):
            raise InputError(f"ids: id {number} is {one!r:.100}, expected a string")
    return found


def is_named(document: Any) -> TypeGuard[Mapping[str, str]]:
    """Whether a document is a mapping with an id and no text."""
    return isinstance(document, Mapping) and "text" not in document and isinstance(document.get("id"), str)


def with_texts(documents: Sequence[DocumentText], index: KnownDocuments | None) -> list[DocumentText]:
    """Documents, each that is named by its id alone as its text in an index.

    Raises:
        InputError: names the first that is not in the index, or says that there is none.
    """
    ids = {one["id"] for one in documents if is_named(one)}
    if not ids:
        return list(documents)
    known = {} if index is None else index.texts(ids)
    for number, one in enumerate(documents):
        if is_named(one) and one["id"] not in known:
            where = "there is no index of documents" if index is None else f"it is not in the index {index.folder}"
            raise InputError(f"document {number} is named by its id {one['id']!r:.100}, but {where}")
    return [known[one["id"]] if is_named(one) else one for one in documents]


def key_of(text: TokenIds) -> bytes:
    """What a text is kept under."""
    return hashlib.blake2b(np.array(text, "<i4").tobytes(), digest_size=16).digest()


def facts_of_file(file: Path) -> list[Any]:
    """Size, time of the last change in nanoseconds, and hash of a file."""
    found = file.stat()
    return [found.st_size, found.st_mtime_ns, file_hash(file)]


def _is_as_it_was(file: Path, facts: Sequence[Any]) -> bool:
    """Whether a file has the content that it had; it is read only where its time says otherwise."""
    size, changed, content = facts
    try:
        now = file.stat()
        return bool(now.st_size == size and (now.st_mtime_ns == changed or file_hash(file) == content))
    except OSError:
        return False


def index_of(folders: Sequence[Path], identity: str) -> Path | None:
    """The index that a model made, of several; None where there is none.

    Raises:
        InputError: one of them cannot be read, or two are of the model.
    """
    own = []
    for folder in folders:
        known = KnownDocuments(folder)
        own += [folder] if known.facts.model == identity else []
        known.close()
    if len(own) > 1:
        raise InputError(f"--index: {own[0]} and {own[1]} are of the same model; name one of them")
    return own[0] if own else None


def refuse_unused(folders: Sequence[Path], used: Iterable[Path | None], models: Iterable[str]) -> None:
    """Refuse an index that no model made.

    Raises:
        InputError: names it and the model that did.
    """
    for folder in set(folders) - set(used):
        known = KnownDocuments(folder)
        known.close()
        given = ", ".join(models)
        if not given:
            raise InputError(f"--index {folder}: there is no model to use it; name {known.facts.name}, which made it")
        raise InputError(
            f"--index {folder}: it is of {known.facts.name} as it was when it read the documents, of none of "
            f"{given} as they are; make another one with tamis index"
        )
