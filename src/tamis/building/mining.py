"""Corpus, queries, candidates, scores, lists: from documents to what a student learns from."""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tamis.artifacts import (
    Record,
    RecordWriter,
    drop_counts,
    read_column,
    split_dropped,
    stream_columns,
    write_records,
)
from tamis.building.alike import alike_documents
from tamis.building.identities import SPEED, model_identity, resolve_precision, teacher_identity
from tamis.building.inputs import documents_hash, input_hashes, kept_out_hashes
from tamis.building.overlaps import (
    DOCUMENT_SHINGLE,
    QUERY_SHINGLE,
    Text,
    drop_near_duplicates,
    drop_overlaps,
)
from tamis.building.solved import solved_queries
from tamis.building.spread import spread_by_language
from tamis.building.workshop import Workshop, texts_of
from tamis.building.writers import writers_settings, written_queries
from tamis.building.written import written_settings
from tamis.errors import InputError, SettingsError
from tamis.formats.documents import read_documents
from tamis.formats.evaluation_sets import read_evaluation_texts
from tamis.formats.queries import given_query_files, query_log_files, read_given_queries, read_query_log
from tamis.languages import UNKNOWN_LANGUAGE, language_identifier
from tamis.progress import Advance, track
from tamis.records import Candidates, Document, Dropped, Query, ScoredCandidates, TrainingList
from tamis.retrievers.given_run import read_run
from tamis.settings import GENERAL, GeneralCorpus, Recipe
from tamis.stages.candidates import find_candidates
from tamis.stages.corpus import clean, identify_languages
from tamis.stages.lists import by_hash, draw_lists, scores_of_many, split_by_document
from tamis.stages.queries import filter_queries, given_id, given_queries, logged_id, logged_queries
from tamis.stages.scores import score_candidates

Facts = dict[str, Any]

FEW = 100
"""Training lists of a domain below which a run is told that they are few."""


def corpus_settings(recipe: Recipe) -> object:
    """Settings and hashes of the files that are read: of the target its documents only, never its questions."""
    corpus = recipe.corpus
    hashes = [documents_hash(corpus.target)] if corpus.target else []
    for general in corpus.general:
        hashes.append(documents_hash(general.path))
        hashes.append(input_hashes(given_query_files(general.path, general.splits), "corpus"))
    facts = corpus.model_dump(mode="json", exclude={"target": True, "general": {"__all__": {"path"}}})
    if not corpus.near_duplicate:
        del facts["near_duplicate"]  # off is as if there were no such setting: results from before it stay good
    return [facts, hashes, *(kept_out_hashes(recipe.queries.keep_out) if corpus.general else ())]


def build_corpus(shop: Workshop, folder: Path) -> Facts:
    """Read, clean and name the language of the documents."""
    settings = shop.recipe.corpus
    raw = itertools.chain(
        read_documents(settings.target, "target") if settings.target else (),
        *(_general_documents(general, settings.languages) for general in settings.general),
    )
    kept, dropped = split_dropped(clean(raw, settings.max_chars))
    documents, left_out = _without_overlaps(
        list(identify_languages(kept, settings.languages or None)),
        _evaluation_texts(shop.recipe, documents=True) if settings.general else {},
        settings.near_duplicate,
        DOCUMENT_SHINGLE,
    )
    dropped += left_out
    if settings.target and not any(document.origin == "target" for document in documents):
        raise InputError(f"{settings.target}: no usable document ({_reasons(dropped)})")
    return _write(folder, "corpus", documents, Document, dropped)


def _without_overlaps(
    records: Sequence[Text],
    named: Mapping[str, str],
    near_duplicate: float,
    size: int,
) -> tuple[list[Text], list[Dropped]]:
    """Leave out what overlaps an evaluation set, then what nearly repeats another record that is left."""
    clear, overlapping = split_dropped(drop_overlaps(records, named, size))
    kept, repeated = split_dropped(drop_near_duplicates(clear, near_duplicate, size))
    return kept, overlapping + repeated


def _evaluation_texts(recipe: Recipe, documents: bool) -> dict[str, str]:
    """Texts of the evaluation sets to keep out: what they ask, for documents also what answers it."""
    found: dict[str, str] = {}
    for path in recipe.queries.keep_out:
        texts = read_evaluation_texts(path)
        found |= {f"query {each}": text for each, text in texts.queries.items()}
        if documents:
            found |= {f"document {each}": text for each, text in texts.documents.items()}
    return found


def _general_documents(general: GeneralCorpus, languages: Sequence[str]) -> Iterator[Document]:
    """Documents of a general corpus in the wanted languages, ids made unique by the folder's name.

    At most its limit per language, spread over the folder. No languages: all of them.
    """
    read = read_documents(general.path, "general")
    told = general.language or UNKNOWN_LANGUAGE
    named = (replace(d, language=told) if d.language == UNKNOWN_LANGUAGE else d for d in read)
    wanted = [document for document in named if not languages or document.language in (*languages, UNKNOWN_LANGUAGE)]
    for document in spread_by_language(wanted, general.limit):
        yield replace(document, doc_id=f"{general.path.name}:{document.doc_id}")


