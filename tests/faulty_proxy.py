"""A proxy on loopback that does to the connections of a server what networks and machines do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from sqlalchemy import make_url

Fault = Literal["none", "refuse", "hang", "slow", "garbage"]

_GARBAGE = b"\x00\xff garbage \x7f\r\n" * 40


class FaultyProxy:
    """Carries connections to a server, and fails as `fault` says, also those that are open already.

    "refuse" hangs up on them; "hang" goes on accepting and swallows what is said, for ever on those connections; "slow"
    lets each piece wait; "garbage" answers with nonsense. `cut` hangs up once.
    """

    def __init__(self, server: str) -> None:
        self._server = make_url(server)
        self._carrying: set[asyncio.Task[None]] = set()
        self._fault: Fault = "none"
        self.delay = 0.05  # seconds, for "slow"
        self.url = server

    @property
    def fault(self) -> Fault:
        return self._fault

    @fault.setter
    def fault(self, fault: Fault) -> None:
        self._fault = fault
        if fault == "refuse":
            self.cut()

    def cut(self) -> None:
        for task in tuple(self._carrying):
            task.cancel()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["FaultyProxy"]:
        async with await asyncio.start_server(self._accept, "127.0.0.1", 0) as listener:
            port = listener.sockets[0].getsockname()[1]
            self.url = self._server.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
            yield self
            self.cut()
            await asyncio.gather(*self._carrying, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._fault == "refuse":
            writer.transport.abort()
            return
        answers, asked = await asyncio.open_connection(self._server.host, self._server.port)
        for source, target, is_answer in ((reader, asked, False), (answers, writer, True)):
            task = asyncio.create_task(self._carry(source, target, is_answer))
            self._carrying.add(task)
            task.add_done_callback(self._carrying.discard)

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, is_answer: bool) -> None:
        is_lost = False
        try:
            while data := await source.read(65536):
                is_lost = is_lost or self._fault == "hang"
                if self._fault == "slow":
                    await asyncio.sleep(self.delay)
                if not is_lost:
                    target.write(_GARBAGE if is_answer and self._fault == "garbage" else data)
        except ConnectionError:
            pass
        finally:
            target.transport.abort()
