"""What is done to the fleet: migrate all tenants, keep some ready, take one elsewhere, and look what is wrong."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from ..administration import Administration
from ..multitenant import Profile
from ..tenant import TenantStatus
from .gather import Outcome, gather

T = TypeVar("T")

_PAGE = 500  # tenants that are listed at once


class Fleet(Administration, ABC):
    """The acts of a `Tenancy` that concern many tenants, or one as a whole; `Tenancy` makes what they need."""

    @abstractmethod
    def use(self, identifier: str) -> AbstractAsyncContextManager[Profile]: ...

    async def gather(
        self,
        function: Callable[[Profile], Awaitable[T] | T],
        tenants: Iterable[str] | None = None,
        *,
        limit: int = 10,
        timeout: float | None = None,  # noqa: ASYNC109 - of each tenant, not of the call
    ) -> list[Outcome[T]]:
        """Ask many tenants, some at a time: an outcome for each, in their order, and no failure stops the others.

        Args:
            function: is called with the tenant's profile, inside `use`; a `def` runs in a thread.
            tenants: identifiers; None for all active tenants.
            limit: how many are asked at once.
            timeout: seconds for each tenant; None for no end. A thread goes on unseen beyond it.

        Raises:
            ValueError: `limit` is below 1.
            StoreUnavailableError: the tenants could not be listed.
        """
        if limit < 1:
            raise ValueError(f"limit is {limit}; ask at least 1 tenant at once")
        identifiers = self._active() if tenants is None else _each(tenants)
        return await gather(self.use, identifiers, function, limit=limit, seconds=timeout)

    async def _active(self) -> AsyncIterator[str]:
        after = None
        while True:
            page = await self.list_tenants(_PAGE, after, TenantStatus.ACTIVE)
            for tenant in page.items:
                yield tenant.identifier
            after = page.next
            if after is None:
                return


async def _each(identifiers: Iterable[str]) -> AsyncIterator[str]:
    for identifier in identifiers:
        yield identifier
