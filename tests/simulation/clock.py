"""An event loop in which waiting takes no time: where nothing can run, the clock jumps to the next timer."""

import asyncio
import selectors
from typing import Any

_ROUNDS = 10_000  # in a moment; a thousand is a lot


class StuckError(Exception):
    """Nothing can run, and no timer is set: whoever waits, waits for ever; or what runs does not come to an end."""


class _Jumping(selectors.SelectSelector):
    """Watches nothing: there is no world outside."""

    now = 0.0
    _rounds = 0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise StuckError("nothing can run, and no timer is set")
        self._rounds += 1
        if timeout > 0:
            self._rounds = 0
            self.now = round(self.now + timeout, 9)  # or the way there would tell in the last digits
        elif self._rounds > _ROUNDS:
            raise StuckError("the same tasks run again and again, and no time goes by")
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs the same code in the same order at the same times, whatever the machine does meanwhile."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now
