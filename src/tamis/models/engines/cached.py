"""Graphs in the user's cache: written once for a model, an engine and a processor, and found again."""

import hashlib
import json
import logging
import platform
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from tamis.models.engines.engine import GraphEngine
from tamis.models.engines.graphs import Graph
from tamis.user_cache import user_cache
from tamis.whole_folder import whole_folder

logger = logging.getLogger(__name__)

FORMAT: Final = 1
"""Of the graphs: to be raised when `tamis.models.engines.graphs` makes others of the same model."""

FACTS: Final = "graphs.json"


def cached_graphs(model: str, identity: str, engine: GraphEngine, graphs: Callable[[], Sequence[Graph]]) -> Path:
    """The folder that holds the graphs of a model for an engine; written where it is not there, or of another version.

    Args:
        model: As the user names it.
        identity: Hash of the model's files.
        engine: It is installed.
        graphs: Makes the graphs; called where they must be written.

    Returns:
        A folder with a file of each graph, see `GraphEngine.file_of`.

    Raises:
        RunError: the cache cannot be written, or another process is writing there.
    """
    facts = {"format": FORMAT, "engine": engine.name, "version": engine.version, "model": identity} | _processor()
    key = hashlib.sha256(json.dumps([identity, engine.name, _processor()]).encode()).hexdigest()
    folder = user_cache() / "graphs" / f"{engine.name}-{key[:16]}"
    found = _facts_of(folder)
    if found == facts:
        return folder
    if folder.exists():
        theirs = f"{found.get('version', 'an unknown version')} (format {found.get('format')})"
        ours = f"{engine.version} (format {FORMAT})"
        logger.warning("%s: the graph in %s is of %s %s, not %s", model, folder, engine.title, theirs, ours)
    logger.warning("%s: made ready for %s once, which may take a minute; kept in %s", model, engine.title, folder)
    _write(folder, facts, engine, graphs)
    return folder


def _write(folder: Path, facts: dict[str, Any], engine: GraphEngine, graphs: Callable[[], Sequence[Graph]]) -> None:
    shutil.rmtree(folder, ignore_errors=True)  # what cannot be removed is named by whole_folder
    with whole_folder(folder) as unfinished:
        for graph in graphs():
            engine.write(graph, unfinished / engine.file_of(graph.name))
        (unfinished / FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _facts_of(folder: Path) -> dict[str, Any]:
    """What a folder says of its graphs; nothing where it cannot be read."""
    try:
        found = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _processor() -> dict[str, str]:
    """The processor: what an engine compiles for."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return {"processor": f"{platform.machine()} {next(named, platform.processor())}".strip()}
