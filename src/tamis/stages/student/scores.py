"""Score pairs of prepared texts, keeping what was scored."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from safetensors.torch import save as save_tensors
from torch import Tensor

from tamis.artifacts import item_key
from tamis.models.student import Student, score_prepared
from tamis.progress import track
from tamis.stages.student.factory import StudentFactory

SCORED_BLOCK = 512
"""Pairs scored between two writes: what a kill can lose."""


def score_pairs(
    students: StudentFactory, student: Student, pairs: Sequence[tuple[str, str]], label: str
) -> dict[tuple[str, str], float]:
    """Logits of (query id, document id) pairs whose texts are prepared, from the item store where they are known.

    Pairs are scored in fixed blocks of similar length, each computed whole or not at all, so that a killed and resumed
    run ends with the same bits.

    Args:
        students: Prepared the texts.
        student: Scores them.
        pairs: Each once.
        label: What the progress bar says.
    """
    context = students.context
    query_ids, doc_ids = sorted({query_id for query_id, _ in pairs}), sorted({doc_id for _, doc_id in pairs})
    query_of = dict(zip(query_ids, students.prepared.queries(query_ids, {}), strict=True))
    document_of = dict(zip(doc_ids, students.prepared.documents(doc_ids, {}), strict=True))
    ordered = sorted(pairs, key=lambda pair: (len(query_of[pair[0]]) + len(document_of[pair[1]]), pair))
    blocks = [ordered[start : start + SCORED_BLOCK] for start in range(0, len(ordered), SCORED_BLOCK)]
    identity = (digest(student.trained()), students.identity)
    query_hash = {query_id: _tensor_digest(tensor) for query_id, tensor in query_of.items()}
    document_hash = {doc_id: _tensor_digest(tensor) for doc_id, tensor in document_of.items()}
    contents = [[f"{query_hash[q]} {document_hash[d]}" for q, d in block] for block in blocks]
    keys = [item_key("logits", *identity, *content) for content in contents]
    known = context.items.get(keys)
    logits: dict[tuple[str, str], float] = {}
    with track(label, sum(len(block) for block, key in zip(blocks, keys, strict=True) if key not in known)) as advance:
        for block, key in zip(blocks, keys, strict=True):
            if key not in known:
                values = np.empty(len(block), np.float32)
                queries, documents = [query_of[q] for q, _ in block], [document_of[d] for _, d in block]
                for batch, scores in score_prepared(student, queries, documents, context.machine.token_budget):
                    values[batch] = scores
                    advance(len(batch))
                known[key] = values.tobytes()
                context.items.put([(key, known[key])])
            logits.update(zip(block, np.frombuffer(known[key], np.float32).tolist(), strict=True))
    return logits


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Hash of named tensors, each [any shape]."""
    return hashlib.sha256(save_tensors(dict(tensors))).hexdigest()


def _tensor_digest(tensor: Tensor) -> str:
    return hashlib.blake2b(tensor.contiguous().view(torch.uint8).numpy().tobytes(), digest_size=16).hexdigest()
