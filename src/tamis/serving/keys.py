"""API keys: who may ask. Only their hashes are kept in memory."""

import hashlib
import hmac
from collections.abc import Mapping
from pathlib import Path

from tamis.errors import InputError
from tamis.formats.lines import filled_lines

VARIABLE = "TAMIS_API_KEYS"
ADMIN_VARIABLE = "TAMIS_ADMIN_KEY"


class ApiKeys:
    """Keys of which a request must bring one; without any, every request may pass."""

    def __init__(self, keys: list[str]) -> None:
        self._digests = [_digest(key.encode("utf-8", "surrogateescape")) for key in keys]

    def __len__(self) -> int:
        """How many keys there are."""
        return len(self._digests)

    def take_over(self, other: "ApiKeys") -> None:
        """Ask for other keys from now on."""
        self._digests = other._digests

    def accept(self, authorization: str) -> bool:
        """Whether a request with this header `Authorization` may pass.

        All keys are compared, each in constant time: the answer's delay says nothing about any of them.
        """
        if not self._digests:
            return True
        scheme, _, given = authorization.partition(" ")
        found = _digest(given.strip().encode("latin-1", "replace"))  # the bytes that came: servers read headers so
        equal = [hmac.compare_digest(found, digest) for digest in self._digests]
        return scheme.lower() == "bearer" and any(equal)


def read_keys(
    file: Path | None, environment: Mapping[str, str], option: str = "--keys", variable: str = VARIABLE
) -> ApiKeys:
    """Keys of a file, one a line, and of a variable of the environment, between commas or spaces.

    Args:
        file: None for none.
        environment: Where the variable may be.
        option: How the file was named, for messages.
        variable: Name of the variable.

    Raises:
        InputError: a file that cannot be read or holds no key, or a variable that is set and holds none.
    """
    keys: list[str] = []
    if file is not None:
        try:
            lines = [line.strip() for _, line in filled_lines(file)]
        except InputError as error:
            raise InputError(f"{option} {error}") from None
        keys += [line for line in lines if not line.startswith("#")]
        if not keys:
            raise InputError(f"{option} {file}: no key in it; put one on a line, or leave the option out")
    if variable in environment:
        named = environment[variable].replace(",", " ").split()
        if not named:
            raise InputError(f"{variable} is set and holds no key; unset it, or put keys into it")
        keys += named
    return ApiKeys(keys)


def read_admin_keys(file: Path | None, environment: Mapping[str, str]) -> ApiKeys:
    """Keys of those who may change models, see `read_keys`."""
    return read_keys(file, environment, "--admin-keys", ADMIN_VARIABLE)


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
