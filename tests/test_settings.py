"""Every setting has an effect."""

import asyncio
import contextlib
import importlib
import sys
from importlib.util import find_spec
from pathlib import Path
from secrets import token_urlsafe
from uuid import uuid4

import pytest
from fastapi import FastAPI
from servers import new_database, plain_role, rows_of
from shops import Shop
from sqlalchemy import func, make_url, select, text
from sqlalchemy.exc import ProgrammingError
from support import Note, add_notes, make_app, make_tenancy, named, read_notes, running
from traffic import Traffic, a_tenant

from fastapi_tenancy import (
    ConfigurationError,
    Limit,
    StoreUnavailableError,
    SubdomainResolver,
    TenancySettings,
    TenantNotFoundError,
    TenantUnavailableError,
)
from fastapi_tenancy.errors import TenantMigratingError
from fastapi_tenancy.migrations import write_folder


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def loads_after(tenancy, *identifiers: str) -> int:
    """How often the store is asked for these names, one after the other."""
    before = tenancy.stats()["loads"]
    for identifier in identifiers:
        with contextlib.suppress(TenantNotFoundError):
            await tenancy.directory.find(identifier)
    return tenancy.stats()["loads"] - before


async def profiles_open(tenancy) -> int:
    return tenancy.stats()["managers"]["MultitenantManager"]["open"]


async def test_database_url(tmp_path: Path) -> None:
    async with make_tenancy(tmp_path):
        assert (tmp_path / "tenancy.db").is_file()


async def test_tenant_database_url(tmp_path: Path) -> None:
    async with make_tenancy(tmp_path, tenant_database_url=f"sqlite:///{tmp_path}/of/{{id}}/data.db") as tenancy:
        acme = await tenancy.create_tenant("acme")
        assert (tmp_path / "of" / acme.id / "data.db").is_file()


async def test_manager_type(tmp_path: Path) -> None:
    async with make_tenancy(tmp_path, manager_type="shared-profile") as tenancy:
        await tenancy.create_tenant("acme")
        assert list(tenancy.stats()["managers"]) == ["SharedProfileMultitenantManager"]
        assert not (tmp_path / "tenants").exists()


@pytest.mark.parametrize("isolation", ["auto", "row"])
async def test_shared_isolation(tmp_path: Path, isolation: str) -> None:
    async with make_tenancy(tmp_path, manager_type="shared-profile", shared_isolation=isolation) as tenancy:
        acme = await tenancy.create_tenant("acme")
        assert acme.namespace == f"row/{acme.id}"


@pytest.mark.parametrize("isolation", ["auto", "schema", "rls", "row"])
async def test_shared_isolation_on_a_server(tmp_path: Path, postgresql_url: str, isolation: str) -> None:
    url = plain_role(new_database(postgresql_url))
    async with make_tenancy(
        tmp_path, database_url=url, manager_type="shared-profile", shared_isolation=isolation
    ) as tenancy:
        acme = await tenancy.create_tenant("acme")
        assert acme.namespace == f"{'schema' if isolation == 'auto' else isolation}/{acme.id}"


async def test_extensions_schema(tmp_path: Path, postgresql_url: str) -> None:
    url = new_database(postgresql_url)
    shared = {"database_url": url, "manager_type": "shared-profile", "shared_isolation": "schema"}
    async with make_tenancy(tmp_path, **shared, extensions_schema="extensions") as tenancy:
        await tenancy.create_tenant("acme")
        rows_of(url, "CREATE SCHEMA extensions")
        rows_of(url, "CREATE FUNCTION extensions.twice(text) RETURNS text LANGUAGE sql AS $$ SELECT $1 || $1 $$")
        async with tenancy.use("acme") as profile, profile.session() as session:
            assert await session.scalar(select(func.twice("ab"))) == "abab"


@pytest.mark.parametrize("found", [True, False])
async def test_tenant_search_path(tmp_path: Path, postgresql_url: str, found: bool) -> None:
    url = new_database(postgresql_url)
    shared = {"database_url": url, "manager_type": "shared-profile", "shared_isolation": "schema"}
    async with make_tenancy(tmp_path, **shared, tenant_search_path=found) as tenancy:
        await tenancy.create_tenant("acme")
        await add_notes(tenancy, "acme", "mine")
        async with tenancy.use("acme") as profile, profile.session() as session:
            query = session.scalars(text("SELECT text FROM notes"))
            if found:
                assert list(await query) == ["mine"]
            else:
                with pytest.raises(ProgrammingError, match="does not exist"):
                    await query


