"""The page itself: one text that needs no other, and the policy that forbids it everything but its own two parts."""

import base64
import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

_SHARED: Final = "tamis.serving.playground"
"""Where the parts lie that all pages share."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page as it is sent.

    Attributes:
        html: The page. That of the playground holds nothing of the server's but whether it has keys and a folder.
        policy: Its Content-Security-Policy.
    """

    html: str
    policy: str


def build_page(keys: bool, folder: bool) -> Page:
    """Put the page together.

    Args:
        keys: Whether requests need a key.
        folder: Whether there is a folder to search.
    """
    return assemble("tamis.serving.playground", keys=keys, folder=folder)


def assemble(package: str, **facts: object) -> Page:
    """A page of a package's `page.html.j2`, `style.css` and `page.js`, in the colours and by the words of them all.

    Args:
        package: Where they lie.
        facts: What the template names.
    """
    environment = Environment(loader=PackageLoader(package, "."), autoescape=True, undefined=StrictUndefined)
    # The reports' colours are those of every page.
    palette = (files("tamis.report") / "templates" / "palette.css").read_text(encoding="utf-8")
    style = f"\n{palette}{_part(_SHARED, 'base.css')}{_part(package, 'style.css')}"
    script = f"\n{_part(_SHARED, 'words.js')}{_part(package, 'page.js')}"
    html = environment.get_template("page.html.j2").render(style=Markup(style), script=Markup(script), **facts)
    policy = {
        "default-src": "'none'",
        "style-src": _hash(style),
        "script-src": _hash(script),
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return Page(html, "; ".join(f"{name} {value}" for name, value in policy.items()))


def page_headers(page: Page) -> dict[str, str]:
    """What a page is sent with: nothing else may be loaded by it, and nobody is told where it was."""
    return {
        "content-security-policy": page.policy,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": "no-cache",
    }


def _part(package: str, name: str) -> str:
    return (files(package) / name).read_text(encoding="utf-8")


def _hash(part: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()}'"
