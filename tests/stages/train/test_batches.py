import itertools
from collections import Counter

import pytest

from tamis.artifacts import record_files, write_records
from tamis.records import TrainingList
from tamis.stages.train.batches import endless_batches, language_weights

LISTS = [TrainingList(f"q{n}", "all", "train", ("a", "b"), (1.0, 0.0), (0, 1), (0.0, 0.0)) for n in range(50)]


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setattr(record_files, "ROW_GROUP", 8)
    write_records(tmp_path / "lists.parquet", LISTS, TrainingList)
    return tmp_path / "lists.parquet"


def taken(batches, count):
    return [one.query_id for one in itertools.chain.from_iterable(itertools.islice(batches, count))]


def test_every_list_is_used_once_before_any_comes_again(file):
    ids = taken(endless_batches(file, lambda _: 1.0, 5, seed=1), 20)
    first, second = ids[:50], ids[50:]
    assert sorted(first) == sorted(second) == sorted(one.query_id for one in LISTS)
    assert first != second


def test_the_seed_decides_the_order(file):
    runs = [taken(endless_batches(file, lambda _: 1.0, 4, seed), 8) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


def test_one_row_group_is_in_memory_at_a_time(file, monkeypatch):
    sizes = []
    real = record_files._records

    def watched(table, kind):
        sizes.append(table.num_rows)
        return real(table, kind)

    monkeypatch.setattr(record_files, "_records", watched)
    taken(endless_batches(file, lambda _: 1.0, 5, seed=1), 10)
    assert max(sizes) == 8


def test_lists_of_weight_zero_never_come_and_others_as_often_as_their_weight_says(file):
    def weight(one):
        return {"0": 0.0, "1": 0.25}.get(one.query_id[-1], 1.0)

    counts = Counter(query_id[-1] for query_id in taken(endless_batches(file, weight, 5, seed=1), 2000))
    assert counts["0"] == 0
    assert counts["1"] / counts["2"] == pytest.approx(0.25, abs=0.04)


@pytest.mark.parametrize(("balance", "expected"), [(1.0, 16), (0.5, 4), (0.0, 1)])
def test_languages_are_drawn_in_proportion_to_a_power_of_their_lists(balance, expected):
    counts = {"en": 1600, "te": 100}
    weights = language_weights(counts, balance)
    assert max(weights.values()) == 1
    assert counts["en"] * weights["en"] / (counts["te"] * weights["te"]) == pytest.approx(expected)
