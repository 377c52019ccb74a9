"""From pools to a page on this machine, and to judgements when it ends."""

import logging
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import Final

import uvicorn

from tamis.labelling.app import create_app
from tamis.labelling.desk import Desk
from tamis.labelling.grade_log import GradeLog
from tamis.labelling.grading import Grading
from tamis.labelling.pools import Pools
from tamis.serving.connection import Connection
from tamis.serving.listening import listen

HOST: Final = "127.0.0.1"
"""The page has no keys, so only this machine reaches it."""


def serve_page(folder: Path, pools: Pools, port: int, announce: Callable[[str, Grading], None]) -> Grading:
    """Let people grade until a signal comes.

    Args:
        folder: Where the pools lie; the log and the judgements come there too.
        pools: What is graded.
        port: Port to listen on; 0 for any that is free.
        announce: Told the address once there is one, and what was graded before.

    Returns:
        What is graded at the end; the judgements are written.

    Raises:
        InputError: The port is taken, or the log is not understood.
        RunError: Another process has the log open, or the folder cannot be written.
    """
    with listen(HOST, port) as listening, closing(GradeLog(folder)) as log:
        desk = Desk(folder, pools, log)
        desk.write_judgements()
        if log.cut:
            logging.getLogger(__name__).warning(
                "%s: %d bytes of an unfinished last line were cut off; nobody was told that it was kept",
                log.path,
                log.cut,
            )
        announce(f"http://{HOST}:{listening.getsockname()[1]}", desk.grading)
        PageServer(desk).run(sockets=[listening])
        desk.write_judgements()
        return desk.grading


class PageServer(uvicorn.Server):
    """uvicorn that ends quietly at a signal, after the answers under way."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(
            uvicorn.Config(
                create_app(desk),
                http=Connection,
                loop="asyncio",
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=5,
            )
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle a signal: the first ends the server, a second at once."""
        self.force_exit = self.should_exit
        self.should_exit = True
