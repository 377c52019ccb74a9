"""Where tamis keeps what all runs of a user share."""

import os
from pathlib import Path


def user_cache() -> Path:
    """`$XDG_CACHE_HOME/tamis` or `~/.cache/tamis`; it may not exist yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tamis"
