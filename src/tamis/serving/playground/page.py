"""The page itself: one text that needs no other, and the policy that forbids it everything but its own two parts."""

import base64
import hashlib
from dataclasses import dataclass
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


@dataclass(frozen=True, slots=True)
class Page:
    """The page of the playground, as it is sent.

    Attributes:
        html: The page. It holds nothing of the server's but whether it has keys and a folder.
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
    environment = Environment(
        loader=PackageLoader("tamis.serving.playground", "."), autoescape=True, undefined=StrictUndefined
    )
    # The reports' colours are the playground's.
    palette = (files("tamis.report") / "templates" / "palette.css").read_text(encoding="utf-8")
    style = f"\n{palette}{_own('style.css')}"
    script = f"\n{_own('page.js')}"
    html = environment.get_template("page.html.j2").render(
        style=Markup(style), script=Markup(script), keys=keys, folder=folder
    )
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


def _own(name: str) -> str:
    return (files("tamis.serving.playground") / name).read_text(encoding="utf-8")


def _hash(part: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()}'"
