"""What asking a server will cost, counted in requests, tokens and money; nothing is sent."""

import math
from collections.abc import Iterable, Sequence

from tamis.costs.work import Work
from tamis.records import Tokens
from tamis.remote.budget import cost
from tamis.remote.settings import ServerSettings


def counted(stage: str, section: str, server: ServerSettings, costs: Iterable[Tokens]) -> Work:
    """Requests that are known: what each can cost, once sent."""
    count, tokens = 0, Tokens()
    for one in costs:
        count, tokens = count + 1, tokens + one
    return _calls(stage, section, server, count, tokens, about=False)


def expected(
    stage: str, section: str, server: ServerSettings, requests: int, parts: int, like: Sequence[Tokens]
) -> Work:
    """Requests that are expected but not written yet.

    In all of them together are so many parts, texts or pairs; a request with one such part costs the mean of `like`.
    """
    share = parts / max(len(like), 1)
    total = sum(like, Tokens())
    tokens = Tokens(math.ceil(total.prompt * share), math.ceil(total.completion * share), requests)
    return _calls(stage, section, server, requests, tokens, about=True)


def _calls(stage: str, section: str, server: ServerSettings, count: int, tokens: Tokens, about: bool) -> Work:
    return Work(
        stage,
        f"calls of {server.model}",
        count,
        about,
        seconds=None,
        tokens=tokens,
        money=cost(tokens, server),
        server=server.url,
        section=section,
    )
