"""What Voyage's own client raises: reads as `ask_voyage.py` does, writes {case: [exception, status, message]}."""

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

import voyageai

asked = json.load(sys.stdin)
where = {"base_url": f"{asked['url']}/v1", "timeout": 10}


def raised(ask: Callable[[], Any]) -> list[Any]:
    """The exception, its status and its message."""
    try:
        ask()
    except voyageai.error.VoyageError as error:
        return [type(error).__name__, error.http_status, error.user_message]
    return ["none", 200, ""]


def rerank(key: str = asked["key"], **change: Any) -> list[Any]:
    """What a request raises that is changed somewhere."""
    whole = {"query": asked["query"], "documents": asked["documents"], "model": "tiny", **change}
    return raised(lambda: voyageai.Client(api_key=key, **where).rerank(**whole))


def later(**change: Any) -> list[Any]:
    """The same by the client that does not wait."""
    whole = {"query": asked["query"], "documents": asked["documents"], "model": "tiny", **change}
    client = voyageai.AsyncClient(api_key=asked["key"], **where)
    return raised(lambda: asyncio.run(client.rerank(**whole)))


print(
    json.dumps(
        {
            "key": rerank(key="another"),
            "model": rerank(model="rerank-9"),
            "query": rerank(query=" "),
            "documents": rerank(documents=[]),
            "many": rerank(documents=["a"] * 100),
            "type": rerank(documents=["a", 3]),
            "top_k": rerank(top_k=-3),
            "long": rerank(documents=["long " * 5000], truncation=False),
            "large": rerank(documents=["long " * 300_000]),
            "later": later(documents=[]),
            "later and well": later(top_k=1),
        }
    )
)
