"""What a checkpoint folder says of itself: `tamis.json`, beside the weights of an ordinary Hugging Face folder."""

import difflib
import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import Any, Final, Literal

from tamis.artifacts import file_hash, item_key
from tamis.errors import InputError, ModelError
from tamis.languages import not_a_tag
from tamis.models.encoder import BODIES, Encoder, loading
from tamis.models.families import FAMILIES
from tamis.models.folders import check_scored
from tamis.models.precision import Precision
from tamis.models.serializer import Apart, Serializer, from_facts
from tamis.models.warm import WarmCrossEncoder
from tamis.text import clip
from tamis.weights.shipped import NAMES, shipped_model

FORMAT = 2
"""Version of `tamis.json`."""

FACTS_FILE: Final = "tamis.json"

MinScore = float | Literal["model"]
"""A score below which nothing is returned: a number, or the level that a model keeps of itself."""

BESIDE_SCORES: Final = frozenset({"format", "first_stage_weights", "weights_by_language", "min_score", "lineage"})
"""Fields of `tamis.json` that change no score of the model."""

SCORING: Final = frozenset(
    {"family", "serializer", "activation", "joint_layers", "cross_bias", "scale", "bias", "match"}
)
"""Its other fields."""

ACTIVATIONS = ("sigmoid", "tanh", "identity")

ORDER = "order"
"""The first stage of which only the order of its documents is known; its weight above 0 makes it the served default."""

OTHER = "other"
"""Any first stage that a checkpoint has no weight of its own for."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """What a checkpoint says about its use.

    Attributes:
        first_stage_weights: Weight of the first stage's z-score beside the student's, by first stage, `ORDER` and
            `OTHER` among them; chosen on held-out queries of its own chain.
        lineage: Where the checkpoint came from: parents, data, settings.
        weights_by_language: By first stage and language of the query, where another weight is surely better there.
        min_score: The published score below which nothing fits, as `tamis threshold` found it; None where it did not.
    """

    first_stage_weights: Mapping[str, float]
    lineage: Mapping[str, Any]
    weights_by_language: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    min_score: float | None = None

    def knows(self, first_stage: str) -> bool:
        """Whether there is a weight for exactly this first stage."""
        return first_stage in self.first_stage_weights

    def known_as(self, first_stage: str) -> str:
        """The name whose weight a first stage has: its own, or `OTHER` where it has none; an order is never another."""
        return first_stage if self.knows(first_stage) or first_stage == ORDER else OTHER

    def weight_of(self, first_stage: str, language: str = "") -> float:
        """Weight of a first stage's z-score.

        Args:
            first_stage: A name, `ORDER` or `OTHER`. One that is not known has the weight of `OTHER`, or 1 where there
                is none: nothing says how far to trust it, and two z-scores then have equal say. An order that is not
                known has 0.
            language: Language of the query, empty where it is not known.
        """
        name = self.known_as(first_stage)
        general = self.first_stage_weights.get(name, 0.0 if name == ORDER else 1.0)
        return self.weights_by_language.get(name, {}).get(language, general)


@dataclass(frozen=True, slots=True)
class CheckpointFacts:
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


def lowest_score(said: MinScore | None, deployment: Deployment, path: str | Path) -> float:
    """The lowest score that is returned; minus infinity where nobody says one.

    Args:
        said: What a caller says.
        deployment: The model's own settings.
        path: Where the model comes from, for messages.

    Raises:
        InputError: it is no finite number, or the level of a model that keeps none.
    """
    if said is None:
        return -math.inf
    if said == "model":
        if deployment.min_score is None:
            raise InputError(f"min_score 'model': {path} keeps no level; find one with tamis threshold")
        return deployment.min_score
    try:
        # NumPy's numbers are real ones, too.
        score = float(said) if isinstance(said, Real) and not isinstance(said, bool) else math.nan
    except OverflowError:
        score = math.nan
    if not math.isfinite(score):
        raise InputError(f"min_score is {said!r:.100}, expected a finite number or 'model'")
    return score


def find_checkpoint(path: str | Path) -> str | Path:
    """Where a checkpoint lies: the path itself, or for the name of a model that ships with this package, its folder.

    Raises:
        MissingPartError: the package that holds the body of those is not installed.
    """
    return shipped_model(str(path)) if str(path) in NAMES else path


def read_facts(path: str | Path) -> CheckpointFacts:
    """`tamis.json` of a checkpoint folder or of a name on a hub; empty facts where there is none.

    Raises:
        ModelError: no such folder, or a `tamis.json` that this version does not understand.
    """
    check_scored(path)
    file = _facts_file(path)
    content = _content(file)
    if content is None:
        return CheckpointFacts()
    try:
        return _facts(content)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ModelError(f"{file}: a field is missing or of the wrong kind: {error}") from None
    except ModelError as error:
        raise ModelError(f"{file}: {error}") from None


def _facts_file(path: str | Path) -> Path:
    """Where `tamis.json` lies, or would: that of a hub in the hub's cache.

    What cannot be had of a hub is told by whoever loads the weights.
    """
    file = Path(path) / FACTS_FILE
    if not Path(path).is_dir():
        with suppress(OSError, ValueError):
            from transformers.utils import cached_file

            found = cached_file(str(path), FACTS_FILE, _raise_exceptions_for_missing_entries=False)
            return file if found is None else Path(found)
    return file


def scoring_facts(folder: Path) -> dict[str, Any]:
    """What `tamis.json` of a checkpoint folder says of its scores, as it stands there; empty where there is none.

    Raises:
        ModelError: it cannot be read, or is of another format.
    """
    content = _content(folder / FACTS_FILE) or {}
    return {name: value for name, value in content.items() if name not in BESIDE_SCORES}


def _content(file: Path) -> dict[str, Any] | None:
    """Fields of a `tamis.json`; None where there is no such file."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{file}: cannot be read: {error}") from None
    found = content.get("format") if isinstance(content, dict) else None
    if not isinstance(content, dict) or found != FORMAT:
        raise ModelError(f"{file}: format {found!r}, expected format {FORMAT}, the one that this tamis writes")
    return content


