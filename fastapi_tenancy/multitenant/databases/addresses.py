"""Where a tenant's own database is."""

import secrets
from dataclasses import dataclass, replace
from inspect import isawaitable

from sqlalchemy import URL

from ...errors import ConfigurationError
from ...tenant import Tenant
from ...urls import is_sqlite, parse_url, server_of, sqlite_file
from ..profile import RootProfile

# What is possible, and how it is written.
_EXAMPLES = {
    "sqlite": "sqlite+aiosqlite:///./data/tenants/{id}.db",
    "postgresql": "postgresql+psycopg://user:password@host/t_{id}",
    "mysql": "mysql+asyncmy://user:password@host/t_{id}",
    "mariadb": "mariadb+asyncmy://user:password@host/t_{id}",
}

# Bytes. PostgreSQL cuts a longer name off, so that two names could be one database.
# <https://www.postgresql.org/docs/current/sql-syntax-lexical.html>, <https://mariadb.com/kb/en/identifier-names/>
_LONGEST_NAME = {"postgresql": 63, "mysql": 64, "mariadb": 64}

# Drivers take these from a URL's query, over the name that stands in the path.
_OTHER_NAMES = ("dbname", "database", "db")

# What one can connect to on any server while the tenant's own database is not there; MySQL's needs none.
_MAINTENANCE = {"postgresql": ("postgres", "template1"), "mysql": ("",), "mariadb": ("",)}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a tenant's database is, and how it is reached.

    Attributes:
        url: as the tenant's sessions connect to it.
        admin: as it is filled; another user's than `url` where the tenant has a role of its own.
        maintenance: the server's databases from which it is created and dropped; the first that lets us in counts.
    """

    url: URL
    admin: URL
    maintenance: tuple[URL, ...] = ()

    @property
    def name(self) -> str:
        """Of the database."""
        return self.url.database or ""

    @property
    def role(self) -> str | None:
        """The tenant's own role; None where it has none."""
        return None if self.url.username == self.admin.username else self.url.username


class Addresses:
    """Tells where each tenant's database is: where the tenant's URL says, else where the deployment's settings say.

    Raises:
        ConfigurationError: the settings name no place that can work.
    """

    def __init__(self, root_profile: RootProfile) -> None:
        settings = root_profile.settings
        self._placement = root_profile.placement
        self._with_role = settings.tenant_role
        self._maintenance: tuple[URL, ...]
        if settings.tenant_database_url is None:
            server = _possible(settings.database_url, "database_url")
            self._pattern, self._maintenance = _beside(server), (server,)
        else:
            self._pattern = _possible(settings.tenant_database_url, "tenant_database_url")
            self._maintenance = _maintenance_of(self._pattern)
            if "{id}" not in str(self._pattern.database):
                raise ConfigurationError("tenant_database_url must have {id} in the name of the database")
        backend = self._pattern.get_backend_name()
        if settings.tenant_role and backend != "postgresql":
            raise ConfigurationError(f"tenant_role needs PostgreSQL, and the tenants are on {backend}; leave it out")
        if settings.tenant_template and backend != "postgresql" and self._placement is None:
            raise ConfigurationError(
                f"tenant_template needs PostgreSQL, and the tenants are on {backend}; leave it out"
            )

    @property
    def common(self) -> URL | None:
        """The pattern by which all new tenants' databases are named; None where one may go elsewhere, or get a role."""
        return None if self._placement is not None or self._with_role else self._pattern

    async def place(self, tenant: Tenant) -> Tenant:
        """The new tenant with the URL that is to be recorded for it; none where the settings tell it."""
        url: str | URL | None = tenant.database_url
        if url is None and self._placement is not None:
            chosen = self._placement(tenant)
            url = await chosen if isawaitable(chosen) else chosen
        if url is None and self._with_role:
            derived = self._derived(tenant).url
            url = derived.set(username=_role_of(tenant), password=secrets.token_urlsafe(32))
        return tenant if url is None else replace(tenant, database_url=_recorded(url, tenant))

    def namespace(self, tenant: Tenant) -> str:
        """One name for each place, however its URL is spelt."""
        url = self.of(tenant).url
        if tenant.database_url is None or url.username == _role_of(tenant):
            # Not the derived place: a data folder or a server that is moved as a whole keeps its tenants.
            return f"basic/{tenant.id}"
        file = sqlite_file(url)
        if file is not None:
            return f"sqlite/{file.resolve()}"
        backend = "mysql" if url.get_backend_name() == "mariadb" else url.get_backend_name()
        return f"{backend}/{server_of(url)}/{url.database}"

    def of(self, tenant: Tenant) -> Address:
        """The tenant's address.

        Raises:
            ConfigurationError: its URL cannot work.
        """
        if tenant.database_url is None:
            return self._derived(tenant)
        url = _possible(tenant.database_url, "the tenant's database_url")
        if url.username == _role_of(tenant):
            derived = self._derived(tenant)
            return replace(derived, url=derived.url.set(username=url.username, password=url.password))
        return Address(url, url, _maintenance_of(url))

    def _derived(self, tenant: Tenant) -> Address:
        url = _named_after(tenant, self._pattern)
        return Address(url, url, self._maintenance)


def _beside(server: URL) -> URL:
    """The pattern of the tenants' databases where only the deployment's own is known."""
    file = sqlite_file(server)
    if file is None:
        return server.set(database="t_{id}")
    return URL.create("sqlite+aiosqlite", database=str(file.parent / "tenants" / "{id}.db"))


def _possible(text: str, setting: str) -> URL:
    url = parse_url(text, setting)
    backend = url.get_backend_name()
    if backend not in _EXAMPLES:
        raise ConfigurationError(
            f"{setting}: the basic manager cannot use {backend}; use one of {', '.join(_EXAMPLES)}"
        )
    if not url.database or (is_sqlite(url) and sqlite_file(url) is None):
        raise ConfigurationError(
            f"{setting} names no database that could be opened again; set tenant_database_url, or the tenant's own, to "
            f"something like {_EXAMPLES[backend]}"
        )
    if any(name in url.query for name in _OTHER_NAMES):
        raise ConfigurationError(f"{setting}: name the database in the URL's path only, not in its query")
    longest = _LONGEST_NAME.get(backend)
    if longest is not None and len(url.database.replace("{id}", "x" * 32).encode()) > longest:
        raise ConfigurationError(f"{setting}: the name of a database has at most {longest} bytes; choose a shorter one")
    return url


def _maintenance_of(url: URL) -> tuple[URL, ...]:
    return tuple(url.set(database=name) for name in _MAINTENANCE.get(url.get_backend_name(), ()))


def _role_of(tenant: Tenant) -> str:
    return f"t_{tenant.id}"


def _recorded(url: str | URL, tenant: Tenant) -> str:
    text = url if isinstance(url, str) else url.render_as_string(hide_password=False)
    pattern = _possible(text, "the tenant's database_url")
    if "{id}" not in str(pattern.database):
        return text
    return _named_after(tenant, pattern).render_as_string(hide_password=False)


def _named_after(tenant: Tenant, pattern: URL) -> URL:
    return pattern.set(database=str(pattern.database).replace("{id}", tenant.id))
