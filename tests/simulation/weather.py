"""How long everything takes, and what goes wrong with it: all of it drawn from one seed."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from .process import Process


class Fate(Enum):
    """What becomes of a call."""

    WELL = "well"
    LOST = "lost"  # it fails, and was not done
    UNCERTAIN = "uncertain"  # it fails, and was done
    SLOW = "slow"
    HANGS = "hangs"  # its answer never comes; it is done late, or not at all


@dataclass(frozen=True)
class Call:
    """Seconds to the server and back, what becomes of it, and whether the server drops it if the caller goes away."""

    there: float
    back: float
    fate: Fate
    dropped: bool


class Weather:
    """Good unless a storm was raised.

    Attributes:
        rng: from which everything is drawn.
    """

    def __init__(self, rng: random.Random, now: Callable[[], float]) -> None:
        self.rng = rng
        self._now = now
        self._storms: dict[Process, tuple[float, tuple[Fate, ...]]] = {}
        self._last_storm: dict[Process, float] = {}

    def raise_storm(self, process: Process, seconds: float, fates: tuple[Fate, ...]) -> None:
        """Let calls of the process meet these fates."""
        self._storms[process] = self._now() + seconds, fates
        self._last_storm[process] = self._now() + seconds

    def clear_up(self) -> None:
        self._storms.clear()

    def is_stormy(self, process: Process, since: float) -> bool:
        """Whether there was a storm at any time since then."""
        return self._last_storm.get(process, -1.0) >= since

    def call(self, process: Process) -> Call:
        rng = self.rng
        longest = 0.2 if rng.random() < 0.2 else 0.02
        there, back, fate = rng.uniform(0.0005, longest), rng.uniform(0.0005, longest), Fate.WELL
        until, fates = self._storms.get(process, (0.0, ()))
        if self._now() < until and rng.random() < 0.6:
            fate = rng.choice(fates)
        if fate is Fate.SLOW:
            there, back = rng.uniform(0.02, 1.5), rng.uniform(0.02, 1.5)
        elif fate is Fate.HANGS:
            there = rng.uniform(1.0, 5.0)
        return Call(there, back, fate, rng.random() < 0.5)

    def pause(self, shortest: float, longest: float) -> float:
        return self.rng.uniform(shortest, longest)
