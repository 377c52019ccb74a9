"""What is weighed by: written queries, what first stages found for them, and the documents of both."""

from collections.abc import Collection, Container, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TypeVar

from tamis.artifacts import drop_notes, find_records, newest_results, read_stream, split_dropped
from tamis.errors import InputError
from tamis.formats.documents import Corpus
from tamis.formats.trec import contradictions, read_run
from tamis.formats.written_queries import read_written_queries
from tamis.formulas.ranking import tie_key
from tamis.languages import UNKNOWN_LANGUAGE
from tamis.records import GIVEN, Candidates, Document, Dropped, Query, TrainingList
from tamis.retrievers.given_run import of_known
from tamis.stages.corpus.clean import identify_languages
from tamis.stages.merge.weigh import WEIGHING
from tamis.weighing.config import WeighingConfig

Item = TypeVar("Item")

Notes = list[str]
"""What was left out, or makes a weight doubtful; a line each."""

Run = Mapping[str, Candidates]
"""What a first stage found, by query id."""


@dataclass(frozen=True)
class Inputs:
    """What was given, once it fits together.

    Attributes:
        queries: By id; the document of each is there, and the language of each is known.
        documents: By id; all where they are searched, otherwise those that queries and runs name.
        runs: By name, of known documents only; of too many queries some, drawn by hash.
        notes: What was left out.
    """

    queries: Mapping[str, Query]
    documents: Mapping[str, Document]
    runs: Mapping[str, Run]
    notes: Notes


def read_inputs(asked: WeighingConfig, files: Mapping[str, Path]) -> Inputs:
    """Read queries, runs and documents.

    Args:
        asked: Names them.
        files: Files of the runs by name, see `WeighingConfig.named_runs`.

    Raises:
        InputError: something cannot be read or does not belong to the rest; see `read_queries`, too.
    """
    written = queries_by_id(asked.queries)
    answers = {name: _answers(file, written, asked.queries) for name, file in files.items()}
    against = chain.from_iterable(contradictions(file, answers[name]) for name, file in files.items())
    named = {doc_id for run in answers.values() for found in run.values() for doc_id in found.doc_ids}
    documents, unread = read_documents(asked.corpus, None if asked.first else named | own_documents(written))
    queries, unanswerable = answerable(written, documents, asked)
    queries = _with_languages(queries, documents)
    known = {name: _known(name, run, queries, documents, asked.corpus) for name, run in answers.items()}
    left_out = chain.from_iterable(notes for _, notes in known.values())
    runs = {name: run for name, (run, _) in known.items()}
    return Inputs(queries, documents, runs, [*against, *unread, *unanswerable, *left_out])


def queries_by_id(path: Path) -> dict[str, Query]:
    """See `read_queries`."""
    return {query.query_id: query for query in read_queries(path)}


def read_queries(path: Path) -> list[Query]:
    """Written queries of a file, or the held-out ones of a run folder, each with its document.

    Raises:
        InputError: none, or a row that is not understood.
        RunError: a folder that is no run with finished lists.
    """
    if not path.is_dir():
        return [
            Query(
                one.query_id,
                one.text,
                one.language or UNKNOWN_LANGUAGE,
                "target",
                one.document_id,
                "written",
                kind=one.kind,
            )
            for one in read_written_queries(path)
        ]
    folders = newest_results(path, "lists")
    lists = read_stream(folders["lists"] / "lists.parquet", TrainingList)
    held_out = {one.query_id for one in lists if one.split == "held-out"}
    stored = find_records(folders["queries"] / "queries.parquet", Query, "query_id", held_out)
    found = [query for query in stored if query.generator != GIVEN and query.document_id]
    if not found:
        raise InputError(f"{path}: no written query of this run is held out; give a file of written queries")
    return found


def own_documents(queries: Mapping[str, Query]) -> set[str]:
    """Ids of the documents that queries belong to."""
    return {query.document_id for query in queries.values()}


