"""Settings of a server: typed on the command line, told by the environment, or written into a file, in this order.

A setting has one name in all three: `--log-days 7`, `TAMIS_LOG_DAYS=7`, `log_days: 7`. Where two of them say different
things the stronger one counts, and that is told.
"""

import difflib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import regex
import yaml
from pydantic import AfterValidator, Field, ValidationError, field_validator

from tamis.complaints import complaint_of, parsed_yaml, settings_error, shown
from tamis.errors import SettingsError
from tamis.section import Section
from tamis.serving.limits import Limits

PREFIX: Final = "TAMIS_"
"""What names of variables begin with."""

KEY_VARIABLES: Final = ("TAMIS_API_KEYS", "TAMIS_ADMIN_KEY")
"""Variables that are no settings: keys stand in no file of settings and on no command line."""

AT_ONCE: Final = ("models", "split", "split_by", "keys", "admin_keys")
"""Settings that a server takes over when it reads them again; the others count from the next start on."""

CHANCE: Final = "chance"
QUERY: Final = "query"
HEADER: Final = "header:"

_SEPARATORS: Final = {"split": ";", "log_redact": "\n"}
"""Between the entries of a variable, where that is not a comma: both may hold commas."""

_KUBERNETES: Final = re.compile(r"TAMIS_(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)")
_KUBERNETES_PORT: Final = re.compile(r"(tcp|udp|sctp)://")

Port = Annotated[int, Field(ge=0, le=65535)]
Count = Annotated[int, Field(ge=1)]


def _split_by(given: str) -> str:
    if not re.fullmatch(rf"{CHANCE}|{QUERY}|{HEADER}[A-Za-z0-9-]+", given):
        raise ValueError(f"expected {CHANCE}, {QUERY} or {HEADER}NAME, got {given!r}")
    return given


SplitBy = Annotated[str, AfterValidator(_split_by)]
"""What may decide which model of a split answers."""


