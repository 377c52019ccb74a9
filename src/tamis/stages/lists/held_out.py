"""The held-out lists that judge students, and the lists of given and of written queries."""

import itertools
from collections.abc import Iterable, Mapping, Sequence

from tamis.records import GIVEN, Query, TrainingList
from tamis.stages.lists.draw import by_hash
from tamis.stages.lists.settings import GENERAL


def domains_of(lists: Sequence[TrainingList]) -> list[str]:
    """The domains that have specialists, sorted."""
    return domains_among((one.domain, one.split) for one in lists)


def domains_among(counted: Iterable[tuple[str, str]]) -> list[str]:
    """The same of lists that are counted by domain and split."""
    return sorted({domain for domain, _ in counted} - {GENERAL})


def held_out_lists(
    lists: Sequence[TrainingList], queries: Mapping[str, Query], domain: str, most: int
) -> list[TrainingList]:
    """At most `most` held-out lists of a domain, drawn by hash: of given and of written queries in turn.

    Agreement on extracts alone rewards lexical matching (docs/log.md); agreement on given queries alone says nothing
    about the corpus.
    """
    own = by_hash(one for one in lists if one.domain == domain and one.split == "held-out")
    given, written = given_and_written(own, queries)
    in_turn = itertools.chain.from_iterable(itertools.zip_longest(written, given))
    return [one for one in in_turn if one is not None][:most]


def judging_lists(
    lists: Sequence[TrainingList], queries: Mapping[str, Query], most: int
) -> dict[str, list[TrainingList]]:
    """At most so many held-out lists to judge students by, by domain; without specialists the general one's own."""
    return {name: held_out_lists(lists, queries, name, most) for name in domains_of(lists) or [GENERAL]}


def given_and_written(
    lists: Iterable[TrainingList], queries: Mapping[str, Query]
) -> tuple[list[TrainingList], list[TrainingList]]:
    """Lists of given queries, those of general documents and of logs, and of written ones; order is kept."""
    given: list[TrainingList] = []
    written: list[TrainingList] = []
    for one in lists:
        (given if queries[one.query_id].generator == GIVEN else written).append(one)
    return given, written
