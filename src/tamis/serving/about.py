"""`GET /info`, as Text Embeddings Inference answers it: the fields that are known here, and no others."""

from typing import Any

from tamis import __version__
from tamis.serving.fleet import Served


def tei_info(served: Served, documents: int) -> dict[str, Any]:
    """What a client reads before it splits its texts.

    Fields about requests at a time and about the server's threads are left out: here pairs are counted, not requests.

    Args:
        served: The model.
        documents: Most documents of a request.
    """
    reranker = served.engine.reranker
    return {
        "model_id": served.name,
        "model_sha": served.version.short,
        "model_dtype": reranker.precision,
        "model_type": {"reranker": {"id2label": {}, "label2id": {}}},
        "max_input_length": reranker.serializer.pair_tokens,
        "max_batch_tokens": reranker.scorer.token_budget,
        "max_client_batch_size": documents,
        "auto_truncate": True,
        "version": __version__,
    }
