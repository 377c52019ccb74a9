"""Measuring in a process of its own, whose peak memory is that of what is measured."""

import multiprocessing
from collections.abc import Callable
from typing import Any


def in_a_process(measure: Callable[..., dict[str, Any]], *arguments: object) -> dict[str, Any]:
    """What a function of a module gives in a fresh process; its arguments are pickled."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, arguments)
