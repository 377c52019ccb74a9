"""The server as a Ray Serve application: many replicas behind one address.

    serve run tamis.serving.ray_app:build model=FOLDER replicas=2

Each replica is a process with its own weights and queue; Ray starts it, watches it and spreads requests. Listening,
slow clients and TLS are the business of Ray's proxy.
"""

import os
import sys
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from ray import serve
from starlette.types import ASGIApp

from tamis.serving.app import Service, create_app
from tamis.serving.fleet import Fleet
from tamis.serving.keys import read_keys
from tamis.serving.loading import load_models
from tamis.serving.logs import log_to
from tamis.serving.metrics import Metrics
from tamis.serving.settings import Settings, folders_of


class Arguments(BaseModel):
    """What `serve run` is told after the builder's name, or `args` in a configuration file.

    Attributes:
        model: FOLDER or NAME=FOLDER, several between commas; the same path on every machine.
        replicas: Processes that answer.
        cpus: Processors of each replica, and the threads of its model.
        gpus: GPUs of each replica.
        precision: `float32`, `bfloat16` or `auto`.
        queue: Pairs that may wait at each replica's model.
        keys: File of API keys on every machine; beside it, replicas read TAMIS_API_KEYS.
        first_stage: What is done with requests that say nothing of theirs; None for what each model says.
        long: What becomes of documents that are longer than a model reads: `first` or `windows`.
        min_score: Lowest published score of a result where a request names none; `model` for each model's own level.
    """

    model_config = ConfigDict(extra="forbid")

    model: str
    replicas: int = Field(default=1, ge=1)
    cpus: float = Field(default=1, gt=0)
    gpus: float = Field(default=0, ge=0)
    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    queue: int = Field(default=4096, ge=1000)
    keys: Path | None = None
    first_stage: Literal["order", "none"] | None = None
    long: Literal["first", "windows"] = "first"
    min_score: float | Literal["model"] | None = None


def build(arguments: Arguments) -> serve.Application:
    """The application.

    Raises:
        InputError: names of models that do not fit.
    """
    folders_of(arguments.model.split(","))
    deployment = serve.deployment(
        Replica,
        name="tamis",
        num_replicas=arguments.replicas,
        ray_actor_options={"num_cpus": arguments.cpus, "num_gpus": arguments.gpus},
        max_ongoing_requests=arguments.queue,  # the engine counts pairs, and tells 429 itself
    )
    return deployment.bind(arguments)


@serve.ingress()
class Replica:
    """One process: models, their queues, and the same paths as `tamis serve` has."""

    def __init__(self, arguments: Arguments) -> None:
        log_to(sys.stderr)
        settings = Settings(
            models=folders_of(arguments.model.split(",")),
            precision=arguments.precision,
            queue=arguments.queue,
            keys=arguments.keys,
            first_stage=arguments.first_stage,
            long=arguments.long,
            min_score=arguments.min_score,
        )
        metrics = Metrics()
        models = load_models(settings.models, settings, metrics)
        fleet = Fleet.of({name: one.engine for name, one in models.items()}, metrics)
        self._service = Service(fleet, settings.limits, read_keys(settings.keys, os.environ), metrics)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """What answers; Ray asks for it after the constructor."""
        return create_app(self._service)

    def check_health(self) -> None:
        """Raise where Ray should replace this replica."""
        if not all(engine.alive for engine in self._service.engines.values()):
            raise RuntimeError("a model's thread has ended")
