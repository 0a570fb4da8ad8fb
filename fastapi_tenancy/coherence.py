"""Keep what this worker remembers coherent with what the others change."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from types import MappingProxyType
from typing import Any

from .bus import Bus, Change, NoBus, PollingBus, PostgreSQLBus, RedisBus, Topic
from .directory import TenantDirectory
from .errors import ConfigurationError
from .multitenant import MultitenantManagerProvider, MultitenantRouteManager, MultitenantTokenManager
from .settings import TenancySettings
from .store import ChangeStore, TenantStore
from .urls import parse_url

logger = logging.getLogger(__name__)


class Coherence:
    """Tells others over the bus what this process changes, and forgets what they tell that they have changed.

    Args:
        bus: tells, and is heard.
        settings: of the deployment.
        directory: of the tenants.
        provider: of the managers, whose profiles are closed.
        domains: where the store keeps any.
        tokens: where the store keeps any.
        look_soon: looks whether a tenant, or if None any, is still active, for those who are served for long.
    """

    def __init__(
        self,
        bus: Bus,
        settings: TenancySettings,
        directory: TenantDirectory,
        provider: MultitenantManagerProvider,
        domains: MultitenantRouteManager | None,
        tokens: MultitenantTokenManager | None,
        look_soon: Callable[[str | None], None],
    ) -> None:
        self._bus = bus
        self._unheard = max(settings.cache_ttl, settings.unknown_cache_ttl)
        self._directory = directory
        self._provider = provider
        self._domains = domains
        self._tokens = tokens
        self._look_soon = look_soon
        self._forget: Mapping[Topic, Callable[..., Awaitable[None]]] = MappingProxyType(
            {
                Topic.TENANT: self._forget_tenant,
                Topic.TOKEN: self._forget_token,
                Topic.DOMAIN: self._forget_domain,
                Topic.EVERYTHING: self._forget_everything,
            }
        )
        directory.on_change(lambda tenant: bus.publish(Change.of_tenant(tenant.id, tenant.identifier)))
        for owner in (domains, tokens):
            if owner is not None:
                owner.on_change = bus.publish

    @property
    def bound(self) -> float:
        """Seconds within which this process sees what others change, as things are now."""
        within = self._bus.within
        return self._unheard if within is None or not self._bus.is_connected else min(within, self._unheard)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self._bus.running(self.hear):
            logger.info(
                "changes by other workers are seen within %g s (bus: %s, connected: %s), and within %g s without a bus",
                self.bound,
                self._bus.kind,
                "yes" if self._bus.is_connected else "no",
                self._unheard,
            )
            yield

    async def hear(self, changes: Sequence[Change]) -> None:
        """Forget what others have changed; what is being loaded meanwhile is not kept."""
        for change in changes:
            await self._forget[change.topic](*change.keys)

    def bus(self) -> tuple[str, bool]:
        """Its kind, as the setting `bus` names it, and whether it is connected."""
        return self._bus.kind, self._bus.is_connected

    def stats(self) -> dict[str, float]:
        return {"connected": self._bus.is_connected, **self._bus.stats(), "bound": self.bound}

    async def _forget_tenant(self, tenant_id: str, *identifiers: str) -> None:
        await self._directory.forget_changed(tenant_id, *identifiers)
        for manager in self._provider.managers.values():
            manager.forget_profile(tenant_id)
        self._look_soon(tenant_id)

    async def _forget_token(self, token_id: str) -> None:
        if self._tokens is not None:
            await self._tokens.forget(token_id)

    async def _forget_domain(self, tenant_id: str, host: str) -> None:
        if self._domains is not None:
            await self._domains.forget(tenant_id, host)

    async def _forget_everything(self) -> None:
        await self._directory.forget_all()
        if self._tokens is not None:
            await self._tokens.forget()
        if self._domains is not None:
            await self._domains.forget_all()
        self._look_soon(None)


def bus_of(settings: TenancySettings, store: TenantStore) -> Bus:
    """The bus that the settings name.

    Raises:
        ConfigurationError: it cannot work with this store or these settings.
    """
    kinds = _kinds(settings, store)
    kind = kinds[0] if settings.bus == "auto" else settings.bus
    if kind not in kinds:
        raise ConfigurationError(
            f"the bus {kind!r} cannot work here, as {_NEEDS[kind]}; use one of {', '.join(('auto', *kinds))}"
        )
    return _MAKE[kind](settings, store)


_NEEDS = {
    "redis": "there is no redis_url",
    "postgresql": "it needs a store on PostgreSQL, and no pooler in front of it",
    "poll": "it needs a store in a SQL database that other processes can open",
}

_MAKE: Mapping[str, Callable[[TenancySettings, Any], Bus]] = MappingProxyType(
    {
        "redis": lambda settings, store: RedisBus(settings.redis_url or "", lambda: store_name(settings, store)),
        "postgresql": lambda _, store: PostgreSQLBus(store),
        "poll": lambda settings, store: PollingBus(store, settings.bus_poll_interval, settings.store_timeout),
        "none": lambda *_: NoBus(),
    }
)


def _kinds(settings: TenancySettings, store: TenantStore) -> Sequence[str]:
    """What can work, what "auto" takes first."""
    told = store.buses if isinstance(store, ChangeStore) else ()
    listening = settings.pooler == "none"
    redis = ("redis",) if settings.redis_url else ()
    return (*redis, *(kind for kind in told if listening or kind != "postgresql"), "none")


def store_name(settings: TenancySettings, store: TenantStore) -> str:
    """The same in all workers on a store, however they reach it; of a store without an id, where the URL leads."""
    if isinstance(store, ChangeStore):
        return store.store_id
    url = parse_url(settings.database_url, "database_url").set(username=None, password=None)
    return sha256(str(url).encode()).hexdigest()[:32]
