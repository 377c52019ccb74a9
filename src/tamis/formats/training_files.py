"""Training files of other rerankers: a query a line, with texts that answer it and texts that do not.

    flagembedding           {"query", "pos": [text], "neg": [text], "pos_scores": [number], "neg_scores": [number]}
    tevatron                {"query_id", "query", "positive_passages": [{"docid", "title", "text"}],
                             "negative_passages": [...]}
    sentence-transformers   {"query", "docs": [text], "labels": [number]}
                            {"anchor", "positive", "negative", ...}     or query and answer
                            {"sentence1", "sentence2", "score"}         or query and answer with a label

Files come as JSONL or as any other form of rows (`tables.py`). Passages get the hash of their text for an id, so that a
text that comes in many lines is one document.
"""

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tamis.errors import InputError
from tamis.formats.fields import (
    IDS,
    TEXTS,
    Content,
    checked_text,
    content_id,
    language_of,
    number,
    record_id,
    shown,
    titled_text,
)
from tamis.formats.tables import Row, rows, table_files

RELEVANT: Final = 0.5
"""A passage with this label or a higher one answers the query: 1 of 0 and 1, 1 and up of grades, half of a share."""

_ANCHORS: Final = ("anchor", "query", "question", "sentence1")
_POSITIVES: Final = ("positive", "answer", "passage", "sentence2")
_LABELS: Final = ("label", "score", "labels", "scores")
_NEGATIVE: Final = re.compile(r"negative(_\d+)?")
_MOST_NEGATIVES: Final = 100
FIELDS: Final = (
    *("query", "query_id", "pos", "neg", "pos_scores", "neg_scores", "positive_passages", "negative_passages", "docs"),
    *("lang", "language", "metadata", "negative", *(f"negative_{number}" for number in range(_MOST_NEGATIVES))),
    *_ANCHORS,
    *_POSITIVES,
    *_LABELS,
)
"""All fields that an example may be read from; other columns of a table stay unread."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A text beside a query.

    Attributes:
        doc_id: The run's id where it is written, the hash of the text where it was read.
        text: Title and body.
        relevant: Whether it answers the query.
        score: A teacher's score or a label, None where there is none.
    """

    doc_id: str
    text: str
    relevant: bool
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """A query and its passages.

    Attributes:
        query_id: Given, or the hash of the text.
        query: Text of the query.
        language: Lower-case tag, `und` where none is given.
        passages: In the order of the file, positives first where they stand apart.
    """

    query_id: str
    query: str
    language: str
    passages: tuple[Passage, ...]


@dataclass(frozen=True, slots=True)
class Form:
    """One form of a line.

    Attributes:
        name: For messages.
        fits: Whether a line with these fields is of this form.
        read: The line and its place -> the example; raises InputError.
    """

    name: str
    fits: Callable[[Content], bool]
    read: Callable[[Content, str], Example]


def read_examples(path: Path) -> Iterator[Example]:
    """Read a training file, one example at a time; the first line tells its form.

    Raises:
        InputError: A file that cannot be read, a first line of no known form, or a line that is not understood.
    """
    found = rows(table_files(path), set(FIELDS))
    first = next(found, None)
    form = form_of(first.content) if first else None
    if first is None or form is None:
        where, has = (first.where, ", ".join(map(str, first.content))) if first else (str(path), "no line")
        raise InputError(
            f"{where}: it has {has[:100]}, expected the fields of a training file: query and pos, query and "
            "positive_passages, query, docs and labels, anchor and positive, or sentence1, sentence2 and score"
        )
    yield from examples(itertools.chain([first], found), form)


def form_of(content: Content) -> Form | None:
    """The form of a line by its fields; None for a document (an id and text, whatever else) or anything else."""
    if any(name in content for name in IDS) and any(name in content for name in TEXTS):
        return None
    return next((form for form in FORMS if form.fits(content)), None)


def examples(found: Iterable[Row], form: Form) -> Iterator[Example]:
    """Rows as examples of one form.

    Raises:
        InputError: A row that is not of this form, or holds the wrong values.
    """
    for row in found:
        yield form.read(row.content, row.where)


def _flagembedding(content: Content, where: str) -> Example:
    positives = _passages(content, "pos", "pos_scores", True, where)
    negatives = _passages(content, "neg", "neg_scores", False, where) if content.get("neg") is not None else ()
    return _example(content, "query", (*positives, *negatives), where)


def _passages(content: Content, name: str, scores_name: str, relevant: bool, where: str) -> tuple[Passage, ...]:
    texts = [checked_text(text, name, where) for text in _list(content, name, "texts", where)]
    scores: Sequence[float | None] = _numbers(content, scores_name, len(texts), name, where) or [None] * len(texts)
    return tuple(Passage(content_id(text), text, relevant, score) for text, score in zip(texts, scores, strict=True))


def _numbers(content: Content, name: str, count: int, beside: str, where: str) -> list[float]:
    """Scores beside `count` texts; empty where there are none, as FlagEmbedding writes them."""
    if not content.get(name):
        return []
    found = [number(value, name, where) for value in _list(content, name, "numbers", where)]
    if len(found) != count:
        raise InputError(f"{where}: {name} has {len(found)} numbers, expected {count} as {beside} has texts")
    return found


def _tevatron(content: Content, where: str) -> Example:
    passages = [
        _tevatron_passage(entry, name, relevant, where)
        for name, relevant in (("positive_passages", True), ("negative_passages", False))
        for entry in (_list(content, name, "passages", where) if relevant or content.get(name) is not None else ())
    ]
    return _example(content, "query", passages, where)


