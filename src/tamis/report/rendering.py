"""From a template and what it shows to the text of a page."""

import json
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from tamis.report import wording
from tamis.report.graded import MOST_UNGRADED


def render(template: str, **views: Any) -> str:
    """Fill a template of this package; every text from outside is escaped.

    Args:
        template: Its file name.
        views: What it shows; `title` and `sections` (title of each section by its id) at least.

    Returns:
        An HTML page that needs no other file and no network; the same views give the same text.
    """
    environment = Environment(
        loader=PackageLoader("tamis.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "points": wording.points,
        "signed": wording.signed,
        "direction": wording.direction,
        "p_value": wording.p_value,
        "duration": wording.duration,
        "size": wording.size,
        "number": wording.number,
        "bound": wording.bound,
        "effect": wording.effect,
        "measured": wording.measured,
        "json": _json,
    }
    environment.globals |= {"LEVEL": wording.LEVEL, "MOST_UNGRADED": MOST_UNGRADED}
    return environment.get_template(template).render(**views)


def _json(content: object) -> str:
    return json.dumps(content, ensure_ascii=False, indent=2, default=str)
