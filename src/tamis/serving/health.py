"""What liveness and readiness say: whether to start the server again, and whether to send it requests."""

import asyncio
import math
from collections.abc import Mapping
from typing import Final

from tamis.serving.engine import Engine
from tamis.serving.request import RefusedError, RerankRequest

LOST: Final = 300.0
"""Seconds of trouble after which a model is not expected to come back, and the process should be started again."""

ASKED: Final = 10.0
"""Seconds within which a model whose last batch failed has to score one pair to be taken for well again."""


def dead(engines: Mapping[str, Engine]) -> str:
    """Why the process should be started again; empty where it should not."""
    for name, engine in engines.items():
        what, seconds = engine.trouble()
        if seconds > LOST:
            return f"{name}: {what}"
    return ""


async def not_scoring(engines: Mapping[str, Engine]) -> str:
    """Why requests should go elsewhere; empty where each model scores.

    A model whose last batch failed is asked once more: without requests it could never show that it is well.
    """
    for name, engine in engines.items():
        what, seconds = engine.trouble()
        if what and (math.isinf(seconds) or not await _scores(engine)):
            return f"{name}: {what}"
    return ""


async def _scores(engine: Engine) -> bool:
    try:
        async with asyncio.timeout(ASKED):
            await engine.score(RerankRequest(None, ["a cat sleeps"], ["The cat is asleep."]))
    except (RefusedError, TimeoutError):
        return False
    return True
