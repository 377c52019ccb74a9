"""What a checkpoint folder says of itself: `tamis.json`, beside the weights of an ordinary Hugging Face folder."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tamis.errors import ModelError
from tamis.models.encoder import Encoder, check_folder
from tamis.models.families import FAMILIES
from tamis.models.precision import Precision
from tamis.models.serializer import Apart, Serializer, from_facts
from tamis.models.warm import WarmCrossEncoder
from tamis.sources.tamis_base import NAME, tamis_base

FORMAT = 2
"""Version of `tamis.json`."""

ACTIVATIONS = ("sigmoid", "tanh", "identity")


@dataclass(frozen=True, slots=True)
class Deployment:
    """What a checkpoint says about its use.

    Attributes:
        first_stage_weights: Weight of the first stage's z-score beside the student's, by first stage; chosen on
            held-out queries of its own chain.
        lineage: Where the checkpoint came from: parents, data, settings.
    """

    first_stage_weights: Mapping[str, float]
    lineage: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Facts:
    """`tamis.json`, checked; None stands for what the family's default or the files decide.

    Attributes:
        family: One of `FAMILIES`.
        serializer: How texts become tokens.
        activation: What makes a bounded score of the logit, one of `ACTIVATIONS`.
        deployment: See `Deployment`.
        warm: `joint_layers`, `cross_bias`, `scale`, `bias` and `match` of a warm head.
    """

    family: str | None = None
    serializer: Serializer | None = None
    activation: str | None = None
    deployment: Deployment = field(default_factory=lambda: Deployment({}, {}))
    warm: tuple[int, float, float, float, float] | None = None


def find_checkpoint(path: str | Path) -> str | Path:
    """Where a checkpoint lies: the path itself, or for `tamis-base`, which ships with this package, its folder.

    Raises:
        MissingPartError: the package that holds the body of `tamis-base` is not installed.
    """
    return tamis_base() if str(path) == NAME else path


def read_facts(path: str | Path) -> Facts:
    """`tamis.json` of a checkpoint folder; empty facts where there is none, or for a name on a hub.

    Raises:
        ModelError: no such folder, or a `tamis.json` that this version does not understand.
    """
    check_folder(path)
    file = Path(path) / "tamis.json"
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Facts()
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{file}: cannot be read: {error}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ModelError(f"{file}: expected format {FORMAT}, the one that this version of tamis writes")
    try:
        return _facts(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{file}: a field is missing or of the wrong kind: {error}") from None
    except ModelError as error:
        raise ModelError(f"{file}: {error}") from None


def _facts(content: Mapping[str, Any]) -> Facts:
    family, activation = content.get("family"), content.get("activation")
    if family is not None and family not in FAMILIES:
        raise ModelError(f"family {family!r} is not one of {', '.join(FAMILIES)}")
    if activation is not None and activation not in ACTIVATIONS:
        raise ModelError(f"activation {activation!r} is not one of {', '.join(ACTIVATIONS)}")
    serializer = from_facts(content["serializer"]) if "serializer" in content else None
    weights = {name: float(weight) for name, weight in content.get("first_stage_weights", {}).items()}
    warm = None
    if family == "warm":
        cross_bias, scale, bias = (float(content[name]) for name in ("cross_bias", "scale", "bias"))
        # Before there was one, the score was the cosine alone.
        warm = (int(content["joint_layers"]), cross_bias, scale, bias, float(content.get("match", 0.0)))
        if not all(map(math.isfinite, warm)):
            raise ModelError("the head is not finite")
        if not isinstance(serializer, Apart):
            raise ModelError("a warm checkpoint needs a serializer of kind 'apart'")
    return Facts(family, serializer, activation, Deployment(weights, dict(content.get("lineage", {}))), warm)


def load_warm(path: str | Path, facts: Facts, precision: Precision, token_budget: int) -> WarmCrossEncoder:
    """Load a warm student that `save_student` wrote.

    Raises:
        ModelError: weights that are missing or broken.
    """
    assert facts.warm is not None, "read_facts gives it for every warm checkpoint"
    assert isinstance(facts.serializer, Apart), "read_facts sees to it"
    encoder = Encoder.load(path, precision, token_budget)
    return WarmCrossEncoder(encoder, facts.serializer, *facts.warm).eval()