def _reasons(dropped: Sequence[Dropped]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in drop_counts(dropped).items()) or "the corpus is empty"


def queries_settings(recipe: Recipe) -> object:
    """Settings of the writers and of the filters; those that are off are as if there were none."""
    near = recipe.queries.near_duplicate
    logs = [
        {"name": log.path.name, "files": input_hashes(query_log_files(log.path), "queries")}
        | log.model_dump(mode="json", exclude={"path"})
        for log in recipe.queries.logs
    ]
    kept_out = kept_out_hashes(recipe.queries.keep_out)
    written = written_settings(recipe)
    files = [{name: facts} for name, facts in (("logs", logs), ("written", written)) if facts]
    return [writers_settings(recipe), *([near] if near else ()), *kept_out, *files]


def build_queries(shop: Workshop, folder: Path) -> Facts:
    """Write queries from the target documents, take those of files, general corpora and logs, filter all."""
    documents = shop.documents
    languages = sorted({document.language for document in documents.values()})
    written = written_queries(shop)
    given = given_queries(given_rows(shop), documents)
    identify = language_identifier([*languages, "en"])
    came, dropped = split_dropped(itertools.chain(written.queries, given, log_queries(shop)))
    filtered = filter_queries(came, documents, identify, written.shots, written.style)
    queries, left_out = split_dropped(filtered)
    dropped += left_out
    queries, left_out = _without_overlaps(
        queries,
        _evaluation_texts(shop.recipe, documents=False),
        shop.recipe.queries.near_duplicate,
        QUERY_SHINGLE,
    )
    dropped += left_out
    kept = [query.query_id for query in queries]
    facts = {**_write(folder, "queries", queries, Query, dropped), "generators": by_generator(kept, dropped)}
    facts |= {"warnings": warnings} if (warnings := longer_than_read(shop)) else {}
    return {**facts, "spent": written.spent} if written.spent else facts


def longer_than_read(shop: Workshop) -> list[str]:
    """A warning where target documents are longer than what the student reads of them; none where all fit."""
    longer = sum(1 for doc_id, part in shop.read_parts.items() if len(part) < len(shop.documents[doc_id].text))
    if not longer:
        return []
    count = len(shop.read_parts)
    return [
        f"{longer:,} of {count:,} documents ({longer / count:.0%}) are longer than the "
        f"{shop.read_part.tokens} tokens that the student reads: the rest of them is neither learnt nor ranked, and "
        "nothing is asked about it by the writers here; cut them into passages"
    ]


def given_rows(shop: Workshop) -> Iterator[tuple[str, str, str]]:
    """The given queries of the documents that are there: id, text and document."""
    for general in shop.recipe.corpus.general:
        for query_id, text, doc_id in read_given_queries(general.path, general.splits):
            if f"{general.path.name}:{doc_id}" in shop.documents:
                yield query_id, text, f"{general.path.name}:{doc_id}"


def log_queries(shop: Workshop) -> Iterator[Query]:
    """What the logs hold, in the languages of the documents that are searched."""
    for log in shop.recipe.queries.logs:
        spoken = sorted({d.language for d in shop.documents.values() if d.origin == log.origin})
        among = [log.language] if log.language else shop.recipe.corpus.languages or spoken
        rows = read_query_log(log.path)
        yield from logged_queries(rows, log.path.name, log.origin, spoken, language_identifier(among))


def by_generator(kept: Sequence[str], dropped: Sequence[Dropped]) -> dict[str, Facts]:
    """Counts of each query writer, in the form of a manifest's counts; query ids begin with the writer's name."""
    kept_of = Counter(query_id.split("/")[0] for query_id in kept)
    dropped_of: dict[str, list[Dropped]] = {}
    for record in dropped:
        dropped_of.setdefault(record.record_id.split("/")[0], []).append(record)
    counts: dict[str, Facts] = {}
    for name in sorted(kept_of.keys() | dropped_of.keys()):
        own = dropped_of.get(name, [])
        counts[name] = {"in": kept_of[name] + len(own), "kept": kept_of[name], "dropped": drop_counts(own)}
    return counts


def encoder_settings(recipe: Recipe) -> object:
    """Settings of the first stages, and the hash of the encoder."""
    candidates = recipe.candidates
    return [
        candidates.model_dump(mode="json", exclude={"dense": {"path"}, "runs": True}),
        dict(zip(candidates.runs, input_hashes(list(candidates.runs.values()), "candidates"), strict=True)),
        model_identity(candidates.dense.path),
        resolve_precision(recipe),
    ]


