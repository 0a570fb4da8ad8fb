"""Doctor finds each fault that is planted on a server, and names what mends it."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fleet.doctor_support import found_by, id_of, made, only, run
from places import place_named
from servers import drop_database, new_database, plain_role, rows_of
from sqlalchemy import make_url
from support import add_notes, make_tenancy

from fastapi_tenancy.fleet.doctor.checks.pooler import mixes
from fastapi_tenancy.fleet.doctor.checks.servers import may_create


@contextmanager
def at(name: str, request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    with place_named(name, request) as place:
        yield place


def superuser_of(place: dict[str, Any], request: pytest.FixtureRequest) -> str:
    """The URL of the place's database as the server's own user."""
    server, url = make_url(request.getfixturevalue("postgresql_url")), make_url(place["database_url"])
    return server.set(database=url.database).render_as_string(hide_password=False)


async def test_faults_of_row_level_security_that_keep_the_tenancy_from_opening(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with at("postgresql-rls", request) as place:
        tenancy = await made(tmp_path, "acme", **place)
        run(
            place["database_url"],
            "ALTER TABLE notes NO FORCE ROW LEVEL SECURITY",
            "CREATE POLICY everything ON folders USING (true)",
        )
        found = await found_by("row-level-security", tenancy)
        assert {finding.severity for finding in found} == {"error"}
        for finding in found:
            run(place["database_url"], finding.remedy)
        assert len(found) == 2
        assert await found_by("row-level-security", tenancy) == []


async def test_a_superuser_for_whom_policies_do_not_hold(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with at("postgresql-rls", request) as place:
        await made(tmp_path, "acme", **place)
        tenancy = make_tenancy(tmp_path, **{**place, "database_url": superuser_of(place, request)})
        finding = await only("row-level-security", tenancy)
        assert (finding.severity, "superuser" in finding.message) == ("error", True)


async def test_columns_that_do_not_say_whose_a_row_is(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with at("postgresql-rls", request) as place:
        tenancy = await made(tmp_path, "acme", **place)
        run(
            place["database_url"],
            "ALTER TABLE notes ALTER COLUMN tenant_id DROP NOT NULL",
            "DROP INDEX ix_notes_tenant_id",
        )
        found = await found_by("tenant-id", tenancy)
        assert [finding.severity for finding in found] == ["error", "warning"]
        for finding in found:
            run(place["database_url"], finding.remedy)
        assert await found_by("tenant-id", tenancy) == []


async def test_schemas_that_are_missing_foreign_or_nobodys(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with at("postgresql-schema", request) as place:
        tenancy = await made(tmp_path, "acme", "globex", "initech", **place)
        acme, globex = await id_of(tenancy, "acme"), await id_of(tenancy, "globex")
        run(
            place["database_url"],
            f"ALTER SCHEMA t_{acme} RENAME TO t_{'c' * 32}",
            f"UPDATE t_{globex}.tenancy_owner SET tenant_id = '{'d' * 32}'",
        )
        missing = await found_by("missing-namespaces", tenancy)
        assert sorted((finding.severity, finding.tenant) for finding in missing) == [
            ("error", "acme"),
            ("error", "globex"),
        ]
        orphan = await only("orphaned-namespaces", tenancy)
        assert orphan.remedy.endswith(f'DROP SCHEMA "t_{"c" * 32}" CASCADE')


async def test_a_schema_without_a_table_of_the_models(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with at("postgresql-schema", request) as place:
        tenancy = await made(tmp_path, "acme", "globex", **place)
        run(place["database_url"], f"DROP TABLE t_{await id_of(tenancy, 'acme')}.notes")
        assert (await only("tenant-tables", tenancy)).tenant == "acme"


async def test_search_paths_that_others_begin_with(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with at("postgresql-schema", request) as place:
        tenancy = await made(tmp_path, "acme", **place)
        name, acme = make_url(place["database_url"]).database, await id_of(tenancy, "acme")
        for path, severity in (("public, x", "info"), (f"t_{acme}, public", "error"), ("other, public", "warning")):
            run(place["database_url"], f"ALTER DATABASE {name} SET search_path = {path}")
            finding = await only("schemas", tenancy)
            assert (finding.severity, finding.remedy) == (severity, f"ALTER DATABASE {name} RESET search_path")


async def test_tables_of_the_deployment_that_are_called_like_a_tenants(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with at("postgresql-schema", request) as place:
        tenancy = await made(tmp_path, "acme", extensions_schema="extensions", **place)
        run(place["database_url"], "CREATE TABLE notes (id integer)")
        missing, same = await found_by("schemas", tenancy)
        assert (missing.severity, missing.remedy) == ("error", 'CREATE SCHEMA "extensions"')
        assert (same.severity, same.remedy.endswith("DROP TABLE public.notes")) == ("info", True)


async def test_databases_that_are_missing_foreign_or_nobodys(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with at("postgresql-basic", request) as place:
        tenancy = await made(tmp_path, "acme", "globex", **place)
        acme, globex = await id_of(tenancy, "acme"), await id_of(tenancy, "globex")
        url = make_url(place["database_url"]).set(database=f"t_{globex}").render_as_string(hide_password=False)
        run(url, f"UPDATE tenancy_owner SET tenant_id = '{'d' * 32}'")
        orphans = [f"t_{acme[::-1]}", f"t_{acme}_provisioning"]
        run(
            place["database_url"],
            f"ALTER DATABASE t_{acme} RENAME TO {orphans[0]}",
            f"CREATE DATABASE {orphans[1]}",
        )
        try:
            missing = await found_by("missing-namespaces", tenancy)
            found = [finding.remedy for finding in await found_by("orphaned-namespaces", tenancy)]
        finally:
            run(place["database_url"], *(f"DROP DATABASE {name}" for name in orphans))
        assert sorted(str(finding.tenant) for finding in missing) == ["acme", "globex"]
        assert all(any(f'DROP DATABASE "{name}"' in remedy for remedy in found) for name in orphans)


async def test_of_many_databases_some_are_looked_into(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastapi_tenancy.fleet.doctor.looking.SAMPLE", 1)
    with at("postgresql-basic", request) as place:
        tenancy = await made(tmp_path, "acme", "globex", **place)
        for identifier in ("acme", "globex"):
            url = make_url(place["database_url"]).set(database=f"t_{await id_of(tenancy, identifier)}")
            run(url.render_as_string(hide_password=False), "DROP TABLE tenancy_owner")
        assert len(await found_by("missing-namespaces", tenancy)) == 1


async def test_rights_that_new_tenants_need(tmp_path: Path, postgresql_url: str) -> None:
    database = new_database(postgresql_url)
    try:
        tenancy = make_tenancy(
            tmp_path, database_url=plain_role(database), tenant_role=True, tenant_template="none", connection_budget=500
        )
        async with tenancy:
            pass
        found = await found_by("rights", tenancy)
        assert [finding.severity for finding in found] == ["error", "error", "error", "warning"]
        run(database, *(finding.remedy for finding in found[:2]))
        assert [finding.severity for finding in await found_by("rights", tenancy)] == ["error", "warning"]
    finally:
        drop_database(database)


async def test_the_right_to_create_schemas(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with at("postgresql-rls", request) as place:
        tenancy = await made(tmp_path, manager_type="shared-profile", database_url=place["database_url"])
        url = superuser_of(place, request)
        name, role = make_url(url).database, make_url(place["database_url"]).username
        run(url, f"ALTER DATABASE {name} OWNER TO postgres")
        finding = await only("rights", tenancy)
        assert finding.severity == "error"
        run(url, finding.remedy)
        assert await found_by("rights", tenancy) == []
        run(url, f"ALTER DATABASE {name} OWNER TO {role}")


async def test_a_server_of_tenants_that_does_not_answer(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with at("postgresql-basic", request) as place:
        tenancy = await made(tmp_path, "acme", "globex", **place)
        run(
            place["database_url"],
            "UPDATE tenancy_tenants SET database_url = 'postgresql://app:s3cret@127.0.0.1:1/' || identifier, "
            "namespace = 'postgresql/127.0.0.1:1/' || identifier",
        )
        finding = await only("servers", tenancy)
        assert (finding.severity, "2 tenants" in finding.message, "s3cret" in str(finding)) == ("error", True, False)
        assert finding.remedy.startswith("pg_isready -h 127.0.0.1 -p 1")
        assert await found_by("missing-namespaces", tenancy) == []


async def test_a_clock_that_is_another(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with at("postgresql-schema", request) as place:
        await made(tmp_path, **place)
        for seconds, severity in ((5, "warning"), (-60, "error")):
            by = timedelta(seconds=seconds)
            tenancy = make_tenancy(tmp_path, **place, now=lambda by=by: datetime.now(UTC) + by)
            assert (await only("clock", tenancy)).severity == severity


async def test_a_pooler_that_mixes_sessions(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with at("pgbouncer-row", request) as place:
        tenancy = await made(tmp_path, "acme", **place)
        assert await found_by("pooler", tenancy) == []
        finding = await only("pooler", make_tenancy(tmp_path, **{**place, "pooler": "none"}))
        assert (finding.severity, finding.remedy) == ("error", "set TENANCY_POOLER=transaction")


async def test_a_pooler_that_is_not_there(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with at("postgresql-row", request) as place:
        finding = await only("pooler", await made(tmp_path, pooler="transaction", **place))
        assert finding.severity == "info"


class Server:
    """Connections of a server, and who has which of them: clients of their own, or each for a transaction."""

    def __init__(self, size: int, *, pooled: bool) -> None:
        self.free = list(range(size))
        self.pooled = pooled
        self.own = None if pooled else self.free.pop()

    async def backend(self) -> int:
        return self.free[-1] if self.own is None else self.own

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[None]:
        taken = self.free.pop()
        try:
            yield
        finally:
            self.free.append(taken)


@pytest.mark.parametrize("pooled", [True, False])
async def test_the_probe_tells_a_pooler_by_what_it_hands_out(pooled: bool) -> None:
    server = Server(10, pooled=pooled)
    assert await mixes(server.backend, server.hold) is pooled
    assert len(server.free) == 10 - (not pooled)


async def test_mariadb_is_asked_for_all_of_it_at_once(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with at("mariadb-basic", request) as place:
        tenancy = await made(tmp_path, "acme", "globex", **place)
        acme, globex = await id_of(tenancy, "acme"), await id_of(tenancy, "globex")
        orphan = f"t_{acme[::-1]}"
        run(
            place["database_url"],
            f"DROP DATABASE t_{acme}",
            f"CREATE DATABASE {orphan}",
            f"UPDATE t_{globex}.tenancy_owner SET tenant_id = '{'d' * 32}'",
        )
        try:
            found = await tenancy.doctor()
        finally:
            run(place["database_url"], f"DROP DATABASE {orphan}")
        assert sorted((each.check, each.tenant) for each in found if each.tenant or orphan in each.message) == [
            ("missing-namespaces", "acme"),
            ("missing-namespaces", "globex"),
            ("orphaned-namespaces", None),
        ]


@pytest.mark.parametrize(
    ("grant", "may"),
    [
        ("GRANT ALL PRIVILEGES ON *.* TO `app`@`%`", True),
        ("GRANT SELECT, CREATE, DROP ON `app\\_%`.* TO `app`@`%`", True),
        ("GRANT ALL PRIVILEGES ON `%`.* TO `app`@`%`", True),
        ("GRANT `operators`@`%` TO `app`@`%`", True),
        ("GRANT ALL PRIVILEGES ON `app`.* TO `app`@`%`", False),
        ("GRANT ALL PRIVILEGES ON `appx_%`.* TO `app`@`%`", False),
        ("GRANT SELECT, CREATE VIEW ON *.* TO `app`@`%`", False),
        ("GRANT USAGE ON *.* TO `app`@`%`", False),
    ],
)
def test_what_lets_a_user_of_mysql_create_databases(grant: str, may: bool) -> None:
    assert may_create(f"app_{'0' * 32}", ["GRANT USAGE ON *.* TO `app`@`%`", grant]) is may


async def test_mariadbs_user_needs_rights_too(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with at("mariadb-row", request) as place:
        url = make_url(place["database_url"])
        user = url.database or ""
        run(
            place["database_url"],
            f"CREATE USER '{user[:30]}'@'%' IDENTIFIED BY 'x'",
            f"GRANT ALL ON {url.database}.* TO '{user[:30]}'@'%'",
        )
        own = url.set(username=user[:30], password="x").render_as_string(hide_password=False)
        try:
            tenancy = await made(tmp_path, database_url=own)
            finding = await only("rights", tenancy)
            assert finding.severity == "error"
            run(place["database_url"], finding.remedy)
            assert await found_by("rights", tenancy) == []
        finally:
            run(place["database_url"], f"DROP USER '{user[:30]}'@'%'")


async def test_rows_of_nobody_on_a_server(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    for name in ("postgresql-row", "mariadb-row"):
        with at(name, request) as place:
            tenancy = await made(tmp_path, "acme", **place)
            async with tenancy:
                await add_notes(tenancy, "acme", "one")
            run(place["database_url"], f"INSERT INTO notes (tenant_id, text) VALUES ('{'f' * 32}', 'x')")
            finding = await only("unknown-rows", tenancy)
            run(place["database_url"], finding.remedy)
            assert await found_by("unknown-rows", tenancy) == []
            assert rows_of(place["database_url"], "SELECT text FROM notes") == [("one",)]
