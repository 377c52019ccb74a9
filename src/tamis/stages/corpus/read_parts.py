"""What the student will read of each document: all that can be asked about."""

from collections.abc import Callable
from functools import cached_property

from tamis.context import RunContext
from tamis.models.read_part import Reading, ReadPart


class ReadParts:
    """The target documents as far as the student reads them."""

    def __init__(self, reading: Callable[[], Reading], context: RunContext) -> None:
        """Load nothing yet.

        Args:
            reading: Says how the student reads.
            context: Knows the documents.
        """
        self._reading, self._context = reading, context

    @cached_property
    def reading(self) -> Reading:
        """How the student reads."""
        return self._reading()

    @cached_property
    def texts(self) -> dict[str, str]:
        """What is read of each target document, by id."""
        read_part = ReadPart(self.reading)
        return {doc_id: read_part(document.text) for doc_id, document in self._context.target.items()}

    def warnings(self) -> list[str]:
        """That target documents are longer than what is read of them; nothing where all fit."""
        longer = sum(len(part) < len(self._context.target[doc_id].text) for doc_id, part in self.texts.items())
        if not longer:
            return []
        count = len(self.texts)
        return [
            f"{longer:,} of {count:,} documents ({longer / count:.0%}) are longer than the "
            f"{self.reading.tokens} tokens that the student reads: the rest of them is neither learnt nor ranked, and "
            "nothing is asked about it by the writers here; corpus.passages: on cuts them into passages"
        ]
