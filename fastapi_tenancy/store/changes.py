"""What a store must do so that a change and what tells others of it are committed together."""

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

from ..bus import ChangeLog, NotifyingStore


@runtime_checkable
class ChangeStore(NotifyingStore, ChangeLog, Protocol):
    """A store that tells of its changes to tenants, tokens and domains.

    Attributes:
        store_id: its own for ever, and no other store's; known once it is open.
        buses: the kinds of bus that it can tell by, the quickest first; none where no other process can use it.
    """

    @property
    def store_id(self) -> str: ...

    @property
    def buses(self) -> Sequence[Literal["postgresql", "poll"]]: ...