def read_documents(corpus: Path, wanted: Container[str] | None) -> tuple[dict[str, Document], Notes]:
    """Documents by id, and what could not be read.

    Args:
        corpus: As `corpus.target` of a recipe.
        wanted: Ids of those that are kept; None for all.
    """
    every = Corpus(corpus).documents("target")
    named = (one for one in every if isinstance(one, Dropped) or wanted is None or one.doc_id in wanted)
    kept, dropped = split_dropped(named)
    return {document.doc_id: document for document in kept}, drop_notes(dropped, corpus)


def answerable(
    queries: Mapping[str, Query], documents: Container[str], asked: WeighingConfig
) -> tuple[dict[str, Query], Notes]:
    """The queries whose document is in the corpus, and how many are left out.

    Raises:
        InputError: none is.
    """
    kept = {query_id: query for query_id, query in queries.items() if query.document_id in documents}
    if not kept:
        unknown = next(iter(queries.values())).document_id
        raise InputError(
            f"{asked.queries}: not one document that its queries belong to is in {asked.corpus}, the first is called "
            f"{unknown!r}; do they belong together?"
        )
    missing = len(queries) - len(kept)
    return kept, counted(missing, f"queries left out, their own document is not in {asked.corpus}")


def draw(of_queries: Mapping[str, Item]) -> dict[str, Item]:
    """At most `WEIGHING` queries, drawn by hash; in the order in which they came."""
    drawn = {*sorted(of_queries, key=lambda query_id: tie_key("weigh", query_id))[:WEIGHING]}
    return {query_id: item for query_id, item in of_queries.items() if query_id in drawn}


def drawn_from(name: str, drawn: Collection[str], queries: Collection[str]) -> Notes:
    """How many queries weigh a first stage where not all can; nobody has to answer more than `WEIGHING`."""
    used, there = len(drawn), len(queries)
    if there <= WEIGHING:
        return []
    fewer = f"; its run has nothing for {WEIGHING - used:,} more" if used < WEIGHING else ""
    return [f"{name}: {used:,} of {there:,} queries weigh it, at most {WEIGHING} do{fewer}"]


def counted(count: int, what: str) -> Notes:
    """What happened so many times, if it did."""
    return [f"{count:,} {what}"] if count else []


def _answers(file: Path, queries: Mapping[str, Query], named: Path) -> dict[str, Candidates]:
    """What a run says of the queries, which come from the file that is named."""
    run = read_run(file)
    found = {query_id: candidates for query_id, candidates in run.items() if query_id in queries}
    if not found:
        raise InputError(
            f"{file}: holds none of the queries of {named}; it has ids like {next(iter(run))!r}, they are called like "
            f"{next(iter(queries))!r}"
        )
    return found


def _with_languages(queries: Mapping[str, Query], documents: Mapping[str, Document]) -> dict[str, Query]:
    """The queries; where nobody says a query's language, it is its document's."""
    unsaid = {query_id: query for query_id, query in queries.items() if query.language == UNKNOWN_LANGUAGE}
    own = {query.document_id: documents[query.document_id] for query in unsaid.values()}
    told = {document.doc_id: document.language for document in identify_languages(own.values(), None)}
    return {**queries} | {
        query_id: replace(query, language=told[query.document_id]) for query_id, query in unsaid.items()
    }


def _known(
    name: str, run: Run, queries: Mapping[str, Query], documents: Container[str], corpus: Path
) -> tuple[dict[str, Candidates], Notes]:
    """A run of known queries and documents, of queries drawn by hash where there are too many; and what it lacks."""
    kept, unknown = of_known({query_id: run[query_id] for query_id in run if query_id in queries}, documents)
    found = {query_id: candidates for query_id, candidates in kept.items() if candidates.doc_ids}
    if not found:
        raise InputError(f"{name}: none of the documents of its run is in {corpus}; do the ids belong together?")
    drawn = draw(found)
    silent = len(queries) - len(found) if len(queries) <= WEIGHING else 0
    return drawn, [
        *counted(unknown, f"documents of {name} passed over, they are not in {corpus}"),
        *counted(silent, f"queries left out, {name} has nothing for them"),
        *drawn_from(name, drawn, queries),
    ]
