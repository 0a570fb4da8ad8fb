"""Settings that are possible, and do not do what is meant."""

from collections.abc import AsyncIterator, Iterator

from ....secret_settings import split
from ..deployment import Deployment
from ..finding import Found, error, info, warning
from ..places import Places
from ..records import Records

# Seconds for which another worker may serve a tenant that was suspended, or refuse one that was created.
_LONG_TTL, _LONG_UNKNOWN_TTL = 300, 60

# Of no use unless tenants are kept like this: the setting, a place's kind or name, and what it belongs to.
_OF_ONE_KIND = (
    ("tenant_database_url", ("file", "database"), 'manager_type="basic"'),
    ("tenant_template", ("database",), 'manager_type="basic" on PostgreSQL'),
    ("tenant_role", ("database",), 'manager_type="basic" on PostgreSQL'),
    ("tenant_search_path", ("schema",), 'shared_isolation="schema"'),
    ("extensions_schema", ("schema",), 'shared_isolation="schema"'),
)


async def settings(deployment: Deployment) -> AsyncIterator[Found]:
    for found in (*_of_caches(deployment), *_of_proxies(deployment), *_of_limits(deployment)):
        yield found
    records, places = await deployment.records(), await deployment.places()
    for found in (
        *_of_connections(deployment, places),
        *_of_tokens(deployment, records),
        *_of_encryption(deployment, places),
        *_without_effect(deployment, places),
        *_of_secrets(deployment, records),
    ):
        yield found


def _of_caches(deployment: Deployment) -> Iterator[Found]:
    settings = deployment.settings
    if settings.bus != "none":
        return
    if settings.cache_ttl > _LONG_TTL:
        yield warning(
            f'bus is "none", and cache_ttl {settings.cache_ttl}: other workers serve a tenant for so many seconds '
            "after it was suspended",
            "set TENANCY_BUS=auto, or TENANCY_CACHE_TTL=60",
        )
    if settings.unknown_cache_ttl > _LONG_UNKNOWN_TTL:
        yield warning(
            f'bus is "none", and unknown_cache_ttl {settings.unknown_cache_ttl:g}: other workers refuse a new tenant '
            "for so many seconds if somebody asked for it before it was created",
            "set TENANCY_BUS=auto, or TENANCY_UNKNOWN_CACHE_TTL=5",
        )


def _of_proxies(deployment: Deployment) -> Iterator[Found]:
    for proxy in deployment.settings.trusted_proxies:
        if proxy != "unix" and proxy.prefixlen == 0:
            yield warning(
                f"trusted_proxies holds {proxy}: X-Forwarded-Host is believed whoever sends it",
                'set TENANCY_TRUSTED_PROXIES to the addresses of your proxies, such as ["10.0.0.0/24"]',
            )


def _of_limits(deployment: Deployment) -> Iterator[Found]:
    if deployment.is_limited and deployment.settings.redis_url is None:
        yield info(
            "rates are counted in each worker, so a tenant has its rate as many times as there are workers",
            "where there are several workers, set TENANCY_REDIS_URL=redis://…",
        )


def _of_connections(deployment: Deployment, places: Places) -> Iterator[Found]:
    settings = deployment.settings
    if not any(place.server for place in places.all()):
        return
    most, budget = settings.pool_size + settings.max_overflow, settings.connection_budget
    if most > budget:
        yield warning(
            f"pool_size + max_overflow is {most}, and connection_budget {budget}: one busy tenant may take every "
            "connection of this process",
            f"set TENANCY_CONNECTION_BUDGET above {most}, or TENANCY_POOL_SIZE and TENANCY_MAX_OVERFLOW lower",
        )
    own = sum(place.kind == "database" for place in places.found)
    opened = min(own, settings.profile_cache_size)
    if opened > budget:
        yield info(
            f"{opened} profiles may be open, each with a pool of its own, and connection_budget is {budget}: tenants "
            "take connections from each other, and connect again",
            f"set TENANCY_CONNECTION_BUDGET={opened}, or TENANCY_PROFILE_CACHE_SIZE={budget}",
        )


def _of_tokens(deployment: Deployment, records: Records) -> Iterator[Found]:
    if records.has_tokens and not deployment.settings.token_secrets:
        yield error(
            "tenants have tokens, and token_secrets is empty: all of them are refused",
            "set TENANCY_TOKEN_SECRETS to the secrets that they were signed with, the newest first",
        )


def _of_encryption(deployment: Deployment, places: Places) -> Iterator[Found]:
    place = places.of_new
    if deployment.settings.encrypt_tenants and place is not None and place.kind != "file":
        yield warning(
            f"encrypt_tenants is set, and new tenants are not encrypted: they get a place of the kind {place.kind!r}, "
            "and only a tenant's own SQLite file can be encrypted",
            "unset TENANCY_ENCRYPT_TENANTS, or keep tenants in files: set TENANCY_MANAGER_TYPE=basic and "
            "TENANCY_TENANT_DATABASE_URL=sqlite+aiosqlite:///./data/tenants/{id}.db",
        )


def _without_effect(deployment: Deployment, places: Places) -> Iterator[Found]:
    kinds = {place.kind for place in places.all()}
    for name, wanted, of in _OF_ONE_KIND:
        if getattr(deployment.settings, name) and kinds and kinds.isdisjoint(wanted):
            yield info(
                f"{name} has no effect: no tenant is kept so; it belongs to {of}", f"unset TENANCY_{name.upper()}"
            )


def _of_secrets(deployment: Deployment, records: Records) -> Iterator[Found]:
    all_settings = [deployment.settings.default_settings, *(tenant.settings for tenant in records.tenants)]
    for name in deployment.settings.secret_settings if records.tenants else ():
        if not any(split(each, [name])[1] for each in all_settings):
            yield info(
                f"secret_settings names {name!r}, which no tenant has",
                "correct TENANCY_SECRET_SETTINGS if it is misspelt, or leave it for tenants to come",
            )
