"""tamis: unlabelled documents in, a small reranker tuned to them out."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tamis.models.reranker import Reranker

__version__ = "0.1.0"
__all__ = ["Reranker", "__version__"]


def __getattr__(name: str) -> object:
    """Import `Reranker` when it is asked for: torch takes seconds, `import tamis` and `tamis --help` none."""
    if name == "Reranker":
        from tamis.models.reranker import Reranker

        return Reranker
    raise AttributeError(f"module 'tamis' has no attribute {name!r}")
