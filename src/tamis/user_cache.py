"""Where tamis keeps what all runs of a user share."""

import os
from pathlib import Path

from tamis.errors import RunError


def user_cache() -> Path:
    """`$XDG_CACHE_HOME/tamis` or `~/.cache/tamis`; it may not exist yet.

    Raises:
        RunError: the variable is not set and the user has no home, as in some containers.
    """
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tamis"
    except RuntimeError:
        raise RunError("this user has no home directory for a cache; set XDG_CACHE_HOME to a folder") from None
