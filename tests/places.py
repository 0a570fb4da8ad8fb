"""Everywhere that tenants can be kept: each database, with each manager and isolation that it allows."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import pytest
from prepared_stores import new_store_database
from servers import administer, drop_database, rows_of
from sqlalchemy import make_url

# The name → the fixture that has the server's URL, and the settings.
PLACES: Mapping[str, tuple[str | None, Mapping[str, Any]]] = MappingProxyType(
    {
        "sqlite-basic": (None, {"manager_type": "basic"}),
        "sqlite-row": (None, {"manager_type": "shared-profile"}),
        "postgresql-basic": ("postgresql_url", {"manager_type": "basic"}),
        "postgresql-schema": ("postgresql_url", {"manager_type": "shared-profile"}),
        "postgresql-rls": ("postgresql_url", {"manager_type": "shared-profile", "shared_isolation": "rls"}),
        "postgresql-row": ("postgresql_url", {"manager_type": "shared-profile", "shared_isolation": "row"}),
        "mariadb-basic": ("mysql_url", {"manager_type": "basic"}),
        "mariadb-schema": ("mysql_url", {"manager_type": "shared-profile"}),
        "mariadb-row": ("mysql_url", {"manager_type": "shared-profile", "shared_isolation": "row"}),
    }
)

_POOLED = {"pooler": "transaction", "pool_size": 2, "max_overflow": 2}

# The same by way of PgBouncer in transaction mode.
POOLED_PLACES: Mapping[str, tuple[str | None, Mapping[str, Any]]] = MappingProxyType(
    {
        name.replace("postgresql", "pgbouncer"): ("pgbouncer_url", {**settings, **_POOLED})
        for name, (fixture, settings) in PLACES.items()
        if fixture == "postgresql_url"
    }
)


@contextmanager
def place_named(name: str, request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """Settings that lead there; on a server, to an empty database, which is dropped with those of its tenants."""
    fixture, settings = {**PLACES, **POOLED_PLACES}[name]
    if fixture is None:
        yield dict(settings)
        return
    by_way_of = make_url(request.getfixturevalue(fixture))
    # What PgBouncer is connected to cannot be copied.
    server = request.getfixturevalue("postgresql_url" if fixture == "pgbouncer_url" else fixture)
    before = _tenants_databases(server)
    # PostgreSQL's own user would walk past row-level security.
    database = new_store_database(server, by_role=name.endswith("-rls"))
    url = make_url(database).set(host=by_way_of.host, port=by_way_of.port)
    try:
        yield {"database_url": url.render_as_string(hide_password=False), **settings}
    finally:
        if left := _tenants_databases(server) - before:
            # Others may be making theirs on the same server.
            for (tenant_id,) in rows_of(database, "SELECT id FROM tenancy_tenants"):
                if (tenants_own := f"t_{tenant_id}") in left:
                    drop_database(make_url(database).set(database=tenants_own).render_as_string(hide_password=False))
        drop_database(database)


def places_fixture(names: Iterable[str]) -> Any:
    """A fixture `place`: the settings for each of the places in turn, for `make_tenancy(tmp_path, **place)`."""

    @pytest.fixture(params=names, name="place")
    def place(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
        with place_named(request.param, request) as settings:
            yield settings

    return place


def _tenants_databases(server_url: str) -> set[str]:
    return {name for (name,) in administer(server_url, _NAMES[make_url(server_url).get_backend_name()])}


_NAMES = {
    "postgresql": "SELECT datname FROM pg_database WHERE datname LIKE 't\\_%'",
    "mysql": "SHOW DATABASES LIKE 't\\_%'",
}
