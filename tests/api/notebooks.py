"""Notebooks as tests run them: cell by cell in this process, without Jupyter."""

import ast
import contextlib
import io
import json
from pathlib import Path
from typing import Any


def read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8"))


def execute(notebook: dict[str, Any], replace: dict[str, str]) -> list[str]:
    """What each code cell prints and, where its last line is an expression, shows; all cells share their names."""
    names: dict[str, Any] = {}
    shown = []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            source = "".join(cell["source"])
            for old, new in replace.items():
                source = source.replace(old, new)
            shown.append(_execute(source, cell["id"], names))
    return shown


def _execute(source: str, name: str, names: dict[str, Any]) -> str:
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(tree, name, "exec"), names)
        value = eval(compile(ast.Expression(last.value), name, "eval"), names) if last else None
    return out.getvalue() + ("" if value is None else f"{value!r}\n")
