"""Keys can be rotated under a running application, and nothing is lost where that is cut short."""

import asyncio
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest
from forking import Forking
from sealing.sealing_support import (
    NEW,
    OLD,
    SECRET_SETTINGS,
    SETTINGS,
    sealer_of,
    sealing_store,
    sealing_tenancy,
    stored,
)
from servers import new_database

from fastapi_tenancy import (
    ConfigurationError,
    InMemoryTenantStore,
    SQLAlchemyTenantStore,
    TenantStatus,
)
from fastapi_tenancy.__main__ import main
from fastapi_tenancy.testing import tenant_named


async def old_store(folder: Path, *, count: int = 3) -> list[str]:
    """A store sealed with the old key."""
    store = sealing_store(f"sqlite:///{folder}/tenancy.db", OLD)
    await store.open()
    tenants = [tenant_named(f"t{number}", settings=SETTINGS) for number in range(count)]
    for tenant in tenants:
        await store.add(tenant)
    await store.close()
    return [tenant.identifier for tenant in tenants]


async def test_after_it_the_old_key_is_not_needed(tmp_path: Path) -> None:
    names = await old_store(tmp_path)
    async with sealing_tenancy(tmp_path, NEW, OLD) as tenancy:
        before = [await tenancy.get_tenant(name) for name in names]
        assert (await tenancy.reseal()).resealed == 3
        assert (await tenancy.audit_trail(limit=1)).items[0].action == "resealed"
        assert (await tenancy.reseal()).resealed == 0
    async with sealing_tenancy(tmp_path, NEW) as tenancy:
        # Also version and updated_at: the tenants did not change.
        assert [await tenancy.get_tenant(name) for name in names] == before


async def test_it_goes_through_every_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastapi_tenancy.store.sqlalchemy_sealing._PAGE", 2)
    await old_store(tmp_path, count=5)
    async with sealing_tenancy(tmp_path, NEW, OLD) as tenancy:
        assert (await tenancy.reseal()).resealed == 5