def _facts(content: Mapping[str, Any]) -> CheckpointFacts:
    _check_names(content)
    family, activation = content.get("family"), content.get("activation")
    if family is not None and family not in FAMILIES:
        raise ModelError(f"family {family!r} is not one of {', '.join(FAMILIES)}")
    if activation is not None and activation not in ACTIVATIONS:
        raise ModelError(f"activation {activation!r} is not one of {', '.join(ACTIVATIONS)}")
    serializer = from_facts(content["serializer"]) if "serializer" in content else None
    by_language = _weights_by_language(_object(content, "weights_by_language"))
    warm = None
    if family == "warm":
        cross_bias, scale, bias = (float(content[name]) for name in ("cross_bias", "scale", "bias"))
        # Before there was one, the score was the cosine alone.
        warm = (int(content["joint_layers"]), cross_bias, scale, bias, float(content.get("match", 0.0)))
        if not all(map(math.isfinite, warm)):
            raise ModelError("the head is not finite")
        if not isinstance(serializer, Apart):
            raise ModelError("a warm checkpoint needs a serializer of kind 'apart'")
    weights = _weights(_object(content, "first_stage_weights"), "first_stage_weights")
    deployment = Deployment(weights, _object(content, "lineage"), by_language, _min_score(content))
    return CheckpointFacts(family, serializer, activation, deployment, warm)


def _check_names(content: Mapping[str, Any]) -> None:
    """Refuse a field that was mistyped by hand, which would count for nothing; others are somebody else's."""
    known = SCORING | BESIDE_SCORES
    for name in sorted(content.keys() - known):
        for meant in difflib.get_close_matches(name, known, n=1, cutoff=0.8):
            raise ModelError(f"unknown field {clip(repr(name), 40)}; did you mean {meant!r}?")