class Settings(Section):
    """What `tamis serve` can be told."""

    models: dict[str, str] = Field(
        default={}, description="Folder, hub name, tamis-base or tamis-small of each model by name."
    )
    split: dict[str, dict[str, float]] = Field(
        default={}, description="Weights of models, by the name under which clients ask for all of them together."
    )
    split_by: SplitBy = Field(
        default=CHANCE, description="What decides which model of a split answers: chance, query, or header:NAME."
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: Port = Field(default=8000, description="Port to listen on; 0 for any that is free.")
    metrics_port: Port | None = Field(default=None, description="Port of metrics and probes, without keys.")
    precision: Literal["float32", "bfloat16", "auto"] = Field(
        default="float32", description="Number format of the models."
    )
    scoring_engine: str = Field(default="torch", description="What computes the scores, as for `Reranker`.")
    keys: Path | None = Field(default=None, description="File of API keys, one a line.")
    admin_keys: Path | None = Field(default=None, description="File of keys of those who may change models.")
    cors: tuple[str, ...] = Field(default=(), description="Web pages that may ask from a browser.")
    on: Path | None = Field(default=None, description="BEIR folder that the playground searches.")
    queue: Count = Field(default=4096, description="Most pairs that may wait at each model.")
    documents: Count = Field(default=1000, description="Most documents of a request.")
    characters: Count = Field(default=200_000, description="Most characters of a text.")
    body: Count = Field(default=16 * 2**20, description="Most bytes of a request.")
    deadline: float = Field(default=60.0, ge=1, description="Most seconds until a request is answered.")
    first_stage: Literal["order", "none"] | None = Field(
        default=None, description="What is done with requests that name no first stage; empty: as each model says."
    )
    long: Literal["first", "windows"] = Field(
        default="first", description="What becomes of documents that are longer than a model reads."
    )
    min_score: float | Literal["model"] | None = Field(
        default=None, description="Lowest published score of a result where a request names none."
    )
    index: tuple[Path, ...] = Field(default=(), description="Indexes of documents, each of one of the models.")
    probe: Path | None = Field(
        default=None, description="Training file whose relevant documents each model has to score above the others."
    )
    log_queries: Path | None = Field(default=None, description="Folder of daily files of queries and candidates.")
    log_redact: tuple[str, ...] = Field(
        default=(), description="Regular expressions; what they match is taken out of logged texts."
    )
    log_days: Count = Field(default=30, description="Days for which files of logged queries are kept.")

    @property
    def limits(self) -> Limits:
        """Limits of each request."""
        return Limits(self.body, self.documents, self.characters, self.deadline)

    @field_validator("models", mode="before")
    @classmethod
    def _named_models(cls, given: Any) -> Any:
        if not isinstance(given, list | tuple):
            return given
        if wrong := [one for one in given if not isinstance(one, str | Path)]:
            raise ValueError(f"got {shown(wrong[0])}, expected FOLDER or NAME=FOLDER")
        return folders_of(given)

    @field_validator("models")
    @classmethod
    def _whole_names(cls, given: dict[str, str]) -> dict[str, str]:
        for name, folder in given.items():
            if not name or not folder:
                raise ValueError(f"got {shown({name: folder})}, expected NAME: FOLDER, neither of them empty")
        return given

    @field_validator("split", mode="before")
    @classmethod
    def _written_splits(cls, given: Any) -> Any:
        return _once(map(_written_split, given)) if isinstance(given, list | tuple) else given

    @field_validator("split")
    @classmethod
    def _usable_weights(cls, given: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
        for name, weights in given.items():
            if not name:
                raise ValueError("a split without a name; clients ask for it by one")
            if not weights or min(weights.values()) < 0 or not 0 < sum(weights.values()) < math.inf:
                raise ValueError(f"{name} has the weights {weights}, expected some above 0 and none below")
        return given

    @field_validator("log_redact")
    @classmethod
    def _usable_patterns(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in given:
            try:
                found = regex.compile(pattern)
            except (regex.error, OverflowError, RecursionError) as error:  # too many repetitions; too deep
                raise ValueError(f"{shown(pattern)} is no regular expression: {error}") from None
            if found.match(""):
                raise ValueError(f"{shown(pattern)} matches where nothing stands; expected one that needs a character")
        return given


def folders_of(models: Sequence[str]) -> dict[str, str]:
    """Folder by name, of `NAME=FOLDER`, or of `FOLDER`, whose last part is the name.

    Raises:
        SettingsError: a name that is empty or comes twice.
    """
    found: dict[str, str] = {}
    for given in models:
        name, is_named, folder = str(given).partition("=")
        name, folder = (name, folder) if is_named else (Path(given).name, given)
        if not name or not folder:
            raise SettingsError(f"{given!r}: expected FOLDER or NAME=FOLDER")
        if name in found:
            raise SettingsError(f"{name!r} names two models; give one of them another name, as NAME=FOLDER")
        found[name] = folder
    return found


def _written_split(given: Any) -> tuple[str, dict[str, str]]:
    name, _, weights = str(given).partition("=")
    parts = [part.strip().rpartition(":") for part in weights.split(",")]
    if not name or any(not model or not weight for model, _, weight in parts):
        raise ValueError(f"got {given!r}, expected NAME=MODEL:WEIGHT,MODEL:WEIGHT")
    return name.strip(), _once((model, weight) for model, _, weight in parts)


def _once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name!r} comes twice; leave one out")
        found[name] = value
    return found


@dataclass(frozen=True)
class Told:
    """Settings, and who told them.

    Attributes:
        settings: What counts.
        origins: Of each setting that somebody told: who.
        notes: A sentence for each setting of which two say different things, and for each variable that is none.
    """

    settings: Settings
    origins: Mapping[str, str]
    notes: Sequence[str]

    def as_yaml(self) -> str:
        """What counts, as a file of settings that says the same, with who told it above each."""
        values = self.settings.model_dump(mode="json")
        lines = [yaml.safe_dump({name: value}, allow_unicode=True, sort_keys=False) for name, value in values.items()]
        told = [self.origins.get(name, "default") for name in values]
        return "\n".join(f"# {who}\n{line.strip()}" for who, line in zip(told, lines, strict=True))


@dataclass(frozen=True)
class Sources:
    """Where settings are told.

    Attributes:
        typed: Options that were typed, by the name of the setting.
        environment: Variables.
        file: YAML file; None for none.
    """

    typed: Mapping[str, Any]
    environment: Mapping[str, str]
    file: Path | None = None

    def read(self) -> Told:
        """Read the file, and put together what all say.

        Raises:
            SettingsError: the file cannot be read, an unknown key, a value out of range, or settings that do not fit
                each other.
        """
        content: dict[str, Any] = {}
        origins: dict[str, str] = {}
        notes = list(_strange_variables(self.environment))
        for told in self._each():
            for name, (who, value) in told.items():
                if name in content and content[name] != value:
                    notes.append(
                        f"{name}: {origins[name]} says {_short(content[name])}, {who} {_short(value)}; {who} counts"
                    )
                content[name], origins[name] = value, who
        settings = Settings().model_copy(update=content)
        _check_together(settings, origins)
        return Told(settings, origins, notes)

    def _each(self) -> Iterator[dict[str, tuple[str, Any]]]:
        """Name -> who says it and what, of each source, the weakest first."""
        if self.file is not None:
            checked = _checked(_content(self.file), str(self.file))
            yield {
                name: (str(self.file), getattr(checked, name))
                for name in Settings.model_fields
                if name in checked.model_fields_set
            }
        yield {name: (said, _one(name, value, said)) for name, said, value in _variables(self.environment)}
        options = {name: (option_of(name), value) for name, value in self.typed.items()}
        yield {name: (option, _one(name, value, option)) for name, (option, value) in options.items()}


def option_of(name: str) -> str:
    """How a setting is typed: an option, or for the models the arguments of the command."""
    return "the command line" if name == "models" else f"--{name.replace('_', '-')}"


def _content(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"--config {file}: cannot be read: {error}") from None
    content = parsed_yaml(text, str(file))
    if not isinstance(content, dict | None):
        raise SettingsError(f"{file}: expected settings of tamis serve, NAME: VALUE, got {shown(content)}")
    return content or {}


def _checked(content: Mapping[str, Any], where: str) -> Settings:
    try:
        return Settings.model_validate(content)
    except ValidationError as error:
        raise settings_error(error, Settings, where) from None


def _one(name: str, value: Any, who: str) -> Any:
    """The value of one setting, checked by itself."""
    try:
        return getattr(Settings.model_validate({name: value}), name)
    except ValidationError as error:
        raise SettingsError(f"{who}: {complaint_of(error, Settings).removeprefix(f'{name}: ')}") from None


def _variables(environment: Mapping[str, str]) -> Iterator[tuple[str, str, Any]]:
    """Setting, variable and value of each variable that is set to something."""
    for name, field in Settings.model_fields.items():
        variable = f"{PREFIX}{name.upper()}"
        value = environment.get(variable, "").strip()
        if not value or _is_from_kubernetes(variable, value):
            continue
        several = isinstance(field.default, tuple) or name in ("models", "split")
        parts = [part for one in value.split(_SEPARATORS.get(name, ",")) if (part := one.strip())]
        if parts or not several:
            yield name, variable, parts if several else value


def _strange_variables(environment: Mapping[str, str]) -> Iterator[str]:
    """A sentence about each variable that looks like a setting and is none."""
    known = [*KEY_VARIABLES, *(f"{PREFIX}{name.upper()}" for name in Settings.model_fields)]
    for variable, value in environment.items():
        if variable.startswith(PREFIX) and variable not in known and not _is_from_kubernetes(variable, value):
            near = difflib.get_close_matches(variable, known, n=1, cutoff=0.0)[0]
            yield f"{variable}: no such setting, nothing is done with it; did you mean {near}?"


def _is_from_kubernetes(variable: str, value: str) -> bool:
    """Whether Kubernetes set a variable, which it does for each service, also for one that is called tamis."""
    own = variable.removeprefix(PREFIX).lower() in Settings.model_fields
    return bool(_KUBERNETES.fullmatch(variable)) and (not own or bool(_KUBERNETES_PORT.match(value)))


def _check_together(settings: Settings, origins: Mapping[str, str]) -> None:
    """Refuse settings that do not fit each other.

    Raises:
        SettingsError: names both.
    """
    if settings.queue < settings.documents:
        raise SettingsError(
            f"{_named('queue', origins)} is {settings.queue}, expected at least the {settings.documents} "
            "documents that one request may hold"
        )
    for name, weights in settings.split.items():
        who = _named("split", origins)
        if name in settings.models:
            raise SettingsError(f"{who}: {name!r} is a model; give the split another name, or the model")
        if unknown := [model for model in weights if model not in settings.models]:
            known = ", ".join(settings.models) or "none"
            raise SettingsError(f"{who}: {name} has a weight for {unknown[0]!r}, which is no model; there are {known}")


def _named(name: str, origins: Mapping[str, str]) -> str:
    """A setting by who told it."""
    origin = origins.get(name, name)
    return origin if origin in (name, option_of(name), f"{PREFIX}{name.upper()}") else f"{origin}: {name}"


def _short(value: object) -> str:
    return shown([*map(str, value)] if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value)
