"""From a folder to a model that can answer: loaded, probed, and known by what lies in its files."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tamis.errors import InputError, ModelError
from tamis.formats.fields import content_id
from tamis.models.checkpoint import ORDER, model_identity
from tamis.models.first_stage import order_counts
from tamis.models.known.documents import index_of, refuse_unused
from tamis.models.own_weights import take_weights
from tamis.models.reranker import Reranker
from tamis.serving.engine import Engine
from tamis.serving.metrics import Metrics
from tamis.serving.probing import check_examples, check_scoring
from tamis.serving.settings import Settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Version:
    """What a folder held when it was loaded.

    Attributes:
        folder: As it was named.
        path: Where it lay: a link leads elsewhere later.
        identity: Hash of its files; of a hub name the name.
    """

    folder: str
    path: str
    identity: str

    @property
    def short(self) -> str:
        """12 characters that stand for the identity: in headers, metrics and logs."""
        return self.identity[:12] if Path(self.path).is_absolute() else content_id(self.identity)[:12]

    def same(self, other: "Version") -> bool:
        """Whether the files are the same at the same place, however the folder was named."""
        return (self.path, self.identity) == (other.path, other.identity)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that can answer."""

    version: Version
    engine: Engine


def version_of(folder: str) -> Version:
    """What a folder holds now.

    Raises:
        ModelError: a `tamis.json` that cannot be read.
    """
    path = Path(folder)
    return Version(folder, str(path.resolve()) if path.is_dir() else folder, model_identity(path))


def load_models(folders: Mapping[str, str], settings: Settings, metrics: Metrics) -> dict[str, Loaded]:
    """Load all models of a server; a folder under several names is loaded once.

    Raises:
        InputError: the order of documents is to count, and a model has no weight for it; or an index of none of them.
        ModelError: a model that cannot be loaded, or does not score as one does.
    """
    if settings.index:
        identities = {folder: model_identity(Path(folder)) for folder in folders.values()}
        refuse_unused(settings.index, [index_of(settings.index, one) for one in identities.values()], folders)
    by_folder: dict[str, Loaded] = {}
    for name, folder in folders.items():
        if folder not in by_folder:
            by_folder[folder] = load_model(name, folder, settings, metrics)
    return {name: by_folder[folder] for name, folder in folders.items()}


def load_model(name: str, folder: str, settings: Settings, metrics: Metrics) -> Loaded:
    """Load a model and see that it works.

    Raises:
        InputError: the order of documents is to count, and it has no weight for it.
        ModelError: it cannot be loaded, does not score as a model does, or its files changed meanwhile.
    """
    version = version_of(folder)
    reranker = _checked_reranker(folder, settings, version)
    engine = Engine(
        reranker,
        settings.queue,
        settings.limits.seconds,
        partial(metrics.batch, name),
        settings.first_stage,
        settings.long,
        settings.min_score,
    )
    logger.info("model", extra={"facts": _facts(name, version, engine, settings)})
    return Loaded(version, engine)


def _checked_reranker(folder: str, settings: Settings, version: Version) -> Reranker:
    reranker = Reranker(
        folder,
        precision=settings.precision,
        engine=settings.scoring_engine,  # type: ignore[arg-type]  # which refuses others
        index=_index(settings.index, version),
    )
    if settings.first_stage == ORDER and not order_counts(reranker.deployment):
        raise InputError(
            f"--first-stage {ORDER}: {folder} has no weight for the order of documents; find one with tamis "
            "weigh --order, or leave the option out"
        )
    reranker.decide()
    take_weights(reranker.scorer)
    check_scoring(reranker)
    if settings.probe is not None:
        check_examples(reranker, settings.probe)
    if version_of(folder) != version:
        raise ModelError(f"{folder}: its files changed while they were read; load it again when they are whole")
    return reranker


def _index(indexes: Sequence[Path], version: Version) -> Path | None:
    return index_of(indexes, version.identity) if indexes else None


def _facts(name: str, version: Version, engine: Engine, settings: Settings) -> dict[str, object]:
    reranker = engine.reranker
    return {
        "model": name,
        "version": version.short,
        "folder": version.folder,
        "family": reranker.family,
        "first_stage": engine.first_stage,
        "long": engine.long,
        "engine": reranker.engine,
        **({"min_score": engine.min_score} if settings.min_score is not None else {}),
        "known_documents": 0 if reranker.index is None else len(reranker.index),
    }
