"""The engine of a Ray cluster: Ray Data spreads the pieces over actors, restarts those that die and does theirs again.

The function goes to every actor once, the pieces of work through the object store, the results back in order. Nothing
else is sent: no files, no environment variables. So an actor has to find the same folders that this process does.
"""

import logging
import os
import pickle
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final

from tamis.errors import RunError, SettingsError, TamisError
from tamis.executors.local import LOCAL, Done, Executor, Piece
from tamis.extras import missing_package

AT_ONCE: Final = 2 << 30
"""Bytes of work that lie in the object store at a time; between two such loads the actors start anew."""

_LOCAL_STORE: Final = 4 << 30  # bytes of work under way, and of the function, in a cluster on this machine

_QUIET: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # under `uv run` Ray would send the working directory along
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
_HERE: Final = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # so that Ray listens on 127.0.0.1 only, on Linux too
    "RAY_worker_niceness": "0",  # else actors wait for whatever runs on the machine beside them
}


def named_engine(name: str, threads: int, device: str) -> AbstractContextManager[Executor]:
    """The engine that the command line names, see `ray_engine` for the rest.

    Raises:
        SettingsError: there is none of that name.
        MissingPartError: Ray is not installed.
    """
    if name == "local":
        return nullcontext(LOCAL)
    if name == "ray":
        return ray_engine(threads, device)
    raise SettingsError(f"--engine {name}: expected local or ray")


def why_not_sent(function: Callable[..., Any]) -> str:
    """Why a function cannot be sent to actors, in a few words; empty where it can."""
    from ray import cloudpickle

    try:
        cloudpickle.dumps(function)
    except Exception as error:  # whatever the objects that it holds raise when they are copied
        return " ".join(str(error).split())[:100] or type(error).__name__
    return ""


@contextmanager
def ray_engine(threads: int, device: str) -> Iterator[Executor]:
    """Join the cluster at RAY_ADDRESS, or start one on this machine, when there is first something to do.

    A cluster that this process is part of already is used as it is.

    Args:
        threads: Processors of each actor.
        device: `cuda`: each actor has a GPU; `auto`: where the cluster has any; `cpu`: none.

    Raises:
        MissingPartError: Ray is not installed.
        RunError: There is no cluster at that address, or it is gone.
        TamisError: What the function raised, with the name of the machine.
    """
    # Before the import, as Ray reads them then.
    for name, value in (_QUIET | ({} if os.environ.get("RAY_ADDRESS") else _HERE)).items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
    except ImportError:
        raise missing_package("--engine ray", "Ray", "ray", "leave it out") from None
    mine = False

    def mapped(function: Callable[[Piece], Done], work: Iterable[Piece], /) -> Iterator[Done]:
        nonlocal mine
        held = None
        for load in _loads(enumerate(work)):
            if not ray.is_initialized():
                _connect(ray, threads)
                mine = True
            # Once for all loads; its arrays are not copied where they are used.
            held = held or ray.put(function)
            with _one_line():
                yield from _spread(held, load, _share(ray.nodes(), threads, device))

    try:
        yield Executor(mapped, elsewhere=True)
    finally:
        if mine:
            ray.shutdown()


def _connect(ray: Any, threads: int) -> None:
    """Join the cluster that the environment names, or start one that only this machine can reach."""
    address = os.environ.get("RAY_ADDRESS")
    here: dict[str, Any] = {
        "address": "local",  # else Ray would join whatever cluster it finds on this machine
        "include_dashboard": False,
        "num_cpus": max(os.cpu_count() or 1, threads),
        "object_store_memory": min(_LOCAL_STORE, _memory() // 4),
    }
    try:
        ray.init(**({} if address else here), log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # of Ray, of gRPC, of the system: whatever keeps it from starting
        where = f"RAY_ADDRESS {address}: no cluster to join" if address else "Ray: cannot be started on this machine"
        advice = "start one with `ray start --head`, or unset it for one on this machine" if address else "see above"
        raise RunError(f"{where} ({_first_line(error)}); {advice}") from None


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _share(nodes: Sequence[Mapping[str, Any]], threads: int, device: str) -> dict[str, float]:
    """What of the cluster one actor takes.

    Raises:
        SettingsError: no machine of the cluster has so much; Ray would wait for one.
    """
    machines = [node["Resources"] for node in nodes if node["Alive"]]
    gpu = device == "cuda" or (device == "auto" and any(one.get("GPU", 0) >= 1 for one in machines))
    if not any(one.get("CPU", 0) >= threads and one.get("GPU", 0) >= gpu for one in machines):
        most = max((int(one.get("CPU", 0)) for one in machines), default=0)
        raise SettingsError(
            f"--engine ray: an actor takes machine.threads processors ({threads}){' and a GPU' if gpu else ''}, and no "
            f"machine of the cluster has them (most processors: {most}); set machine.threads or machine.device"
        )
    return {"num_cpus": threads, "num_gpus": int(gpu)}


def _loads(numbered: Iterable[tuple[int, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Pieces of work as rows, as many at a time as the object store should hold."""
    load: list[dict[str, Any]] = []
    size = 0
    for number, piece in numbered:
        row = pickle.dumps(piece, protocol=5)
        if load and size + len(row) > AT_ONCE:
            yield load
            load, size = [], 0
        load.append({"number": number, "piece": row})
        size += len(row)
    if load:
        yield load


def _spread(held: Any, load: list[dict[str, Any]], share: dict[str, float]) -> Iterator[Any]:
    """Results of one load, in order."""
    import ray.data

    rows = ray.data.from_items(load, override_num_blocks=len(load))
    done = rows.map(
        _Actor,
        fn_constructor_args=([held], str(Path.cwd())),
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=len(load)),
        **share,
    )
    done.context.execution_options.preserve_order = True
    done.context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # it tells of its plans, and each copy of its settings
    for sent, row in zip(load, done.iter_rows(), strict=True):
        assert row["number"] == sent["number"], "Ray keeps the order"
        found = pickle.loads(row["found"])
        if isinstance(found, TamisError):
            raise found
        yield found


class _Actor:
    """What runs in the cluster: the function, with whatever it has loaded, for one piece after the other."""

    def __init__(self, held: list[Any], folder: str) -> None:
        import ray

        self._held, self._folder = held, folder
        self._function: Callable[[Any], Any] | None = None
        self._get = ray.get

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        try:
            found = self._run(pickle.loads(row["piece"]))
        except TamisError as error:
            # As a result: Ray would wrap it up, and try again.
            shared = "with --engine ray all machines need the same folders"
            found = type(error)(f"worker {socket.gethostname()}: {error}; {shared}")
        return {"number": row["number"], "found": pickle.dumps(found, protocol=5)}

    def _run(self, piece: Any) -> Any:
        if self._function is None:
            try:
                os.chdir(self._folder)  # relative paths mean here what they mean there
            except OSError as error:
                raise RunError(f"{self._folder}: the run was started there, {error.strerror}") from None
            self._function = self._get(self._held[0])
        return self._function(piece)


@contextmanager
def _one_line() -> Iterator[None]:
    """Turn what Ray raises where the cluster is gone or the function has a bug into one line."""
    from ray.exceptions import RayError

    try:
        yield
    except RayError as error:
        raise RunError(
            f"--engine ray: {_first_line(error)}; finished items are kept, run the same command again"
        ) from None


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
