"""Hooks of mkdocs: links out of docs/, which the site does not hold, and the table of all messages."""

import posixpath
import re
import runpy
from pathlib import Path
from typing import Any

BRANCH = "main"

LINK = re.compile(r"(?<!!)\[([^\]]*(?:\[[^\]]*\][^\]]*)*)\]\((?P<target>[^)\s]+)\)")
"""A link that is no image: its words and its target."""

MESSAGES = runpy.run_path(str(Path(__file__).with_name("messages.py")))


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Put the table of messages in its place, and mend links that leave docs/.

    Such links lead to the repository where `repo_url` names one; else their words stay alone.

    Args:
        markdown: The page.
        page: mkdocs' page.
        config: mkdocs' settings.

    Returns:
        The page as the site has it.
    """
    if MESSAGES["PLACE"] in markdown:
        markdown = markdown.replace(MESSAGES["PLACE"], MESSAGES["table"]())
    return LINK.sub(lambda link: mended(link, page.file.src_uri, config.repo_url), markdown)


def mended(link: re.Match[str], page: str, repository: str | None) -> str:
    """A link as it stands, or, where it leaves docs/, one to the repository or its words."""
    name, _, anchor = link["target"].partition("#")
    path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), name))
    on_site = path.startswith("docs/") and not path.startswith(("docs/schemas/", "docs/tools/"))
    if ":" in name or not name or on_site:
        return link[0]
    if not repository:
        return link[1]
    return f"[{link[1]}]({repository.rstrip('/')}/blob/{BRANCH}/{path}{'#' if anchor else ''}{anchor})"