def build_candidates(shop: Workshop, folder: Path) -> Facts:
    """Search for every query, or take what the user's own engine found."""
    vectors = shop.vectors("query", "dense", texts_of(shop.queries))
    depth = shop.recipe.candidates.depth
    given, unknown = _given_runs(shop)
    queries = list(shop.queries.values())
    with track("searching", len(queries) - len(given)) as advance:
        found = find_candidates(queries, vectors, shop.shelves, depth, given, advance, shop.engine)
        facts = _write_stream(folder, "candidates", found, Candidates)
    return {**facts, "unknown_documents_of_runs": unknown} if unknown else facts


def _given_runs(shop: Workshop) -> tuple[dict[str, dict[str, float]], dict[str, int]]:
    """Scores of the documents that the user's engine found, by our query id; and how many lines named unknown ones.

    Ids in a run are those of its general corpus, or of its log and of the run's own documents. A query that its run
    does not answer has no scores.
    """
    given: dict[str, dict[str, float]] = {}
    unknown: dict[str, int] = {}
    logs = {log.path.name for log in shop.recipe.queries.logs}
    for name, path in shop.recipe.candidates.runs.items():
        run = read_run(path, shop.documents, "" if name in logs else f"{name}:")
        unknown[name] = run.unknown
        of_log = logged_id(name, "")
        for query in shop.queries.values():
            if name in logs and query.query_id.startswith(of_log):
                given[query.query_id] = run.scores.get(query.query_id.removeprefix(of_log), {})
            elif query.origin == "general" and query.document_id.startswith(f"{name}:"):
                given[query.query_id] = run.scores.get(given_id(query), {})
    return given, unknown


def scores_settings(recipe: Recipe) -> object:
    """Settings of the teacher, and the hashes of the models that are part of it."""
    teachers = recipe.scores.teachers
    aside = {"path", "template", *SPEED} - {"weight"}
    facts = recipe.scores.model_dump(mode="json", exclude={"teachers": {"__all__": aside}})
    return [facts, [teacher_identity(teacher) for teacher in teachers]]


def build_scores(shop: Workshop, folder: Path) -> Facts:
    """Ask the teacher about every candidate."""
    known = read_column(shop.folders["candidates"] / "candidates.parquet", "query_id")
    queries = {query_id: shop.queries[query_id] for query_id in known}
    shop.ask_ahead(lambda: ((queries[one.query_id], one.doc_ids) for one in shop.stream("candidates", Candidates)))
    with track("asking the teacher", len(queries)) as advance:
        candidates = shop.stream("candidates", Candidates)
        scored = score_candidates(candidates, queries, shop.teacher(texts_of(queries)))
        facts = _write_stream(folder, "scores", _told(scored, advance, shop), ScoredCandidates)
    shop.toolbox.release_rerankers()
    spent = shop.servers.spent()
    return {**facts, "spent": spent} if spent else facts


def _told(records: Iterable[Record], advance: Advance, shop: Workshop) -> Iterator[Record]:
    """Records that are counted on the terminal as they come, beside what they have cost."""
    for record in records:
        yield record
        if shop.servers.money:
            advance.note = f"{shop.servers.money:.4g} spent"
        advance(1)


def lists_settings(recipe: Recipe) -> object:
    """Settings of the lists, and of the student where it says which queries it answers already.

    Labels that are rescaled query by query are as if there were no choice.
    """
    facts = recipe.lists.model_dump(mode="json")
    if recipe.lists.rescale_over == "query":
        del facts["rescale_over"]
    if recipe.lists.solved == 1:
        del facts["solved"]  # nobody is asked
        return [facts, recipe.seed]
    student = recipe.student.model_dump(mode="json", exclude={"start"})
    start = model_identity(recipe.student.start or recipe.candidates.dense.path)
    return [facts, recipe.seed, student, start, resolve_precision(recipe)]


def build_lists(shop: Workshop, folder: Path) -> Facts:
    """Draw the training lists."""
    recipe = shop.recipe
    settings, seed_bonus = recipe.lists, recipe.scores.seed_bonus
    own = {shop.queries[q].document_id for q in read_column(shop.folders["scores"] / "scores.parquet", "query_id")}
    alike = alike_documents(sorted(own - {""}), shop.documents, shop.document_vectors("dense"))
    over = None
    if settings.rescale_over == "all":
        over = scores_of_many(shop.stream("scores", ScoredCandidates), shop.queries, settings, seed_bonus, alike)
    scored = shop.stream("scores", ScoredCandidates)
    solved = solved_queries(shop) if settings.solved < 1 else frozenset[str]()
    drawn = draw_lists(scored, shop.queries, settings, seed_bonus, recipe.seed, over, alike, solved)
    kept, dropped = split_dropped(drawn)
    # In no order of language or source: training streams the file part by part.
    lists = by_hash(_split_again(kept, shop.queries, settings.held_out))
    _check_splits(recipe, lists)
    facts = _write(folder, "lists", lists, TrainingList, dropped)
    counts = Counter((one.domain, one.split) for one in lists)
    facts |= {
        "lists": {f"{domain}, {split}": count for (domain, split), count in sorted(counts.items())},
        "clusters": len(set(alike.cluster_of.values())),
        "covered": round(alike.covered, 4),
        **({"solved": len(solved)} if settings.solved < 1 else {}),
        "generators": by_generator([one.query_id for one in lists], dropped),
    }
    warnings = too_little_to_learn(recipe, counts)
    return {**facts, "warnings": warnings} if warnings else facts


