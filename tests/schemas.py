"""The schemas of docs/schemas, and what the files that we write have to look like by them."""

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

FOLDER = Path(__file__).parent.parent / "docs" / "schemas"


def complaints(name: str, content: Any) -> list[str]:
    """What the schema says against a results.json, each with its place; empty where it is as documented."""
    schema = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return [f"{error.json_path}: {error.message}" for error in Draft202012Validator(schema).iter_errors(content)]


def keys(name: str) -> set[str]:
    """Every key that a schema names, at any depth."""
    schema = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return set(_keys(schema))


def _keys(schema: Any) -> list[str]:
    if isinstance(schema, list):
        return [key for one in schema for key in _keys(one)]
    if not isinstance(schema, dict):
        return []
    own = list(schema["properties"]) if isinstance(schema.get("properties"), dict) else []
    return own + [key for value in schema.values() for key in _keys(value)]
