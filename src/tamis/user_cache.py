"""Where tamis keeps what all runs of a user share."""

import os
from pathlib import Path

from tamis.errors import RunError


def user_cache() -> Path:
    """`$XDG_CACHE_HOME/tamis` or `~/.cache/tamis`; it may not exist yet.

    A relative path in the variable counts as none, as the XDG Base Directory Specification has it: it would name
    another folder wherever a command is called.

    Raises:
        RunError: the variable names no absolute path and the user has no home, as in some containers.
    """
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if named.is_absolute():
        return named / "tamis"
    try:
        return Path.home() / ".cache" / "tamis"
    except RuntimeError:
        raise RunError("this user has no home directory for a cache; set XDG_CACHE_HOME to an absolute path") from None
