"""Doctor finds each fault that is planted in SQLite files, and names what mends it."""

import os
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fleet.doctor_support import found_by, id_of, made, only, run
from pydantic import SecretStr
from sqlalchemy import MetaData
from support import Base, add_notes, make_tenancy

from fastapi_tenancy import Limit, TenantLimits
from fastapi_tenancy.fleet.doctor.checks.files import of_filesystem, of_space
from fastapi_tenancy.fleet.doctor.checks.store import skew

DAY = timedelta(days=1)


def key() -> str:
    return secrets.token_urlsafe(32)


def store(folder: Path, *statements: str) -> None:
    run(folder / "tenancy.db", *statements)


def file_of(folder: Path, tenant_id: str) -> Path:
    return folder / "tenants" / f"{tenant_id}.db"


def later(by: timedelta) -> Any:
    return lambda: datetime.now(UTC) + by


class TestSettings:
    @pytest.mark.parametrize(
        ("given", "severity", "setting"),
        [
            ({"bus": "none", "cache_ttl": 3600}, "warning", "TENANCY_CACHE_TTL"),
            ({"bus": "none", "unknown_cache_ttl": 900}, "warning", "TENANCY_UNKNOWN_CACHE_TTL"),
            ({"trusted_proxies": ["0.0.0.0/0"]}, "warning", "TENANCY_TRUSTED_PROXIES"),
            ({"trusted_proxies": ["::/0"]}, "warning", "TENANCY_TRUSTED_PROXIES"),
            ({"extensions_schema": "extensions"}, "info", "TENANCY_EXTENSIONS_SCHEMA"),
            (
                {"manager_type": "shared-profile", "tenant_database_url": "sqlite:///./x/{id}.db"},
                "info",
                "TENANCY_TENANT_DATABASE_URL",
            ),
            ({"manager_type": "shared-profile", "encrypt_tenants": True}, "warning", "TENANCY_ENCRYPT_TENANTS"),
            ({"secret_settings": ["smtp.pasword"], "encryption_keys": [key()]}, "info", "TENANCY_SECRET_SETTINGS"),
        ],
    )
    async def test_what_is_legal_and_wrong(
        self, tmp_path: Path, given: dict[str, Any], severity: str, setting: str
    ) -> None:
        finding = await only("settings", await made(tmp_path, "acme", **given))
        assert finding.severity == severity
        assert setting in finding.remedy

    async def test_what_is_in_order(self, tmp_path: Path) -> None:
        given = {"trusted_proxies": ["10.0.0.0/24", "unix"], "encryption_keys": [key()], "secret_settings": ["smtp"]}
        async with make_tenancy(tmp_path, **given) as tenancy:
            await tenancy.create_tenant("acme", settings={"smtp": {"password": "s3cret"}})
        assert await tenancy.doctor() == []

    async def test_tokens_that_nothing_verifies(self, tmp_path: Path) -> None:
        async with make_tenancy(tmp_path, token_secrets=["x" * 32]) as tenancy:
            await tenancy.create_tenant("acme")
            await tenancy.create_auth_token("acme")
        finding = await only("settings", make_tenancy(tmp_path))
        assert (finding.severity, "TENANCY_TOKEN_SECRETS" in finding.remedy) == ("error", True)

    async def test_rates_that_each_worker_counts_for_itself(self, tmp_path: Path) -> None:
        tenancy = await made(tmp_path, "acme", limits=TenantLimits({}, default=Limit(rate="10/minute")))
        finding = await only("settings", tenancy)
        assert (finding.severity, "TENANCY_REDIS_URL" in finding.remedy) == ("info", True)


