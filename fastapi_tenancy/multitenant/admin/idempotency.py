"""Carry a request out once, however often it is sent: <https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/>."""

import asyncio
import hashlib
import json
import math
import re
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from ...errors import IdempotencyKeyError, InvalidHeaderError, RequestRunningError, StoreUnavailableError
from ...store import IdempotencyStore, RequestRecord
from .base import AsksStore

# A request that has not been heard of for so long died with its process; the next one with its key carries it out.
REQUEST_LEASE = timedelta(seconds=10)

_HEARTBEAT = REQUEST_LEASE.total_seconds() / 4

_FORGOTTEN_AT_ONCE = 1000

# A string of RFC 9651, section 3.3.3, as the draft has it; most clients leave out the quotes.
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\]){1,255})"')
_BARE = re.compile(r"[!#-+\--:<-~]{1,255}")
KEY_IN_DOCUMENT = f"^(?:{_QUOTED.pattern}|{_BARE.pattern})$"


def idempotency_key(lines: list[str]) -> str | None:
    """The key that the header's lines hold; None where there is none.

    Raises:
        InvalidHeaderError: it is malformed, and to ignore it could create twice what is to be created once.
    """
    if not lines:
        return None
    quoted = _QUOTED.fullmatch(lines[0].strip(" \t"))
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else lines[0].strip(" \t")
    if len(lines) > 1 or not (quoted or _BARE.fullmatch(key)):
        raise InvalidHeaderError("Idempotency-Key is malformed; send it once, with 1 to 255 characters of ASCII")
    return key


def digest(*parts: Any) -> str:
    """SHA-256 of JSON values, in hexadecimal."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class RunningRequest:
    """A request that this process is carrying out, and shows to be alive."""

    def __init__(
        self, store: IdempotencyStore, directory: AsksStore, now: Callable[[], datetime], mine: RequestRecord
    ) -> None:
        self._store = store
        self._ask = directory.ask
        self._now = now
        self._record = mine
        self._lock = asyncio.Lock()
        self.made: tuple[str, ...] = tuple(mine.body)

    async def note(self, tenant_id: str) -> None:
        """Let whoever has to go on with it know what it is making; `made` has that, also of earlier processes.

        Raises:
            RequestRunningError: somebody goes on with it already, as this process was taken for dead.
        """
        self.made = (*self.made, tenant_id)
        if not await self._change(body=list(self.made)):
            raise RequestRunningError("this process was not heard of for too long, and another one has taken over")

    async def carry_out(self, work: Callable[[], Coroutine[Any, Any, dict[str, Any]]], status: int) -> dict[str, Any]:
        """Do the work, and keep its answer for the next time; a failure leaves the key free."""
        task = asyncio.create_task(work())
        try:
            while not (await asyncio.wait((task,), timeout=_HEARTBEAT))[0]:
                with suppress(StoreUnavailableError):  # the next time, perhaps
                    await self._change()
        finally:
            task.cancel()
            await asyncio.wait((task,))
            if task.cancelled() or task.exception() is not None:
                await asyncio.shield(self._forget())
        with suppress(StoreUnavailableError):  # then its lease ends, and the next one finds what was made
            await self._change(status=status, body=task.result())
        return task.result()

    async def _change(self, **changes: Any) -> bool:
        async with self._lock:
            after = replace(self._record, created_at=self._now(), **changes)
            changed = await self._ask(self._store.change_request(self._record, after))
            if changed:
                self._record = after
            return changed

    async def _forget(self) -> None:
        with suppress(StoreUnavailableError):  # then its lease ends
            await self._ask(self._store.forget_request(self._record))


class IdempotentRequests:
    """Knows the requests that were sent with a key.

    Args:
        store: where they are kept.
        directory: asks it.
        now: the time of day in UTC.
        ttl: for how long an answer is kept.
    """

    def __init__(
        self, store: IdempotencyStore, directory: AsksStore, now: Callable[[], datetime], ttl: timedelta
    ) -> None:
        self._store = store
        self._directory = directory
        self._now = now
        self._ttl = ttl
        self._pruned_at: datetime | None = None

    async def begin(self, key: str, request: str) -> RunningRequest | RequestRecord:
        """What is to be carried out now, or how it ended when it was.

        Args:
            key: the digest of the key and of whose it is.
            request: the digest of all that makes the request another one.

        Raises:
            IdempotencyKeyError: the key was used for another request.
            RequestRunningError: the request is being carried out.
        """
        now = self._now()
        await self._prune(now)
        mine = RequestRecord(key_digest=key, request_digest=request, created_at=now, body=[])
        earlier = await self._directory.ask(self._store.begin_request(mine))
        if earlier is None:
            return self._running(mine)
        age = now - earlier.created_at
        if age > self._ttl:
            return await self._take_over(earlier, mine)
        if earlier.request_digest != request:
            raise IdempotencyKeyError("the key came with another request; make a key for each, such as a random UUID")
        if earlier.status is not None:
            return earlier
        if age < REQUEST_LEASE:
            raise _still_running(REQUEST_LEASE - age)
        return await self._take_over(earlier, replace(earlier, created_at=now))

    async def _take_over(self, earlier: RequestRecord, mine: RequestRecord) -> RunningRequest:
        if not await self._directory.ask(self._store.change_request(earlier, mine)):
            raise _still_running(REQUEST_LEASE)  # somebody was faster
        return self._running(mine)

    def _running(self, mine: RequestRecord) -> RunningRequest:
        return RunningRequest(self._store, self._directory, self._now, mine)

    async def _prune(self, now: datetime) -> None:
        if self._pruned_at is not None and now - self._pruned_at < self._ttl / 24:
            return
        self._pruned_at = now
        while await self._forget_some(now - self._ttl) == _FORGOTTEN_AT_ONCE:
            """There may be more."""

    async def _forget_some(self, before: datetime) -> int:
        return await self._directory.ask(self._store.forget_requests(before, _FORGOTTEN_AT_ONCE))


def _still_running(left: timedelta) -> RequestRunningError:
    return RequestRunningError(
        "a request with this key is being carried out; try again", retry_after=max(1, math.ceil(left.total_seconds()))
    )
