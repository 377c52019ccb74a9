"""Logits of a model for the candidates of a set, each pair of texts scored once for all calls."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from tamis.artifacts import ItemStore, Kept, item_key, kept_in
from tamis.evaluation.candidates import CandidatesByQuestion
from tamis.evaluation.costs import REQUEST, REQUESTS, Cost, Meter, time_requests
from tamis.evaluation.sets import JudgedSet
from tamis.formulas.overlap import content_hash
from tamis.formulas.ranking import tie_key
from tamis.models.checkpoint import Deployment, find_checkpoint, model_identity, read_facts
from tamis.models.engines.choosing import ScoringEngine
from tamis.models.finite import finite_logits
from tamis.models.folders import holds_int8
from tamis.models.known.documents import KnownDocuments, index_of, refuse_unused
from tamis.models.precision import Precision, fastest_precision
from tamis.models.reranker import Reranker
from tamis.models.windows import Long

logger = logging.getLogger(__name__)

QUERIES = 500
"""Questions whose pairs are looked up at once."""

TextPair = tuple[str, str]


@dataclass(frozen=True)
class Model:
    """A model that is measured.

    Attributes:
        name: Its name in tables and files.
        path: Folder or hub name.
        precision: Number format of its body.
        long: What becomes of documents that are longer than it reads, see `Reranker.rank`.
        index: Index of documents that it has read before; None for none.
        engine: What computes the scores, as for `Reranker`.
    """

    name: str
    path: str
    precision: Precision
    long: Long = "first"
    index: Path | None = None
    engine: ScoringEngine = "torch"

    @cached_property
    def identity(self) -> str:
        """Hash of everything that decides its scores."""
        parts = ["evaluation", model_identity(Path(self.path)), self.precision]
        parts += [self.long] if self.long != "first" else []
        parts += ["engine", self.engine] if self.engine != "torch" else []
        if self.index:  # rounded states: other scores, if only in their last bits
            known = KnownDocuments(self.index)
            parts += ["index", known.facts.to_json()]
            known.close()
        return item_key(*parts)

    @cached_property
    def reranker(self) -> Reranker:
        """The model, loaded when the first score is missing."""
        return Reranker(self.path, self.precision, engine=self.engine, index=self.index)

    @cached_property
    def deployment(self) -> Deployment:
        """What the checkpoint says about its use, the weights of first stages among it."""
        return read_facts(find_checkpoint(self.path)).deployment

    @property
    def number_format(self) -> str:
        """Number format of its body as it is scored: int8 where its folder holds nothing else."""
        return "int8" if holds_int8(self.path) else self.precision

    @property
    def lineage(self) -> Mapping[str, Any]:
        """Where the checkpoint says that it comes from; empty where it says nothing."""
        return self.deployment.lineage

    def forget(self) -> None:
        """Let the weights go: the next model needs the memory."""
        self.__dict__.pop("reranker", None)


def model_of(given: str, precision: str, long: Long = "first", engine: ScoringEngine = "torch") -> Model:
    """A model as the command line names it: NAME=FOLDER, or a folder or hub name, whose last part is the name."""
    name, _, path = given.partition("=")
    if not path or Path(given).exists():
        name, path = Path(given).name or Path(given).resolve().name, given
    chosen: Precision = fastest_precision() if precision == "auto" else precision  # type: ignore[assignment]
    return Model(name, path, chosen, long, engine=engine)


def with_indexes(models: Sequence[Model], indexes: Sequence[Path]) -> list[Model]:
    """Models, each with the index that it made.

    Raises:
        InputError: an index of none of them, or two of the same.
    """
    if not indexes:
        return list(models)
    found = [replace(model, index=index_of(indexes, model_identity(Path(model.path)))) for model in models]
    refuse_unused(indexes, [model.index for model in found], [model.name for model in found])
    return found


def saw_documents(model: Model, judged: JudgedSet) -> bool | None:
    """Whether a model was adapted to documents of this set; None where its checkpoint does not say to which it was."""
    if "target" not in model.lineage:
        return None
    target = model.lineage["target"]
    if target is None:
        return False
    sample = {*target["sample"]}
    return any(content_hash(document.text) in sample for document in judged.searched.values())


def score_missing(
    model: Model, judged: JudgedSet, stages: Mapping[str, CandidatesByQuestion], items: ItemStore
) -> None:
    """Score every pair that no call before has scored; a kill loses one window of them.

    Pairs are scored in the order of their texts, so that the order of questions and documents changes no bit; the
    document first, so that what a warm model makes of it is still there for all its questions.

    Raises:
        ModelError: the checkpoint cannot be scored with, or a score that is not finite.
    """

    def scored_windows(groups: Iterator[list[TextPair]]) -> Iterator[list[tuple[TextPair, np.float32]]]:
        missing = sorted({pair for pairs in groups for pair in pairs}, key=lambda pair: (pair[1], pair[0]))
        if not missing:
            return
        meter = Meter(items, item_key("cost", model.identity))
        reranker = model.reranker
        if reranker.index:
            _tell_unknown(reranker.index, judged, stages)
        reranker.remember(0)  # a client's texts are new
        request = time_requests(partial(reranker.score_pairs, long=model.long), _requests(judged, stages))
        reranker.remember()
        started = time.perf_counter()
        waiting = iter(missing)
        label = f"{judged.name}: scoring with {model.name}"
        for logits in finite_logits(reranker, missing, label, model.long):
            yield list(zip(islice(waiting, len(logits)), logits, strict=True))
        seconds = time.perf_counter() - started
        meter.keep(reranker, model.number_format, len(missing), seconds, request)

    pairs_of = ([*chain(*block.values())] for found in stages.values() for block in _blocks(judged, found))
    for _ in _kept(model, items).complete(pairs_of, scored_windows):
        pass


def _tell_unknown(index: KnownDocuments, judged: JudgedSet, stages: Mapping[str, CandidatesByQuestion]) -> None:
    """Say which candidates the index does not hold as they are; they are read as texts."""
    wanted = sorted({doc_id for found in stages.values() for _, each in found.items() for doc_id in each.doc_ids})
    texts = index.texts(wanted)
    changed = [doc_id for doc_id in wanted if doc_id in texts and texts[doc_id] != judged.searched[doc_id].text]
    if missing := len(wanted) - len(texts) + len(changed):
        named = f", {len(changed)} of them with another text: {', '.join(changed[:5])}" if changed else ""
        what = f"{missing:,} of {len(wanted):,} candidates are not in the index {index.folder}{named}"
        logger.warning("%s: %s; they are read as texts", judged.name, what)


def cost_of(model: Model, items: ItemStore) -> Cost | None:
    """What the model cost when it scored; None where it never did."""
    return Meter(items, item_key("cost", model.identity)).known()


def read_logits(
    model: Model, judged: JudgedSet, found: CandidatesByQuestion, items: ItemStore
) -> Iterator[tuple[str, np.ndarray]]:
    """The question's id and float32 logits [candidates] of each question; all must have been scored."""
    kept = _kept(model, items)
    for block in _blocks(judged, found):
        logits = iter(kept.find([*chain(*block.values())]))
        for query_id, pairs in block.items():
            yield query_id, np.array([next(logits) for _ in pairs], np.float32)


