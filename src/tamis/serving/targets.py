"""What a request is addressed to: one path, however a client spells it."""

import re
from typing import Final
from urllib.parse import unquote

from starlette.types import Scope

_ABSOLUTE: Final = re.compile(rb"https?://([^/?#]*)", re.IGNORECASE)
_SLASHES: Final = re.compile("/{2,}")


def plain_target(scope: Scope) -> Scope:
    """A request with the path by which routes are found.

    Slashes that come twice or last count for nothing: clients join a base that ends in one with a path that begins with
    one. They are not led to another address by a redirect, on which many drop the body or hand a key on. A target with
    scheme and host (RFC 9112, 3.2.2) stands for the same as its path, and its host takes the place of the header
    `Host`.

    Args:
        scope: ASGI's, of a request over HTTP; it is not changed.
    """
    path: str = scope["path"]
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    raw: bytes = scope.get("raw_path") or path.encode("utf-8", "replace")
    if absolute := _ABSOLUTE.match(raw):
        host = absolute[1].rpartition(b"@")[2]
        headers = [(b"host", host), *(pair for pair in headers if pair[0] != b"host")]
        raw = raw[absolute.end() :] or b"/"
        path = scope.get("root_path", "") + unquote(raw.decode("ascii", "replace"))
    path = _SLASHES.sub("/", path)
    return {**scope, "path": path.rstrip("/") or "/", "raw_path": raw, "headers": headers}
