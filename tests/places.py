"""Everywhere that tenants can be kept: each database, with each manager and isolation that it allows."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import pytest
from prepared_stores import new_store_database
from servers import drop_database, new_database, plain_role, rows_of
from sqlalchemy import make_url
from sqlalchemy.exc import ProgrammingError

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
    server = request.getfixturevalue(fixture)
    # PostgreSQL's own user would walk past row-level security.
    by_role = name.endswith("-rls")
    # A role has to own the store's tables, and PgBouncer stays connected to what is to be copied.
    copies = fixture == "postgresql_url" and not by_role
    database = new_store_database(server) if copies else new_database(server)
    try:
        url = plain_role(database) if by_role else database
        yield {"database_url": url, **settings}
    finally:
        for tenant_id in _tenants_in(database):
            drop_database(make_url(database).set(database=f"t_{tenant_id}").render_as_string(hide_password=False))
        drop_database(database)


def places_fixture(names: Iterable[str]) -> Any:
    """A fixture `place`: the settings for each of the places in turn, for `make_tenancy(tmp_path, **place)`."""

    @pytest.fixture(params=names, name="place")
    def place(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
        with place_named(request.param, request) as settings:
            yield settings

    return place


def _tenants_in(database: str) -> list[str]:
    try:
        return [tenant_id for (tenant_id,) in rows_of(database, "SELECT id FROM tenancy_tenants")]
    except ProgrammingError:
        return []  # the test made no store
