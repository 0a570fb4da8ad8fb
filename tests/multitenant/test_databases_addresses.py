"""Where a tenant's database is: one name for each place, and an error for each that cannot work."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import URL, MetaData, make_url

from fastapi_tenancy import ConfigurationError, TenancySettings, Tenant, TenantStatus
from fastapi_tenancy.multitenant import RootProfile
from fastapi_tenancy.multitenant.databases import Addresses

NOW = datetime.now(UTC)
ACME = Tenant(id="a" * 32, identifier="acme", name="Acme", status=TenantStatus.ACTIVE, created_at=NOW, updated_at=NOW)
SERVER = "postgresql://user:secret@db.example/app"


def addresses(database_url: str = SERVER, placement=None, **settings) -> Addresses:
    given = TenancySettings(database_url=database_url, **settings)
    return Addresses(RootProfile(given, MetaData(), placement=placement))


def at(database_url: str | URL) -> Tenant:
    text = database_url if isinstance(database_url, str) else database_url.render_as_string(hide_password=False)
    return replace(ACME, database_url=text)


def namespace(database_url: str | URL) -> str:
    return addresses().namespace(at(database_url))


def test_a_database_is_derived_on_the_deployments_own_server() -> None:
    address = addresses().of(ACME)
    expected = f"postgresql+psycopg://user:secret@db.example/t_{ACME.id}"
    assert address.url.render_as_string(hide_password=False) == expected
    assert [url.database for url in address.maintenance] == ["app"]
    assert addresses().namespace(ACME) == f"basic/{ACME.id}"


def test_a_pattern_comes_before_the_derived_place() -> None:
    elsewhere = addresses(tenant_database_url="mysql://root@other/app_{id}")
    assert (elsewhere.of(ACME).url.host, elsewhere.of(ACME).name) == ("other", f"app_{ACME.id}")
    assert elsewhere.namespace(ACME) == f"basic/{ACME.id}"


def test_the_tenants_own_url_comes_first() -> None:
    address = addresses(tenant_database_url="mysql://root@other/app_{id}").of(at("postgresql://me@third/own"))
    assert (address.url.host, address.name, address.role) == ("third", "own", None)
    assert [url.database for url in address.maintenance] == ["postgres", "template1"]


@pytest.mark.parametrize(
    "spelling",
    [
        "postgresql://db.example/own",
        "postgresql://DB.Example:5432/own",
        "postgres://me:secret@db.example/own?sslmode=require",
        "postgresql+asyncpg://you@db.example/own",
        URL.create("postgresql+psycopg2", "x", "y", "db.example", None, "own"),
    ],
)
def test_two_spellings_are_one_namespace(spelling: str | URL) -> None:
    assert namespace(spelling) == "postgresql/db.example:5432/own"


def test_mariadb_and_mysql_are_one_backend() -> None:
    assert namespace("mariadb://h/own") == namespace("mysql+asyncmy://root@h:3306/own") == "mysql/h:3306/own"


# SQLAlchemy 2.0 writes and reads a URL without escaping the name.
@given(st.lists(st.sampled_from(["h", "i"]), min_size=2, max_size=2), st.data())
def test_two_databases_are_two_namespaces(hosts: list[str], data: st.DataObject) -> None:
    ports = data.draw(st.lists(st.sampled_from([None, 5433]), min_size=2, max_size=2))
    names = data.draw(
        st.lists(
            st.text(st.characters(codec="ascii", exclude_characters="\0?/#%@"), min_size=1, max_size=9),
            min_size=2,
            max_size=2,
        )
    )
    urls = [URL.create("postgresql", host=h, port=p, database=n) for h, p, n in zip(hosts, ports, names, strict=True)]
    assert (namespace(urls[0]) == namespace(urls[1])) is (urls[0] == urls[1])


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("postgresql://db.example", "names no database"),
        ("mysql://db.example/", "names no database"),
        ("sqlite://", "names no database"),
        ("sqlite:///:memory:", "names no database"),
        ("postgresql://db.example/own?dbname=other", "not in its query"),
        (f"postgresql://db.example/{'x' * 64}", "at most 63 bytes"),
        (f"mysql://db.example/{'x' * 65}", "at most 64 bytes"),
        ("nonsense", "is not a database URL"),
        ("postgresql+nonsense://db.example/own", "no database driver"),
    ],
)
def test_a_url_that_cannot_work_says_why(url: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        addresses().of(at(url))


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"database_url": "sqlite:///x.db", "tenant_role": True}, "tenant_role needs PostgreSQL"),
        ({"database_url": "mysql://root@h/x", "tenant_role": True}, "tenant_role needs PostgreSQL"),
        ({"database_url": "sqlite:///x.db", "tenant_template": "model"}, "tenant_template needs PostgreSQL"),
        ({"tenant_database_url": "postgresql://{id}@h/own"}, "in the name of the database"),
        ({"database_url": "postgresql://h"}, "names no database"),
        ({"database_url": "sqlite://"}, "names no database"),
    ],
)
def test_settings_that_cannot_work_say_why(settings: dict[str, object], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        addresses(**settings)


async def test_a_placement_decides_once_and_its_pattern_is_filled_in() -> None:
    def place(tenant: Tenant) -> URL:
        return URL.create("postgresql", "me", "{id}@:/%", tenant.identifier, None, "of_{id}")

    placed = await addresses(placement=place).place(ACME)
    url = make_url(str(placed.database_url))
    assert (url.host, url.database, url.password) == ("acme", f"of_{ACME.id}", "{id}@:/%")
    assert addresses().namespace(placed) == f"postgresql/acme:5432/of_{ACME.id}"


async def test_a_placement_may_leave_it_to_the_settings() -> None:
    assert await addresses(placement=lambda _: None).place(ACME) == ACME


async def test_a_url_of_ones_own_is_not_placed_and_kept_as_it_is() -> None:
    mine = at("postgresql://me@third/own")
    assert await addresses(placement=lambda _: pytest.fail("asked")).place(mine) == mine


async def test_a_role_is_recorded_with_a_password_of_its_own() -> None:
    placed = [await addresses(tenant_role=True).place(ACME) for _ in range(2)]
    urls = [make_url(str(each.database_url)) for each in placed]
    assert [url.username for url in urls] == [f"t_{ACME.id}"] * 2
    assert urls[0].password != urls[1].password
    assert addresses().namespace(placed[0]) == f"basic/{ACME.id}"


async def test_a_server_that_moves_keeps_the_tenants_that_have_roles() -> None:
    placed = await addresses(tenant_role=True).place(ACME)
    moved = addresses("postgresql://user:secret@new.example/app").of(placed)
    assert (moved.url.host, moved.admin.username, moved.role) == ("new.example", "user", f"t_{ACME.id}")