class TestStore:
    async def test_a_file_that_is_no_database(self, tmp_path: Path) -> None:
        (tmp_path / "tenancy.db").write_bytes(b"nonsense" * 100)
        finding = await only("store", make_tenancy(tmp_path))
        assert finding.severity == "error"

    async def test_rows_that_this_version_cannot_read(self, tmp_path: Path) -> None:
        tenancy = await made(tmp_path, "acme")
        store(tmp_path, "UPDATE tenancy_tenants SET status = 'sleeping'")
        (finding,) = await tenancy.doctor()
        assert (finding.check, finding.severity, "sleeping" in finding.message) == ("store", "error", True)

    async def test_tables_that_were_never_made(self, tmp_path: Path) -> None:
        (tmp_path / "tenancy.db").touch()
        finding = await only("store-tables", make_tenancy(tmp_path))
        assert (finding.severity, finding.remedy) == ("error", "fastapi-tenancy tenants list")

    async def test_tables_of_a_newer_version(self, tmp_path: Path) -> None:
        tenancy = await made(tmp_path, "acme")
        store(tmp_path, "INSERT INTO tenancy_revisions VALUES (999)")
        finding = await only("store-tables", tenancy)
        assert (finding.severity, "999" in finding.message) == ("error", True)

    async def test_tables_of_an_older_version_are_read_as_far_as_they_go(self, tmp_path: Path) -> None:
        tenancy = await made(tmp_path, "acme")
        acme = await id_of(tenancy, "acme")
        store(
            tmp_path,
            "DELETE FROM tenancy_revisions WHERE revision > 3",
            *(f"ALTER TABLE tenancy_tenants DROP COLUMN {name}" for name in ("revision", "work_until", "encrypted")),
            "DROP TABLE tenancy_moves",
        )
        finding = await only("store-tables", tenancy)
        assert (finding.severity, finding.remedy) == ("warning", "fastapi-tenancy tenants list")
        file_of(tmp_path, acme).unlink()
        assert (await only("missing-namespaces", tenancy)).tenant == "acme"

    async def test_a_column_that_is_missing(self, tmp_path: Path) -> None:
        tenancy = await made(tmp_path)
        store(tmp_path, "ALTER TABLE tenancy_tenants DROP COLUMN searched")
        finding = await only("store-tables", tenancy)
        assert finding.severity == "error"
        store(tmp_path, finding.remedy)
        assert await tenancy.doctor() == []

    async def test_a_table_that_is_missing(self, tmp_path: Path) -> None:
        tenancy = await made(tmp_path)
        store(tmp_path, "DROP TABLE tenancy_domains")
        finding = await only("store-tables", tenancy)
        store(tmp_path, finding.remedy)
        assert await tenancy.doctor() == []

    async def test_an_index_that_is_missing(self, tmp_path: Path) -> None:
        tenancy = await made(tmp_path)
        store(tmp_path, "DROP INDEX tenancy_tokens_of_tenant")
        finding = await only("store-tables", tenancy)
        assert finding.severity == "warning"
        store(tmp_path, finding.remedy)
        assert await tenancy.doctor() == []

    async def test_identifiers_that_are_not_unique_any_more(self, tmp_path: Path) -> None:
        tenancy = await made(tmp_path)
        store(
            tmp_path,
            "ALTER TABLE tenancy_domains RENAME TO old",
            "CREATE TABLE tenancy_domains AS SELECT * FROM old",
            "DROP TABLE old",
        )
        found = await found_by("store-tables", tenancy)
        store(tmp_path, *(finding.remedy for finding in found))
        assert len(found) == 2
        assert await tenancy.doctor() == []