async def test_tenant_template(tmp_path: Path, postgresql_url: str) -> None:
    url = new_database(postgresql_url)
    template = new_database(postgresql_url)
    rows_of(template, "CREATE TABLE plans AS SELECT 'pro' AS name")
    async with make_tenancy(tmp_path, database_url=url, tenant_template=make_url(template).database) as tenancy:
        await tenancy.create_tenant("acme")
        async with tenancy.use("acme") as profile, profile.session() as session:
            assert await session.scalar(text("SELECT name FROM plans")) == "pro"


@pytest.mark.parametrize("own", [True, False])
async def test_tenant_role(tmp_path: Path, postgresql_url: str, own: bool) -> None:
    async with make_tenancy(tmp_path, database_url=new_database(postgresql_url), tenant_role=own) as tenancy:
        acme = await tenancy.create_tenant("acme")
        async with tenancy.use("acme") as profile, profile.session() as session:
            assert await session.scalar(text("SELECT current_user")) == (f"t_{acme.id}" if own else "postgres")
        await tenancy.delete_tenant("acme", drop_data=True)


async def test_connection_budget(tmp_path: Path, postgresql_url: str) -> None:
    url = new_database(postgresql_url)
    async with make_tenancy(tmp_path, database_url=url, connection_budget=2, pool_timeout=0.05) as tenancy:
        await tenancy.create_tenant("acme")
        async with tenancy.use("acme") as profile, profile.session() as one, profile.session() as two:
            await one.scalars(select(Note))
            await two.scalars(select(Note))
            with pytest.raises(TenantUnavailableError, match="connection_budget"):
                async with profile.session() as three:
                    await three.scalars(select(Note))
        assert [server["limit"] for server in tenancy.stats()["servers"].values()] == [2]


@pytest.mark.parametrize("pooler", ["none", "transaction"])
async def test_pooler(tmp_path: Path, postgresql_url: str, pooler: str) -> None:
    url = new_database(postgresql_url)
    async with make_tenancy(tmp_path, database_url=url, pooler=pooler, pool_size=1) as tenancy:
        await tenancy.create_tenant("acme")
        async with tenancy.use("acme") as profile:
            for _ in range(10):
                async with profile.transaction() as session:  # psycopg forgets what it prepared at a rollback
                    await session.scalars(select(Note))
            async with profile.session() as session:
                prepared = await session.scalar(text("SELECT count(*) FROM pg_prepared_statements"))
    assert bool(prepared) is (pooler == "none")


async def test_default_settings(tmp_path: Path) -> None:
    async with make_tenancy(tmp_path, default_settings={"plan": "free"}) as tenancy:
        await tenancy.create_tenant("acme")
        async with tenancy.use("acme") as profile:
            assert profile.settings["plan"] == "free"


@pytest.mark.parametrize(("bus", "kind"), [("auto", "poll"), ("poll", "poll"), ("none", "none")])
async def test_bus(tmp_path: Path, bus: str, kind: str) -> None:
    async with make_tenancy(tmp_path, bus=bus) as tenancy:
        assert tenancy._coherence.bus()[0] == kind


async def test_bus_poll_interval(tmp_path: Path) -> None:
    async with make_tenancy(tmp_path, bus_poll_interval=7) as tenancy:
        assert tenancy.stats()["bus"]["bound"] == 14


async def test_redis_url(redis_url: str) -> None:
    acme = a_tenant(uuid4().hex)
    workers = [Traffic(Limit(rate="1/minute"), redis_url=redis_url) for _ in range(2)]
    assert [(await worker.is_over(acme)).served for worker in workers] == [True, False]
    for worker in workers:
        await worker.gate.close()


async def test_token_secrets(tmp_path: Path) -> None:
    async with make_tenancy(tmp_path, token_secrets=["a secret of at least 32 bytes, for tests"]) as tenancy:
        await tenancy.create_tenant("acme")
        assert (await tenancy.tokens.create("acme", name="ci")).token.count(".") == 2


