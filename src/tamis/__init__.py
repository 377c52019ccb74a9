"""tamis: unlabelled documents in, a small reranker tuned to them out.

    adapt      documents, and queries about them → a model adapted to them
    Recipe     everything that a run needs; `run` runs it
    evaluate   models and first stages → figures on judged sets
    Reranker   a model that scores and ranks
    Teacher, Retriever, Writer   functions of your own as parts of a run
    errors     what can go wrong, and what to do

Names are imported when they are first asked for: `import tamis` takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tamis import errors
    from tamis.api.evaluate import evaluate
    from tamis.api.recipe import Recipe
    from tamis.api.results import EvaluationResult, RecordTable, Report, RunResult
    from tamis.api.run import Progress, adapt, run
    from tamis.models.reranker import Reranker
    from tamis.own_parts import Retriever, Teacher, Writer

__version__ = "0.1.0"
__all__ = [
    "EvaluationResult",
    "Progress",
    "Recipe",
    "RecordTable",
    "Report",
    "Reranker",
    "Retriever",
    "RunResult",
    "Teacher",
    "Writer",
    "__version__",
    "adapt",
    "errors",
    "evaluate",
    "run",
]

_PLACES: Final = {
    "tamis.api.evaluate": ("evaluate",),
    "tamis.api.recipe": ("Recipe",),
    "tamis.api.results": ("EvaluationResult", "RecordTable", "Report", "RunResult"),
    "tamis.api.run": ("Progress", "adapt", "run"),
    "tamis.models.reranker": ("Reranker",),
    "tamis.own_parts": ("Retriever", "Teacher", "Writer"),
}
"""Module -> the public names that it holds."""

_EXTRAS: Final = {"tamis.api.evaluate": "evaluate", "tamis.api.run": "train"}
"""Module -> the extra that brings what it imports."""


def __getattr__(name: str) -> object:
    """Import a public name when it is asked for: torch takes seconds, `import tamis` and `tamis --help` none."""
    if name == "errors":
        return import_module("tamis.errors")
    for place, names in _PLACES.items():
        if name in names:
            if place in _EXTRAS:
                import_module("tamis.extras").require(f"tamis.{name}", _EXTRAS[place])
            return getattr(import_module(place), name)
    raise AttributeError(f"module 'tamis' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
