"""Every message that tamis can end with, collected from the code: a table for the page on troubleshooting.

`python docs/tools/messages.py` prints it; the site holds it in place of `PLACE` on that page.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).parent.parent.parent / "src" / "tamis"

PLACE = "<!-- every message -->"
"""Where the page has the table."""

GAP = "…"
"""Stands for what differs from case to case."""

KINDS = {
    "SettingsError": "Recipes and options",
    "InputError": "Files and values",
    "MissingPartError": "Packages, programs and files that are missing",
    "ModelError": "Models and servers that are asked",
    "RunError": "Run folders and disks",
    "RefusedError": "Answers of tamis serve",
}
"""Headings of the table, by the class of the error."""


class Message(NamedTuple):
    """One message, with gaps for what differs."""

    kind: str
    text: str


def messages(source: Path = SOURCE) -> list[Message]:
    """All messages of the package, each once, sorted by kind and text."""
    found = {one for path in source.rglob("*.py") for one in messages_of(path)}
    order = list(KINDS)
    return sorted(found, key=lambda one: (order.index(one.kind), one.text.strip(GAP + ":, ").lower(), one.text))


def messages_of(path: Path) -> Iterator[Message]:
    """The messages that a module raises; a `ValueError` in a section of a recipe becomes a `SettingsError`."""
    code = path.read_text(encoding="utf-8")
    tree = ast.parse(code)
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        kind = node.func.id if isinstance(node.func, ast.Name) else ""
        if kind == "ValueError" and "tamis.section" in code:
            kind = "SettingsError"
        if kind in KINDS:
            said = node.args[1 if kind == "RefusedError" and len(node.args) > 1 else 0]
            yield from (Message(kind, text) for text in texts_of(said, functions) if text.strip(f"{GAP}: ,;()"))


def texts_of(expression: ast.AST | None, functions: Mapping[str, ast.FunctionDef]) -> list[str]:
    """What an expression can say: a gap for each value, both sides of a condition, what a function of the module gives.

    Args:
        expression: Of the message.
        functions: Those of its module by name; one is looked into once only, so that none can call itself for ever.

    Returns:
        One text for each way; at least one.
    """
    if isinstance(expression, ast.Constant):
        return [str(expression.value)]
    if isinstance(expression, ast.JoinedStr):
        return ["".join(parts) for parts in product(*(texts_of(part, functions) for part in expression.values))]
    if isinstance(expression, ast.FormattedValue):
        return texts_of(expression.value, functions)
    if isinstance(expression, ast.IfExp):
        return texts_of(expression.body, functions) + texts_of(expression.orelse, functions)
    if isinstance(expression, ast.Call) and isinstance(expression.func, ast.Name) and expression.func.id in functions:
        name = expression.func.id
        others = {other: node for other, node in functions.items() if other != name}
        returned = [node.value for node in ast.walk(functions[name]) if isinstance(node, ast.Return)]
        return list(dict.fromkeys(text for value in returned for text in texts_of(value, others))) or [GAP]
    return [GAP]


def cell(text: str) -> str:
    """A text as it may stand in a cell: no markup in it counts."""
    return "".join(f"\\{letter}" if letter in "|*_<>[]`" else letter for letter in text) or " "


def table() -> str:
    """All messages in tables, one for each kind: what is wrong, and what to do, as the message says it."""
    parts, found = [], messages()
    for kind, heading in KINDS.items():
        rows = [row(one.text) for one in found if one.kind == kind]
        parts += [f"### {heading}", "", "| message | what it says to do |", "|---|---|", *rows, ""]
    return "\n".join(parts)


def row(text: str) -> str:
    """A line of the table: the message up to its first semicolon, and what follows."""
    wrong, _, cure = text.partition("; ")
    return f"| {cell(wrong)} | {cell(cure)} |"


if __name__ == "__main__":
    sys.stdout.write(table())
