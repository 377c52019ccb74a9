import pwd
from pathlib import Path

import pytest

from tamis.errors import RunError
from tamis.user_cache import user_cache


def test_the_cache_lies_where_users_keep_theirs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_cache() == tmp_path / ".cache" / "tamis"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    assert user_cache() == tmp_path / "elsewhere" / "tamis"


@pytest.mark.parametrize("named", ["cache", "./cache", "~/cache", ""])
def test_a_relative_path_counts_as_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, named: str) -> None:
    """XDG Base Directory Specification: such a path is invalid and to be ignored."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", named)
    assert user_cache() == tmp_path / ".cache" / "tamis"


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: int) -> pwd.struct_passwd:
        raise KeyError(uid)

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(RunError, match="no home directory for a cache; set XDG_CACHE_HOME"):
        user_cache()
