"""The `basic` manager: every tenant has a database of its own, opened while it is in use."""

from functools import partial
from pathlib import Path

from ..engines import connections_of, parse_url, sqlite_file
from ..errors import ConfigurationError
from ..tenant import Tenant
from .base import BaseMultitenantManager
from .isolation import stamped_sessionmaker
from .profile import Profile, RootProfile
from .sqlite_file import create_file, drop_file, open_file


class MultitenantManager(BaseMultitenantManager):
    """Keeps each tenant in a SQLite file, with an engine for each open profile."""

    def __init__(self, root_profile: RootProfile) -> None:
        super().__init__(root_profile)
        settings = root_profile.settings
        if settings.tenant_database_url is None:
            self._pattern = _file(settings.database_url, "database_url").parent / "tenants" / "{id}.db"
        else:
            self._pattern = _file(settings.tenant_database_url, "tenant_database_url")

    def namespace(self, tenant: Tenant) -> str:
        # Not the derived path: a data folder that is moved as a whole keeps its tenants.
        return f"basic/{tenant.id}" if tenant.database_url is None else f"sqlite/{self._file(tenant).resolve()}"

    async def create_tenant(self, tenant: Tenant) -> None:
        await create_file(self._file(tenant), tenant, self.root_profile.metadata)

    async def drop_tenant(self, tenant: Tenant) -> None:
        await drop_file(self._file(tenant), tenant)

    async def open_profile(self, tenant: Tenant) -> Profile:
        engine = await open_file(self._file(tenant), tenant, **self.root_profile.pool)
        new_session = stamped_sessionmaker(engine, self.root_profile.session_class, tenant.id)
        connections = partial(connections_of, engine)
        return Profile(tenant, self.settings_of(tenant), new_session, engine.dispose, connections)

    def _file(self, tenant: Tenant) -> Path:
        if tenant.database_url is None:
            return Path(str(self._pattern).replace("{id}", tenant.id))
        return _file(tenant.database_url, "the tenant's database_url")


def _file(url_text: str, setting: str) -> Path:
    file = sqlite_file(parse_url(url_text, setting))
    if file is None:
        raise ConfigurationError(
            f"the basic manager keeps tenants in SQLite files, and {setting} names none; "
            "set tenant_database_url to sqlite+aiosqlite:///./data/tenants/{id}.db"
        )
    return file
