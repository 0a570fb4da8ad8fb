"""The processes that migrate, as their parent has them."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

_END_TIMEOUT = 5.0  # seconds between the last that it says and its end
_START_TIMEOUT = 120.0  # seconds until it has imported the library, on a machine that is busy


@dataclass(frozen=True, slots=True)
class Answer:
    """How a migration ended.

    Attributes:
        error: why it failed; None where it did not.
        knows: whether `revision` could be told.
        revision: that the tables are at.
    """

    error: str | None
    knows: bool = False
    revision: str | None = None


class MigratingProcess:
    """A process that carries out one order after the other; it is started by the first, and again after it died.

    Args:
        folder: with the application's migrations.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: Process | None = None

    async def carry_out(self, order: Mapping[str, Any], seconds: float) -> Answer:
        """Wait for the answer; a process that does not give it within so many seconds is killed."""
        if self._process is None and not await self._start():
            return Answer("the process that migrates could not be started; what it says is in the log")
        try:
            async with asyncio.timeout(seconds):
                return await self._ask(order)
        except TimeoutError:
            await self.kill()
            return Answer(f"it took longer than {seconds:g} s, and was ended")
        except BaseException:
            await asyncio.shield(self.kill())
            raise

    async def kill(self, grace: float = 0.0) -> int | None:
        """End the process, whatever it does, unless it ends by itself within `grace` seconds, and return its status.

        The database rolls back what it has begun.
        """
        process, self._process = self._process, None
        if process is None:
            return None
        if grace:  # for one that is dead already: a signal would take its status away from those who wait for it
            with suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    return await process.wait()
        with suppress(ProcessLookupError):
            process.kill()
        return await process.wait()

    async def _start(self) -> bool:
        # Not in the session of the terminal: its Ctrl-C is ours to handle.
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "fastapi_tenancy.fleet.migrating.worker", str(self._folder)),
            stdin=PIPE,
            stdout=PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)},
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(_START_TIMEOUT):
                if await self._read():
                    return True
        except TimeoutError:
            pass
        except BaseException:
            await asyncio.shield(self.kill())
            raise
        await self.kill()
        return False

    async def _ask(self, order: Mapping[str, Any]) -> Answer:
        with suppress(ConnectionError):  # it died; there is no answer, then
            writer = _opened(_opened(self._process).stdin)
            writer.write(json.dumps(order).encode() + b"\n")
            await writer.drain()
        line = await self._read()
        if not line:
            return Answer(f"the process that migrates died, with status {await self.kill(grace=_END_TIMEOUT)}")
        answer = json.loads(line)
        return Answer(answer["error"], "revision" in answer, answer.get("revision"))

    async def _read(self) -> bytes:
        return await _opened(_opened(self._process).stdout).readline()


def _opened(opened: T | None) -> T:
    assert opened is not None  # noqa: S101 - for the type checker: started, and with pipes
    return opened
