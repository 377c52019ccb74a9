import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.errors import RunError
from tamis.retrievers.vectors import Rows, VectorFile, Vectors, matrix_of, part_of

ARRAY = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    made = VectorFile(tmp_path_factory.mktemp("run") / "vectors" / "v.f32", 5)
    made.write(0, ARRAY)
    return made


@given(rows=st.lists(st.integers(0, 39), max_size=30))
@settings(max_examples=60)
def test_any_rows_in_any_order_are_read_as_they_were_written(file, rows):
    rows = np.array(rows, np.int64)
    assert file.read(rows).tolist() == ARRAY[rows].tolist()
    assert file.read(rows).shape == (len(rows), 5)


@given(start=st.integers(0, 39), length=st.integers(0, 40))
def test_neighbours_too(file, start, length):
    rows = np.arange(40)[start : start + length]
    assert file.read(rows).tolist() == ARRAY[rows].tolist()


def test_what_a_killed_write_left_is_written_over(tmp_path):
    file = VectorFile(tmp_path / "v.f32", 5)
    file.write(0, ARRAY[:10])
    file.write(10, ARRAY[30:])  # nobody noted these down
    file.write(10, ARRAY[10:15])
    assert VectorFile(tmp_path / "v.f32", 5).read(np.arange(15)).tolist() == ARRAY[:15].tolist()
    assert file.path.stat().st_size == 15 * 5 * 4


@pytest.mark.parametrize("act", [lambda f: f.read(np.array([3, 12])), lambda f: f.write(12, ARRAY[:1])])
def test_a_file_that_lost_its_end_is_named(tmp_path, act):
    file = VectorFile(tmp_path / "v.f32", 5)
    file.write(0, ARRAY[:10])
    with pytest.raises(RunError, match=r"v\.f32: ends before row 12; delete items\.sqlite and the vectors folder"):
        act(file)


def test_a_disk_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"v\.f32: cannot be written: File exists; finished stages are kept"):
        VectorFile(tmp_path / "file" / "v.f32", 5).write(0, ARRAY)


def test_a_file_that_is_gone_is_named(tmp_path):
    with pytest.raises(RunError, match=r"v\.f32: is gone; delete items\.sqlite"):
        VectorFile(tmp_path / "v.f32", 5).read(np.array([0]))


def test_vectors_of_ids_are_a_mapping_and_a_matrix(file):
    vectors = Vectors(file, {"a": 7, "b": 3, "c": 39})
    assert {text_id: vector.tolist() for text_id, vector in vectors.items()} == {
        "a": ARRAY[7].tolist(),
        "b": ARRAY[3].tolist(),
        "c": ARRAY[39].tolist(),
    }
    found = matrix_of(vectors, ["c", "a"])
    assert isinstance(found, Rows)
    assert len(found) == 2
    assert found[:].tolist() == matrix_of(dict(vectors), ["c", "a"])[:].tolist() == ARRAY[[39, 7]].tolist()
    assert part_of(found, np.array([1]))[:].tolist() == part_of(found[:], np.array([1]))[:].tolist()


def test_an_id_without_a_vector_is_a_bug_and_not_passed_over(file):
    for vectors in (Vectors(file, {"a": 0}), {"a": ARRAY[0]}):
        with pytest.raises(KeyError, match="d0"):
            matrix_of(vectors, ["a", "d0"])
