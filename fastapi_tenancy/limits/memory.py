"""The memory in which `limits` counts in this process; imports `limits`."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from limits.aio.storage import MemoryStorage


@dataclass(slots=True)
class _Window:
    """What was counted in the present window and in the one before it, for the rates of one length."""

    number: int = -1
    counts: dict[str, int] = field(default_factory=dict)
    before: dict[str, int] = field(default_factory=dict)

    def move_to(self, number: int) -> None:
        self.before = self.counts if number == self.number + 1 else {}
        self.counts = {}
        self.number = number


class Windows(MemoryStorage):
    """Counts in windows that begin together for all keys, so that those which are over are forgotten as a whole.

    The inherited way looks at every key at each request: with 5,000 of them it takes 390 µs.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self._by_length: defaultdict[int, _Window] = defaultdict(_Window)

    async def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        window, left = self._now(expiry)
        count = window.counts.get(key, 0)
        if int(window.before.get(key, 0) * left / expiry) + count + amount > limit:
            return False
        window.counts[key] = count + amount
        return True

    async def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        window, left = self._now(expiry)
        return window.before.get(key, 0), left, window.counts.get(key, 0), left + expiry

    def _now(self, expiry: int) -> tuple[_Window, float]:
        """The present window of that length, and the seconds that are left of it."""
        window = self._by_length[expiry]
        number, passed = divmod(self._clock(), expiry)
        if number != window.number:
            window.move_to(int(number))
        return window, expiry - passed
