"""Retrieval and reranking tasks of mteb as judged sets; those of a hub need one."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tamis.errors import InputError
from tamis.evaluation.sets import TASK, JudgedSet, SetQueries, join_set
from tamis.extras import missing_package
from tamis.formats.qrels import Judgement
from tamis.languages import UNKNOWN_LANGUAGE
from tamis.records import Candidates, Document
from tamis.retrievers.search import rank_candidates
from tamis.text import clip


def read_mteb_task(source: str, name: str) -> list[JudgedSet]:
    """Load a task by its name: a set for each subset and split of it, and of each task that it is made of.

    The candidates that a reranking task brings become the first stage `task`; no order among them is known, so that
    chance decides it. Instructions and conversations are read as mteb's own evaluator gives them to a cross-encoder.

    Args:
        source: As it was given, for messages.
        name: As mteb calls it; with `:SUBSET` behind it, that subset alone.

    Raises:
        MissingPartError: mteb is not installed.
        InputError: mteb knows no such task or subset, it is none of retrieval or reranking, it is not about text alone,
            or its data is not to be had here.
    """
    try:
        import mteb
        from mteb.abstasks.aggregated_task import AbsTaskAggregate
    except ImportError:
        raise missing_package(f"--on {source}", "mteb", "mteb") from None
    name, _, subset = name.partition(":")
    try:
        task = mteb.get_task(name)
    except KeyError:
        raise InputError(f"--on {source}: mteb knows no task {name!r}") from None
    parts = list(task.tasks) if isinstance(task, AbsTaskAggregate) else []
    if parts and subset:
        named = ", ".join(part.metadata.name for part in parts)
        raise InputError(f"--on {source}: {name} is made of tasks and has no subset {subset!r}; name one of {named}")
    for part in parts or [task]:
        _check(source, part, subset)
    chosen = parts or [mteb.get_task(name, hf_subsets=[subset]) if subset else task]
    return [found for part in chosen for found in _loaded(source, part)]


def _check(source: str, task: Any, subset: str) -> None:
    """Refuse a task that no reranker of texts can do, before anything is loaded."""
    from mteb.abstasks.retrieval import AbsTaskRetrieval

    name = task.metadata.name
    if not isinstance(task, AbsTaskRetrieval):
        raise InputError(f"--on {source}: {name} is no retrieval or reranking task")
    if others := [each for each in task.metadata.modalities if each != "text"]:
        raise InputError(f"--on {source}: {name} is about {' and '.join(others)}; expected a task of text alone")
    if subset and subset not in task.metadata.hf_subsets:
        raise InputError(
            f"--on {source}: {name} has no subset {subset!r}; it has {', '.join(task.metadata.hf_subsets)}"
        )


def _loaded(source: str, task: Any) -> list[JudgedSet]:
    try:
        task.load_data()
        task.convert_v1_dataset_format_to_v2(num_proc=None)  # tasks with loaders of their own give an older form
    except Exception as error:  # of the hub, too; whatever a task's own loader raises
        raise InputError(
            f"--on {source}: mteb cannot load {task.metadata.name} ({clip(str(error), 160)}); it needs a model hub, or "
            "a machine that has loaded it before"
        ) from None
    return list(_sets(source, task))


def _sets(source: str, task: Any) -> Iterator[JudgedSet]:
    several = len(task.metadata.hf_subsets) > 1
    for subset, splits in task.dataset.items():
        for split in task.metadata.eval_splits:
            parts = [task.metadata.name, *([subset] if several else [])]
            name = "-".join([*parts, *([split] if len(task.metadata.eval_splits) > 1 else [])])
            yield _joined(source, name, splits[split], _language(task, subset), task.ignore_identical_ids)


def _joined(source: str, name: str, found: Mapping[str, Any], language: str, own: bool) -> JudgedSet:
    documents = {}
    for row in found["corpus"]:
        title, text = row.get("title") or "", row["text"] or ""
        documents[str(row["id"])] = Document(str(row["id"]), f"{title}\n{text}" if title else text, language)
    queries = {str(row["id"]): SetQueries(_asked(row), language) for row in found["queries"]}
    judged = ((q, d, grade) for q, own in found["relevant_docs"].items() for d, grade in own.items())
    judgements = [Judgement(str(q), str(d), int(grade), number) for number, (q, d, grade) in enumerate(judged, 1)]
    place = Path(name)
    others = place / "corpus", place / "queries"
    joined = join_set(name, source, documents, queries, judgements, place / "qrels", others, own)
    ranked = found.get("top_ranked")
    if not ranked:
        return joined
    return replace(joined, given={TASK: {q: _candidates(q, ranked.get(q, ())) for q in joined.questions}})


def _asked(row: Mapping[str, Any]) -> str:
    """A query as mteb reads it: an instruction stands behind a text, and before the turns of a conversation."""
    text, told = row["text"], row.get("instruction") or ""
    if isinstance(text, str):
        return f"{text} {told}" if told else text
    turns = (turn if isinstance(turn, str) else f"{turn['role']}: {turn['content']}" for turn in text)
    return " ".join(filter(None, (told, "; ".join(turns))))


def _candidates(query_id: str, doc_ids: Any) -> Candidates:
    unique = tuple(dict.fromkeys(map(str, doc_ids)))
    return rank_candidates(query_id, unique, np.zeros(len(unique)), len(unique))


def _language(task: Any, subset: str) -> str:
    """The tag of a subset that has one language, `und` of others."""
    spoken = task.metadata.eval_langs
    tags = spoken.get(subset, []) if isinstance(spoken, Mapping) else spoken
    return str(tags[0]).partition("-")[0] if len(tags) == 1 else UNKNOWN_LANGUAGE
