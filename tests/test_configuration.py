"""Settings that cannot work are refused at construction or at start, with a message that says what to do."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import URL, Column, Integer, MetaData, Table
from support import Base, client_of, make_app, make_tenancy, named, running

from fastapi_tenancy import (
    ConfigurationError,
    HeaderResolver,
    PathResolver,
    SubdomainResolver,
    Tenancy,
    TenancyMiddleware,
    TenancySettings,
)
from fastapi_tenancy.multitenant import MultitenantManagerProvider


@pytest.mark.parametrize(
    "domain", ["", ".", " ", "exa mple.com", "*.example.com", "http://example.com", "example..com"]
)
def test_a_domain_that_is_none(domain: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape("'example.com'")):
        SubdomainResolver(domain)


@pytest.mark.parametrize("domain", ["Example.COM", ".example.com", "example.com.", "example.com:8000"])
def test_a_domain_is_normalised(domain: str) -> None:
    scope = {"headers": [(b"host", b"acme.example.com")]}
    assert SubdomainResolver(domain)(scope) == "acme"


@pytest.mark.parametrize("prefix", ["", "/", "t", "t/", "/t/", "//", "/a b", "/{tenant}"])
def test_a_path_prefix_that_is_none(prefix: str) -> None:
    with pytest.raises(ConfigurationError, match="begin it with a slash"):
        PathResolver(prefix)


@pytest.mark.parametrize("header", ["", "X Tenant", "X-Tenant:", "Größe"])
def test_a_header_that_is_none(header: str) -> None:
    with pytest.raises(ConfigurationError, match="X-Tenant-ID"):
        HeaderResolver(header)


@pytest.mark.parametrize("exclude", ["/health", [""], ["/"], ["health"], ["//"]])
def test_an_exclude_that_is_none(tmp_path: Path, exclude: object) -> None:
    with pytest.raises(ConfigurationError, match="exclude"):
        TenancyMiddleware(make_app, tenancy=make_tenancy(tmp_path), exclude=exclude)


@pytest.mark.parametrize("resolvers", [[], ["X-Tenant-ID"], [None]])
def test_no_resolver(tmp_path: Path, resolvers: list[object]) -> None:
    with pytest.raises(ConfigurationError, match="resolver"):
        make_tenancy(tmp_path, resolvers=resolvers)


@pytest.mark.parametrize(
    "name", ["nonsense", "no.such.module.Manager", "os.path.join", "fastapi_tenancy.Tenancy", "fastapi_tenancy.nothing"]
)
def test_an_unknown_manager_lists_the_choices(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"basic, shared-profile"):
        make_tenancy(tmp_path, manager_type=name)


async def test_an_unknown_manager_of_one_tenant(tmp_path: Path) -> None:
    async with make_tenancy(tmp_path) as tenancy:
        with pytest.raises(ConfigurationError, match=r"basic, shared-profile"):
            await tenancy.create_tenant("acme", manager_type="nonsense")
        assert (await tenancy.list_tenants()).items == []


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("nonsense", "is not a database URL"),
        ("nonsense://user:secret@host/db", "the database 'nonsense'; use one of sqlite, postgresql, mysql, mariadb"),
        ("oracle+oracledb://user:secret@host/db", "the database 'oracle'"),
        ("mysql+aiomysql://user:secret@host/db", "pip install aiomysql"),
        ("mysql+asyncmy2://user:secret@host/db", "no database driver"),
    ],
)
def test_a_url_without_a_driver(url: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(says)) as error:
        Tenancy(TenancySettings(database_url=url), resolvers=[HeaderResolver()], metadata=Base.metadata)
    assert "secret" not in str(error.value)


def test_basic_needs_a_place_for_the_files() -> None:
    with pytest.raises(ConfigurationError, match="set tenant_database_url"):
        Tenancy(TenancySettings(database_url="sqlite://"), resolvers=[HeaderResolver()], metadata=Base.metadata)


def test_shared_profile_needs_a_file() -> None:
    settings = TenancySettings(database_url="sqlite://", manager_type="shared-profile")
    with pytest.raises(ConfigurationError, match="use a file"):
        Tenancy(settings, resolvers=[HeaderResolver()], metadata=Base.metadata)


def test_a_template_must_name_the_tenant(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"must contain \{id\}"):
        make_tenancy(tmp_path, tenant_database_url=f"sqlite:///{tmp_path}/all.db")


def test_tables_that_rows_cannot_be_told_apart_in(tmp_path: Path) -> None:
    metadata = MetaData()
    Table("invoices", metadata, Column("id", Integer, primary_key=True))
    with pytest.raises(ConfigurationError, match=r"invoices.*TenantScoped"):
        make_tenancy(tmp_path, metadata=metadata, manager_type="shared-profile")
    assert make_tenancy(tmp_path, metadata=metadata, manager_type="basic")


async def test_such_tables_are_refused_when_the_first_shared_tenant_is_created(tmp_path: Path) -> None:
    metadata = MetaData()
    Table("invoices", metadata, Column("id", Integer, primary_key=True))
    async with make_tenancy(tmp_path, metadata=metadata) as tenancy:
        with pytest.raises(ConfigurationError, match="invoices"):
            await tenancy.create_tenant("acme", manager_type="shared-profile")


async def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    tenancy = make_tenancy(tmp_path / "file")
    with pytest.raises(ConfigurationError, match="cannot write to the folder"):
        await tenancy.__aenter__()


@pytest.mark.parametrize(
    "wrong", [{"cache_ttl": 0}, {"cache_size": 0}, {"pool_size": 0}, {"store_timeout": 0}, {"no_such_setting": 1}]
)
def test_a_setting_out_of_range(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        make_tenancy(tmp_path, **wrong)


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TENANCY_DATABASE_URL", f"sqlite:///{tmp_path}/store.db")
    monkeypatch.setenv("TENANCY_CACHE_TTL", "7")
    monkeypatch.setenv("TENANCY_DEFAULT_SETTINGS", '{"plan": "free"}')
    tenancy = Tenancy(resolvers=[HeaderResolver()], metadata=Base.metadata)
    assert (tenancy.settings.cache_ttl, tenancy.settings.default_settings) == (7, {"plan": "free"})


def test_no_database_url_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TENANCY_DATABASE_URL", raising=False)
    with pytest.raises(ConfigurationError, match="TENANCY_DATABASE_URL"):
        Tenancy(resolvers=[HeaderResolver()], metadata=Base.metadata)


def test_a_password_in_a_url_object_survives_and_is_not_shown() -> None:
    url = URL.create("sqlite+aiosqlite", username="u", password="p@:/%", database="x.db")
    settings = TenancySettings(database_url=url)
    assert "p@:" not in repr(settings)
    from fastapi_tenancy.urls import parse_url

    assert parse_url(settings.database_url, "database_url").password == "p@:/%"


async def test_using_a_closed_tenancy_says_how_to_open_it(tmp_path: Path) -> None:
    tenancy = make_tenancy(tmp_path)
    with pytest.raises(ConfigurationError, match=re.escape("FastAPI(lifespan=tenancy.lifespan)")):
        await tenancy.create_tenant("acme")


async def test_a_request_without_the_lifespan_says_what_was_forgotten(tmp_path: Path) -> None:
    async with client_of(make_app(make_tenancy(tmp_path))) as client:
        with pytest.raises(ConfigurationError, match=re.escape("FastAPI(lifespan=tenancy.lifespan)")):
            await client.get("/whoami", headers=named("acme"))


async def test_a_tenancy_can_be_opened_again(tmp_path: Path, place: dict[str, Any]) -> None:
    tenancy = make_tenancy(tmp_path, **place)
    app = make_app(tenancy)
    for number in range(3):
        async with running(app) as client:
            if number == 0:
                await tenancy.create_tenant("acme")
            await client.post("/notes", params={"text": str(number)}, headers=named("acme"))
            notes = (await client.get("/notes", headers=named("acme"))).json()["notes"]
            assert notes == [str(each) for each in range(number + 1)]


async def test_opening_it_twice_is_refused(tmp_path: Path) -> None:
    async with make_tenancy(tmp_path) as tenancy:
        with pytest.raises(ConfigurationError, match="open already"):
            await tenancy.__aenter__()


def test_every_manager_type_can_be_loaded(tmp_path: Path) -> None:
    for name in MultitenantManagerProvider.MANAGER_TYPES:
        assert make_tenancy(tmp_path, manager_type=name).provider.provide({"manager_type": name.upper()})
