"""Spare what fails: after several failures in a row, one question at a time is asked, and after ever longer pauses."""

import time
from collections.abc import Callable
from random import random

_PAUSES = (0.25, 0.5, 1.0, 2.0)  # seconds; the longest is what Retry-After says


class Refused(Exception):  # noqa: N818 - nothing went wrong: it was not tried
    """Nothing is asked now."""


class Breaker:
    """Closed while what it guards answers; open after `limit` failures in a row, until it answers once.

    Whoever calls `enter` says afterwards how it went, with what `enter` returned.

    Args:
        limit: failures.
        clock: seconds that only go forward.
        jitter: from 0 to 1, at random, so that not all workers come back in the same moment.
    """

    def __init__(
        self, limit: int, clock: Callable[[], float] = time.monotonic, jitter: Callable[[], float] = random
    ) -> None:
        self._limit = limit
        self._clock = clock
        self._jitter = jitter
        self._failures = 0
        self._ask_again = 0.0
        self._is_probing = False
        self.refused = 0

    @property
    def is_open(self) -> bool:
        return self._failures >= self._limit

    def enter(self) -> bool:
        """Whether the question is a probe, on which others wait.

        Raises:
            Refused: another one is under way, or it is too early for one.
        """
        if not self.is_open:
            return False
        if self._is_probing or self._clock() < self._ask_again:
            self.refused += 1
            raise Refused
        self._is_probing = True
        return True

    def answered(self) -> None:
        """It answers again, also where a question says so that was asked before the last failure."""
        self._failures = 0

    def failed(self, is_probe: bool) -> None:
        if self.is_open and not is_probe:
            return  # it was asked when the breaker was still closed
        self._failures += 1
        if self.is_open:
            pause = _PAUSES[min(self._failures - self._limit, len(_PAUSES) - 1)]
            self._ask_again = self._clock() + pause / 2 + self._jitter() * pause / 2

    def left(self, is_probe: bool) -> None:
        """The question has ended, however it did."""
        if is_probe:
            self._is_probing = False
