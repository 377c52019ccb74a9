"""Pools: for each question the best documents of all systems together, and the BEIR folder in which they are graded.

FOLDER/queries.jsonl, corpus.jsonl    the questions, and the documents of all pools
FOLDER/pools.json                     who found them, how deep, where the questions are from, and the pools
FOLDER/grades.jsonl                   every grade in the order in which it was given, see `grade_log`
FOLDER/qrels/test.tsv, model.tsv      what people and what a model say, once there are grades
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from tamis.artifacts import read_json
from tamis.errors import InputError, RunError
from tamis.formats.beir import beir_file
from tamis.formats.fields import usable_id
from tamis.formats.lines import objects
from tamis.formats.pools import FILE
from tamis.formats.queries import LoggedQuery
from tamis.formulas.ranking import tie_key
from tamis.labelling.durable import put_file
from tamis.labelling.questions import Asked
from tamis.records import Document
from tamis.text import clip, quoted
from tamis.whole_folder import whole_folder

POOLS: Final = FILE

DEPTH: Final = 10
"""Best documents of each system that are pooled: what nDCG@10 looks at."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A document as it is graded.

    Attributes:
        doc_id: Its id.
        title: What it is called; may be empty.
        body: Its text without the title.
        language: Its language.
        within: Whether the text that systems read begins with the title.
    """

    doc_id: str
    title: str
    body: str
    language: str
    within: bool = True

    @classmethod
    def of(cls, document: Document) -> "Passage":
        """A document, its title apart from its text."""
        title, text = document.title, document.text
        within = bool(title) and text.startswith(f"{title}\n")
        body = text.removeprefix(f"{title}\n") if within else text
        return cls(document.doc_id, title, body, document.language, within or not title)

    @property
    def text(self) -> str:
        """What systems read."""
        return f"{self.title}\n{self.body}" if self.title and self.within else self.body


@dataclass(frozen=True)
class Pools:
    """What is graded.

    Attributes:
        questions: By id, in the order in which they are shown.
        pools: Ids of the documents of each question, in the order in which they are shown.
        passages: By document id.
        systems: Names of those whose best documents are in the pools.
        depth: How many of each.
        made_from: The run or the documents.
        asked: Where the questions are from: `from` (`file` or `written`), `file` and `left_out`.
        notes: What a reader of the figures should know, a line each.
    """

    questions: Mapping[str, LoggedQuery]
    pools: Mapping[str, tuple[str, ...]]
    passages: Mapping[str, Passage]
    systems: tuple[str, ...]
    depth: int
    made_from: str
    asked: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """How many passages there are to grade."""
        return sum(map(len, self.pools.values()))


def pooled(query_id: str, rankings: Mapping[str, Sequence[str]], depth: int) -> tuple[str, ...]:
    """The union of the heads of several rankings, in an order by hash: it says neither who found what nor how high.

    Args:
        query_id: The question, whose hash is part of the order.
        rankings: Document ids by system, best first.
        depth: Documents of each head.
    """
    return in_hash_order(query_id, {doc_id for ranking in rankings.values() for doc_id in ranking[:depth]})


def in_hash_order(query_id: str, doc_ids: Iterable[str]) -> tuple[str, ...]:
    """Documents of a question, in the order in which they are shown."""
    return tuple(sorted(doc_ids, key=lambda doc_id: (tie_key(f"pool/{query_id}", doc_id), doc_id)))


def make_pools(
    asked: Asked,
    rankings: Mapping[str, Mapping[str, Sequence[str]]],
    documents: Mapping[str, Document],
    depth: int,
    made_from: str,
    notes: Sequence[str] = (),
) -> Pools:
    """Pools of questions that were just ranked.

    Args:
        asked: The questions.
        rankings: Document ids by system, best first, by question id.
        documents: By id.
        depth: Documents of each system's head.
        made_from: The run or the documents, for `pools.json`.
        notes: As `Pools.notes`.

    Raises:
        InputError: No question found a document, or an id that qrels cannot hold.
    """
    found = {one.query_id: pooled(one.query_id, rankings[one.query_id], depth) for one in asked.questions}
    empty = sum(not pool for pool in found.values())
    if empty == len(found):
        raise InputError("no system finds a document for any question; do the questions belong to these documents?")
    if empty:
        notes = [*notes, f"{empty:,} questions are left out: no system finds a document for them"]
    pools = {query_id: pool for query_id, pool in found.items() if pool}
    wanted = {doc_id for pool in pools.values() for doc_id in pool}
    for one in (*pools, *wanted):
        if not usable_id(one):
            raise InputError(f"id {quoted(one)} cannot stand in a qrels file; rename it")
    systems = dict.fromkeys(system for query_id in pools for system in rankings[query_id])
    facts = {"from": asked.source, "file": asked.file, "left_out": asked.left_out}
    return Pools(
        {one.query_id: one for one in asked.questions if one.query_id in pools},
        pools,
        {doc_id: Passage.of(documents[doc_id]) for doc_id in sorted(wanted)},
        tuple(systems),
        depth,
        made_from,
        facts,
        tuple(notes),
    )


def joined(old: Pools, new: Pools) -> Pools:
    """Old pools with what is new put to them: what was pooled once stays, and so do its grades.

    Raises:
        InputError: A question has the id of another one, or a document other words than before.
    """
    for query_id, question in new.questions.items():
        before = old.questions.get(query_id, question)
        if before.text != question.text:
            raise InputError(
                f"question {quoted(query_id)} is {clip(question.text, 60)!r} now and {clip(before.text, 60)!r} in the "
                "folder; give questions ids of their own, or choose another --out"
            )
    for doc_id, passage in new.passages.items():
        if old.passages.get(doc_id, passage).text != passage.text:
            raise InputError(
                f"document {quoted(doc_id)} reads otherwise than when its pool was made; grades of it would be of "
                "another text, choose another --out"
            )
    every = {**old.questions, **new.questions}
    pools = {q: in_hash_order(q, {*old.pools.get(q, ()), *new.pools.get(q, ())}) for q in every}
    systems = tuple(dict.fromkeys((*old.systems, *new.systems)))
    passages = {**old.passages, **new.passages}
    return replace(new, questions=every, pools=pools, passages=passages, systems=systems)


def write_pools(folder: Path, pools: Pools) -> None:
    """Write questions, documents and pools: a new folder appears whole, one with pools gets larger ones.

    Raises:
        InputError: The folder holds something else.
        RunError: The folder cannot be written.
    """
    if (folder / POOLS).is_file():
        _put(folder, pools)  # `pools.json` comes last: until then there is more in the other files than it names
        return
    with whole_folder(folder) as partial:
        _put(partial, pools)


def _put(folder: Path, pools: Pools) -> None:
    put_file(folder / "queries.jsonl", _lines(_query_row(one) for one in pools.questions.values()))
    put_file(folder / "corpus.jsonl", _lines(_document_row(one) for one in pools.passages.values()))
    facts = {
        "systems": pools.systems,
        "depth": pools.depth,
        "made_from": pools.made_from,
        "questions": {**pools.asked, "number": len(pools.questions)},
        "passages": pools.size,
        "notes": pools.notes,
        "pools": pools.pools,
    }
    put_file(folder / POOLS, json.dumps(facts, ensure_ascii=False, indent=1) + "\n")


def read_pools(folder: Path) -> Pools:
    """The pools of a folder.

    Raises:
        InputError: None lie there, or a file was changed so that it is not understood.
    """
    if not (folder / POOLS).is_file():
        raise InputError(f"{folder}: no {POOLS} in it; make pools with tamis label RUN --queries FILE --out {folder}")
    try:
        facts = read_json(folder / POOLS)
        asked, pools = facts["questions"], _checked(facts)
        rest = (tuple(facts["systems"]), int(facts["depth"]), str(facts["made_from"]), asked, tuple(facts["notes"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise RunError(f"{folder / POOLS}: not understood; take it from a copy, or choose another --out") from None
    questions = {one.query_id: one for one in map(_question, _rows(folder, "queries"))}
    passages = {one.doc_id: one for one in map(_passage, _rows(folder, "corpus"))}
    for query_id, pool in pools.items():
        for wanted, known, name in (([query_id], questions, "queries"), (pool, passages, "corpus")):
            if lacking := next((one for one in wanted if one not in known), None):
                raise InputError(f"{folder / POOLS}: {quoted(lacking)} is not in {name}.jsonl; take it from a copy")
    return Pools({query_id: questions[query_id] for query_id in pools}, pools, passages, *rest)


def _checked(facts: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """The pools of `pools.json`.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: What `tamis label` never writes.
    """
    left_out, pools = facts["questions"].get("left_out", {}), facts["pools"]
    texts = [facts["questions"]["from"], *facts["systems"], *facts["notes"], *left_out]
    documents = [doc_id for pool in pools.values() for doc_id in pool]
    if not documents or not all(isinstance(one, str) for one in (*texts, *documents)):
        raise ValueError("no pools")
    if not all(isinstance(pool, list) and 0 < len(pool) == len(set(pool)) for pool in pools.values()):
        raise ValueError("documents are named twice")
    if not all(type(count) is int for count in left_out.values()):
        raise ValueError("no numbers")
    return {query_id: tuple(pool) for query_id, pool in pools.items()}


def _rows(folder: Path, name: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
    file = beir_file(folder, name)
    if file is None:
        raise InputError(f"{folder}: no {name}.jsonl in it, which {POOLS} speaks of; take it from a copy")
    return ((f"{file}, line {number}", entry) for number, entry in objects(file))


def _question(row: tuple[str, Mapping[str, Any]]) -> LoggedQuery:
    where, entry = row
    try:
        return LoggedQuery(*_texts(entry["_id"], entry["text"], entry["metadata"]["lang"]))
    except (KeyError, TypeError):
        raise InputError(f"{where}: not as tamis label writes it; take the file from a copy") from None


def _passage(row: tuple[str, Mapping[str, Any]]) -> Passage:
    where, entry = row
    try:
        told = entry["metadata"]
        named = told.get("title", "")
        doc_id, title, body, language = _texts(entry["_id"], named or entry["title"], entry["text"], told["lang"])
        return Passage(doc_id, title, body, language, not named)
    except (KeyError, TypeError, AttributeError):
        raise InputError(f"{where}: not as tamis label writes it; take the file from a copy") from None


def _texts(*values: object) -> list[str]:
    """Values of a row that are text, all of them.

    Raises:
        TypeError: One is not.
    """
    if not all(isinstance(one, str) for one in values):
        raise TypeError("no text")
    return [str(one) for one in values]


def _query_row(one: LoggedQuery) -> dict[str, Any]:
    return {"_id": one.query_id, "text": one.text, "metadata": {"lang": one.language}}


def _document_row(one: Passage) -> dict[str, Any]:
    named = {} if one.within else {"title": one.title}  # a name that is no part of the text, of a file for instance
    title = one.title if one.within else ""
    return {"_id": one.doc_id, "title": title, "text": one.body, "metadata": {"lang": one.language, **named}}


def _lines(rows: Iterable[Mapping[str, Any]]) -> str:
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
