"""`tamis weigh`: how much the user's own search engine counts beside a model, learnt from written queries alone."""

import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from tamis.artifacts import ItemStore, find_records, newest_results, read_stream, writing
from tamis.errors import InputError, ModelError, SettingsError
from tamis.evaluation.candidates import BiEncoder, Wanted, embeddings, find
from tamis.evaluation.judged import Question
from tamis.evaluation.sets import JudgedSet
from tamis.formats.documents import Corpus
from tamis.formats.trec import contradicted, read_run
from tamis.formats.written_queries import read_written_queries
from tamis.formulas.arrays import FloatArray
from tamis.formulas.ranking import tie_key
from tamis.formulas.significance import paired_randomisation
from tamis.languages import UNKNOWN_LANGUAGE
from tamis.models.checkpoint import ORDER, OTHER, find_checkpoint, read_facts
from tamis.models.first_stage import finite_scores
from tamis.models.kept_settings import checked_model, keep_in
from tamis.models.reranker import Reranker
from tamis.models.saving import add_weights
from tamis.models.serializer import Apart
from tamis.progress import track
from tamis.records import GIVEN, Candidates, Document, Dropped, Query, TrainingList
from tamis.retrievers.index import FIRST_STAGES
from tamis.stages.corpus.clean import identify_languages
from tamis.stages.lists.alike import alike_documents, alike_texts
from tamis.stages.lists.draw import Alike
from tamis.stages.merge.settings import MergeSettings
from tamis.stages.merge.weigh import WEIGHING
from tamis.stages.merge.weights import (
    RerankedHead,
    WeightChoice,
    WeightSample,
    choice_by_order,
    choice_by_scores,
    cross_fitted,
    deal_folds,
    sample_of,
)
from tamis.whole_folder import whole_file

FEW: Final = 100
"""Queries below which a weight may be luck."""

ROUNDS: Final = 10_000
"""Sign flips of the paired tests."""

RESERVED: Final = (ORDER, OTHER, "none")
Item = TypeVar("Item")

_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,99}")


@dataclass(frozen=True)
class WeighingConfig:
    """What is to be weighed, as the command line says it.

    Attributes:
        model: Folder of a reranker, or `tamis-base` or `tamis-small`.
        corpus: Documents, as `corpus.target` of a recipe.
        queries: File of written queries, or folder of a run, whose held-out written queries are taken.
        runs: NAME=FILE, TREC runs for these queries.
        first: Some of `FIRST_STAGES`, which search here.
        encoder: Bi-encoder of dense and hybrid.
        depth: Candidates of a query that are scored.
        order: Whether the weight of the order alone is kept too.
        out: Folder for a copy of the model with the weights; None: they are put into the model.
    """

    model: str
    corpus: Path
    queries: Path
    runs: Sequence[str] = ()
    first: Sequence[str] = ()
    encoder: str | None = None
    depth: int = 20
    order: bool = False
    out: Path | None = None


@dataclass(frozen=True)
class WeightRow:
    """What a first stage is worth: alone, under the model, and beside it. NDCG@10 of the queries' own documents.

    Beside it, each query counts with the weight that the queries of the other folds choose: whatever chose a weight
    does not say how good it is.

    Attributes:
        name: The first stage, or its order.
        language: Language of the queries; empty for all.
        queries: How many.
        first: The first stage's own ranking.
        alone: The model's.
        together: Both, see above.
        weight: The weight that all queries choose; languages with one of their own have rows of their own.
        p_alone: p-value of together against alone, see `paired_randomisation`; those of one document flip together.
        p_first: p-value of together against the first stage.
    """

    name: str
    language: str
    queries: int
    first: float
    alone: float
    together: float
    weight: float
    p_alone: float
    p_first: float


@dataclass(frozen=True)
class Weighed:
    """Weights that were found and where they lie.

    Attributes:
        model: The folder whose `tamis.json` has them.
        rows: What they do.
        notes: What was left out, and what makes a weight doubtful; a line each.
        order: Weight of the order alone, whether it was kept or not.
        kept: Names of the weights that were written.
    """

    model: Path
    rows: Sequence[WeightRow]
    notes: Sequence[str]
    order: float
    kept: Sequence[str]