class TestPlaces:
    async def test_a_file_that_is_missing(self, tmp_path: Path) -> None:
        tenancy = await made(tmp_path, "acme", "globex")
        file_of(tmp_path, await id_of(tenancy, "acme")).unlink()
        (finding,) = await tenancy.doctor()
        assert (finding.check, finding.severity, finding.tenant) == ("missing-namespaces", "error", "acme")
        assert "fastapi-tenancy tenants delete acme --yes --drop-data" in finding.remedy

    async def test_a_file_that_is_another_tenants(self, tmp_path: Path) -> None:
        tenancy = await made(tmp_path, "acme", "globex")
        acme, globex = await id_of(tenancy, "acme"), await id_of(tenancy, "globex")
        file_of(tmp_path, acme).write_bytes(file_of(tmp_path, globex).read_bytes())
        finding = await only("missing-namespaces", tenancy)
        assert (finding.tenant, f"belongs to {globex}" in finding.message) == ("acme", True)

    async def test_a_file_that_is_no_database(self, tmp_path: Path) -> None:
        tenancy = await made(tmp_path, "acme")
        file_of(tmp_path, await id_of(tenancy, "acme")).write_bytes(b"nonsense" * 100)
        assert (await only("missing-namespaces", tenancy)).tenant == "acme"

    async def test_an_encrypted_file_that_is_no_tenants(self, tmp_path: Path) -> None:
        pytest.importorskip("sqlcipher3")
        async with make_tenancy(tmp_path, encryption_keys=[key()]) as tenancy:
            acme = await tenancy.create_tenant("acme", encrypted=True)
        assert await tenancy.doctor() == []
        file_of(tmp_path, acme.id).write_bytes(secrets.token_bytes(4096))
        assert (await only("missing-namespaces", tenancy)).tenant == "acme"

    async def test_files_of_nobody(self, tmp_path: Path) -> None:
        tenancy = await made(tmp_path, "acme")
        orphan, draft = file_of(tmp_path, "b" * 32), file_of(tmp_path, "c" * 32 + ".db.provisioning").with_suffix("")
        orphan.touch()
        draft.touch()
        file_of(tmp_path, "notes").touch()  # not called like ours
        assert [finding.remedy.rpartition(" ")[2] for finding in await found_by("orphaned-namespaces", tenancy)] == [
            f"{orphan}*"
        ]
        os.utime(draft, (0, 0))  # it is no creation that goes on
        found = await found_by("orphaned-namespaces", tenancy)
        assert {finding.severity for finding in found} == {"warning"}
        assert [finding.remedy.rpartition(" ")[2] for finding in found] == [f"{orphan}*", f"{draft}*"]

    async def test_files_in_a_folder_for_each_tenant(self, tmp_path: Path) -> None:
        tenancy = await made(tmp_path, "acme", tenant_database_url=f"sqlite:///{tmp_path}/all/{{id}}/data.db")
        assert await tenancy.doctor() == []
        orphan = tmp_path / "all" / ("b" * 32) / "data.db"
        orphan.parent.mkdir()
        orphan.touch()
        assert str(orphan) in (await only("orphaned-namespaces", tenancy)).message

    async def test_what_is_kept_of_a_tenant_is_no_orphan(self, tmp_path: Path) -> None:
        async with make_tenancy(tmp_path) as tenancy:
            acme = await tenancy.create_tenant("acme")
            await tenancy.delete_tenant("acme")
        (finding,) = await tenancy.doctor()
        assert (finding.check, finding.severity) == ("retained-namespaces", "info")
        assert acme.id in finding.remedy

    async def test_settings_that_lead_elsewhere(self, tmp_path: Path) -> None:
        await made(tmp_path, "acme")
        finding = await only("placement", make_tenancy(tmp_path, manager_type="shared-profile"))
        assert (finding.severity, finding.tenant) == ("error", "acme")

    async def test_a_manager_that_is_gone(self, tmp_path: Path) -> None:
        tenancy = await made(tmp_path, "acme", "globex")
        store(tmp_path, "UPDATE tenancy_tenants SET manager_type = 'gone.Manager' WHERE identifier = 'acme'")
        assert (await only("placement", tenancy)).tenant == "acme"


class TestUnfinishedWork:
    @pytest.mark.parametrize(
        ("status", "command"),
        [("provisioning", "fastapi-tenancy tenants create acme"), ("deleting", "fastapi-tenancy tenants delete acme")],
    )
    async def test_what_was_begun_long_ago(self, tmp_path: Path, status: str, command: str) -> None:
        tenancy = await made(tmp_path, "acme")
        store(tmp_path, f"UPDATE tenancy_tenants SET status = '{status}'")
        assert await tenancy.doctor() == []  # it may go on
        finding = await only("unfinished-work", make_tenancy(tmp_path, now=later(DAY)))
        assert (finding.severity, finding.tenant, command in finding.remedy) == ("warning", "acme", True)

    async def test_a_lease_that_nobody_renews(self, tmp_path: Path) -> None:
        tenancy = await made(tmp_path, "acme", now=later(-DAY))
        store(tmp_path, "UPDATE tenancy_tenants SET work = 'migration', work_until = '2020-01-01 00:00:00.000000'")
        finding = await only("unfinished-work", tenancy)
        assert finding.remedy == "fastapi-tenancy migrate --tenant acme"

    async def test_moves_that_were_cut_short_or_not_confirmed(self, tmp_path: Path) -> None:
        tenancy = await made(tmp_path, "acme")
        acme = await id_of(tenancy, "acme")
        store(
            tmp_path,
            "INSERT INTO tenancy_moves (tenant_id, phase, manager_type, namespace, encrypted, details, started_at, "
            f"updated_at) VALUES ('{acme}', 'copying', 'shared-profile', 'row/{acme}', 0, '{{}}', "
            "'2020-01-01 00:00:00.000000', '2020-01-01 00:00:00.000000')",
        )
        finding = await only("unfinished-work", tenancy)
        assert (finding.severity, finding.tenant) == ("warning", "acme")
        assert "fastapi-tenancy move acme --to shared-profile" in finding.remedy
        store(tmp_path, "UPDATE tenancy_moves SET phase = 'moved'")
        finding = await only("unfinished-work", tenancy)
        assert (finding.severity, finding.tenant) == ("info", "acme")

    async def test_tenants_made_ahead_that_were_left_behind(self, tmp_path: Path) -> None:
        tenancy = await made(tmp_path, "acme")
        store(
            tmp_path,
            "INSERT INTO tenancy_pending (id, namespace, recipe, is_ready, updated_at) VALUES "
            f"('{'b' * 32}', 'basic/{'b' * 32}', 'x', 0, '2020-01-01 00:00:00.000000')",
        )
        file_of(tmp_path, "b" * 32).touch()  # no orphan: it is being made
        (finding,) = await tenancy.doctor()
        assert finding.check == "unfinished-work"
        assert "fastapi-tenancy pool fill 0" in finding.remedy


