"""Web pages that may ask from a browser: the form in which browsers name them."""

import ipaddress
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from tamis.errors import InputError
from tamis.serving.hosts import is_loopback

ANY: Final = "*"
"""Stands for all pages."""

NO_ORIGIN: Final = "null"
"""What browsers send for pages without an origin: files, and frames in a sandbox."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_NEVER: Final = frozenset({"about", "blob", "data", "file", "ftp", "javascript", "ws", "wss"})
_OWN_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]*)://[A-Za-z0-9._-]+(:\d+)?")
"""Of extensions and apps: `chrome-extension://ID`, `capacitor://localhost`."""


def check_origins(given: Sequence[str]) -> None:
    """Refuse what no browser sends as the origin of a page, and what would therefore never be allowed.

    An origin is scheme, host and a port that is not the scheme's own, as the HTML standard writes it: lower-case, an
    international name in its ASCII form, an address in its shortest one, no path and no slash at the end.

    Raises:
        InputError: the first such value, with the form that was meant where that is plain.
    """
    for one in given:
        if one not in (ANY, NO_ORIGIN) and not _is_origin(one):
            meant = _meant(one)
            raise InputError(
                f"--cors {one}: no browser calls a page so; expected SCHEME://HOST or SCHEME://HOST:PORT, without a "
                f"path, {f'here {meant}' if meant else 'such as https://app.example'}, or * for all pages"
            )


def _is_origin(given: str) -> bool:
    scheme, _, _ = given.partition("://")
    if scheme in _DEFAULT_PORTS:
        return _meant(given) == given
    return scheme not in _NEVER and bool(_OWN_SCHEME.fullmatch(given))


def _meant(given: str) -> str:
    """The origin of the page that a text most likely names; empty where that is not to be told."""
    text = given.strip().rstrip(",;")
    with suppress(ValueError):  # brackets, ports and names that are none
        parts = urlsplit(text if "://" in text else f"//{text}")
        host, port = _host(parts.hostname or ""), parts.port
        scheme = parts.scheme.lower() or ("http" if is_loopback(host.strip("[]")) else "https")
        if host and scheme in _DEFAULT_PORTS:
            return f"{scheme}://{host}" + (f":{port}" if port not in (None, _DEFAULT_PORTS[scheme]) else "")
    return ""


def _host(name: str) -> str:
    """A host as browsers write it; empty for what is none.

    Raises:
        ValueError: an address or a name that is none.
    """
    if ":" in name:
        return f"[{ipaddress.IPv6Address(name).compressed}]"
    ascii_name = name if name.isascii() else name.encode("idna").decode("ascii")
    if ascii_name.rstrip(".").rpartition(".")[2].isdecimal():
        return str(ipaddress.IPv4Address(ascii_name))
    return ascii_name.lower() if re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?", ascii_name) else ""
