"""Prepared texts by id: the work that pairs share is done once per text, and kept in memory-mapped files."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from safetensors import safe_open
from torch import Tensor

from tamis.file_modes import write_tensors
from tamis.models.student import Student
from tamis.whole_folder import whole_file

Counted = Callable[[int], None]

BLOCK = 1024
"""Texts prepared between two writes: what a kill can lose."""


class Prepared:
    """Remembers what `prepare_queries` and `prepare_documents` gave.

    Students that start from the same body share it: their trained layers lie above what is prepared. With a folder,
    blocks of texts lie in files there and are mapped into memory, not read: a corpus may be larger than memory, and a
    killed run does no block twice. Without one they are kept in memory.

    Attributes:
        student: What prepares; only its frozen part is used.
    """

    def __init__(self, student: Student, folder: Path | None = None, identity: str = "") -> None:
        """Prepare with the frozen part of `student`; `identity` names everything that its result depends on."""
        self.student = student
        self._folder = folder
        self._identity = identity
        self._queries: dict[str, Tensor] = {}
        self._documents: dict[str, Tensor] = {}

    def queries(self, ids: Sequence[str], texts: Mapping[str, str], progress: Counted | None = None) -> list[Tensor]:
        """Prepared queries [tokens, ...] each, in the order of `ids`."""
        return self._remember("query", self._queries, ids, texts, self.student.prepare_queries, progress)

    def documents(self, ids: Sequence[str], texts: Mapping[str, str], progress: Counted | None = None) -> list[Tensor]:
        """Prepared documents [tokens, ...] each, in the order of `ids`."""
        return self._remember("document", self._documents, ids, texts, self.student.prepare_documents, progress)

    def unfinished(self, kind: Literal["query", "document"], texts: Iterable[str]) -> int:
        """Number of these texts that lie in blocks without a file yet; a block is prepared together."""
        blocks = _blocks(sorted(texts, key=lambda text: (len(text), text)))
        return sum(len(block) for block in blocks if not self._file(kind, block).exists())

    def _remember(
        self,
        kind: str,
        known: dict[str, Tensor],
        ids: Sequence[str],
        texts: Mapping[str, str],
        prepare: Callable[[Sequence[str], Counted | None], list[Tensor]],
        progress: Counted | None,
    ) -> list[Tensor]:
        new = [text_id for text_id in dict.fromkeys(ids) if text_id not in known]
        # Texts of one length beside each other: a block that is prepared by itself is then hardly padded.
        new.sort(key=lambda text_id: (len(texts[text_id]), texts[text_id]))
        for block in _blocks(new):
            known.update(zip(block, self._block(kind, [texts[i] for i in block], prepare, progress), strict=True))
        return [known[text_id] for text_id in ids]

    def _block(
        self,
        kind: str,
        texts: Sequence[str],
        prepare: Callable[[Sequence[str], Counted | None], list[Tensor]],
        progress: Counted | None,
    ) -> list[Tensor]:
        if self._folder is None:
            return prepare(texts, progress)
        file = self._file(kind, texts)
        if not file.exists():
            found = prepare(texts, progress)
            ends = torch.tensor([len(values) for values in found]).cumsum(0)  # [texts]
            file.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(file) as partial:
                write_tensors(partial, {"values": torch.cat(found).cpu(), "ends": ends})
        elif progress:
            progress(len(texts))
        with safe_open(file, framework="pt") as opened:
            values, ends = opened.get_tensor("values"), opened.get_tensor("ends")
        return list(values.tensor_split(ends[:-1]))

    def _file(self, kind: str, texts: Sequence[str]) -> Path:
        assert self._folder is not None, "only what has a folder has files"
        key = hashlib.sha256("\0".join([self._identity, kind, *texts]).encode()).hexdigest()[:32]
        return self._folder / f"{key}.safetensors"


def _blocks(texts: Sequence[str]) -> list[Sequence[str]]:
    return [texts[start : start + BLOCK] for start in range(0, len(texts), BLOCK)]
