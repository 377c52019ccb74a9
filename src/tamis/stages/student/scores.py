"""Score pairs of prepared texts, keeping what was scored."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from safetensors.torch import save as save_tensors
from torch import Tensor

from tamis.artifacts import item_key, kept_in
from tamis.models.student import Student, score_prepared
from tamis.process_memory import release_memory
from tamis.progress import track
from tamis.stages.student.factory import StudentFactory

Block = Sequence[tuple[str, str]]

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

    def key(block: Block) -> str:
        return item_key("logits", *identity, *(f"{query_hash[q]} {document_hash[d]}" for q, d in block))

    def scored(missing: Iterator[list[Block]]) -> Iterator[list[tuple[Block, np.ndarray]]]:
        new = [block for group in missing for block in group]
        with track(label, sum(map(len, new))) as advance:
            for block in new:
                values = np.empty(len(block), np.float32)
                queries, documents = [query_of[q] for q, _ in block], [document_of[d] for _, d in block]
                for batch, scores in score_prepared(student, queries, documents, context.machine.token_budget):
                    values[batch] = scores
                    advance(len(batch))
                release_memory()
                yield [(block, values)]

    kept = kept_in(context.items, key, lambda values: values.tobytes(), lambda found: np.frombuffer(found, np.float32))
    found = zip(blocks, kept.values(blocks, scored), strict=True)
    return {pair: float(logit) for block, logits in found for pair, logit in zip(block, logits, strict=True)}


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Hash of named tensors, each [any shape]."""
    return hashlib.sha256(save_tensors(dict(tensors))).hexdigest()


def _tensor_digest(tensor: Tensor) -> str:
    return hashlib.blake2b(tensor.contiguous().view(torch.uint8).numpy().tobytes(), digest_size=16).hexdigest()