@pytest.mark.parametrize("keys", [[], ["A" * 43]])
async def test_encryption_keys(tmp_path: Path, keys: list[str]) -> None:
    async with make_tenancy(tmp_path, encryption_keys=keys) as tenancy:
        await tenancy.create_tenant("acme", database_url=f"sqlite:///{tmp_path}/acme.db")
    stored = b"".join(file.read_bytes() for file in tmp_path.glob("tenancy.db*"))
    assert (b"sqlite:///" in stored, b"tenancy-sealed" in stored) == (not keys, bool(keys))


async def test_secret_settings(tmp_path: Path) -> None:
    async with make_tenancy(tmp_path, encryption_keys=["A" * 43], secret_settings=["pin"]) as tenancy:
        acme = await tenancy.create_tenant("acme", settings={"pin": "hunter2", "plan": "pro"})
    stored = b"".join(file.read_bytes() for file in tmp_path.glob("tenancy.db*"))
    assert (acme.settings["pin"], b"hunter2" in stored, b"plan" in stored) == ("hunter2", False, True)


async def test_migrations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [*sys.path])  # the folder says from where the application is imported
    write_folder(tmp_path / "migrations", "main:tenancy")
    async with make_tenancy(tmp_path, migrations=f"{tmp_path}/migrations") as tenancy:
        scripts = tenancy.provider.root_profile.scripts
        assert scripts is not None
        assert scripts.folder == tmp_path / "migrations"
    async with make_tenancy(tmp_path) as tenancy:
        assert tenancy.provider.root_profile.scripts is None


@pytest.mark.parametrize("on_demand", [True, False])
async def test_migrate_on_demand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, on_demand: bool) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    shop = Shop(tmp_path, f"shop_{uuid4().hex}")
    write_folder("migrations", f"{shop.module}:tenancy")
    shop.revision("aa1", None)
    shop.write(migrations="migrations", migrate_on_demand=on_demand)
    async with importlib.import_module(shop.module).tenancy as tenancy:
        acme = await tenancy.create_tenant("acme")
        await tenancy.store.record_revisions({acme: None})
        with contextlib.nullcontext() if on_demand else pytest.raises(TenantMigratingError):
            async with tenancy.use("acme"):
                pass


@pytest.mark.skipif(find_spec("sqlcipher3") is None, reason="needs sqlcipher3: pip install sqlcipher3")
@pytest.mark.parametrize("encrypt", [True, False])
async def test_encrypt_tenants(tmp_path: Path, encrypt: bool) -> None:
    async with make_tenancy(tmp_path, encryption_keys=["A" * 43], encrypt_tenants=encrypt) as tenancy:
        acme = await tenancy.create_tenant("acme")
    stored = (tmp_path / "tenants" / f"{acme.id}.db").read_bytes()
    assert (acme.encrypted, stored.startswith(b"SQLite format 3")) == (encrypt, not encrypt)


async def test_pending_tenants(tmp_path: Path) -> None:
    async with make_tenancy(tmp_path, pending_tenants=2) as tenancy:
        for name in ("acme", "globex"):
            while await tenancy.pending_tenants() < 2:
                await asyncio.sleep(0.005)
            await tenancy.create_tenant(name)


async def test_cache_size(tmp_path: Path) -> None:
    async with make_tenancy(tmp_path, cache_size=1) as tenancy:
        for name in ("acme", "globex"):
            await tenancy.create_tenant(name)
        assert await loads_after(tenancy, "acme", "acme", "globex", "acme") == 3


async def test_cache_ttl(tmp_path: Path) -> None:
    clock = Clock()
    async with make_tenancy(tmp_path, cache_ttl=7, clock=clock) as tenancy:
        await tenancy.create_tenant("acme")
        assert await loads_after(tenancy, "acme", "acme") == 1
        clock.now += 7
        assert await loads_after(tenancy, "acme") == 1


async def test_cache_ttl_jitter(tmp_path: Path) -> None:
    clock, names = Clock(), [f"t{number}" for number in range(20)]
    async with make_tenancy(tmp_path, cache_ttl=100, cache_ttl_jitter=0.99, clock=clock) as tenancy:
        for name in names:
            await tenancy.create_tenant(name)
        assert await loads_after(tenancy, *names) == 20
        clock.now += 50
        assert 0 < await loads_after(tenancy, *names) < 20


