"""An HTTP server on the loopback that answers as a test has written down, and remembers what it was asked."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Reply:
    """One answer; `cut` breaks the connection in the middle of it."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: bool = False


@dataclass(frozen=True)
class Seen:
    """One request."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    time: float

    @property
    def prompt(self) -> str:
        """What the model is given; of a request that is no prompt, all of it."""
        if "messages" in self.body:
            return str(self.body["messages"][-1]["content"])
        return str(self.body.get("prompt") or json.dumps(self.body))


Script = Callable[[Seen, int], Reply]
"""From a request, and the number of requests with this prompt before it, to the answer."""


def chat(text: Any, tokens: tuple[int, int] | None = (100, 10), end: str = "stop") -> dict[str, Any]:
    """What servers answer to a chat; `end` is why the model ended, `length` where it was cut."""
    usage = {"usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}} if tokens else {}
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": end}
    return {"choices": [choice], **usage}


class ScriptedServer:
    """The server's address and memory.

    Attributes:
        url: Up to the version.
        seen: Requests in the order in which they came.
        most_at_once: How many were under way at a time.
    """

    def __init__(self, script: Script) -> None:
        self.script = script
        self.seen: list[Seen] = []
        self.url = ""
        self.most_at_once = 0
        self._at_once = 0

    def prompts(self) -> list[str]:
        """The prompts in the order in which they came."""
        return [seen.prompt for seen in self.seen]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has gone
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:] if line)}
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        seen = Seen(head[0].split()[1], headers, body, time.monotonic())
        reply = self.script(seen, self.prompts().count(seen.prompt))
        self.seen.append(seen)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            await asyncio.sleep(reply.delay)
        finally:
            self._at_once -= 1
        content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        lines = [f"HTTP/1.1 {reply.status} X", f"Content-Length: {len(content)}"]
        lines += [f"{name}: {value}" for name, value in reply.headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode() + (content[: len(content) // 2] if reply.cut else content))
        await writer.drain()
        return not reply.cut


@contextmanager
def scripted(script: Script) -> Iterator[ScriptedServer]:
    """Run a server on a thread while the block lasts."""
    server = ScriptedServer(script)
    loop = asyncio.new_event_loop()

    async def listen() -> asyncio.Server:
        return await asyncio.start_server(server.serve, "127.0.0.1", 0)

    async def finish(listening: asyncio.Server) -> None:
        listening.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    listening = loop.run_until_complete(listen())
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(finish(listening), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
