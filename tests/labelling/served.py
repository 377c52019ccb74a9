"""The page for grading on a real socket, on a thread of this process or in a process of its own."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from tamis.labelling.desk import Desk
from tamis.labelling.grade_log import GradeLog
from tamis.labelling.pools import read_pools
from tamis.labelling.serve import HOST, PageServer
from tamis.serving.listening import listen


@dataclass
class Grader:
    """A server and a client of it.

    Attributes:
        url: Without a path.
        desk: Behind it.
        client: Of a person.
    """

    url: str
    desk: Desk
    client: httpx2.Client


@contextmanager
def grading_page(folder: Path, port: int = 0) -> Iterator[Grader]:
    with listen(HOST, port) as listening, closing(GradeLog(folder)) as log:
        desk = Desk(folder, read_pools(folder), log)
        server = PageServer(desk)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        url = f"http://{HOST}:{listening.getsockname()[1]}"
        while not server.started:
            time.sleep(0.01)
        try:
            with httpx2.Client(base_url=url, timeout=20) as client:
                yield Grader(url, desk, client)
        finally:
            server.should_exit = True
            thread.join()