class TestTables:
    async def test_a_tenant_from_before_the_models_had_a_table(self, tmp_path: Path) -> None:
        few = MetaData()
        Base.metadata.tables["folders"].to_metadata(few)
        await made(tmp_path, "acme", metadata=few)
        finding = await only("tenant-tables", make_tenancy(tmp_path))
        assert (finding.severity, finding.tenant, "notes" in finding.message) == ("error", "acme", True)

    async def test_shared_tables_that_the_next_start_makes(self, tmp_path: Path) -> None:
        few = MetaData()
        Base.metadata.tables["folders"].to_metadata(few)
        await made(tmp_path, "acme", metadata=few, manager_type="shared-profile")
        finding = await only("tenant-tables", make_tenancy(tmp_path, manager_type="shared-profile"))
        assert (finding.severity, finding.tenant) == ("warning", None)

    async def test_no_index_that_begins_with_the_tenant(self, tmp_path: Path) -> None:
        tenancy = await made(tmp_path, "acme", manager_type="shared-profile")
        store(tmp_path, "DROP INDEX ix_notes_tenant_id", "CREATE INDEX other ON notes (text, tenant_id)")
        finding = await only("tenant-id", tenancy)
        assert finding.severity == "warning"
        store(tmp_path, finding.remedy)
        assert await tenancy.doctor() == []

    async def test_a_tenant_id_that_may_be_null(self, tmp_path: Path) -> None:
        tenancy = await made(tmp_path, "acme", manager_type="shared-profile")
        store(
            tmp_path,
            "DROP TABLE notes",
            "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT, folder_id INTEGER, tenant_id VARCHAR(32))",
            "CREATE INDEX ix_notes_tenant_id ON notes (tenant_id)",
        )
        assert (await only("tenant-id", tenancy)).severity == "error"

    async def test_rows_of_nobody(self, tmp_path: Path) -> None:
        async with make_tenancy(tmp_path, manager_type="shared-profile") as tenancy:
            for name in ("acme", "globex"):
                await tenancy.create_tenant(name)
                await add_notes(tenancy, name, "one", "two")
        rows = ", ".join(f"('{letter * 32}', '{letter}')" for letter in "0f0")
        store(tmp_path, f"INSERT INTO notes (tenant_id, text) VALUES {rows}")
        finding = await only("unknown-rows", tenancy)
        assert f"{'0' * 32}, {'f' * 32}" in finding.message
        store(tmp_path, finding.remedy)
        assert await tenancy.doctor() == []