@pytest.mark.parametrize(("given", "seconds"), [({"watch_interval": 3}, 3), ({"cache_ttl": 7}, 7)])
async def test_watch_interval(tmp_path: Path, given: dict[str, int], seconds: int) -> None:
    clock = Clock()
    async with make_tenancy(tmp_path, clock=clock, **given) as tenancy:
        acme = await tenancy.create_tenant("acme")
        with tenancy.watch.watching(acme) as watcher:
            await tenancy.store.remove(acme, keep_namespace=True)  # by another process
            clock.now += seconds - 1
            await tenancy.watch.look()
            assert watcher.reason is None
            clock.now += 1
            await tenancy.watch.look()
            assert watcher.reason == "Unknown tenant."


async def test_unknown_cache_size(tmp_path: Path) -> None:
    async with make_tenancy(tmp_path, unknown_cache_size=1) as tenancy:
        assert await loads_after(tenancy, "a", "a", "b", "a") == 3


async def test_unknown_cache_ttl(tmp_path: Path) -> None:
    clock = Clock()
    async with make_tenancy(tmp_path, unknown_cache_ttl=3, clock=clock) as tenancy:
        assert await loads_after(tenancy, "a", "a") == 1
        clock.now += 3
        assert await loads_after(tenancy, "a") == 1


async def test_profile_cache_size(tmp_path: Path) -> None:
    async with make_tenancy(tmp_path, profile_cache_size=2) as tenancy:
        for name in ("a", "b", "c"):
            await tenancy.create_tenant(name)
            await read_notes(tenancy, name)
        assert await profiles_open(tenancy) == 2


async def test_profile_idle_timeout(tmp_path: Path) -> None:
    clock = Clock()
    async with make_tenancy(tmp_path, profile_idle_timeout=0.04, clock=clock) as tenancy:
        await tenancy.create_tenant("acme")
        await read_notes(tenancy, "acme")
        assert await profiles_open(tenancy) == 1
        clock.now += 1
        while await profiles_open(tenancy):
            await asyncio.sleep(0.01)


async def test_pool_size_and_max_overflow(tmp_path: Path, manager_type: str) -> None:
    async with make_tenancy(
        tmp_path, manager_type=manager_type, pool_size=1, max_overflow=1, pool_timeout=0.01
    ) as tenancy:
        await tenancy.create_tenant("acme")
        async with tenancy.use("acme") as profile, profile.session() as one, profile.session() as two:
            await one.scalars(select(Note))
            await two.scalars(select(Note))
            with pytest.raises(TenantUnavailableError, match="raise pool_size"):
                async with profile.session() as three:
                    await three.scalars(select(Note))


async def test_pool_timeout(tmp_path: Path) -> None:
    async with make_tenancy(tmp_path, pool_size=1, max_overflow=0, pool_timeout=30) as tenancy:
        await tenancy.create_tenant("acme")
        async with tenancy.use("acme") as profile:
            async with profile.session() as busy:
                await busy.scalars(select(Note))
                waiting = asyncio.create_task(read_notes(tenancy, "acme"))
                await asyncio.wait({waiting}, timeout=0.02)
                assert not waiting.done()
            assert await waiting == []


async def test_store_timeout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tenancy = make_tenancy(tmp_path, store_timeout=0.01)

    async def hangs(identifier: str) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(tenancy.store, "get_by_identifier", hangs)
    async with running(make_app(tenancy)) as client:
        answer = await client.get("/whoami", headers=named("acme"))
    assert (answer.status_code, answer.json()) == (503, {"detail": "The tenant store is temporarily unavailable."})