def weigh(asked: WeighingConfig) -> Weighed:
    """Choose the weight of first stages by written queries, and write them into the model or a copy of it.

    A query's own document is the evidence; no judgement is read.

    Raises:
        TamisError: what was given does not fit together, see the messages; nothing is written then.
    """
    named = _named_runs(asked)
    folder = checked_model(asked.model, asked.out, "weights")
    notes: list[str] = []
    queries = {query.query_id: query for query in read_queries(asked.queries)}
    found = {name: _of_queries(file, queries, asked, notes) for name, file in named.items()}
    documents = _documents(asked, queries, found, notes)
    queries = _with_languages(_answerable(asked, queries, documents, notes), documents)
    found = {name: _known(name, run, queries, documents, asked, notes) for name, run in found.items()}
    with tempfile.TemporaryDirectory() as scratch, closing(ItemStore(Path(scratch) / "items.sqlite")) as items:
        if asked.first:
            found |= _searched(asked, _drawn(queries), documents, items)
            _note_drawn(", ".join(asked.first), min(len(queries), WEIGHING), len(queries), notes)
        found = {name: {q: _head(each, asked.depth) for q, each in run.items()} for name, run in found.items()}
        alike = _alike(asked, queries, found, documents, items)
        heads = _heads(folder, found, queries, documents, alike)
    _note_copies(asked, heads, found, queries, notes)
    own = {query_id: queries[query_id].document_id for run in found.values() for query_id in run}
    return _weighed(asked, folder, heads, {q: alike.cluster_of.get(d, d) for q, d in own.items()}, notes)


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


def export_queries(asked: WeighingConfig, out: Path) -> tuple[int, int, Sequence[str]]:
    """Write the queries that would weigh for a search engine to answer: lines of id and text between a tab.

    Args:
        asked: Names queries and corpus; nothing else of it is looked at.
        out: The file.

    Returns:
        How many were written, at most `WEIGHING` drawn by hash, how many could have been, and what was left out.

    Raises:
        InputError: the file is there already, no query's document is in the corpus, or see `read_queries`.
    """
    if out.exists():
        raise InputError(f"{out}: is there already; --queries-out writes a new file, remove it or name another one")
    notes: list[str] = []
    queries = {query.query_id: query for query in read_queries(asked.queries)}
    queries = _answerable(asked, queries, _documents(replace(asked, first=()), queries, {}, notes), notes)
    drawn = _drawn(queries)
    with writing(out, "make room or name another file"):
        lines = (f"{query_id}\t{' '.join(query.text.split())}\n" for query_id, query in drawn.items())
        with whole_file(out) as partial:
            partial.write_text("".join(lines), encoding="utf-8")
    return len(drawn), len(queries), notes


def _named_runs(asked: WeighingConfig) -> dict[str, Path]:
    """Files of the runs by name, once all names were looked at."""
    if not asked.runs and not asked.first:
        raise SettingsError(
            "nothing to weigh: give your engine's results for the queries with --run NAME=RUN, or --first bm25 to "
            "search here; --queries-out FILE writes the queries for your engine"
        )
    if asked.depth < 2:
        raise SettingsError(f"--depth is {asked.depth}, expected at least 2: one candidate has no order")
    unknown = next((name for name in asked.first if name not in FIRST_STAGES), None)
    if unknown is not None:
        raise SettingsError(f"--first {unknown}: expected {', '.join(FIRST_STAGES)}; give other engines by --run")
    named: dict[str, Path] = {}
    for given in asked.runs:
        name, _, file = given.partition("=")
        if not file or not _NAME.fullmatch(name) or name.lower() in RESERVED:
            raise SettingsError(
                f"--run {given}: expected NAME=RUN, a name of at most 100 letters, digits, dots and hyphens that "
                f"begins with a letter or digit, none of {', '.join(RESERVED)}"
            )
        if name in named or name in asked.first:
            raise SettingsError(f"--run {given}: the name {name!r} stands for two first stages; call one otherwise")
        named[name] = Path(file)
    return named


def _of_queries(
    file: Path, queries: Mapping[str, Query], asked: WeighingConfig, notes: list[str]
) -> dict[str, Candidates]:
    """What a run says of the queries."""
    run = read_run(file)
    found = {query_id: candidates for query_id, candidates in run.items() if query_id in queries}
    if not found:
        raise InputError(
            f"{file}: holds none of the queries of {asked.queries}; it has ids like {next(iter(run))!r}, they are "
            f"called like {next(iter(queries))!r}"
        )
    against = contradicted(file) & found.keys()
    if against:
        notes.append(
            f"{file.name}: for {len(against):,} of {len(found):,} queries the ranks contradict the scores; the scores "
            "count, so negate distances"
        )
    return found