class TestFiles:
    async def test_files_without_a_write_ahead_log(self, tmp_path: Path) -> None:
        tenancy = await made(tmp_path, "acme")
        acme = file_of(tmp_path, await id_of(tenancy, "acme"))
        for file in (acme, tmp_path / "tenancy.db"):
            run(file, "PRAGMA journal_mode=DELETE")
        found = await found_by("sqlite-files", tenancy)
        assert [(finding.severity, finding.tenant) for finding in found] == [("warning", None), ("warning", "acme")]
        assert found[1].remedy == f"sqlite3 {acme} 'PRAGMA journal_mode=WAL'"

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    async def test_a_folder_that_cannot_be_written_to(self, tmp_path: Path) -> None:
        tenancy = await made(tmp_path, "acme")
        (tmp_path / "tenants").chmod(0o500)
        try:
            assert (await only("sqlite-files", tenancy)).severity == "error"
        finally:
            (tmp_path / "tenants").chmod(0o700)

    def test_a_folder_on_a_network(self) -> None:
        mounts = (
            "22 1 254:0 / / rw - ext4 /dev/root rw\n"
            "40 22 0:46 / /srv/our\\040data rw,relatime shared:7 - nfs4 host:/data rw\n"
            "41 40 0:47 / /srv/our\\040data/local rw - xfs /dev/sdb rw\n"
        )
        (finding,) = of_filesystem(Path("/srv/our data/tenants"), mounts)
        assert (finding.severity, "nfs4" in finding.message) == ("warning", True)
        for folder in ("/srv", "/srv/our data/local/tenants"):
            assert list(of_filesystem(Path(folder), mounts)) == []

    @pytest.mark.parametrize(
        ("free", "total", "severities"),
        [(10 << 30, 1 << 40, []), (1 << 29, 1 << 29, []), (1 << 29, 1 << 40, ["warning"]), (1, 1 << 40, ["error"])],
    )
    def test_a_disk_that_is_nearly_full(self, free: int, total: int, severities: list[str]) -> None:
        assert [finding.severity for finding in of_space(Path("/srv"), free, total)] == severities


class TestSealing:
    async def test_what_no_key_opens(self, tmp_path: Path) -> None:
        async with make_tenancy(tmp_path, encryption_keys=[key()], secret_settings=["smtp"]) as tenancy:
            await tenancy.create_tenant("acme", settings={"smtp": "s3cret"})
            await tenancy.create_tenant("globex")
        for given in ({}, {"encryption_keys": [key()], "secret_settings": ["smtp"]}):
            found = await found_by("sealing", make_tenancy(tmp_path, **given))
            assert [(finding.severity, finding.tenant) for finding in found] == [("error", "acme")]
            assert "TENANCY_ENCRYPTION_KEYS" in found[0].remedy

    async def test_a_tenants_key_that_no_key_opens(self, tmp_path: Path) -> None:
        async with make_tenancy(tmp_path, encryption_keys=[key()]) as tenancy:
            await tenancy.create_tenant("acme", key=key())
        finding = await only("sealing", make_tenancy(tmp_path, encryption_keys=[key()]))
        assert (finding.severity, finding.tenant) == ("error", "acme")

    async def test_what_is_not_sealed_with_the_newest_key(self, tmp_path: Path) -> None:
        old, new = SecretStr(key()), SecretStr(key())
        given = {"secret_settings": ["smtp"]}
        async with make_tenancy(tmp_path, encryption_keys=[old], **given) as tenancy:
            await tenancy.create_tenant("acme", settings={"smtp": "s3cret"})
        tenancy = make_tenancy(tmp_path, encryption_keys=[new, old], **given)
        finding = await only("sealing", tenancy)
        assert (finding.severity, finding.remedy) == ("warning", "fastapi-tenancy reseal")
        async with tenancy:
            await tenancy.reseal()
        finding = await only("sealing", tenancy)
        assert (finding.severity, "number 2" in finding.message) == ("info", True)


@pytest.mark.parametrize(("seconds", "severities"), [(1, []), (-1, []), (3, ["warning"]), (-30, ["error"])])
def test_clocks_that_differ(seconds: int, severities: list[str]) -> None:
    here = datetime.now(UTC)
    found = list(skew("Redis", here + timedelta(seconds=seconds), here))
    assert [finding.severity for finding in found] == severities
    assert all("Redis" in finding.message for finding in found)


class TestRedis:
    async def test_it_answers(self, tmp_path: Path, redis_url: str) -> None:
        assert await (await made(tmp_path, redis_url=redis_url)).doctor() == []

    async def test_it_is_away(self, tmp_path: Path) -> None:
        finding = await only("redis", await made(tmp_path, redis_url="redis://:s3cret@127.0.0.1:1/0"))
        assert (finding.severity, "s3cret" in str(finding)) == ("error", False)

    async def test_its_clock_is_another(self, tmp_path: Path, redis_url: str) -> None:
        await made(tmp_path)
        tenancy = make_tenancy(tmp_path, redis_url=redis_url, now=later(timedelta(seconds=5)))
        assert (await only("redis", tenancy)).severity == "warning"
