"""What the first stages find, from the folder of the evaluation where it is known."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from tamis.artifacts import ItemStore, item_key, kept_in
from tamis.errors import InputError, SettingsError
from tamis.evaluation.passages import of_whole_documents
from tamis.evaluation.sets import JudgedSet, alike
from tamis.formats.query_logs import log_side
from tamis.formats.trec import contradictions, read_run
from tamis.formulas.arrays import VectorArray
from tamis.models.bi_encoder_files import bi_encoder_facts
from tamis.progress import track
from tamis.records import Candidates
from tamis.retrievers.index import FIRST_STAGES, Languages, Searching, build_indexes
from tamis.retrievers.own_ids import without
from tamis.retrievers.search import rank_candidates, search_indexes
from tamis.text import quoted

VERSION = 3
"""Raised whenever the same texts would find others."""

FULL = "full"
"""The first stage of a full ranking: every document, in an order that only chance decides."""

MOST_TOKENS = 512
"""Most tokens of a text that is embedded."""

E5 = ("query: ", "passage: ")
"""Prefixes of a bi-encoder of which nobody says any."""

MOST_FULL = 20_000
"""Documents of a corpus that is ranked whole."""

Ranked = tuple[Sequence[str], Sequence[float]]

CandidatesByQuestion = Mapping[str, Candidates]
"""Candidates by question id."""


@dataclass(frozen=True)
class BiEncoder:
    """The bi-encoder of the dense first stage.

    Attributes:
        path: Folder or hub name.
        query_prefix: Put before a query.
        document_prefix: Put before a document.
        max_tokens: Most tokens of a text.
    """

    path: str
    query_prefix: str = E5[0]
    document_prefix: str = E5[1]
    max_tokens: int = MOST_TOKENS

    @classmethod
    def asked(cls, path: str, prefixes: tuple[str, str] | None) -> "BiEncoder":
        """A bi-encoder with the prefixes asked for, or with its folder's prompts, or with those of e5; in this order.

        Raises:
            ModelError: see `bi_encoder_facts`.
        """
        said = bi_encoder_facts(path)
        own = None if said.query_prefix is None else (said.query_prefix, said.document_prefix or "")
        return cls(path, *(prefixes or own or E5), said.max_length or MOST_TOKENS)


@dataclass(frozen=True)
class Wanted:
    """Which first stages are asked, and how.

    Attributes:
        names: Some of `FIRST_STAGES`, `full`, those that come with a set, and those that `given` names.
        given: Files of TREC runs by name.
        depth: Candidates of a question at most; a full ranking and the lists that come with a set keep all.
        languages: Which documents a question searches.
        encoder: For dense and hybrid.
    """

    names: Sequence[str]
    given: Mapping[str, Path]
    depth: int
    languages: Languages
    encoder: BiEncoder | None


def find(judged: JudgedSet, wanted: Wanted, items: ItemStore) -> dict[str, CandidatesByQuestion]:
    """Candidates of every question by first stage; a first stage without a file for this set is left out.

    Raises:
        InputError: a run that does not fit the set, or a corpus that is too large to be ranked whole.
        SettingsError: dense search without an encoder.
    """
    found: dict[str, CandidatesByQuestion] = {}
    own = [name for name in wanted.names if name in FIRST_STAGES]
    if own:
        found |= _searched(judged, own, wanted, items)
    for name in wanted.names:
        if name == FULL:
            found[name] = _everything(judged, wanted.languages)
        elif name in judged.given:
            found[name] = {q: _allowed(judged, c) for q, c in judged.given[name].items()}
        elif name in wanted.given and (file := run_file(wanted.given[name], judged.name)):
            found[name] = {q: without(c, None, wanted.depth) for q, c in checked_run(file, judged).items()}
    return {name: found[name] for name in wanted.names if name in found}


def run_file(path: Path, set_name: str) -> Path | None:
    """The run of a set: the file itself, or in a folder that named after the set; None where it has none."""
    if not path.is_dir() or log_side(path):
        return path
    endings = ("", ".trec", ".run", ".txt")
    names = [f"{set_name}{ending}{packed}" for ending in endings for packed in ("", ".gz", ".zst")]
    return next((path / name for name in names if (path / name).is_file()), None)


def notes_on_runs(judged: JudgedSet, runs: Mapping[str, Path]) -> list[str]:
    """What a reader of a set's figures should know of given runs: those without a file, and those of distances.

    Args:
        judged: The set.
        runs: Files, or folders of files by set, by name.
    """
    notes = []
    for name, path in runs.items():
        file = run_file(path, judged.name)
        if file is None:
            notes.append(f"{name}: {path} has no run of this set, which would be called {judged.name}.trec; left out")
        else:
            notes += [f"{name}: {note}" for note in contradictions(file, judged.questions)]
    return notes


def checked_run(file: Path, judged: JudgedSet) -> dict[str, Candidates]:
    """A TREC run of a set, of its judged questions only and without their own ids; ties are broken by hash.

    Passages of a document that the set holds whole are that document.

    Raises:
        InputError: a document that is not in the corpus, or not one question that is judged.
    """
    kept = {}
    for query_id, found in read_run(file).items():
        if query_id not in judged.questions:
            continue
        found = of_whole_documents(found, judged.documents, judged.searched)
        for doc_id in found.doc_ids:
            if doc_id not in judged.documents and doc_id not in judged.searched:
                hint = alike(doc_id, judged.searched)
                like = f"; did you mean {hint!r}?" if hint else f"; it has ids like {next(iter(judged.searched))!r}"
                raise InputError(
                    f"{file}: document {quoted(doc_id)} of query {query_id!r} is not in the corpus of "
                    f"{judged.name}{like}"
                )
        kept[query_id] = _allowed(judged, found)
    if not kept:
        raise InputError(
            f"{file}: none of its queries is judged in {judged.name}, which has ids like "
            f"{next(iter(judged.questions))!r}; do they belong together?"
        )
    return kept


def _allowed(judged: JudgedSet, found: Candidates) -> Candidates:
    """Without the document that the question is itself."""
    return without(found, found.query_id if found.query_id in judged.own else None)


def _everything(judged: JudgedSet, languages: Languages) -> CandidatesByQuestion:
    if len(judged.searched) > MOST_FULL:
        raise InputError(
            f"--full: {judged.name} has {len(judged.searched):,} documents, and every question would be scored with "
            f"each; at most {MOST_FULL:,} are ranked whole, leave out --full"
        )
    found = {}
    for query_id, question in judged.questions.items():
        doc_ids = tuple(
            doc_id
            for doc_id, document in judged.searched.items()
            if (languages == "any" or (document.language == question.language) == (languages == "same"))
            and not (doc_id == query_id and query_id in judged.own)
        )
        found[query_id] = rank_candidates(query_id, doc_ids, np.zeros(len(doc_ids)), len(doc_ids))
    return found


def _searched(
    judged: JudgedSet, names: Sequence[str], wanted: Wanted, items: ItemStore
) -> dict[str, CandidatesByQuestion]:
    """What BM25, dense and hybrid find; looked up first, so that a second call indexes nothing."""
    if wanted.encoder is None and names != ["bm25"]:
        raise SettingsError(
            f"--first {next(name for name in names if name != 'bm25')}: dense search needs a bi-encoder; name its "
            "folder with --encoder"
        )
    how = [VERSION, wanted.depth, wanted.languages, judged.fingerprint(), *(["without own ids"] if judged.own else [])]
    dense = _encoder_key(wanted.encoder) if wanted.encoder else ""

    def key(search: tuple[str, str]) -> str:
        name, q = search[0], judged.questions[search[1]]
        return item_key("candidates", name, *how, "" if name == "bm25" else dense, q.language, q.query_id, q.text)

    def searched(missing: Iterator[list[tuple[str, str]]]) -> Iterator[list[tuple[tuple[str, str], Ranked]]]:
        new = list(dict.fromkeys(query_id for group in missing for _, query_id in group))
        for query_id, each in _search(judged, new, names, wanted, items) if new else ():
            yield [((name, query_id), (one.doc_ids, one.scores)) for name, one in each.items()]

    kept = kept_in(items, key, lambda ranked: json.dumps(ranked).encode(), json.loads)
    every = [(name, query_id) for name in names for query_id in judged.questions]
    ranked = dict(zip(every, kept.values(every, searched), strict=True))
    return {name: {q: Candidates(q, *map(tuple, ranked[name, q])) for q in judged.questions} for name in names}


def _search(
    judged: JudgedSet, query_ids: Sequence[str], names: Sequence[str], wanted: Wanted, items: ItemStore
) -> Iterator[tuple[str, dict[str, Candidates]]]:
    """What each question finds by first stage; nothing where there is no document that it searches."""
    texts = {query_id: judged.questions[query_id].text for query_id in query_ids}
    documents = judged.searched
    vectors: Mapping[str, VectorArray] | None = None
    query_vectors: Mapping[str, VectorArray] = dict.fromkeys(texts, np.zeros(0, np.float32))
    if wanted.encoder and names != ["bm25"]:
        vectors, query_vectors = embeddings(
            wanted.encoder, {doc_id: document.text for doc_id, document in documents.items()}, texts, items
        )
    indexes = build_indexes(documents.values(), vectors, Searching(languages=wanted.languages))
    queries = [judged.questions[query_id].as_query() for query_id in query_ids]
    silent = set(query_ids)
    with track(f"searching {judged.name}", len(queries)) as advance:
        itself = {query_id: query_id for query_id in judged.own}
        for query, found in search_indexes(
            queries, query_vectors, indexes, wanted.depth, names, advance, itself=itself
        ):
            silent.remove(query.query_id)
            yield query.query_id, found
    yield from ((query_id, {name: Candidates(query_id, (), ()) for name in names}) for query_id in sorted(silent))


def embeddings(
    encoder: BiEncoder, documents: Mapping[str, str], queries: Mapping[str, str], items: ItemStore
) -> tuple[Mapping[str, VectorArray], Mapping[str, VectorArray]]:
    """Vectors of documents and queries by id, [size]; the bi-encoder is loaded when something is new."""
    from tamis.models.embedder import Embedder
    from tamis.models.precision import fastest_device
    from tamis.retrievers.embedding import embed_missing

    loaded, most = cache(lambda: Embedder(encoder.path, device=fastest_device())), encoder.max_tokens

    def embed(texts: Mapping[str, str], prefix: str, label: str) -> Mapping[str, VectorArray]:
        identity = item_key(_encoder_key(encoder), prefix)
        return embed_missing(texts, identity, lambda some: loaded().embed(some, prefix, most), items, label)

    return (
        embed(documents, encoder.document_prefix, "embedding documents"),
        embed(queries, encoder.query_prefix, "embedding queries"),
    )


def _encoder_key(encoder: BiEncoder) -> str:
    from tamis.models.checkpoint import model_identity

    own = () if encoder.max_tokens == MOST_TOKENS else (encoder.max_tokens,)
    return item_key(model_identity(Path(encoder.path)), encoder.query_prefix, encoder.document_prefix, *own)
