"""What callers hand over: pairs, documents and the settings that sentence-transformers' signatures have beside them.

What has an order of its own is a list: lists, tuples, arrays, columns of tables, generators. What has none, or whose
elements are not what it is about (a mapping gives its keys, a table the names of its columns), is refused.
"""

import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from tamis.errors import InputError

Activation = Callable[[Tensor], Tensor]
"""Makes scores of logits, element by element."""

WITHOUT_EFFECT: Final = ("num_workers", "chunk_size", "apply_softmax", "convert_to_numpy", "convert_to_tensor")
"""What changes nothing in sentence-transformers either: of a model of one label, in one process, for `rank`."""

RENAMED: Final = {"sentences": "inputs", "activation_fct": "activation_fn"}
"""Older names of arguments, which sentence-transformers still takes."""


def listed(name: str, given: Any, what: str) -> Iterable[Any]:
    """What was given, if it is a list of things or can be read as one; a generator is not read yet.

    Args:
        name: Of the argument, for the message.
        given: Anything.
        what: What its elements should be, in the plural.

    Raises:
        InputError: a single text, a mapping, a set, a table, or nothing that can be read one by one.
    """
    expected = f"{name}: expected a list of {what}, got"
    if isinstance(given, str):
        raise InputError(f"{expected} a single string")
    if isinstance(given, Mapping):
        raise InputError(f"{expected} a {_kind(given)}; give its values as a list, list(values)")
    if isinstance(given, set | frozenset):
        raise InputError(f"{expected} a {_kind(given)}, which has no order; give a list")
    if hasattr(given, "columns"):
        raise InputError(f"{expected} a {_kind(given)}; give one column, or the rows of several as a list")
    if isinstance(given, bytes | bytearray | memoryview | Tensor) or not _iterable(given):
        raise InputError(f"{expected} {_kind(given)}")
    plain = getattr(given, "to_pylist", None) or (given.tolist if isinstance(given, np.ndarray) else None)
    found: Iterable[Any] = given if plain is None else plain()
    return found


def pairs_of(inputs: Any) -> tuple[list[Any], bool]:
    """The pairs of `predict`, and whether a single one was given.

    Raises:
        InputError: see `listed`.
    """
    pairs = list(listed("inputs", inputs, "pairs (query, document)"))
    single = len(pairs) == 2 and isinstance(pairs[0], str) and isinstance(pairs[1], str | Mapping)
    return ([tuple(pairs)] if single else pairs), single


def count(name: str, given: Any) -> int:
    """A number of things, at least 1.

    Raises:
        InputError: something else.
    """
    try:
        number = operator.index(given)
    except TypeError:
        number = 0
    if number < 1 or isinstance(given, bool):
        raise InputError(f"{name} is {given!r:.100}, expected at least 1, a whole number")
    return number


def renamed(call: str, others: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """Arguments by their newer names, of those that a method has no place for; what changes nothing is left out.

    Args:
        call: The method, for the message.
        others: By name.
        device: Where the model lies.

    Raises:
        InputError: one that would change something, or that nobody knows.
    """
    found: dict[str, Any] = {}
    for name, value in others.items():
        if name in RENAMED:
            found[RENAMED[name]] = value
        elif name == "device" and value is not None and not _lies_on(device, value):
            raise InputError(f"{call}: device is {value!r}, but the model lies on {device}; give it to Reranker(...)")
        elif name == "prompt_name" and value is not None:
            raise InputError(f"{call}: prompt_name is {value!r}, but prompts have no names here; give prompt its text")
        elif name == "pool" and value is not None:
            raise InputError(f"{call}: pool is not taken; one process scores all pairs")
        elif name not in (*WITHOUT_EFFECT, "device", "prompt_name", "pool"):
            raise InputError(f"{call}: no argument {name!r}; see help(Reranker.{call})")
    return found


def activated(logits: np.ndarray, activation: Activation) -> np.ndarray:
    """Scores that a caller's own function makes of logits: float32 [pairs].

    The function is given a column, [pairs, 1], as sentence-transformers gives it.

    Raises:
        InputError: no function, or one that does not give a score for each logit.
    """
    if not callable(activation) or isinstance(activation, type):
        name = getattr(activation, "__name__", repr(activation))
        raise InputError(f"activation_fn is {name:.100}, expected a function of a tensor, such as torch.nn.Sigmoid()")
    with torch.inference_mode():
        scores = torch.as_tensor(activation(torch.from_numpy(logits.astype(np.float32))[:, None]))
        if scores.numel() != len(logits):
            raise InputError(
                f"activation_fn gave {scores.numel()} scores for {len(logits)} pairs, expected one of each"
            )
        values: np.ndarray = scores.reshape(-1).float().cpu().numpy()  # [pairs]
    return values


def formed(scores: np.ndarray, single: bool, as_tensor: bool, as_array: bool) -> Any:
    """Scores, [pairs], as sentence-transformers' `predict` gives them: tensor, array, list of tensors; or one."""
    if as_array and not as_tensor:
        return scores[0] if single else scores
    tensor = torch.from_numpy(scores)
    found = tensor if as_tensor else list(tensor)
    return found[0] if single else found


def _iterable(given: Any) -> bool:
    """Whether it can be read one by one; an array without dimensions cannot."""
    return isinstance(given, Iterable) and getattr(given, "ndim", 1) != 0


def _kind(given: Any) -> str:
    return type(given).__name__


def _lies_on(device: torch.device, wanted: Any) -> bool:
    """Whether a model lies where it is wanted; `cuda` means any."""
    try:
        named = torch.device(wanted)
    except (TypeError, RuntimeError):
        return False
    return named.type == device.type and named.index in (None, device.index)
