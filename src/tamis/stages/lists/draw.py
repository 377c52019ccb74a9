"""Lists: from scored candidates to a few documents per query, drawn over the teacher's score bins."""

import hashlib
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from tamis.errors import SettingsError
from tamis.formulas.ranking import tie_key, z_scores
from tamis.formulas.sampling import assign_bins, bin_edges, rescale, stratified_draw
from tamis.records import Dropped, Query, ScoredCandidates, TrainingList
from tamis.stages.lists.settings import GENERAL, ListsSettings

SPREAD_OVER = 10_000
"""Queries whose scores say how scores are spread over all."""


def nothing_repeats(own: str, doc_ids: Sequence[str]) -> NDArray[np.bool_]:
    """No document repeats another: all false, [documents]."""
    return np.zeros(len(doc_ids), dtype=bool)


@dataclass(frozen=True)
class Alike:
    """Which documents say the same.

    Attributes:
        cluster_of: By seed document, the one that its cluster is called by; a document that it lacks stands for itself.
        covered: Share of the target documents that queries were written about, in [0, 1].
        repeats: From a seed document and others to which of them say what it says: translations and twins, [others].
    """

    cluster_of: Mapping[str, str] = field(default_factory=dict)
    covered: float = 0.0
    repeats: Callable[[str, Sequence[str]], NDArray[np.bool_]] = nothing_repeats


def draw_lists(
    scored: Iterable[ScoredCandidates],
    queries: Mapping[str, Query],
    settings: ListsSettings,
    seed_bonus: float,
    seed: int,
    over: np.ndarray | None = None,
    alike: Alike = Alike(),
    solved: Container[str] = (),
) -> Iterator[TrainingList | Dropped]:
    """Draw one list per query.

    A query whose seed document the teacher does not rank among its best `round_trip` is dropped: the query does not
    ask for what its document says (or the teacher cannot see it). The seed document then gets `seed_bonus` standard
    deviations on top, as evidence the teacher lacks; it need not become the best of the list. A query of a log has no
    seed document: the teacher alone grades its candidates.

    What repeats the seed document is in no list of its queries: it would teach that a right answer is wrong.

    Held-out queries are as far from what is learnt as the questions to come will be. Those will ask about a document
    that queries were written about as often as such documents are; so that share of the held-out queries is drawn query
    by query, and their documents are learnt from by their other queries. For the rest whole clusters of documents are
    held out: with a translation or a twin on the side that is learnt, they would say that all is well (docs/log.md).

    Args:
        scored: Candidates with teacher scores.
        queries: Queries by id.
        settings: Bins, list length, filters, split, domains.
        seed_bonus: In standard deviations of the teacher's scores over the candidates.
        seed: Seed of the draws; each query draws from its own generator, so order and number of queries do not matter.
        over: Scores, [scores], over whose spread labels are rescaled, see `scores_of_many`; none: those of each query.
        alike: Which documents say the same.
        solved: Ids of queries that the student answers already: a share of them is learnt from, see the settings.
    """
    for found in scored:
        query = queries[found.query_id]
        reason = _refuse(found, query, settings.round_trip)
        if reason:
            yield Dropped(query.query_id, reason, query.language, query.text)
            continue
        domain = settings.domain_for(query.language)
        # People ask in languages that no document has, too; those of the documents were checked before.
        if domain == GENERAL and query.origin == "target" and query.document_id:
            raise SettingsError(
                f"lists.domains: no domain for language {query.language!r} of the corpus; add it to one of "
                f"{', '.join(settings.domains)} ('*': all other ones)"
            )
        near, scores = _drawable(found, query, settings, seed_bonus, alike)
        if len(near.doc_ids) < 2:
            yield Dropped(query.query_id, "all its candidates repeat its document", query.language, query.text)
            continue
        split = split_of(query, settings.held_out, alike)
        if split == "train" and query.query_id in solved and not _within(f"solved {query.query_id}", settings.solved):
            yield Dropped(query.query_id, "the student answers it already", query.language, query.text)
            continue
        yield _draw(near, scores, query, domain, settings, seed, over, split)


def _drawable(
    found: ScoredCandidates, query: Query, settings: ListsSettings, seed_bonus: float, alike: Alike
) -> tuple[ScoredCandidates, np.ndarray]:
    """The candidates that a list may hold, and their scores in standard deviations, with the seed document's bonus.

    Left out is what says what the seed document says; of the rest the best stay, and the seed document wherever it
    stands. A standard deviation is that of all that do not repeat it.
    """
    own = query.document_id
    if own:
        repeats = alike.repeats(own, found.doc_ids)
        found = _those(found, [i for i, doc_id in enumerate(found.doc_ids) if doc_id == own or not repeats[i]])
    scores = _scores(found, query, seed_bonus)
    near = [i for i, doc_id in enumerate(found.doc_ids) if not settings.near or i < settings.near or doc_id == own]
    return _those(found, near), scores[near]


