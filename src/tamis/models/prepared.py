"""Prepared texts by id: the part of the work that pairs share is done once per text in a whole run."""

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from tamis.models.student import Student

Advance = Callable[[int], None]


class Prepared:
    """Remembers what `prepare_queries` and `prepare_documents` gave.

    Students that start from the same body share it: their trained layers lie above what is prepared.
    """

    def __init__(self, student: Student) -> None:
        """Prepare with the frozen part of `student`."""
        self._student = student
        self._queries: dict[str, Tensor] = {}
        self._documents: dict[str, Tensor] = {}

    def queries(self, ids: Sequence[str], texts: Mapping[str, str], progress: Advance | None = None) -> list[Tensor]:
        """Prepared queries [tokens, hidden] each, in the order of `ids`."""
        return _remember(self._queries, ids, texts, self._student.prepare_queries, progress)

    def documents(self, ids: Sequence[str], texts: Mapping[str, str], progress: Advance | None = None) -> list[Tensor]:
        """Prepared documents [tokens, hidden] each, in the order of `ids`."""
        return _remember(self._documents, ids, texts, self._student.prepare_documents, progress)


def _remember(
    known: dict[str, Tensor],
    ids: Sequence[str],
    texts: Mapping[str, str],
    prepare: Callable[[Sequence[str], Advance | None], list[Tensor]],
    progress: Advance | None,
) -> list[Tensor]:
    new = [text_id for text_id in dict.fromkeys(ids) if text_id not in known]
    known.update(zip(new, prepare([texts[text_id] for text_id in new], progress), strict=True))
    return [known[text_id] for text_id in ids]