def _documents(
    asked: WeighingConfig, queries: Mapping[str, Query], runs: Mapping[str, Mapping[str, Candidates]], notes: list[str]
) -> dict[str, Document]:
    """All documents where they are searched; otherwise those that queries and runs name."""
    wanted = {query.document_id for query in queries.values()}
    wanted |= {doc_id for run in runs.values() for found in run.values() for doc_id in found.doc_ids}
    found: dict[str, Document] = {}
    unread = Counter[str]()
    for document in Corpus(asked.corpus).documents("target"):
        if isinstance(document, Dropped):
            unread[document.reason] += 1
        elif asked.first or document.doc_id in wanted:
            found[document.doc_id] = document
    for reason, count in unread.most_common():
        _count(notes, count, f"of {asked.corpus} left out: {reason}")
    return found


def _answerable(
    asked: WeighingConfig, queries: Mapping[str, Query], documents: Mapping[str, Document], notes: list[str]
) -> dict[str, Query]:
    """The queries whose document is in the corpus."""
    kept = {query_id: query for query_id, query in queries.items() if query.document_id in documents}
    if not kept:
        unknown = next(iter(queries.values())).document_id
        raise InputError(
            f"{asked.queries}: not one document that its queries belong to is in {asked.corpus}, the first is called "
            f"{unknown!r}; do they belong together?"
        )
    _count(notes, len(queries) - len(kept), f"queries left out, their own document is not in {asked.corpus}")
    return kept


def _with_languages(queries: Mapping[str, Query], documents: Mapping[str, Document]) -> dict[str, Query]:
    """The queries; where nobody says a query's language, it is its document's."""
    unsaid = {query_id: query for query_id, query in queries.items() if query.language == UNKNOWN_LANGUAGE}
    own = {query.document_id: documents[query.document_id] for query in unsaid.values()}
    told = {document.doc_id: document.language for document in identify_languages(own.values(), None)}
    return {**queries} | {
        query_id: replace(query, language=told[query.document_id]) for query_id, query in unsaid.items()
    }


def _known(
    name: str,
    run: Mapping[str, Candidates],
    queries: Mapping[str, Query],
    documents: Mapping[str, Document],
    asked: WeighingConfig,
    notes: list[str],
) -> dict[str, Candidates]:
    """A run without documents that are not in the corpus, of queries drawn by hash where there are too many."""
    answered = {query_id: found for query_id, found in run.items() if query_id in queries}
    kept = {query_id: _of_corpus(found, documents) for query_id, found in answered.items()}
    unknown = sum(len(found.doc_ids) - len(kept[query_id].doc_ids) for query_id, found in answered.items())
    found = {query_id: candidates for query_id, candidates in kept.items() if candidates.doc_ids}
    if not found:
        raise InputError(f"{name}: none of the documents of its run is in {asked.corpus}; do the ids belong together?")
    _count(notes, unknown, f"documents of {name} passed over, they are not in {asked.corpus}")
    if len(queries) <= WEIGHING:
        _count(notes, len(queries) - len(found), f"queries left out, {name} has nothing for them")
    drawn = _drawn(found)
    _note_drawn(name, len(drawn), len(queries), notes)
    return drawn


def _count(notes: list[str], count: int, what: str) -> None:
    """Note what happened so many times, if it did."""
    if count:
        notes.append(f"{count:,} {what}")


def _of_corpus(found: Candidates, documents: Mapping[str, Document]) -> Candidates:
    pairs = zip(found.doc_ids, found.scores, strict=True)
    kept = [(doc_id, score) for doc_id, score in pairs if doc_id in documents]
    return Candidates(found.query_id, tuple(doc_id for doc_id, _ in kept), tuple(score for _, score in kept))


def _drawn(of_queries: Mapping[str, Item]) -> dict[str, Item]:
    """At most `WEIGHING` queries, drawn by hash; in the order in which they came."""
    drawn = {*sorted(of_queries, key=lambda query_id: tie_key("weigh", query_id))[:WEIGHING]}
    return {query_id: item for query_id, item in of_queries.items() if query_id in drawn}


def _note_drawn(name: str, used: int, there: int, notes: list[str]) -> None:
    """Say how many queries weigh where not all can; nobody has to answer more than `WEIGHING`."""
    if there > WEIGHING:
        fewer = f"; its run has nothing for {WEIGHING - used:,} more" if used < WEIGHING else ""
        notes.append(f"{name}: {used:,} of {there:,} queries weigh it, at most {WEIGHING} do{fewer}")