def _tevatron_passage(entry: object, name: str, relevant: bool, where: str) -> Passage:
    if not isinstance(entry, Mapping):
        raise InputError(f"{where}: {name} holds {shown(entry)}, expected objects with docid, title and text")
    text = titled_text(entry, f"{where}, {name}")
    score = None if entry.get("score") is None else number(entry["score"], "score", f"{where}, {name}")
    return Passage(content_id(text), text, relevant, score)


def _labelled_list(content: Content, where: str) -> Example:
    texts = [checked_text(text, "docs", where) for text in _list(content, "docs", "texts", where)]
    name = next((name for name in ("labels", "scores", "label", "score") if name in content), "labels")
    labels = _numbers(content, name, len(texts), "docs", where)
    if texts and not labels:
        raise InputError(f"{where}: no labels; expected a field labels with a number for each of docs")
    passages = [
        Passage(content_id(text), text, label >= RELEVANT, label) for text, label in zip(texts, labels, strict=True)
    ]
    return _example(content, "query", passages, where)


def _tuple(content: Content, where: str) -> Example:
    """Anchor, positive and any number of negatives; the score of such a line is a margin, which no one passage has."""
    anchor, positive = _names(content, where)
    # A cell of a table cannot be left out: an empty one is a negative that there is not.
    negatives = [name for name in content if _NEGATIVE.fullmatch(str(name)) and not _is_blank(content[name])]
    texts = [(checked_text(content[name], name, where), name == positive) for name in (positive, *negatives)]
    return _example(content, anchor, [Passage(content_id(text), text, relevant) for text, relevant in texts], where)


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _labelled_pair(content: Content, where: str) -> Example:
    anchor, positive = _names(content, where)
    text = checked_text(content[positive], positive, where)
    name = next((name for name in _LABELS if name in content), None)
    if name is None:
        raise InputError(f"{where}: no label; expected a field {', '.join(_LABELS[:-1])} or {_LABELS[-1]} as above")
    label = number(content[name], name, where)
    return _example(content, anchor, [Passage(content_id(text), text, label >= RELEVANT, label)], where)


def _names(content: Content, where: str) -> tuple[str, str]:
    anchor = next((name for name in _ANCHORS if name in content), None)
    positive = next((name for name in _POSITIVES if name in content), None)
    if anchor is None or positive is None:
        missing, names = ("anchor", _ANCHORS) if anchor is None else ("positive", _POSITIVES)
        raise InputError(f"{where}: no {missing}; expected a field {', '.join(names[:-1])} or {names[-1]} with text")
    return anchor, positive


def _example(content: Content, name: str, passages: Iterable[Passage], where: str) -> Example:
    if name not in content:
        raise InputError(f"{where}: no {name}; expected a field {name} with text")
    query = checked_text(content[name], name, where)
    given = content.get("query_id") not in (None, "")
    query_id = record_id(content, where, ("query_id",)) if given else content_id(query)
    return Example(query_id, query, language_of(content, where), tuple(passages))


def _list(content: Content, name: str, of: str, where: str) -> list[Any]:
    if name not in content:
        raise InputError(f"{where}: no {name}; expected a field {name} with a list of {of}")
    value = content[name]
    if not isinstance(value, list):
        raise InputError(f"{where}: {name} is {shown(value)}, expected a list of {of}")
    return value


def _is_pair(content: Content) -> bool:
    return any(name in content for name in _ANCHORS) and any(name in content for name in _POSITIVES)


def _is_labelled(content: Content) -> bool:
    return any(name in content for name in _LABELS) and not any(_NEGATIVE.fullmatch(str(name)) for name in content)


FORMS: Final = (
    Form("tevatron", lambda content: "positive_passages" in content, _tevatron),
    Form("flagembedding", lambda content: "query" in content and "pos" in content, _flagembedding),
    Form("sentence-transformers, lists", lambda content: "query" in content and "docs" in content, _labelled_list),
    Form(
        "sentence-transformers, labelled pairs",
        lambda content: _is_pair(content) and _is_labelled(content),
        _labelled_pair,
    ),
    Form("sentence-transformers, triplets and pairs", _is_pair, _tuple),
)
"""Tried in this order."""


def as_flagembedding(example: Example) -> dict[str, Any]:
    """A line of FlagEmbedding's form."""
    line: dict[str, Any] = {"query": example.query}
    for name, relevant in (("pos", True), ("neg", False)):
        group = [passage for passage in example.passages if passage.relevant == relevant]
        line[name] = [passage.text for passage in group]
        line[f"{name}_scores"] = [passage.score for passage in group]
    return line


def as_tevatron(example: Example) -> dict[str, Any]:
    """A line of Tevatron's form, each passage with its score, as its distillation reads it."""
    line: dict[str, Any] = {"query_id": example.query_id, "query": example.query}
    for name, relevant in (("positive_passages", True), ("negative_passages", False)):
        line[name] = [
            {"docid": passage.doc_id, "title": "", "text": passage.text, "score": passage.score}
            for passage in example.passages
            if passage.relevant == relevant
        ]
    return line


def as_sentence_transformers(example: Example) -> dict[str, Any]:
    """A line of sentence-transformers' labelled lists, for its listwise losses, which go by the order of the fields."""
    return {
        "query": example.query,
        "docs": [passage.text for passage in example.passages],
        "labels": [passage.score for passage in example.passages],
    }


WRITERS: Final[Mapping[str, Callable[[Example], dict[str, Any]]]] = {
    "flagembedding": as_flagembedding,
    "sentence-transformers": as_sentence_transformers,
    "tevatron": as_tevatron,
}
"""Name of a form -> how it writes an example."""
