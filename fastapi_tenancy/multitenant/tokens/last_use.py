"""Write down when tokens were used, behind the back of the requests that use them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime

from ...errors import StoreUnavailableError

logger = logging.getLogger(__name__)


class LastUses:
    """Collects uses while a write is under way, so that there is one write at a time however many tokens are used.

    Args:
        write: writes uses by token id.
        now: the time of day in UTC.
    """

    def __init__(self, write: Callable[[Mapping[str, datetime]], Awaitable[None]], now: Callable[[], datetime]) -> None:
        self._write = write
        self._now = now
        self._uses: dict[str, datetime] = {}
        self._writing: asyncio.Task[None] | None = None

    def note(self, token_id: str) -> None:
        self._uses[token_id] = self._now()
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_all())

    async def aclose(self) -> None:
        """Wait until all is written."""
        if self._writing is not None:
            await self._writing

    async def _write_all(self) -> None:
        while self._uses:
            uses, self._uses = self._uses, {}
            try:
                await self._write(uses)
            except StoreUnavailableError as error:  # the next use is written again, and none is worth a retry
                logger.warning("last uses of tokens were not written", extra={"tokens": len(uses)}, exc_info=error)
