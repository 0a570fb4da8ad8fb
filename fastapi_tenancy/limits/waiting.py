"""A client whose request waits for its turn: it may go away, and what it sends is kept for the application."""

import asyncio
from collections import deque

from starlette.types import Message, Receive

from .bulkhead import Turn

_ENOUGH = 65_536  # bytes that are kept of the body of a request that waits; as much as a server reads ahead


class WaitingClient:
    """Takes the place of `receive`: until the turn comes it listens, and afterwards gives the application all it heard.

    A server tells only who listens that the client has gone. Listening never ends by cancelling what the server gave,
    since a message could be lost with it: the application goes on with the same call.
    """

    def __init__(self, receive: Receive) -> None:
        self.gone = False
        self._receive = receive
        self._heard: deque[Message] = deque()
        self._bytes = 0
        self._listening: asyncio.Task[Message] | None = None

    async def __call__(self) -> Message:
        if self._heard:
            return self._heard.popleft()
        if self._listening is None:
            return await self._receive()
        message = await asyncio.shield(self._listening)
        self._listening = None
        return message

    async def wait_for(self, turn: Turn, seconds: float) -> bool:
        """Whether the turn comes before the time is over or the client gone."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while not (turn.done() or self.gone):
            left = deadline - loop.time()
            if left <= 0:
                break
            await asyncio.wait(self._awaited(turn), timeout=left, return_when=asyncio.FIRST_COMPLETED)
            self._keep_what_came()
        return turn.done()

    def close(self) -> None:
        if self._listening is not None:
            self._listening.cancel()

    def _awaited(self, turn: Turn) -> "set[asyncio.Future[None] | asyncio.Task[Message]]":
        if self._listening is None and self._bytes < _ENOUGH:
            self._listening = asyncio.ensure_future(self._receive())
        return {turn} if self._listening is None else {turn, self._listening}

    def _keep_what_came(self) -> None:
        if self._listening is None or not self._listening.done():
            return
        message = self._listening.result()
        self._listening = None
        self._heard.append(message)
        self._bytes += len(message.get("body", b""))
        self.gone = message["type"] == "http.disconnect"
