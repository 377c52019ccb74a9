"""The interface's own description, made from what requests are checked by and answers are made of."""

from typing import Any

from pydantic import TypeAdapter

from tamis import __version__
from tamis.serving.dialects.choosing import PATHS
from tamis.serving.guard import OPEN_PATHS

REFUSALS = {
    "400": "Nothing to rank, or (vLLM) a body that is not understood",
    "401": "No key, or a wrong one",
    "403": "The server has no keys, and is asked by a name that another machine could have",
    "404": "No such model",
    "408": "The body came too slowly",
    "413": "The body is too large",
    "422": "A body that is not understood",
    "429": "Too much waits; Retry-After says when to come again",
    "500": "The model failed",
    "503": "The server is about to stop",
    "504": "Not done within the deadline",
}


def describe(keys: bool) -> dict[str, Any]:
    """An OpenAPI 3.1 document.

    Args:
        keys: Whether requests need a key.
    """
    dialects = {dialect.name: dialect for of_path in PATHS.values() for dialect in of_path}
    inputs = [(f"{name} body", "validation", TypeAdapter(of.body)) for name, of in dialects.items()]
    outputs = [(f"{name} answer", "serialization", TypeAdapter(of.answer_type)) for name, of in dialects.items()]
    schemas, definitions = TypeAdapter.json_schemas(
        [*inputs, *outputs],  # type: ignore[list-item]
        ref_template="#/components/schemas/{model}",
    )
    bodies = {name: schemas[f"{name} body", "validation"] for name in dialects}
    answers = {name: schemas[f"{name} answer", "serialization"] for name in dialects}
    paths: dict[str, Any] = {}
    for path, of_path in PATHS.items():
        names = [dialect.name for dialect in of_path]
        paths[path] = {
            "post": {
                "summary": f"Rerank, as {' or '.join(names)}" if "rerank" in path else "Score pairs, as vLLM",
                "requestBody": {"required": True, "content": _json({"anyOf": [bodies[name] for name in names]})},
                "responses": {
                    "200": {"description": "Scores", "content": _json({"anyOf": [answers[name] for name in names]})},
                    **{status: {"description": what} for status, what in REFUSALS.items()},
                },
            }
        }
    for path, what in {
        "/": "The playground; needs no key",
        "/v1/models": "Names that `model` may have",
        "/info": "Of the first model, as Text Embeddings Inference tells it",
        "/livez": "Whether the server works; needs no key",
        "/readyz": "Whether its models score; needs no key",
        "/health": "As /livez",
        "/ready": "As /readyz",
        "/metrics": "For Prometheus",
        "/openapi.json": "This description",
    }.items():
        paths[path] = {"get": {"summary": what, "responses": {"200": {"description": what}}}}
    for path in OPEN_PATHS:
        paths[path]["get"]["security"] = []
    return {
        "openapi": "3.1.0",
        "info": {"title": "tamis", "version": __version__},
        "paths": paths,
        "security": [{"key": []}] if keys else [],
        "components": {
            "schemas": definitions.get("$defs", {}),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _json(schema: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