def _those(found: ScoredCandidates, kept: Sequence[int]) -> ScoredCandidates:
    """Some of the candidates."""
    return ScoredCandidates(
        found.query_id,
        tuple(found.doc_ids[i] for i in kept),
        tuple(found.first_stage[i] for i in kept),
        tuple(found.teacher[i] for i in kept),
    )


def scores_of_many(
    scored: Iterable[ScoredCandidates],
    queries: Mapping[str, Query],
    settings: ListsSettings,
    seed_bonus: float,
    alike: Alike = Alike(),
) -> np.ndarray:
    """Scores of the candidates of all queries that are not dropped, as lists are drawn from them: float64 [scores].

    Of more than 10,000 queries about as many are looked at, chosen by a hash of their ids.
    """
    share = SPREAD_OVER / max(len(queries), 1) * 2**48
    looked_at = (found for found in scored if _number(found.query_id) < share)
    kept = (found for found in looked_at if not _refuse(found, queries[found.query_id], settings.round_trip))
    every = [_drawable(found, queries[found.query_id], settings, seed_bonus, alike)[1] for found in kept]
    return np.concatenate(every) if every else np.zeros(0)


def _refuse(found: ScoredCandidates, query: Query, round_trip: int) -> str | None:
    if not query.document_id:
        return None
    if query.document_id not in found.doc_ids:
        return "seed document not among the candidates"
    teacher = np.asarray(found.teacher)
    seed_score = teacher[found.doc_ids.index(query.document_id)]
    if int((teacher > seed_score).sum()) >= round_trip:
        return "seed document not among the teacher's best"
    return None


def _scores(found: ScoredCandidates, query: Query, seed_bonus: float) -> np.ndarray:
    """The teacher's scores in standard deviations, with the bonus of the seed document, where there is one."""
    scores = z_scores(np.asarray(found.teacher))
    if query.document_id:
        scores[found.doc_ids.index(query.document_id)] += seed_bonus
    return scores


def _draw(
    found: ScoredCandidates,
    scores: np.ndarray,
    query: Query,
    domain: str,
    settings: ListsSettings,
    seed: int,
    over: np.ndarray | None,
    split: str,
) -> TrainingList:
    place = found.doc_ids.index(query.document_id) if query.document_id else None
    bins = assign_bins(scores, bin_edges(scores, settings.bins, settings.anchors))
    rng = np.random.default_rng([seed, _number(query.query_id)])
    drawn = stratified_draw(bins, settings.documents, rng, first=place)
    labels = rescale(scores, settings.rescale, over)[drawn]
    return TrainingList(
        query.query_id,
        domain,
        split,
        tuple(found.doc_ids[i] for i in drawn),
        tuple(float(label) for label in labels),
        tuple(int(b) for b in bins[drawn]),
        tuple(found.first_stage[i] for i in drawn),
    )


def split_by_document(
    lists: Iterable[TrainingList], queries: Mapping[str, Query], held_out: float
) -> Iterator[TrainingList]:
    """The same lists with each document by itself on one side, for those whose documents are one cluster."""
    for one in lists:
        yield replace(one, split=_side(queries[one.query_id].document_id or one.query_id, held_out))


def split_of(query: Query, held_out: float, alike: Alike) -> str:
    """Side of a query, `train` or `held-out`; one without a document decides for itself.

    Args:
        query: The query.
        held_out: Share of all that is held out.
        alike: Which documents say the same.
    """
    if not query.document_id:
        return _side(query.query_id, held_out)
    covered = alike.covered if query.origin == "target" else 0.0
    sides = (
        _side(alike.cluster_of.get(query.document_id, query.document_id), held_out * (1 - covered)),
        _side(f"query {query.query_id}", held_out * covered),
    )
    return "held-out" if "held-out" in sides else "train"


def _side(together: str, held_out: float) -> str:
    """Side of all that goes by one name."""
    return "held-out" if _within(together, held_out) else "train"


def _within(name: str, share: float) -> bool:
    """Whether a name is in a share of all names, drawn by hash."""
    return _number(name) % 10_000 < share * 10_000


def by_hash(lists: Iterable[TrainingList]) -> list[TrainingList]:
    """Lists in an order that has nothing to do with language, source or when they were drawn."""
    return sorted(lists, key=lambda one: tie_key("list", one.query_id))


def _number(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=6).digest(), "big")