def _object(content: Mapping[str, Any], name: str, path: str = "") -> dict[str, Any]:
    """A field that holds fields; empty where it is missing."""
    found = content.get(name, {})
    if not isinstance(found, dict):
        raise ValueError(f"{path}{name} is {_shown(found)}, expected a JSON object")
    return found


def _number(value: object) -> float:
    """A finite number of JSON; NaN for all else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value) if math.isfinite(value) else math.nan
    except OverflowError:
        return math.nan


def _shown(value: object) -> str:
    """What stands in the file, or its beginning."""
    return clip(json.dumps(value, ensure_ascii=False), 40)


def _min_score(content: Mapping[str, Any]) -> float | None:
    if "min_score" not in content:
        return None
    found = _object(content, "min_score").get("score")
    score = _number(found)
    if math.isnan(score):
        raise ValueError(f"min_score.score is {_shown(found)}, expected a finite number")
    return score


def _weights_by_language(content: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Weights by first stage and language."""
    found = {
        name: _weights(_object(content, name, "weights_by_language."), f"weights_by_language.{name}")
        for name in content
    }
    for name, of_stage in found.items():
        for complaint in filter(None, map(not_a_tag, of_stage)):
            raise ValueError(f"weights_by_language.{name}: {complaint}")
    return found


def _weights(content: Mapping[str, Any], where: str) -> dict[str, float]:
    """Weights by name.

    Args:
        content: As it stands in the file.
        where: The field that holds it, for messages.
    """
    weights = {name: _number(weight) for name, weight in content.items()}
    for name, weight in weights.items():
        if not weight >= 0:
            raise ValueError(f"{where}: the weight of {name!r} is {_shown(content[name])}, expected a number from 0 up")
    return weights


def load_warm(path: str | Path, facts: CheckpointFacts, precision: Precision, token_budget: int) -> WarmCrossEncoder:
    """Load a warm student that `save_student` wrote.

    Raises:
        ModelError: weights that are missing or broken.
    """
    return warm_on(Encoder.load(path, precision, token_budget), facts)


def warm_on(encoder: Encoder, facts: CheckpointFacts) -> WarmCrossEncoder:
    """A warm student on its own encoder, of which it copies what learns and shares the rest.

    Args:
        encoder: Loaded from the student's checkpoint.
        facts: What the checkpoint says of itself.
    """
    assert facts.warm is not None, "read_facts gives it for every warm checkpoint"
    assert isinstance(facts.serializer, Apart), "read_facts sees to it"
    return WarmCrossEncoder(encoder, facts.serializer, *facts.warm).eval()


def model_identity(path: Path) -> str:
    """Hash of what a model folder scores by; a hub name stands for itself.

    That is all files, and of `tamis.json` what changes a score: weights of first stages, which `tamis weigh` changes,
    and the lineage count beside the scores or not at all. Who reads them puts `deployed_weights` into a key besides.

    Raises:
        ModelError: a `tamis.json` that cannot be read.
    """
    path = Path(find_checkpoint(path))
    if not path.is_dir():
        return str(path)
    files, facts = file_hash(path, {FACTS_FILE}), scoring_facts(path)
    return item_key(files, json.dumps(facts, sort_keys=True)) if facts else files


def deployed_weights(start: Path | None) -> dict[str, Any] | None:
    """Weights of first stages that a model names, for the keys of stages that read them; None where it names none."""
    if start is None:
        return None
    known = read_facts(find_checkpoint(start)).deployment
    if not known.first_stage_weights:
        return None
    by_language = {name: dict(found) for name, found in known.weights_by_language.items()}
    return {"general": dict(known.first_stage_weights), "by_language": by_language}


def is_encoder(path: str | Path) -> bool:
    """Whether a checkpoint's body is an encoder whose layers are known.

    Raises:
        ModelError: it cannot be read.
    """
    from transformers import AutoConfig

    with loading(path, "a body to start from"):
        config = AutoConfig.from_pretrained(find_checkpoint(path), trust_remote_code=False)
    found: bool = config.model_type in BODIES
    return found
