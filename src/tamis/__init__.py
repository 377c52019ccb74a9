"""tamis: unlabelled documents in, a small reranker tuned to them out."""

__version__ = "0.1.0"
