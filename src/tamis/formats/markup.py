"""Texts that people write with marks in them: Markdown, notebooks, AsciiDoc. No library beyond YAML's is needed."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import yaml

from tamis.formats.encodings import decode
from tamis.formats.fields import language_tag
from tamis.formats.file_text import FileText, LeftOut
from tamis.languages import UNKNOWN_LANGUAGE
from tamis.text import one_line


class _Loader(yaml.SafeLoader):
    """YAML's own without merge keys, by which a few lines can stand for more fields than any memory holds."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        node.value = [(key, value) for key, value in node.value if key.tag != "tag:yaml.org,2002:merge"]


def _fields_of_yaml(text: str) -> Any:
    try:
        return yaml.load(text, _Loader)  # a safe one
    except (ArithmeticError, LookupError, AttributeError) as error:  # PyYAML's slips over numbers and tags
        raise ValueError(str(error)) from error


_FRONT: Final = (
    (re.compile(r"---[ \t]*\n(.*?\n)(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL), _fields_of_yaml),
    (re.compile(r"\+\+\+[ \t]*\n(.*?\n)\+\+\+[ \t]*(?:\n|\Z)", re.DOTALL), tomllib.loads),
)
_LONGEST_FRONT: Final = 1 << 16
_LANGUAGES: Final = ("lang", "language", "locale")
_FENCE: Final = re.compile(r" {0,3}(```|~~~)")
_HEADING: Final = re.compile(r" {0,3}#{1,6}[ \t]+(.*?)[ \t]*#*$")
_UNDERLINE: Final = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_MARKS: Final = re.compile(r"!\[[^\]]*\]\([^)]*\)|<[^>]+>|[*`]+|\{#[^}]*\}")
_LINK: Final = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_LONGEST_HEADING: Final = 1000
"""Characters of a line that a title is looked for in: one line of marks as long as a file took minutes."""

_ADOC_ATTRIBUTE: Final = re.compile(r":!?[\w-]+!?:(?:\s.*)?$")
_ADOC_BLOCK: Final = re.compile(r"\[[^\]]*\]\s*$|={4,}$|-{4,}$|\.{4,}$|\*{4,}$|_{4,}$|\|={3,}$|--$|\++$")
_ADOC_TITLE: Final = re.compile(r"(={1,6}|#{1,6})\s+(\S.*)")
_ADOC_FENCE: Final = re.compile(r"/{4,}")


def read_plain(raw: bytes) -> FileText:
    """A text as it is."""
    return FileText(lines_of(decode(raw)))


def read_markdown(raw: bytes) -> FileText:
    """Markdown as it is, but for its front matter, which may give title and language."""
    front, text = front_matter(lines_of(decode(raw)))
    return FileText(text, _title(front) or first_heading(text), _language(front))


def read_notebook(raw: bytes) -> FileText:
    """The cells of a Jupyter notebook: prose as Markdown, code as listings; what the code gave is left out.

    Raises:
        LeftOut: It is no notebook.
    """
    try:
        content = json.loads(decode(raw))
        sheets = content.get("worksheets")  # notebooks of before 2015
        cells = [cell for sheet in sheets for cell in sheet["cells"]] if sheets else content["cells"]
        text = "\n\n".join(filter(None, map(_cell, cells)))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise LeftOut("damaged or no notebook", error) from error
    return FileText(text, first_heading(text))


def read_asciidoc(raw: bytes) -> FileText:
    """AsciiDoc without comments, attributes and the lines that mark blocks; `:lang:` gives the language."""
    title, language, kept = "", UNKNOWN_LANGUAGE, []
    for line in _without_comments(lines_of(decode(raw)).split("\n")):
        heading = _ADOC_TITLE.match(line)
        if heading:
            title = title or one_line(heading[2])
            kept.append(f"{'#' * len(heading[1])} {heading[2]}")
        elif _ADOC_ATTRIBUTE.match(line):
            name, _, value = line[1:].partition(":")
            language = (name == "lang" and language_tag(value)) or language
        elif not _ADOC_BLOCK.match(line):
            kept.append(line)
    return FileText("\n".join(kept), title, language)


def _without_comments(lines: Sequence[str]) -> Iterator[str]:
    """Lines of AsciiDoc outside comments; a block that is never closed is none, so that nothing behind it is lost."""
    last = {line: number for number, line in enumerate(lines) if _ADOC_FENCE.fullmatch(line)}
    fence = ""
    for number, line in enumerate(lines):
        if fence:
            fence = "" if line == fence else fence
        elif last.get(line, number) > number:
            fence = line
        elif not line.startswith("//") or line.startswith("///"):
            yield line


def lines_of(text: str) -> str:
    """A text whose lines end with a line feed."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def front_matter(text: str) -> tuple[Mapping[str, Any], str]:
    """What stands before a text between lines of `---` (YAML) or `+++` (TOML), and the text after it.

    Returns:
        Fields and text; none and the whole text where there is no front matter or one that is not understood.
    """
    for pattern, parse in _FRONT:
        found = pattern.match(text)
        if found and found.end() <= _LONGEST_FRONT:
            try:
                fields = parse(found[1])
            except (yaml.YAMLError, ValueError, RecursionError):
                continue
            if isinstance(fields, dict):
                return fields, text[found.end() :]
    return {}, text


def first_heading(text: str) -> str:
    """The first heading of a Markdown text on one line, without marks; empty where it has none."""
    before = ""
    for whole in _outside_listings(text):
        line = whole[:_LONGEST_HEADING]
        heading = _HEADING.match(line)
        found = heading[1] if heading else before.strip() if _UNDERLINE.match(line) else ""
        found = one_line(_MARKS.sub("", _LINK.sub(r"\1", found)))
        if found:
            return found
        before = "" if heading else line
    return ""


def _outside_listings(text: str) -> Iterator[str]:
    fence = ""
    for line in text.split("\n"):
        mark = _FENCE.match(line)
        if mark and (not fence or mark[1] == fence):
            fence = "" if fence else mark[1]
        elif not fence:
            yield line


def _title(front: Mapping[str, Any]) -> str:
    title = front.get("title")
    return one_line(title) if isinstance(title, str) else ""


def _language(front: Mapping[str, Any]) -> str:
    return next((tag for name in _LANGUAGES if (tag := language_tag(front.get(name)))), UNKNOWN_LANGUAGE)


def _cell(cell: Mapping[str, Any]) -> str:
    source = cell.get("source", cell.get("input", ""))
    text = "".join(source).strip("\n")
    kind = cell["cell_type"]
    if kind == "heading":
        return f"{'#' * int(cell.get('level', 1))} {text}"
    return f"```\n{text}\n```" if kind == "code" and text else text