def _split_again(
    lists: Sequence[TrainingList], queries: Mapping[str, Query], held_out: float
) -> Iterator[TrainingList]:
    """Lists, those of a domain whose clusters all fell on one side by document: a few documents may be one cluster."""
    domains: dict[str, list[TrainingList]] = {}
    for one in lists:
        domains.setdefault(one.domain, []).append(one)
    for own in domains.values():
        whole = len({one.split for one in own}) < 2
        yield from split_by_document(own, queries, held_out) if whole else own


def check_languages(shop: Workshop) -> None:
    """Every language of the target documents belongs to a domain.

    Raises:
        SettingsError: One does not; it is named, and a document in it.
    """
    lists = shop.recipe.lists
    documents = stream_columns(shop.folders["corpus"] / "corpus.parquet", "doc_id", "language", "origin")
    for doc_id, language, origin in documents:
        if origin == "target" and lists.domain_for(language) == GENERAL:
            raise SettingsError(
                f"lists.domains: no domain for language {language!r} (document {doc_id!r}); add it to one of "
                f"{', '.join(lists.domains)} ('*': all other ones), or name the languages that may occur in "
                "corpus.languages"
            )


def _check_splits(recipe: Recipe, lists: Sequence[TrainingList]) -> None:
    """Every domain that has lists can learn from some and be judged by others; at least one has."""
    counts = Counter((one.domain, one.split) for one in lists)
    domains = _learning_domains(recipe, counts)
    if not domains:
        raise InputError(
            f"{recipe.corpus.target}: no query of its documents can be learnt from (two documents of a language are "
            "the least there is to rank); give more documents"
        )
    for domain in domains:
        train, held_out = counts[domain, "train"], counts[domain, "held-out"]
        if not train or not held_out:
            raise InputError(
                f"lists: domain {domain!r} has {train} lists to learn from and {held_out} held out, needs both; give "
                f"more documents, change lists.held_out ({recipe.lists.held_out}), or join it with another domain"
            )


def _learning_domains(recipe: Recipe, counts: Mapping[tuple[str, str], int]) -> list[str]:
    """The domains that have students of their own, of lists counted by domain and split."""
    return sorted({domain for domain, _ in counts} - {GENERAL}) if recipe.corpus.target else [GENERAL]


def too_little_to_learn(recipe: Recipe, counts: Mapping[tuple[str, str], int]) -> list[str]:
    """A warning for each domain with few lists to learn from, of lists counted by domain and split."""
    train = {domain: counts.get((domain, "train"), 0) for domain in _learning_domains(recipe, counts)}
    return [
        f"domain {domain}: {count} lists to learn from; below some {2 * FEW} what is learnt is chance: write more "
        "queries or give more documents"
        for domain, count in train.items()
        if count < FEW
    ]


def _write_stream(folder: Path, stage: str, records: Iterable[Record | Dropped], kind: type[Record]) -> Facts:
    """As `_write`, for records that come one by one and whose languages are not counted."""
    kept, reasons = 0, Counter[str]()
    with (
        RecordWriter(folder / f"{stage}.parquet", kind) as file,
        RecordWriter(folder / "dropped.parquet", Dropped) as dropped,
    ):
        for record in records:
            if isinstance(record, Dropped):
                dropped.write(record)
                reasons[record.reason] += 1
            else:
                file.write(record)
                kept += 1
    return {"counts": {"in": kept + reasons.total(), "kept": kept, "dropped": dict(reasons.most_common())}}


def _write(folder: Path, stage: str, kept: Sequence[Any], kind: type, dropped: Sequence[Dropped]) -> Facts:
    write_records(folder / f"{stage}.parquet", kept, kind)
    write_records(folder / "dropped.parquet", dropped, Dropped)
    facts: Facts = {"counts": {"in": len(kept) + len(dropped), "kept": len(kept), "dropped": drop_counts(dropped)}}
    if kept and hasattr(kept[0], "language"):
        facts["languages"] = dict(sorted(Counter(record.language for record in kept).items()))
    return facts