def failing(tenancy, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have the store fail from now on; returns the names that it is asked for."""
    asked: list[str] = []

    async def fails(identifier: str) -> None:
        asked.append(identifier)
        raise OSError("away")

    monkeypatch.setattr(tenancy.store, "get_by_identifier", fails)
    return asked


@pytest.mark.parametrize("failures", [1, 3])
async def test_store_failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: int) -> None:
    async with make_tenancy(tmp_path, store_failures=failures, clock=Clock()) as tenancy:
        asked = failing(tenancy, monkeypatch)
        for number in range(10):
            with pytest.raises(StoreUnavailableError):
                await tenancy.directory.find(f"n{number}")
        assert len(asked) == failures


@pytest.mark.parametrize("seconds", [0, 10])
async def test_stale_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    clock = Clock()
    tenancy = make_tenancy(tmp_path, stale_for=seconds, clock=clock)
    async with running(make_app(tenancy)) as client:
        await tenancy.create_tenant("acme")
        await client.get("/whoami", headers=named("acme"))
        failing(tenancy, monkeypatch)
        statuses = []
        for clock.now in (59, 69, 71):
            statuses.append((await client.get("/whoami", headers=named("acme"))).status_code)
    assert statuses == [200, 200 if seconds else 503, 503]


@pytest.mark.parametrize(("seconds", "told"), [(1, True), (3, False), (None, False)])
async def test_slow_resolution(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, seconds: float | None, told: bool
) -> None:
    clock = Clock()

    async def slowly(_scope: object) -> str:
        clock.now += 2
        return "acme"

    tenancy = make_tenancy(tmp_path, slow_resolution=seconds, clock=clock, resolvers=[slowly])
    async with running(make_app(tenancy)) as client:
        await client.get("/whoami")
    assert ("slow resolution" in caplog.messages) is told


async def test_shared_cache(tmp_path: Path, redis_url: str) -> None:
    given = {"redis_url": redis_url, "bus": "none", "shared_cache": True, "encryption_keys": [token_urlsafe(32)]}
    async with make_tenancy(tmp_path, **given) as here, make_tenancy(tmp_path, **given) as there:
        await here.create_tenant("acme")
        assert [await loads_after(worker, "acme") for worker in (here, there)] == [1, 0]
    with pytest.raises(ConfigurationError, match="shared_cache needs redis_url"):
        make_tenancy(tmp_path, shared_cache=True)


@pytest.mark.parametrize("seconds", [0, 0.02])
async def test_drain_delay(tmp_path: Path, seconds: float) -> None:
    tenancy = make_tenancy(tmp_path, drain_delay=seconds)
    lifespan = tenancy.lifespan(FastAPI())
    await lifespan.__aenter__()
    acme = await tenancy.create_tenant("acme")
    ending = asyncio.create_task(lifespan.__aexit__(None, None, None))
    while tenancy.readiness.is_open:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    if seconds:
        async with tenancy.lease(acme):
            pass
    else:
        with pytest.raises(TenantUnavailableError, match="the tenancy is closed"):
            tenancy.lease(acme)
    await ending


@pytest.mark.parametrize("patient", [False, True])
async def test_shutdown_timeout(tmp_path: Path, patient: bool) -> None:
    tenancy = make_tenancy(tmp_path, shutdown_timeout=30 if patient else 0)
    await tenancy.__aenter__()
    await tenancy.create_tenant("acme")
    leased, finish = asyncio.Event(), asyncio.Event()

    async def request() -> bool:
        async with tenancy.use("acme") as profile:
            leased.set()
            await finish.wait()
            return profile.closed

    serving = asyncio.create_task(request())
    await leased.wait()
    closing = asyncio.create_task(tenancy.__aexit__(None, None, None))
    if patient:
        await asyncio.wait({closing}, timeout=0.02)
        assert not closing.done()
        finish.set()
    await closing
    finish.set()
    assert await serving is not patient


def test_every_setting_has_a_test_here() -> None:
    tests = " ".join(name for name in globals() if name.startswith("test_"))
    assert [name for name in TenancySettings.model_fields if name not in tests] == []


async def test_a_suspended_tenants_profile_is_closed(tmp_path: Path) -> None:
    async with make_tenancy(tmp_path) as tenancy:
        await tenancy.create_tenant("acme")
        await add_notes(tenancy, "acme", "x")
        await tenancy.suspend_tenant("acme")
        assert await profiles_open(tenancy) == 0


@pytest.mark.parametrize(("trusted", "status"), [(["127.0.0.0/8"], 200), ([], 400)])
async def test_trusted_proxies(tmp_path: Path, trusted: list[str], status: int) -> None:
    tenancy = make_tenancy(tmp_path, resolvers=[SubdomainResolver("example.com")], trusted_proxies=trusted)
    async with running(make_app(tenancy)) as client:
        await tenancy.create_tenant("acme")
        answer = await client.get("/whoami", headers={"X-Forwarded-Host": "acme.example.com"})
        assert answer.status_code == status


@pytest.mark.parametrize(("reveal", "status"), [(True, 403), (False, 404)])
async def test_reveal_inactive(tmp_path: Path, reveal: bool, status: int) -> None:
    tenancy = make_tenancy(tmp_path, reveal_inactive=reveal)
    async with running(make_app(tenancy)) as client:
        await tenancy.create_tenant("acme")
        await tenancy.suspend_tenant("acme")
        assert (await client.get("/whoami", headers=named("acme"))).status_code == status
