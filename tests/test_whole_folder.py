import errno
import fcntl
from pathlib import Path

import pytest
from safetensors import SafetensorError
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from tamis.errors import InputError, RunError
from tamis.whole_folder import system_errors, unfinished, whole_file, whole_folder


def test_the_folder_appears_when_the_block_ends(tmp_path):
    out = tmp_path / "deep" / "out"
    with whole_folder(out) as folder:
        (folder / "a").write_text("a")
        assert not out.exists()
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    assert (out / "a").read_text() == "a"


def test_an_error_inside_leaves_nothing(tmp_path):
    with pytest.raises(KeyError), whole_folder(tmp_path / "out"):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_not_taken_over(tmp_path):
    left = tmp_path / ".out.partial"
    left.mkdir()
    (left / "half").touch()
    with whole_folder(tmp_path / "out") as folder:
        (folder / "a").touch()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a"]


def test_an_empty_folder_is_filled(tmp_path):
    with whole_folder(tmp_path) as folder:
        (folder / "a").touch()
    assert (tmp_path / "a").exists()


def test_a_folder_or_file_with_content_is_never_replaced(tmp_path):
    (tmp_path / "mine").touch()
    for out in (tmp_path, tmp_path / "mine"):
        with pytest.raises(InputError, match="already holds something else"), whole_folder(out):
            pass


def test_a_disk_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="out: cannot be written"), whole_folder(tmp_path / "file" / "out"):
        pass


def test_the_working_directory_is_not_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="the working directory cannot be replaced"), whole_folder(Path()):
        pass


def test_two_that_make_the_same_folder_do_not_take_each_others_files(tmp_path):
    with whole_folder(tmp_path / "out") as folder:
        (folder / "a").touch()
        with pytest.raises(RunError, match="out: another process is making it"), whole_folder(tmp_path / "out"):
            pass
        (folder / "b").touch()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a", "b"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_file_system_that_locks_no_folders_will_do(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with whole_folder(tmp_path / "out") as folder:
        (folder / "a").touch()
    assert (tmp_path / "out" / "a").exists()


def test_tensors_that_cannot_be_written_are_one_line(tmp_path):
    with pytest.raises(RunError, match="out: cannot be written"), whole_folder(tmp_path / "out"):
        raise SafetensorError("I/O error: No space left on device (os error 28)")
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_replaced_when_the_block_ends(tmp_path):
    file = tmp_path / "figures.json"
    file.write_text("old")
    with whole_file(file) as partial:
        partial.write_text("new")
        assert file.read_text() == "old"
    assert file.read_text() == "new"
    assert list(tmp_path.iterdir()) == [file]


def fail_after(_):
    raise FileNotFoundError


def test_an_error_leaves_the_older_file_and_nothing_else(tmp_path):
    file = tmp_path / "figures.json"
    file.write_text("old")
    with pytest.raises(FileNotFoundError), whole_file(file) as partial:
        fail_after(partial.write_text("half"))
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("left", ["file", "folder"])
def test_what_a_kill_left_is_removed(tmp_path, left):
    file = tmp_path / "figures.json"
    if left == "file":
        unfinished(file).write_text("half of something longer")
    else:
        unfinished(file).mkdir()
        (unfinished(file) / ".tmpA1b2C3").write_text("of a library")
    with whole_file(file) as partial:
        partial.write_text("new")
    assert file.read_text() == "new"
    assert list(tmp_path.iterdir()) == [file]


def test_a_link_or_a_device_is_written_as_it_is(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for path in (tmp_path / "link", Path("/dev/null")):
        with whole_file(path) as partial:
            partial.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "new"
    assert Path("/dev/null").is_char_device()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_under_the_tokenizers_library_is_an_error_of_the_system(tmp_path):
    file = tmp_path / "tokenizer.json"
    file.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as told, system_errors(file):
        Tokenizer(WordLevel({"a": 0}, unk_token="a")).save(str(file))
    assert (told.value.errno, told.value.filename) == (errno.ENOSPC, str(file))


def test_other_errors_stay_what_they_are(tmp_path):
    for error in (ValueError("(os error 28)"), Exception("no such token")):
        with pytest.raises(type(error)) as told, system_errors(tmp_path):
            raise error
        assert told.value is error
