"""The stage queries: write them, take those that were given, filter all."""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from tamis.artifacts import drop_counts, read_json, split_dropped
from tamis.artifacts.inputs import input_hashes
from tamis.artifacts.output import write_output
from tamis.context import Workshop
from tamis.errors import InputError
from tamis.formats.queries import query_log_files
from tamis.languages import language_identifier
from tamis.pipeline.recipe import Recipe
from tamis.records import GIVEN, Dropped, Facts, Query
from tamis.stages.corpus.overlaps import QUERY_SHINGLE, evaluation_texts, kept_out_hashes, without_overlaps
from tamis.stages.queries.given import given_queries, given_rows, log_queries
from tamis.stages.queries.write import filter_queries
from tamis.stages.queries.writers.answers import CUT
from tamis.stages.queries.writers.endpoint import cut_warning
from tamis.stages.queries.writers.writers import writers_settings, written_queries
from tamis.stages.queries.written import written_settings


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
    queries, left_out = without_overlaps(
        queries,
        evaluation_texts(shop.recipe, documents=False),
        shop.recipe.queries.near_duplicate,
        QUERY_SHINGLE,
    )
    dropped += left_out
    kept = [query.query_id for query in queries]
    facts = {**write_output(folder, "queries", queries, Query, dropped), "generators": by_generator(kept, dropped)}
    warnings = [*longer_than_read(shop), *cut_answers(shop.recipe, facts["counts"]["dropped"])]
    facts |= {"warnings": warnings} if warnings else {}
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


def check_queries(shop: Workshop) -> None:
    """Somebody asks about the documents that are learnt from.

    Raises:
        InputError: All queries were dropped; they are counted by reason.
    """
    target = shop.recipe.corpus.target
    if any(query.origin == ("target" if target else "general") for query in shop.queries.values()):
        return
    writers = read_json(shop.folders["queries"] / "manifest.json")["generators"]
    reasons = Counter[str]()
    for name, counts in writers.items():
        if not target or name != GIVEN:  # given ones ask about general documents
            reasons.update(counts["dropped"])
    if reasons:
        told = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
        raise InputError(
            f"{shop.recipe.name}: 0 of {reasons.total():,} queries were kept: {told}; see {shop.folders['queries']}"
            "/dropped.parquet, and give other queries or let another model write"
        )


def cut_answers(recipe: Recipe, dropped: Mapping[str, int]) -> list[str]:
    """A warning where answers of a server were cut, of dropped queries counted by reason."""
    count, endpoint = dropped.get(CUT, 0), recipe.queries.endpoint
    return [cut_warning(count, endpoint)] if count and endpoint else []
