"""Corpus: from files to clean documents with a language.

    read_documents ─ clean ─ with_languages

`read_documents` and `read_given_queries` are the only places that open the user's texts; the rest is pure.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tamis.errors import InputError, SettingsError
from tamis.records import Document, Dropped
from tamis.text import clip, letters, normalise

_UNKNOWN: Final = "und"
_ID_FIELDS: Final = ("_id", "id", "doc_id")
_LANGUAGE_TAG: Final = re.compile(r"[a-z]{2,3}(-[a-z0-9]{1,8})*")
_TEXT_SUFFIXES: Final = (".txt", ".md")
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

# C0 and C1 control characters but tab and line feed, and halves of surrogate pairs, which no file could store.
_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_LINE_BREAK: Final = re.compile("\r\n?|[\x0b\x0c\x85]")
_MAX_UNREADABLE: Final = 0.1
_CLIPPED: Final = 200
# The first characters tell the language as well as the whole text, in bounded time.
_IDENTIFIED_CHARACTERS: Final = 2000


def read_documents(path: Path, origin: str) -> Iterator[Document]:
    """Read the documents of one input, as they are.

    Args:
        path: A BEIR folder (only its `corpus.jsonl` is opened), a `.jsonl` file, or a folder of `.txt` and `.md` files
            in UTF-8. A line of JSON holds `_id`, `id` or `doc_id`, `text`, and may hold `title` and a language in
            `metadata.lang`, `lang` or `language`. The id of a text file is its path in the folder.
        origin: `target` or `general`.

    Returns:
        Documents in the order of the file, or sorted by path. The title becomes the first line of the text; the
        language is lower-case, `und` where none is given.

    Raises:
        InputError: Nothing to read, a line that is not understood (at the time it is reached), or an id that comes
            twice.
    """
    if path.is_dir():
        corpus = path / "corpus.jsonl"
        if corpus.is_file():
            return _read_jsonl_documents(corpus, origin)
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in _TEXT_SUFFIXES and file.is_file())
        if not files:
            raise InputError(f"{path}: nothing to read; expected corpus.jsonl, or .txt or .md files")
        return _read_text_files(path, files, origin)
    if not path.is_file():
        raise InputError(f"{path}: no such file or folder; expected a BEIR folder, a .jsonl file or a folder of texts")
    if path.suffix != ".jsonl":
        raise InputError(f"{path}: cannot read {path.suffix or 'a file without ending'}; expected .jsonl or a folder")
    return _read_jsonl_documents(path, origin)


def read_given_queries(folder: Path, splits: Sequence[str] = ("test",)) -> Iterator[tuple[str, str, str]]:
    """Read the queries that come with general documents. The queries of a target corpus are never read.

    Args:
        folder: A BEIR folder with `queries.jsonl` and a `qrels/SPLIT.tsv` for each split.
        splits: Whose judged queries to read; those of other splits stay unread.

    Yields:
        Query id, text and the id of a relevant document (score above 0), in the order of the qrels.

    Raises:
        InputError: A file that is missing, or a line that is not understood.
    """
    queries_file = folder / "queries.jsonl"
    qrels_files = [folder / "qrels" / f"{split}.tsv" for split in splits]
    for file in (queries_file, *qrels_files):
        if not file.is_file():
            wanted = ", ".join(f"qrels/{split}.tsv" for split in splits)
            raise InputError(f"{file}: no such file; given queries need queries.jsonl and {wanted}")
    texts = {
        query_id: _field(entry, "text", where)
        for query_id, entry, where in _unique(_objects(queries_file), queries_file)
    }
    for file in qrels_files:
        for query_id, doc_id, where in _relevant(file):
            if query_id not in texts:
                raise InputError(
                    f"{where}: query {query_id!r} is not in {queries_file.name}; add it or remove the line"
                )
            yield query_id, texts[query_id], doc_id


def _relevant(qrels_file: Path) -> Iterator[tuple[str, str, str]]:
    """Query id, document id and place (for messages) of each judgement above 0."""
    for number, line in _lines(qrels_file):
        fields = line.split("\t")
        if number == 1 and fields[-1] == "score":
            continue
        where = f"{qrels_file}, line {number}"
        if len(fields) != 3 or not re.fullmatch(r"-?\d+", fields[2]):
            raise InputError(f"{where}: got {clip(line, 60)!r}, expected query id, document id, whole score, by tabs")
        query_id, doc_id, score = fields
        if int(score) > 0:
            yield query_id, doc_id, where


def clean(documents: Iterable[Document], max_chars: int) -> Iterator[Document | Dropped]:
    """Remove control characters and leave out what cannot be searched.

    Args:
        documents: Documents of all origins, as read.
        max_chars: Longest text to keep, in characters.

    Yields:
        For each document, in order, its clean form or why it was left out: `binary` (more than 10 % control or
        replacement characters), `no letters`, `too long`, or `duplicate text` (the words of an earlier document of the
        same origin and language, in the same order).

    Raises:
        InputError: Two documents have the same id.
    """
    origins: dict[str, str] = {}
    seen: set[bytes] = set()
    for document in documents:
        if document.doc_id in origins:
            raise InputError(
                f"document id {document.doc_id!r} comes twice, in {origins[document.doc_id]} and {document.origin} "
                "documents; ids must be unique in a run, rename one"
            )
        origins[document.doc_id] = document.origin
        text = _CONTROL.sub("", _LINE_BREAK.sub("\n", document.text)).strip()
        reason = _unusable(document.text, text, max_chars)
        if reason is None:
            digest = _digest(document.origin, document.language, normalise(text))
            if digest in seen:
                reason = "duplicate text"
            seen.add(digest)
        if reason is None:
            yield replace(document, text=text)
        else:
            yield Dropped(document.doc_id, reason, document.language, clip(text, _CLIPPED))


def with_languages(documents: Iterable[Document], identify: Callable[[str], str]) -> Iterator[Document]:
    """Give a language to the documents that have none.

    Args:
        documents: Documents; those with a language other than `und` pass unchanged.
        identify: Text -> language tag.

    Yields:
        The documents in order.
    """
    for document in documents:
        yield replace(document, language=identify(document.text)) if document.language == _UNKNOWN else document


def language_identifier(languages: Sequence[str] | None) -> Callable[[str], str]:
    """Make a function that tells the language of a text, with py3langid.

    Args:
        languages: The only answers to choose from, as lower-case tags; `zh-cn` is told by its primary part, and of two
            tags with the same primary part the first is the answer. None: every language that py3langid knows.

    Returns:
        Text -> tag; `und` where py3langid knows none of `languages`. With a single language that one is always the
        answer.
    """
    if languages is not None and len(languages) == 1:
        return lambda text: languages[0]

    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
    known = set(identifier.labels) - {"zxx"}  # zxx: no language at all
    if languages is None:
        answers = {code: code for code in known}
    else:
        answers = {tag.split("-")[0]: tag for tag in reversed(languages) if tag.split("-")[0] in known}
    if not answers:
        return lambda text: _UNKNOWN
    identifier.set_languages(answers)
    return lambda text: answers[identifier.classify(text[:_IDENTIFIED_CHARACTERS])[0]]


def identify_languages(documents: Iterable[Document], languages: Sequence[str] | None) -> Iterator[Document]:
    """Give a language to the documents that have none, with py3langid.

    Args:
        documents: Documents; those with a language other than `und` pass unchanged.
        languages: The languages of the corpus where they are known, see `language_identifier`.

    Returns:
        The documents in order.

    Raises:
        SettingsError: One of `languages` is no language tag.
    """
    for tag in languages or ():
        if not _LANGUAGE_TAG.fullmatch(tag):
            raise SettingsError(f"languages: got {tag!r}, expected a lower-case language tag such as de or zh-cn")
    return with_languages(documents, language_identifier(languages))


def _unusable(raw: str, text: str, max_chars: int) -> str | None:
    """The reason to leave a text out, judged by its raw form (binary) and its clean form (the others)."""
    unreadable = len(_CONTROL.findall(_LINE_BREAK.sub("\n", raw))) + raw.count("\ufffd")
    if unreadable > _MAX_UNREADABLE * len(raw):
        return "binary"
    if len(text) > max_chars:
        return "too long"
    if letters(text) == 0:
        return "no letters"
    return None


def _digest(*parts: str) -> bytes:
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).digest()


def _read_jsonl_documents(file: Path, origin: str) -> Iterator[Document]:
    empty = True
    for doc_id, entry, where in _unique(_objects(file), file):
        empty = False
        title = _field(entry, "title", where) if entry.get("title") is not None else ""
        text = _field(entry, "text", where)
        yield Document(doc_id, f"{title}\n{text}" if title else text, _language(entry, where), origin)
    if empty:
        raise InputError(f"{file}: no documents in it; expected one JSON object a line")


def _read_text_files(folder: Path, files: Sequence[Path], origin: str) -> Iterator[Document]:
    for file in files:
        raw = file.read_bytes().removeprefix(_BYTE_ORDER_MARK)
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
            raise _not_utf8(f"{file}, line {line}", error) from error
        yield Document(file.relative_to(folder).as_posix(), text, _UNKNOWN, origin)


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines that are not blank, without their ends."""
    with file.open("rb") as stream:
        for number, raw in enumerate(stream, 1):
            try:
                line = raw.removeprefix(_BYTE_ORDER_MARK if number == 1 else b"").decode("utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise _not_utf8(f"{file}, line {number}", error) from error
            if line.strip():
                yield number, line


def _not_utf8(where: str, error: UnicodeDecodeError) -> InputError:
    return InputError(f"{where}: byte {error.object[error.start]:#04x} is not UTF-8; save the file in UTF-8")


def _objects(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in _lines(file):
        where = f"{file}, line {number}"
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise InputError(f"{where}: got {clip(line, 60)!r}, expected a JSON object ({error})") from error
        if not isinstance(entry, dict):
            raise InputError(f"{where}: got {clip(line, 60)!r}, expected a JSON object")
        yield number, entry


def _unique(objects: Iterable[tuple[int, dict[str, Any]]], file: Path) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Id, object and place (for messages) of each line; an id that comes twice is an error."""
    lines: dict[str, int] = {}
    for number, entry in objects:
        where = f"{file}, line {number}"
        record_id = _id(entry, where)
        if record_id in lines:
            raise InputError(
                f"{file}: id {record_id!r} stands on line {lines[record_id]} and on line {number}; "
                "ids must be unique, rename one"
            )
        lines[record_id] = number
        yield record_id, entry, where


def _id(entry: dict[str, Any], where: str) -> str:
    present = [name for name in _ID_FIELDS if name in entry]
    if not present:
        raise InputError(f"{where}: no id; expected a field {', '.join(_ID_FIELDS[:-1])} or {_ID_FIELDS[-1]}")
    value = entry[present[0]]
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value or not value.isprintable():
        raise InputError(f"{where}: {present[0]} is {_shown(value)}, expected printable text or a whole number")
    return value


def _field(entry: dict[str, Any], name: str, where: str) -> str:
    if name not in entry:
        raise InputError(f"{where}: no {name}; expected a field {name} with text")
    value = entry[name]
    if not isinstance(value, str):
        raise InputError(f"{where}: {name} is {_shown(value)}, expected text")
    return value


def _language(entry: dict[str, Any], where: str) -> str:
    """The language of a line as a lower-case tag, `und` where none is given."""
    metadata = entry.get("metadata")
    inner = metadata.get("lang") if isinstance(metadata, dict) else None
    value = next((given for given in (inner, entry.get("lang"), entry.get("language")) if given), _UNKNOWN)
    tag = value.lower().replace("_", "-") if isinstance(value, str) else ""
    if not _LANGUAGE_TAG.fullmatch(tag):
        raise InputError(f"{where}: the language is {_shown(value)}, expected a tag such as de or zh-cn")
    return tag


def _shown(value: object) -> str:
    return clip(json.dumps(value, ensure_ascii=False), 60)