def _head(found: Candidates, depth: int) -> Candidates:
    return Candidates(found.query_id, found.doc_ids[:depth], found.scores[:depth])


def _bi_encoder(asked: WeighingConfig) -> BiEncoder | None:
    """The bi-encoder that was named, with the model's prefixes where it reads both texts apart."""
    serializer = read_facts(find_checkpoint(asked.model)).serializer
    prefixes = serializer if isinstance(serializer, Apart) else Apart("query: ", "passage: ")
    return BiEncoder(asked.encoder, prefixes.query_prefix, prefixes.document_prefix) if asked.encoder else None


def _alike(
    asked: WeighingConfig,
    queries: Mapping[str, Query],
    found: Mapping[str, Mapping[str, Candidates]],
    documents: Mapping[str, Document],
    items: ItemStore,
) -> Alike:
    """Which candidates say what a query's own document says: by vectors where there is a bi-encoder, else by words."""
    own = sorted({queries[query_id].document_id for run in found.values() for query_id in run})
    named = {*own, *(doc_id for run in found.values() for each in run.values() for doc_id in each.doc_ids)}
    some = {each.doc_id: each for each in identify_languages((documents[one] for one in sorted(named)), None)}
    encoder = _bi_encoder(asked)
    if encoder is None:
        return alike_texts(own, some)
    vectors, _ = embeddings(encoder, {doc_id: document.text for doc_id, document in some.items()}, {}, items)
    return alike_documents(own, some, vectors)


def _note_copies(
    asked: WeighingConfig,
    heads: Mapping[str, Sequence[RerankedHead]],
    found: Mapping[str, Mapping[str, Candidates]],
    queries: Mapping[str, Query],
    notes: list[str],
) -> None:
    """Say how many candidates count as right although they are not the query's own document, and how they were told."""
    right = sum(int(head.own.sum()) for some in heads.values() for head in some)
    own = sum(queries[query_id].document_id in each.doc_ids for run in found.values() for query_id, each in run.items())
    told = "their vectors" if asked.encoder else "their words, --encoder ENCODER tells translations too"
    _count(notes, right - own, f"candidates say what a query's own document says and count as right, told by {told}")


def _searched(
    asked: WeighingConfig, queries: Mapping[str, Query], documents: Mapping[str, Document], items: ItemStore
) -> dict[str, dict[str, Candidates]]:
    """What the library's own first stages find, by name."""
    questions = {q: Question(q, query.text, query.language, {query.document_id: 1}) for q, query in queries.items()}
    judged = JudgedSet(asked.corpus.name, str(asked.corpus), documents, questions)
    wanted = Wanted(list(dict.fromkeys(asked.first)), {}, asked.depth, "any", _bi_encoder(asked))
    return {name: dict(found) for name, found in find(judged, wanted, items).items()}


def _heads(
    folder: Path,
    found: Mapping[str, Mapping[str, Candidates]],
    queries: Mapping[str, Query],
    documents: Mapping[str, Document],
    alike: Alike,
) -> dict[str, list[RerankedHead]]:
    """Heads of each first stage, scored by the model; a pair that several have is scored once."""
    pairs = {(q, doc_id) for run in found.values() for q, each in run.items() for doc_id in each.doc_ids}
    logits = _logits(folder, pairs, queries, documents)

    def head(name: str, query: Query, top: Candidates) -> RerankedHead:
        own = np.array([doc_id == query.document_id for doc_id in top.doc_ids], dtype=bool)
        return RerankedHead(
            query.query_id,
            query.language,
            np.array([logits[query.query_id, doc_id] for doc_id in top.doc_ids]),
            finite_scores(name, top.scores),
            (own | alike.repeats(query.document_id, top.doc_ids)).astype(np.float64),
        )

    return {name: [head(name, queries[q], top) for q, top in run.items()] for name, run in found.items()}


def _logits(
    folder: Path, pairs: Iterable[tuple[str, str]], queries: Mapping[str, Query], documents: Mapping[str, Document]
) -> dict[tuple[str, str], float]:
    """Logits by query id and document id; a document's pairs after each other, so that what is made of it is used."""
    ordered = sorted(pairs, key=lambda pair: (pair[1], pair[0]))
    texts = ((queries[query_id].text, documents[doc_id].text) for query_id, doc_id in ordered)
    found: list[float] = []
    with track("scoring", len(ordered)) as advance:
        for scored in Reranker(folder).score_windows(texts):
            found += scored.logits.tolist()
            advance(len(scored.logits))
    if not np.isfinite(found).all():
        query_id, doc_id = ordered[int(np.argmin(np.isfinite(found)))]
        raise ModelError(f"{folder}: the score of query {query_id!r} and document {doc_id!r} is not finite")
    return dict(zip(ordered, found, strict=True))