async def test_every_row_and_column_is_sealed_again(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/tenancy.db"
    old, new = sealing_store(url, OLD), sealing_store(url, NEW, OLD)
    await old.open()
    for status in TenantStatus:
        await old.add(tenant_named(status.value, status=status, settings=SETTINGS))
    for kept in (True, False):
        tenant = tenant_named("deleted", database_url="sqlite:///hunter.db", namespace=str(kept))
        await old.add(tenant)
        await old.remove(tenant, keep_namespace=kept)
    keyed = tenant_named("keyed")
    await old.add(keyed)
    await old.save(replace(keyed, key_record=sealer_of(OLD).seal(b"its key", keyed.id, "key")))
    foreign = tenant_named("foreign", key_record="what is no seal stays")
    await old.add(foreign)
    await old.close()
    await new.open()
    done = await new.reseal()
    assert (done.resealed, done.left) == (len(TenantStatus) + 2, [])
    found, other = await new.get(keyed.id), await new.get(foreign.id)
    await new.close()
    assert sealer_of(NEW).unseal(found.key_record, keyed.id, "key") == b"its key"
    assert other.key_record == "what is no seal stays"
    last = sealing_store(url, NEW)
    await last.open()
    assert [kept.database_url for kept in await last.retained()] == ["sqlite:///hunter.db"]
    for status in TenantStatus:
        assert (await last.get_by_identifier(status.value)).settings == SETTINGS
    await last.close()


async def test_what_is_still_in_plain_is_sealed_and_leaves_no_trace_in_the_file(tmp_path: Path) -> None:
    async with sealing_tenancy(tmp_path) as tenancy:
        await tenancy.create_tenant("acme", settings=SETTINGS)
        await tenancy.update_tenant("acme", settings={**SETTINGS, "api_key": "hunter4"})
    async with sealing_tenancy(tmp_path, NEW) as tenancy:
        assert (await tenancy.reseal()).resealed == 1
        assert b"hunter" not in stored(tmp_path)
        assert (await tenancy.get_tenant("acme")).settings["api_key"] == "hunter4"


async def test_a_setting_that_became_secret_is_sealed_and_none_is_unsealed(tmp_path: Path) -> None:
    async with sealing_tenancy(tmp_path, NEW, secret_settings=["smtp.password"]) as tenancy:
        await tenancy.create_tenant("acme", settings=SETTINGS)
    async with sealing_tenancy(tmp_path, NEW, secret_settings=["api_key"]) as tenancy:
        assert (await tenancy.reseal()).resealed == 1
        assert b"hunter" not in stored(tmp_path)
        assert (await tenancy.get_tenant("acme")).settings == SETTINGS


async def test_what_cannot_be_opened_is_left_and_named(tmp_path: Path) -> None:
    names = await old_store(tmp_path)
    async with sealing_tenancy(tmp_path, NEW) as tenancy:
        await tenancy.create_tenant("fine", settings=SETTINGS)
        done = await tenancy.reseal()
        assert (done.resealed, sorted(done.left)) == (0, names)
    async with sealing_tenancy(tmp_path, NEW, OLD) as tenancy:
        done = await tenancy.reseal()
        assert (done.resealed, done.left) == (3, [])


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mysql"])
async def test_changes_that_are_made_meanwhile_stay(tmp_path: Path, request: pytest.FixtureRequest, kind: str) -> None:
    url = f"sqlite:///{tmp_path}/tenancy.db"
    if kind != "sqlite":
        url = new_database(request.getfixturevalue(f"{kind}_url"))
    store, other = sealing_store(url, OLD), sealing_store(url, NEW, OLD)
    for each in (store, other):
        await each.open()
    acme = tenant_named("acme", settings=SETTINGS)
    await store.add(acme)

    async def change() -> int:
        tenant = acme
        for made in range(20):  # resealing is no change, so none of these is refused
            tenant = await store.save(replace(tenant, settings={**SETTINGS, "made": made}))
        return tenant.version

    async def rotate(changing: asyncio.Task[int]) -> int:
        resealed = 0
        while not changing.done():
            resealed += (await other.reseal()).resealed
        return resealed + (await other.reseal()).resealed

    changing = asyncio.create_task(change())
    resealed = await rotate(changing)
    found = await other.get(acme.id)
    assert (found.settings, found.version) == ({**SETTINGS, "made": 19}, await changing)
    assert resealed >= 1
    for each in (store, other):
        await each.close()


async def test_a_key_that_was_read_before_does_not_come_back_under_the_old_one(tmp_path: Path) -> None:
    old, new = (sealing_store(f"sqlite:///{tmp_path}/tenancy.db", *keys) for keys in ([OLD], [NEW, OLD]))
    for store in (old, new):
        await store.open()
    acme = tenant_named("acme")
    await old.add(replace(acme, key_record=sealer_of(OLD).seal(b"its key", acme.id, "key")))
    read = await new.get(acme.id)
    await new.reseal()
    await new.save(replace(read, name="Acme Inc"))
    found = await new.get(acme.id)
    assert sealer_of(NEW).unseal(found.key_record, acme.id, "key") == b"its key"
    for store in (old, new):
        await store.close()


async def test_without_keys_it_is_refused(tmp_path: Path) -> None:
    async with sealing_tenancy(tmp_path) as tenancy:
        await tenancy.create_tenant("acme")
        with pytest.raises(ConfigurationError, match="set encryption_keys"):
            await tenancy.reseal()


async def test_a_store_that_seals_nothing_is_named(tmp_path: Path) -> None:
    async with sealing_tenancy(tmp_path, NEW, store=InMemoryTenantStore()) as tenancy:
        with pytest.raises(ConfigurationError, match="InMemoryTenantStore seals nothing"):
            await tenancy.reseal()


def test_a_rotation_that_is_killed_anywhere_leaves_all_readable_and_is_ended_by_the_next(forked: Forking) -> None:
    process = forked.run(Path(__file__).with_name("reseal_steps.py"))
    assert process.returncode == 0, process.stderr
    assert int(process.stdout) >= 8  # places at which it was killed


APPLICATION = """
    from pathlib import Path
    from support import make_tenancy

    folder = Path(__file__).parent
    tenancy = make_tenancy(folder, encryption_keys={keys}, secret_settings={names})
    broken = make_tenancy(folder, store=object())
    word = "no tenancy"
"""


class TestCommand:
    """`python -m fastapi_tenancy reseal`."""

    @pytest.fixture
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        asyncio.run(old_store(tmp_path))
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "rotating", raising=False)
        return tmp_path

    def write(self, folder: Path, *keys: str) -> None:
        (folder / "rotating.py").write_text(dedent(APPLICATION).format(keys=list(keys), names=SECRET_SETTINGS))

    def test_it_prints_numbers(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.write(folder, NEW, OLD)
        assert main(["reseal", "--app", "rotating:tenancy"]) == 0
        assert main(["--app", "rotating:tenancy", "--json", "reseal"]) == 0
        first, second = capsys.readouterr().out.splitlines()
        assert (first, json.loads(second)) == ("resealed: 3, left: 0", {"resealed": 0, "left": []})

    def test_the_environment_can_name_the_application(
        self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.write(folder, NEW, OLD)
        monkeypatch.setenv("TENANCY_APP", "rotating:tenancy")
        assert main(["reseal", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["resealed"] == 3

    def test_a_key_that_is_missing_is_a_failure_with_one_line(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.write(folder, NEW)
        assert main(["reseal", "--app", "rotating:tenancy", "--json"]) == 1
        output = capsys.readouterr()
        assert sorted(json.loads(output.out)["left"]) == ["t0", "t1", "t2"]
        assert output.err.count("\n") == 1
        assert "t0" in output.err

    def test_whatever_fails_is_one_line(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.write(folder, NEW, OLD)
        assert main(["reseal", "--app", "rotating:broken"]) == 1
        assert capsys.readouterr().err.count("\n") == 1

    @pytest.mark.parametrize(
        "call",
        [
            [],
            ["reseal"],
            ["reseal", "--app", "rotating"],
            ["reseal", "--app", "no_such_module:tenancy"],
            ["reseal", "--app", "rotating:nothing"],
            ["reseal", "--app", "rotating:word"],
            ["no-command", "--app", "rotating:tenancy"],
        ],
    )
    def test_a_wrong_call_exits_with_2(self, folder: Path, call: list[str]) -> None:
        self.write(folder, NEW, OLD)
        with pytest.raises(SystemExit) as caught:
            main(call)
        assert caught.value.code == 2

    def test_it_runs_as_a_program(self, folder: Path) -> None:
        self.write(folder, NEW, OLD)
        program = [sys.executable, "-m", "fastapi_tenancy", "reseal", "--app", "rotating:tenancy"]
        done = subprocess.run(
            program, env={"PYTHONPATH": ":".join([str(folder), *sys.path])}, capture_output=True, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, b"resealed: 3, left: 0\n", b"")


def test_the_store_needs_no_tenancy_to_seal() -> None:
    assert sealing_store("sqlite://", NEW).is_sealing
    assert not SQLAlchemyTenantStore("sqlite://").is_sealing
