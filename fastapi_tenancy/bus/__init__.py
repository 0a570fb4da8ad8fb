"""Tell other workers what changed, so that they forget it at once."""

from .base import Bus, Hear, NoBus, Write
from .change import EVERYTHING, Change, Topic
from .in_memory import InMemoryBus
from .polling import ChangeLog, PollingBus
from .postgresql import NotifyingStore, PostgreSQLBus
from .redis import RedisBus

__all__ = [
    "EVERYTHING",
    "Bus",
    "Change",
    "ChangeLog",
    "Hear",
    "InMemoryBus",
    "NoBus",
    "NotifyingStore",
    "PollingBus",
    "PostgreSQLBus",
    "RedisBus",
    "Topic",
    "Write",
]