def _weighed(
    asked: WeighingConfig,
    folder: Path,
    heads: Mapping[str, Sequence[RerankedHead]],
    group_of: Mapping[str, str],
    notes: list[str],
) -> Weighed:
    """Choose the weights, write them, and say what they do.

    Args:
        asked: What is weighed.
        folder: Folder of the model.
        heads: By first stage.
        group_of: By query, the document that it shares with others.
        notes: Those so far; gets more.
    """
    choices = MergeSettings().first_stage_weights
    for name, some in heads.items():
        _check_evidence(name, some, asked.depth, notes)
    samples = {name: sample_of(found, choices) for name, found in heads.items()}
    by_order = {name: sample_of(found, {0.0, *choices}, by_order=True) for name, found in heads.items()}
    chosen = {name: choice_by_scores([sample]) for name, sample in samples.items()}
    order = choice_by_order([*by_order.values()])
    fold_of = deal_folds(group_of)
    with_order = cross_fitted([*by_order.values()], choice_by_order, fold_of)
    rows: list[WeightRow] = []
    for (name, sample), of_order in zip(samples.items(), with_order, strict=True):
        (together,) = cross_fitted([sample], choice_by_scores, fold_of)
        rows += _rows(name, sample, chosen[name], together, group_of)
        rows += _rows(f"{name}: order", by_order[name], order, of_order, group_of)
        if len(together) < FEW:
            notes.append(f"{name}: {len(together)} queries are few, its weight may be luck; take {FEW} or more")
    kept = chosen | ({ORDER: order} if asked.order else {})
    _write(folder, asked.out, kept)
    return Weighed(asked.out or folder, rows, notes, order.general, list(kept))


def _check_evidence(name: str, heads: Sequence[RerankedHead], depth: int, notes: list[str]) -> None:
    """Say how many queries tell one weight from another; none is no evidence.

    Raises:
        InputError: none does.
    """
    telling = sum(1 for head in heads if 0 < head.own.sum() < head.own.size and np.ptp(head.first) > 0)
    silent = (
        f"{len(heads) - telling:,} of {len(heads):,} queries of {name} say nothing of a weight: their own document "
    )
    silent += f"is not among its best {depth}, or is alone, or all scores are the same"
    if not telling:
        raise InputError(f"{silent}; is this the run for these queries, and do its ids belong to the corpus?")
    if telling < len(heads):
        notes.append(silent)


def _rows(
    name: str, sample: WeightSample, chosen: WeightChoice, together: FloatArray, group_of: Mapping[str, str]
) -> Iterator[WeightRow]:
    """A row for all queries, then one for each language with a weight of its own."""
    alone = sample.with_weights(0.0, {})
    languages = np.array(sample.languages)
    groups = np.unique([group_of[query_id] for query_id in sample.query_ids], return_inverse=True)[1]
    for language in ("", *chosen.by_language):
        of = (languages == language) | (not language)
        weight = chosen.by_language.get(language, chosen.general)
        yield _row(name, language, weight, sample.itself[of], alone[of], together[of], groups[of])


def _row(
    name: str,
    language: str,
    weight: float,
    first: FloatArray,
    alone: FloatArray,
    together: FloatArray,
    groups: NDArray[np.int64],
) -> WeightRow:
    rng = np.random.default_rng(tie_key(name, language))
    gains = (np.bincount(groups, weights=together - other).astype(np.float64) for other in (alone, first))
    p_alone, p_first = (paired_randomisation(gain, rng, ROUNDS) for gain in gains)
    before, under, beside = (float(values.mean()) for values in (first, alone, together))
    return WeightRow(name, language, len(first), before, under, beside, weight, p_alone, p_first)


def _write(folder: Path, out: Path | None, chosen: Mapping[str, WeightChoice]) -> None:
    weights = {name: choice.general for name, choice in chosen.items()}
    of_kept = {name: choice.by_language for name, choice in chosen.items()}
    keep_in(folder, out, lambda there: add_weights(there, weights, of_kept))
