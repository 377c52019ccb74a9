"""The schema of docs/schemas, and what the files that we write have to look like by it."""

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

FILE = Path(__file__).parent.parent / "docs" / "schemas" / "results.json"


def complaints(content: Any) -> list[str]:
    """What the schema says against a results.json, each with its place; empty where it is as documented."""
    schema = json.loads(FILE.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return [f"{error.json_path}: {error.message}" for error in Draft202012Validator(schema).iter_errors(content)]


def undescribed() -> list[str]:
    """The keys of the schema, at any depth, that docs/results.md does not name."""
    page = (FILE.parent.parent / "results.md").read_text(encoding="utf-8").replace("…", "")
    return [key for key in _keys(json.loads(FILE.read_text(encoding="utf-8"))) if f"`{key}`" not in page]


def _keys(schema: Any) -> list[str]:
    if isinstance(schema, list):
        return [key for one in schema for key in _keys(one)]
    if not isinstance(schema, dict):
        return []
    own = list(schema["properties"]) if isinstance(schema.get("properties"), dict) else []
    return own + [key for value in schema.values() for key in _keys(value)]
