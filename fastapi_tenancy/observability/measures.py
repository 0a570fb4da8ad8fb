"""What `Tenancy.stats` counts, under the names that monitoring knows it by."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, Protocol

from ..errors import ConfigurationError
from ..usage import Counted, TenantUsage, Usage


@dataclass(frozen=True, slots=True)
class Measure:
    """One number.

    Attributes:
        name: with dots, as OpenTelemetry writes names; Prometheus has underscores.
        kind: "counter" only grows, and begins at 0 with the process; "gauge" is what is there now.
        about: what it counts.
        value: the number.
        labels: which of several: managers, servers and caches, and tenants where a number of them was asked for.
    """

    name: str
    kind: Literal["counter", "gauge"]
    about: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


# For each part of the statistics: key → name, kind, what it is, and a label that tells it from others of that name.
_Named = Mapping[str, tuple[str, Literal["counter", "gauge"], str, Mapping[str, str]]]

_DIRECTORY: _Named = {
    "loads": ("tenancy.store.loads", "counter", "Look-ups of tenants that asked the store.", {}),
    "store_failures": ("tenancy.store.failures", "counter", "Calls of the store that failed or took too long.", {}),
    "store_refusals": ("tenancy.store.refusals", "counter", "Calls that were not made, to spare a failing store.", {}),
    "store_is_spared": ("tenancy.store.spared", "gauge", "1 while the store is spared, since it fails.", {}),
    "served_stale": ("tenancy.stale", "counter", "Look-ups answered with an expired tenant, as the store failed.", {}),
}

_CACHE: _Named = {
    "size": ("tenancy.cache.entries", "gauge", "Names that are remembered.", {}),
    "max_size": ("tenancy.cache.limit", "gauge", "Names that can be remembered.", {}),
    "hits": ("tenancy.cache.hits", "counter", "Look-ups that were answered from memory.", {}),
    "misses": ("tenancy.cache.misses", "counter", "Look-ups that were not.", {}),
}

_PROFILES = "Profiles, by what is the matter with them; leased ones are open, too."
_PROFILE_EVENTS = "What happened to profiles."

_MANAGER: _Named = {
    "capacity": ("tenancy.profiles.limit", "gauge", "Profiles that are kept open beside those in use.", {}),
    **{
        name: ("tenancy.profiles", "gauge", _PROFILES, {"state": name})
        for name in ("open", "leased", "opening", "closing")
    },
    **{
        name: ("tenancy.profile.events", "counter", _PROFILE_EVENTS, {"event": event})
        for name, event in {
            "hits": "found_open",
            "misses": "not_open",
            "opened": "opened",
            "open_failures": "open_failed",
            "evictions": "evicted",
            "closed": "closed",
            "close_failures": "close_failed",
        }.items()
    },
}

_SERVER: _Named = {
    "limit": ("tenancy.connections.limit", "gauge", "The budget of connections to a server.", {}),
    "open": ("tenancy.connections", "gauge", "Connections to a server that are open.", {}),
    "waiting": ("tenancy.connections.waiting", "gauge", "Work that waits for a connection.", {}),
}

_BUS: _Named = {
    "connected": ("tenancy.bus.connected", "gauge", "1 while changes of other workers are heard of.", {}),
    "received": ("tenancy.bus.received", "counter", "Changes that others told.", {}),
    "published": ("tenancy.bus.published", "counter", "Changes that were told to others.", {}),
    "reconnects": ("tenancy.bus.reconnects", "counter", "How often the bus had to be connected again.", {}),
}

_WATCHED: _Named = {
    "tenants": ("tenancy.watched.tenants", "gauge", "Tenants whose WebSockets or streams are watched.", {}),
    "watchers": ("tenancy.watched.streams", "gauge", "WebSockets and streams that are watched.", {}),
}

_LIMITS: _Named = {
    "running": ("tenancy.limits.running", "gauge", "Requests that hold a place of their tenant's.", {}),
    "queued": ("tenancy.limits.queued", "gauge", "Requests that wait for one.", {}),
    "refused_by_rate": ("tenancy.limits.refused", "counter", "Requests that were refused.", {"by": "rate"}),
    "refused_as_busy": ("tenancy.limits.refused", "counter", "Requests that were refused.", {"by": "bulkhead"}),
}

_USAGE: _Named = {
    "tenants": ("tenancy.usage.tenants", "gauge", "Tenants that are counted one by one.", {}),
    "requests": ("tenancy.usage.requests", "counter", "Requests for tenants.", {}),
    "request_seconds": ("tenancy.usage.request_seconds", "counter", "Seconds that requests for tenants took.", {}),
    "statements": ("tenancy.usage.statements", "counter", "Statements of tenants' sessions.", {}),
    "database_seconds": (
        "tenancy.usage.database_seconds",
        "counter",
        "Seconds that statements of tenants' sessions took.",
        {},
    ),
    "connections": ("tenancy.usage.connections", "gauge", "Connections that tenants' sessions hold.", {}),
    "connection_seconds": (
        "tenancy.usage.connection_seconds",
        "counter",
        "Seconds for which tenants' sessions held connections.",
        {},
    ),
}

# The same of one tenant, in whose labels its requests have a status besides.
_TENANT: _Named = {
    key: (name.replace(".usage.", ".tenant."), kind, about, {})
    for key, (name, kind, about, _) in _USAGE.items()
    if key != "tenants"
}

# Name → kind, and what it is.
INSTRUMENTS: Mapping[str, tuple[Literal["counter", "gauge"], str]] = MappingProxyType(
    {
        name: (kind, about)
        for part in (_DIRECTORY, _CACHE, _MANAGER, _SERVER, _BUS, _WATCHED, _LIMITS, _USAGE, _TENANT)
        for name, kind, about, _ in part.values()
    }
)


class SupportsStats(Protocol):
    """What is measured: a `Tenancy`."""

    @property
    def usage(self) -> TenantUsage | None: ...

    def stats(self) -> dict[str, Any]: ...


class TopTenants:
    """The tenants that get series of their own: `top` of them, those that have taken most of `by`.

    Raises:
        ConfigurationError: there are to be some, and `tenancy` counts none.
    """

    def __init__(self, tenancy: SupportsStats, top: int, by: Counted) -> None:
        if top and tenancy.usage is None:
            raise ConfigurationError(f"top={top} shows what tenants take; count it with Tenancy(usage=TenantUsage())")
        self._usage = tenancy.usage
        self._top = top
        self._by = by

    def __call__(self) -> list[Usage]:
        return [] if self._usage is None or not self._top else self._usage.top(self._top, self._by)


def measures(stats: Mapping[str, Any], tenants: Iterable[Usage] = ()) -> Iterator[Measure]:
    """The numbers in what `Tenancy.stats` gave, and those of some tenants; what is not in use is left out."""
    yield from _of(stats, _DIRECTORY)
    for cache in ("tenants", "unknown", "shared"):
        yield from _of(stats.get(cache, {}), _CACHE, cache=cache)
    for manager, counted in stats.get("managers", {}).items():
        yield from _of(counted, _MANAGER, manager=manager)
    for server, counted in stats.get("servers", {}).items():
        yield from _of(counted, _SERVER, server=server)
    yield from _of(stats.get("bus", {}), _BUS)
    yield from _of(stats.get("watched", {}), _WATCHED)
    yield from _of(stats.get("limits", {}), _LIMITS)
    yield from _of(stats.get("usage", {}), _USAGE)
    for usage in tenants:
        yield from _of_tenant(usage)


def _of_tenant(usage: Usage) -> Iterator[Measure]:
    labels = {"tenant_id": usage.tenant_id or "", "tenant": usage.identifier or ""}
    for key, (name, kind, about, _) in _TENANT.items():
        if key != "requests":
            yield Measure(name, kind, about, float(getattr(usage, key)), labels)
            continue
        for status, requests in usage.by_status.items():
            yield Measure(name, kind, about, float(requests), {**labels, "status": status})


def _of(counted: Mapping[str, Any], named: _Named, **labels: str) -> Iterator[Measure]:
    for key, (name, kind, about, own) in named.items():
        if key in counted:
            yield Measure(name, kind, about, float(counted[key]), {**labels, **own})
