"""What an application makes once for each open tenant: services, found by their types, and closed with the profile."""

import asyncio
import logging
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from contextvars import Context, ContextVar
from functools import partial
from typing import Any, Protocol

from ..context import tenant_scope
from ..errors import ConfigurationError, TenantUnavailableError
from ..tenant import Tenant
from .service_factories import Open, name_of, read_factory

logger = logging.getLogger(__name__)

_CLOSE_TIMEOUT = 5.0  # seconds, as a profile has in `ProfileCache`


class _OfTenant(Protocol):
    tenant: Tenant


def unregistered(kind: Hashable, known: Iterable[Hashable] = ()) -> ConfigurationError:
    """What to raise for a type that has no factory."""
    return ConfigurationError(
        f"no service of the type {name_of(kind)} is registered, but {', '.join(map(name_of, known)) or 'none'}; "
        "decorate what makes it with @tenancy.service"
    )


class ServiceFactories:
    """The factories of an application, by the type that each makes."""

    def __init__(self) -> None:
        self._factories: dict[Hashable, tuple[Callable[..., Any], Open]] = {}

    def add(self, factory: Callable[..., Any]) -> None:
        """Register a factory under the type that its annotation names.

        Raises:
            ConfigurationError: it is annotated in a way that tells no type, or the type has a factory.
        """
        kind, opener = read_factory(factory)
        if kind in self._factories:
            other, _ = self._factories[kind]
            raise ConfigurationError(
                f"{name_of(other)} and {name_of(factory)} both make {name_of(kind)}; register one of them, or give one "
                "a type of its own, such as a subclass or a NewType"
            )
        self._factories[kind] = factory, opener

    def open(self, profile: _OfTenant, kind: Hashable) -> AbstractAsyncContextManager[Any]:
        """A new service of the profile, for the length of an `async with` block.

        Raises:
            ConfigurationError: the type has no factory.
        """
        if kind not in self._factories:
            raise unregistered(kind, self._factories)
        _, opener = self._factories[kind]
        return opener(profile)

    def of(self, profile: _OfTenant) -> "ProfileServices | None":
        """The services of a profile that was just opened; None where there are no factories."""
        return ProfileServices(profile, self) if self._factories else None


class _Service:
    """One service from the start of its making to the end of its closing; `made` is its future value."""

    __slots__ = ("kind", "leaving", "made", "task", "waits_for")
    task: asyncio.Task[None]

    def __init__(self, kind: Hashable) -> None:
        self.kind = kind
        self.made: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.leaving = asyncio.Event()
        self.waits_for: list[_Service] = []

    async def ready(self) -> None:
        """Wait until it is made or has failed; whoever waits may be cancelled without harm to the others.

        Raises:
            ConfigurationError: it waits itself, by way of others, for the service whose factory asks.
        """
        if self.made.done():
            return
        asker = _asking.get()
        if asker is None:
            await asyncio.wait({self.made})
            return
        if cycle := asker.cycle_by(self):
            raise ConfigurationError(f"services need each other: {' → '.join(name_of(each.kind) for each in cycle)}")
        asker.waits_for.append(self)
        try:
            await asyncio.wait({self.made})
        finally:
            asker.waits_for.remove(self)

    def cycle_by(self, needed: "_Service") -> "list[_Service]":
        """The way from this service back to it that starts with `needed`; empty if there is none."""
        return next(([self, *way] for way in needed.ways() if way[-1] is self), [])

    def ways(self) -> "Iterator[list[_Service]]":
        """Every way that starts here and goes on to what is waited for now."""
        if not self.made.done():
            yield [self]
            for needed in self.waits_for:
                yield from ([self, *way] for way in needed.ways())


# The service whose factory is running; a request that asks runs in no factory.
_asking: ContextVar[_Service | None] = ContextVar("fastapi_tenancy.services.asking", default=None)


class ProfileServices:
    """The services of one open profile.

    Each lives in a task of its own, from its making to its closing: what it opens, say a task group, is closed by the
    task that opened it, and neither the cancellation nor the context of who asks first reaches it.
    """

    def __init__(self, profile: _OfTenant, factories: ServiceFactories) -> None:
        self.profile = profile
        self._factories = factories
        self._services: dict[Hashable, _Service] = {}  # those that are made last, in the order of that
        self._closed = False

    async def get(self, kind: Hashable) -> Any:
        """As `Profile.service`."""
        while (service := self._services.get(kind)) is not None:
            await service.ready()
            if service.made.exception() is None:
                return service.made.result()
            # It failed, and who started it gets the error; the first of those who waited starts it again.
        service = self._start(kind)
        await service.ready()
        return service.made.result()

    async def close(self) -> None:
        """Close all in the reverse order of their making; one that fails or hangs is logged, and holds up no other."""
        self._closed = True
        made = [service for service in self._services.values() if service.made.done()]
        in_making = [service for service in self._services.values() if not service.made.done()]
        for service in in_making:
            service.task.cancel()
        await self._leave(*in_making)
        for service in reversed(made):
            await self._leave(service)

    def _start(self, kind: Hashable) -> _Service:
        if self._closed:
            raise TenantUnavailableError(f"the services of tenant {self.profile.tenant.identifier!r} are closed")
        self._services[kind] = service = _Service(kind)
        # An empty context: a service is not of the request that happened to ask first.
        service.task = asyncio.get_running_loop().create_task(self._run(service), context=Context())
        service.task.add_done_callback(partial(self._on_ended, service))
        return service

    async def _run(self, service: _Service) -> None:
        _asking.set(service)
        with tenant_scope(self.profile.tenant):
            async with self._factories.open(self.profile, service.kind) as value:
                if not service.leaving.is_set():
                    self._services[service.kind] = self._services.pop(service.kind)
                    service.made.set_result(value)
                    await service.leaving.wait()

    def _on_ended(self, service: _Service, task: asyncio.Task[None]) -> None:
        if self._services.get(service.kind) is service:
            del self._services[service.kind]
        error = None if task.cancelled() else task.exception()
        if not service.made.done():
            cut = TenantUnavailableError(f"the making of {name_of(service.kind)} was cut short; try again")
            service.made.set_exception(error or cut)
            service.made.exception()  # it counts as seen: those who asked may all be gone
        elif error is not None:
            self._log(logging.ERROR, "service failed", service, error)

    async def _leave(self, *services: _Service) -> None:
        tasks = {service.task: service for service in services}
        for service in services:
            self._services.pop(service.kind, None)
            service.leaving.set()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_CLOSE_TIMEOUT)
            for task in late:
                self._log(logging.WARNING, "service hangs in closing", tasks[task])

    def _log(self, level: int, event: str, service: _Service, error: BaseException | None = None) -> None:
        of = {"tenant": self.profile.tenant.id, "service": name_of(service.kind)}
        logger.log(level, event, extra=of, exc_info=error)
