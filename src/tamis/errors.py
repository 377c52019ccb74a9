"""The errors a user can meet. Each message is one line: what is wrong, where, what came, what to do.

    TamisError
    ├── InputError        a file, line or field that the user gave cannot be used
    ├── SettingsError     a recipe that is not understood
    ├── MissingPartError  a package, program or file that the machine lacks
    ├── ModelError        a checkpoint that cannot be scored with
    └── RunError          a run folder that cannot be continued, or a disk that cannot be written

The command line prints the message and exits with status 2; a library user catches `TamisError`.
"""


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
