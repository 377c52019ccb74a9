"""reStructuredText by docutils, with the roles and directives that Sphinx and others add to it."""

import re
from typing import Any, Final

from tamis.formats.encodings import decode
from tamis.formats.file_text import FileText
from tamis.formats.markup import lines_of
from tamis.formats.web_page import read_page

_DIRECTIVE: Final = re.compile(r"^[^\S\n]*\.\. +([\w:+.-]+)::", re.MULTILINE)
_ROLE: Final = re.compile(r":([\w.:+-]{1,100}):`")  # bounded: else a row of colons is read anew from each of them
_TARGET: Final = re.compile(r"(?<!\s)\s*<[^<>]*>$")
_LISTINGS: Final = frozenset({"code-block", "sourcecode", "parsed-literal", "prompt", "doctest", "testcode"})
_NO_TEXT: Final = frozenset({"toctree", "highlight", "include", "literalinclude", "raw", "contents"})
_OWN: Final = frozenset({"code-block", "sourcecode", "highlight"})
"""Directives of docutils itself that know fewer options than Sphinx's."""

_SETTINGS: Final = {
    "_disable_config": True,
    "embed_stylesheet": False,
    "file_insertion_enabled": False,  # a text must not pull in other files
    "halt_level": 6,
    "raw_enabled": False,
    "report_level": 5,
    "stylesheet_path": "",
    "syntax_highlight": "none",
}


def read_restructured(raw: bytes) -> FileText:
    """A text with the names of its references resolved; marks that only Sphinx knows keep their words."""
    from docutils.core import publish_parts

    text = lines_of(decode(raw))
    _know(text)
    page = read_page(publish_parts(text, writer="html5", settings_overrides=_SETTINGS)["whole"])
    return FileText(page.text, page.heading)


def _know(text: str) -> None:
    """Make docutils know each directive and role that a text uses, which it would leave out with all they hold."""
    from docutils.parsers.rst import directives, roles
    from docutils.parsers.rst.languages import en
    from docutils.utils import new_document

    asked = new_document("")  # docutils says there what it does not know
    asked.reporter.report_level = _SETTINGS["report_level"]
    for name in set(_DIRECTIVE.findall(text)):
        known, _ = directives.directive(name, en, asked)
        if known is None or name in _OWN:
            directives.register_directive(name, _directive(name))
    for name in set(_ROLE.findall(text)):
        known, _ = roles.role(name, en, 0, asked.reporter)
        if known is None:
            roles.register_local_role(name, _role)


class _AnyOption(dict[str, Any]):
    """Options of any name, as they are."""

    def __getitem__(self, name: str) -> Any:
        return lambda value: value


def _role(name: str, rawtext: str, text: str, *more: Any, **named: Any) -> tuple[list[Any], list[Any]]:
    from docutils import nodes

    return [nodes.inline(rawtext, _TARGET.sub("", text) or text)], []


def _directive(name: str) -> type:
    from docutils import nodes
    from docutils.parsers.rst import Directive

    class Kept(Directive):  # type: ignore[misc]
        """A directive that docutils does not know: its arguments and what it holds."""

        optional_arguments = 1
        final_argument_whitespace = True
        has_content = True
        option_spec = _AnyOption(any=str)

        def run(self) -> list[Any]:
            if name in _NO_TEXT:
                return []
            if name in _LISTINGS:
                return [nodes.literal_block("", "\n".join(self.content))]
            said = []
            for argument in self.arguments:
                inline, messages = self.state.inline_text(argument, self.lineno)
                said += [nodes.paragraph("", "", *inline), *messages]
            held = nodes.container()
            self.state.nested_parse(self.content, self.content_offset, held)
            return [*said, held]

    return Kept
