"""A client's connection: uvicorn's, and given up where nothing comes or nothing is fetched for too long."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol


class Connection(H11Protocol):
    """HTTP/1.1 with an end to waiting.

    uvicorn waits for ever for a request's head and for a client to fetch its answer. Bodies and scores have the
    deadline of their request; uvicorn itself closes connections that lie idle between requests after five seconds.

    Attributes:
        head_seconds: In which a head must be complete.
        answer_seconds: In which some more of an answer must be fetched; a megabyte may be on its way unseen.
    """

    head_seconds = 20.0
    answer_seconds = 60.0
    _head: asyncio.TimerHandle | None = None
    _answer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there: its first head is due."""
        super().connection_made(transport)
        self._head = self.loop.call_later(self.head_seconds, transport.abort)

    def data_received(self, data: bytes) -> None:
        """Something came: a head is due as long as no request is under way."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._heard()
        elif self._head is None:
            self._head = self.loop.call_later(self.head_seconds, self.transport.abort)

    def pause_writing(self) -> None:
        """The client is behind with an answer."""
        super().pause_writing()
        self._answer = self.loop.call_later(self.answer_seconds, self._still_fetched, self._left())

    def resume_writing(self) -> None:
        """The client has caught up."""
        super().resume_writing()
        self._fetched()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._heard()
        self._fetched()
        super().connection_lost(exc)

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: a client may offer HTTP/2, as Java's does with each connection, and is answered in HTTP/1.1."""

    def _heard(self) -> None:
        if self._head:
            self._head.cancel()
        self._head = None

    def _fetched(self) -> None:
        if self._answer:
            self._answer.cancel()
        self._answer = None

    def _left(self) -> int:
        return self.transport.get_write_buffer_size()

    def _still_fetched(self, before: int) -> None:
        if self._left() < before:
            self._answer = self.loop.call_later(self.answer_seconds, self._still_fetched, self._left())
        else:
            self.transport.abort()
