"""Pools of a run: what its first stages, its teacher and its students find for questions that nobody has judged."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from tamis.errors import InputError, RunError
from tamis.evaluation.judged import Question
from tamis.labelling.pools import Pools, make_pools
from tamis.labelling.questions import Asked, written_questions
from tamis.labelling.wanted import Wanted, asked_of, notes_of_run, own_of
from tamis.pipeline.parts import Parts
from tamis.pipeline.run import with_finished
from tamis.records import SERVED, Query, TrainingList
from tamis.stages.evaluate.pools import Systems
from tamis.text import quoted

COMPARED: Final = ("untrained", "merged")
"""Students whose rankings are pooled; specialists are never served."""

Rankings = Mapping[str, Mapping[str, Sequence[str]]]
"""Document ids by question and system, best first."""


def pools_of_run(source: Path, wanted: Wanted) -> Pools:
    """Pools of the systems of a run, as far as it is finished.

    Args:
        source: Folder of a run whose corpus is finished.
        wanted: What is pooled.

    Raises:
        TamisError: Whatever the user can mend.
    """
    return with_finished(source, lambda parts: _of_run(source, wanted, parts))


def _of_run(source: Path, wanted: Wanted, parts: Parts) -> Pools:
    target = parts.context.target
    if not target:
        raise InputError(f"{source}: this run has no documents of its own to search (corpus.target)")
    asked = asked_of(wanted.queries, wanted.most, target.values()) if wanted.queries else _written(wanted, parts)
    known, notes = _searchable(asked, parts)
    systems = replace(parts.systems, runs=wanted.runs)
    questions = [Question(q.query_id, q.text, q.language, {}) for q in known.questions]
    rankings = _ranked(systems, questions, own_of(known, target))
    for name, run in systems.external_runs.items():
        notes += notes_of_run(name, run, wanted, known, source)
    if "merge" not in parts.context.folders:
        notes.append("the run has no merged student yet: only first stages and the teacher are in the pools")
    return make_pools(known, rankings, target, wanted.depth, source.as_posix(), notes)


def _ranked(systems: Systems, questions: Sequence[Question], own: Collection[str]) -> Rankings:
    pools = systems.find_pools(questions, own)
    rankings = {
        pool.question.query_id: {name: list(found.doc_ids) for name, found in pool.found.items()} for pool in pools
    }
    if "merge" in systems.context.folders:
        texts = {doc_id: document.text for doc_id, document in systems.context.target.items()}
        systems.students.prepare({question.query_id: question.text for question in questions}, texts)
        runs, _ = systems.rank(pools, COMPARED)
        for name in (name for name in runs if name.partition(SERVED)[0] in COMPARED):
            for query_id, ranking in runs[name].items():
                rankings[query_id][name] = ranking
    return rankings


def _written(wanted: Wanted, parts: Parts) -> Asked:
    if "lists" not in parts.context.folders:
        raise RunError("the run has held no queries out yet (stage lists); give questions with --queries")
    lists = parts.context.stream("lists", TrainingList)
    held_out = frozenset(one.query_id for one in lists if one.split == "held-out")
    return written_questions(parts.context.stream("queries", Query), held_out, wanted.most)


def _searchable(asked: Asked, parts: Parts) -> tuple[Asked, list[str]]:
    """The questions that have documents to search, in the nearest language that documents have."""
    indexes = parts.first_stages.indexes
    kept = [one for one in asked.questions if indexes.get("target", one.language) is not None]
    left = [one for one in asked.questions if indexes.get("target", one.language) is None]
    if not kept:
        raise InputError(
            f"no question is in a language of the documents ({left[0].language}: {quoted(left[0].text)}); add "
            '"metadata": {"lang": ...} to the questions, or set candidates.languages: any'
        )
    languages = ", ".join(sorted({one.language for one in left}))
    notes = [f"{len(left):,} questions are left out: no document is in their language ({languages})"] if left else []
    return replace(asked, questions=kept), notes