def _blocks(judged: JudgedSet, found: CandidatesByQuestion) -> Iterator[dict[str, list[TextPair]]]:
    """Texts of the pairs of some questions at a time, by question id."""
    stream = iter(found.items())
    while block := dict(islice(stream, QUERIES)):
        yield {query_id: _pairs(judged, query_id, candidates.doc_ids) for query_id, candidates in block.items()}


def _pairs(judged: JudgedSet, query_id: str, doc_ids: Sequence[str]) -> list[TextPair]:
    text = judged.questions[query_id].text
    return [(text, judged.text_of(doc_id)) for doc_id in doc_ids]


def _requests(judged: JudgedSet, stages: Mapping[str, CandidatesByQuestion]) -> list[list[TextPair]]:
    """Candidates of a few questions, chosen by hash."""
    found = next(found for found in stages.values() if any(each.doc_ids for each in found.values()))
    answered = [query_id for query_id, each in found.items() if each.doc_ids]
    chosen = sorted(answered, key=lambda query_id: tie_key("request", query_id))[:REQUESTS]
    return [_pairs(judged, query_id, found[query_id].doc_ids[:REQUEST]) for query_id in chosen]


def _kept(model: Model, items: ItemStore) -> Kept[TextPair, np.float32]:
    return kept_in(
        items,
        lambda pair: item_key("logit", model.identity, *pair),
        lambda logit: logit.tobytes(),
        lambda found: np.frombuffer(found, np.float32)[0],
    )
