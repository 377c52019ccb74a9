"""`tamis compare`: what changed between two runs, for which queries, with the documents side by side."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tamis.artifacts import read_json
from tamis.errors import InputError, SettingsError, TamisError
from tamis.evaluation.passages import of_whole_documents
from tamis.evaluation.reading import read_set, the_set
from tamis.evaluation.sets import JudgedSet
from tamis.formats.qrels import grades_of, read_qrels
from tamis.formats.query_logs import log_side
from tamis.formats.trec import read_run, run_exists
from tamis.formulas.measures import measure_rankings, parse_measures
from tamis.formulas.significance import paired_comparison
from tamis.records import Candidates
from tamis.retrievers.own_ids import without

OVERLAP = 10
"""Best documents that are compared where nothing is judged."""

Runs = tuple[Mapping[str, Candidates], Mapping[str, Candidates]]

ROUNDS = 10_000
"""Sign flips of the randomisation test."""


@dataclass(frozen=True)
class SetTexts:
    """What is known of a set beside two runs of it.

    Attributes:
        grades: Judgements by query id and document id; none where nothing is judged.
        queries: Texts by id.
        documents: Texts by id.
        own: Ids of the queries that are documents themselves, see `JudgedSet`.
    """

    grades: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    queries: Mapping[str, str] = field(default_factory=dict)
    documents: Mapping[str, str] = field(default_factory=dict)
    own: frozenset[str] = frozenset()

    @classmethod
    def of(cls, judged: JudgedSet) -> "SetTexts":
        """All that a set says."""
        return cls(
            judged.grades,
            {query_id: question.text for query_id, question in judged.questions.items()},
            {doc_id: document.text for doc_id, document in judged.documents.items()},
            judged.own,
        )


@dataclass(frozen=True)
class RankedPlace:
    """A document in one of the rankings.

    Attributes:
        doc_id: The document.
        elsewhere: Its rank in the other run, from 1; None where it is not there.
        grade: Its judgement; None where it has none.
        text: Empty where it is not known.
    """

    doc_id: str
    elsewhere: int | None
    grade: int | None
    text: str


@dataclass(frozen=True)
class QuestionChange:
    """A query whose ranking changed.

    Attributes:
        query_id: The query.
        text: Empty where it is not known.
        before: Its figure in run A.
        after: Its figure in run B.
        rankings: The best documents of A and of B.
    """

    query_id: str
    text: str
    before: float
    after: float
    rankings: tuple[Sequence[RankedPlace], Sequence[RankedPlace]]


@dataclass(frozen=True)
class Comparison:
    """Two runs of one set.

    Attributes:
        title: Set and system, or the two files.
        measure: Name of the measure; `overlap@10` where nothing is judged: the share of A's best 10 in B's best 10.
        queries: How many count.
        before: Mean figure of A.
        after: Mean figure of B.
        test: See `paired_comparison`; None where nothing is judged.
        moved: Queries whose best ten documents are others, or in another order.
        changes: The queries that changed most, the largest change first.
    """

    title: str
    measure: str
    queries: int
    before: float
    after: float
    test: Mapping[str, Any] | None
    moved: int
    changes: Sequence[QuestionChange]


def compare(
    a: Path, b: Path, on: str | None, measure: str, system: str | None, queries: int, top: int
) -> Iterator[Comparison]:
    """Compare two runs, or all that two evaluations have in common.

    Args:
        a: A TREC run, or the folder of an evaluation.
        b: Likewise.
        on: The set of two runs, as for `read_set`; runs of an evaluation's folder know theirs. For two evaluations
            the name of the set to compare on; None is all.
        measure: As ir-measures names it.
        system: Name of the system to compare in two evaluations; None: all that both have.
        queries: How many changed queries to give.
        top: How many documents of each.

    Yields:
        One comparison for two runs; one for each set and system of two evaluations.

    Raises:
        TamisError: nothing in common, or a file that is not understood.
    """
    try:
        measures = parse_measures([measure])
    except ValueError as error:
        raise SettingsError(f"--measure: {error}") from None
    for path in (a, b):
        if not run_exists(path):
            raise InputError(f"{path}: not there; expected a TREC run, LOG:MODEL or the folder of an evaluation")
    if _is_evaluation(a) != _is_evaluation(b):
        raise InputError(f"{a} and {b}: one is a folder, one a file; compare two runs, or two evaluations")
    if not _is_evaluation(a):
        texts = SetTexts.of(the_set(on)) if on else _own_texts(a)
        title = f"{a.stem} → {b.stem}"
        runs: Runs = read_run(a), read_run(b)
        if log_side(a) and log_side(b):
            title, runs, texts = _answered_by_both(title, runs, texts)
        yield _compared(title, runs, texts, measures, queries, top)
        return
    for name, title, files, folder in _common(a, b, on, system):
        texts = _own_texts(folder / "sets" / name / "runs" / "any.trec")
        yield _compared(title, (read_run(files[0]), read_run(files[1])), texts, measures, queries, top)


def _is_evaluation(path: Path) -> bool:
    """Whether a path is the folder of an evaluation, and neither a run nor the log of a server."""
    return path.is_dir() and not log_side(path)


def _answered_by_both(title: str, runs: Runs, texts: SetTexts) -> tuple[str, Runs, SetTexts]:
    """Two sides of a server's log without the queries that only one of them was asked: it says nothing of the other.

    Raises:
        InputError: there is none that both were asked.
    """
    asked = len({*runs[0], *runs[1]})
    both = runs[0].keys() & runs[1].keys()
    if not both:
        raise InputError(
            f"{title}: of {asked:,} queries none was asked of both; split by chance or by a header, or let both models "
            "rank the same candidates: tamis evaluate A B --first NAME=LOG:A"
        )
    title = f"{title}, {len(both):,} of {asked:,} queries that both were asked"
    grades = {query_id: found for query_id, found in texts.grades.items() if query_id in both}
    if texts.grades and not grades:
        raise InputError(f"{title}: none of them is judged; do set and log belong together?")
    a, b = ({query_id: found for query_id, found in run.items() if query_id in both} for run in runs)
    return title, (a, b), replace(texts, grades=grades)


def _common(a: Path, b: Path, on: str | None, system: str | None) -> Iterator[tuple[str, str, tuple[Path, Path], Path]]:
    """Set, title, both files, and the folder that knows the set, of each run that both evaluations have."""
    found = [{file.relative_to(folder): file for file in folder.glob("sets/*/runs/*.trec")} for folder in (a, b)]
    for folder, files in zip((a, b), found, strict=True):
        if not files:
            raise InputError(f"{folder}: no runs in it; expected the folder of an evaluation, as --out names it")
    shared = [
        path
        for path in sorted(found[0].keys() & found[1].keys())
        if (on is None or path.parts[1] == on)
        and (path.stem == system if system else not path.stem.startswith("oracle@"))
    ]
    if not shared:
        wanted = " ".join(one for one in (on and f"--on {on}", system and f"--system {system}") if one)
        has = ", ".join(sorted({path.stem for path in found[0].keys() | found[1].keys()}))
        raise InputError(f"{a} and {b}: no run in common {wanted}; they have {has}".replace("  ", " "))
    for path in shared:
        yield path.parts[1], f"{path.parts[1]}: {path.stem}", (found[0][path], found[1][path]), a


def _own_texts(run: Path) -> SetTexts:
    """What the folder of an evaluation knows of one of its runs; nothing where the run lies elsewhere.

    The texts are read from where the set was; where it is gone, ids have to do.
    """
    folder = run.parent.parent
    qrels, results = folder / "qrels.trec", folder.parent.parent / "results.json"
    if not qrels.is_file() or not results.is_file():
        return SetTexts()
    grades = grades_of(read_qrels(qrels), qrels)
    try:
        source = read_json(results)["sets"][folder.name]["source"]
        known = {judged.name: judged for judged in read_set(source, passages=True)}[folder.name]
    except (TamisError, OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return SetTexts(grades)
    return replace(SetTexts.of(known), grades=grades)


def _compared(
    title: str, runs: Runs, texts: SetTexts, measures: Mapping[str, Any], queries: int, top: int
) -> Comparison:
    measure = next(iter(measures))
    runs = _allowed(runs[0], texts), _allowed(runs[1], texts)
    ids = list(texts.grades) or list(dict.fromkeys([*runs[0], *runs[1]]))
    if texts.grades and not any(query_id in run for run in runs for query_id in ids):
        raise InputError(f"{title}: no query of the runs is judged; do set and runs belong together?")
    heads = [{q: tuple(run[q].doc_ids[:OVERLAP]) if q in run else () for q in ids} for run in runs]
    if texts.grades:
        before, after = (
            measure_rankings(((q, c.doc_ids) for q, c in run.items()), texts.grades, measures)[measure] for run in runs
        )
    else:
        measure = f"overlap@{OVERLAP}"
        before = dict.fromkeys(ids, 1.0)
        after = {q: len({*heads[0][q]} & {*heads[1][q]}) / max(1, len(heads[0][q]), len(heads[1][q])) for q in ids}
    differences = np.array([after[q] - before[q] for q in ids])
    test = None
    if texts.grades:
        rng = np.random.default_rng(zlib.crc32(title.encode()))
        test = paired_comparison(differences, np.ones(len(ids)), {}, rng, ROUNDS, resamples=2000)
    moved = [q for q in ids if heads[0][q] != heads[1][q]]
    changed = sorted(moved, key=lambda q: (-abs(after[q] - before[q]), q))[:queries]
    return Comparison(
        title,
        measure,
        len(ids),
        float(np.mean([before[q] for q in ids])),
        float(np.mean([after[q] for q in ids])),
        test,
        len(moved),
        [
            QuestionChange(q, texts.queries.get(q, ""), before[q], after[q], _side_by_side(q, runs, texts, top))
            for q in changed
        ],
    )


def _allowed(run: Mapping[str, Candidates], texts: SetTexts) -> Mapping[str, Candidates]:
    """A run of documents, not of their passages, whose queries do not find themselves."""
    documents = {q: of_whole_documents(found, texts.documents, texts.documents) for q, found in run.items()}
    return {q: without(found, q) if q in texts.own else found for q, found in documents.items()}


def _side_by_side(
    query_id: str, runs: Runs, texts: SetTexts, top: int
) -> tuple[Sequence[RankedPlace], Sequence[RankedPlace]]:
    ranked = [run[query_id].doc_ids if query_id in run else () for run in runs]
    ranks = [{doc_id: rank for rank, doc_id in enumerate(doc_ids, 1)} for doc_ids in ranked]
    grades = texts.grades.get(query_id, {})

    def places(own: int) -> list[RankedPlace]:
        return [
            RankedPlace(doc_id, ranks[1 - own].get(doc_id), grades.get(doc_id), texts.documents.get(doc_id, ""))
            for doc_id in ranked[own][:top]
        ]

    return places(0), places(1)
