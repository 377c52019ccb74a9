"""The errors a user can meet. Each message is one line: what is wrong, where, what came, what to do.

    TamisError
    ├── InputError        a file, line or field that the user gave cannot be used
    ├── SettingsError     a recipe that is not understood
    ├── MissingPartError  a package, program or file that the machine lacks
    ├── ModelError        a checkpoint that cannot be scored with
    └── RunError          a run folder that cannot be continued, or a disk that cannot be written

The command line prints the message and exits with status 2; a library user catches `TamisError`.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class TamisError(Exception):
    """Something the user can mend; its text says how."""


class InputError(TamisError):
    """A file, line or field that the user gave cannot be used."""


class SettingsError(TamisError):
    """A recipe that is not understood."""


class MissingPartError(TamisError):
    """A package, program or file that this machine lacks."""


class ModelError(TamisError):
    """A checkpoint that cannot be loaded or scored with."""


class RunError(TamisError):
    """A run folder that cannot be continued or written."""


@contextmanager
def reaching(path: str | Path | None = None, kind: type[TamisError] = InputError) -> Iterator[None]:
    """Make one line of what the system says of a path that it does not look up.

    `Path.exists` and its like say no where nothing lies, but raise where this user may not look, and where a name is
    longer than that of any file, as a text is that was taken for a path.

    Args:
        path: What the user named; None for the path that the system complains of.
        kind: The error to raise.

    Raises:
        TamisError: of that kind, with the path, what came and what to do.
    """
    try:
        yield
    except OSError as error:
        named = error.filename if path is None else path
        if named is not None and isinstance(error, PermissionError):
            raise kind(f"{named}: permission denied; give this user the right to it, or name another path") from error
        if named is not None and error.errno == errno.ENAMETOOLONG:
            begins = repr(f"{str(named)[:60]}…")
            raise kind(f"{begins}: no file has so long a name; expected a path, texts come in a list") from error
        raise
