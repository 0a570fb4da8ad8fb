"""Kill a process while an encrypted tenant is created or gets another key, and end the work in another one.

Run as a program, with a folder. It forks for each moment, which is much faster than starting Python anew.
"""

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from keys.key_support import read_with, sealing, write_with
from multitenant.kill_steps import die, in_child

from fastapi_tenancy import Tenancy, TenancyError
from fastapi_tenancy.multitenant.databases import EncryptedFiles, encrypted_file

OLD, NEW = "an-old-key-of-a-tenant-that-is-always-the-A", "a-new-key-of-a-tenant-that-is-always-the--A"
TEXTS = [f"{number} {'x' * 3600}" for number in range(100)]  # so many that to encrypt them takes a while

MANAGED: dict[str, Any] = {"encrypted": True}
UNMANAGED: dict[str, Any] = {"encrypted": True, "key_management_mode": "unmanaged"}


async def die_instead(*_: object, **__: object) -> None:
    die()


@contextmanager
def connections_that_die(at: str, delay: float | None = None) -> Iterator[None]:
    """Die when SQLCipher is told something that begins so, or some seconds after that."""
    connect = encrypted_file.connect

    class Doomed:
        def __init__(self, *args: Any, **options: Any) -> None:
            self._real = connect(*args, **options)

        def execute(self, statement: str) -> Any:
            if statement.startswith(at):
                if delay is None:
                    die()
                else:
                    threading.Timer(delay, die).start()
            return self._real.execute(statement)

        def close(self) -> None:
            self._real.close()

    encrypted_file.connect = Doomed  # type: ignore[assignment] # it is what is made use of
    yield


@contextmanager
def dying_at_write(tenancy: Tenancy, number: int) -> Iterator[None]:
    change, writes = tenancy.directory.change, iter(range(99))

    async def change_or_die(*args: Any, **options: Any) -> Any:
        if next(writes) == number:
            die()
        return await change(*args, **options)

    tenancy.directory.change = change_or_die  # type: ignore[method-assign] # it is ours
    yield


@contextmanager
def dying_in(owner: type, name: str, death: Callable[..., Any]) -> Iterator[None]:
    setattr(owner, name, death)
    yield


REKEYING = {
    "nothing is recorded": lambda tenancy: dying_at_write(tenancy, 0),
    "both are recorded": lambda _: dying_in(EncryptedFiles, "rekey", die_instead),
    "it begins": lambda _: connections_that_die("PRAGMA rekey"),
    **{
        f"{delay} s later": lambda _, delay=delay: connections_that_die("PRAGMA rekey", delay)
        for delay in (0.002, 0.01)
    },
    "it is done": lambda _: connections_that_die("PRAGMA wal_checkpoint"),
    "the old one is to be forgotten": lambda tenancy: dying_at_write(tenancy, 1),
}

CREATION = {
    "it is recorded": lambda _: dying_in(EncryptedFiles, "create", die_instead),
    "the draft is there": lambda _: dying_in(encrypted_file, "_attached", lambda *_: die()),
    "the draft is whole": lambda _: dying_in(Path, "rename", lambda *_: die()),
    "it is in its place": lambda tenancy: dying_at_write(tenancy, 0),
}


async def made(folder: Path, mode: dict[str, Any]) -> None:
    async with sealing(folder) as tenancy:
        await tenancy.create_tenant("acme", **mode, key=OLD)
        await write_with(tenancy, "acme", OLD, *TEXTS)


async def rekeyed_until_killed(folder: Path, moment: Any) -> None:
    async with sealing(folder) as tenancy:
        with moment(tenancy):
            await tenancy.rekey_tenant("acme", key=OLD, new_key=NEW)


async def opens_and_is_ended(folder: Path, mode: dict[str, Any]) -> None:
    async with sealing(folder) as tenancy:
        assert await opens(tenancy, OLD) or await opens(tenancy, NEW)
    async with sealing(folder) as tenancy:
        rekeyed = await tenancy.rekey_tenant("acme", key=OLD, new_key=NEW)
        assert await opens(tenancy, NEW)
        if mode is UNMANAGED:
            assert not await opens(tenancy, OLD)
            assert len(str(rekeyed.key_record).split()) == 1
        else:
            assert len(tenancy.provider.root_profile.keys.recorded(rekeyed)) == 1
        await tenancy.rekey_tenant("acme", key=NEW, new_key=OLD)


async def opens(tenancy: Tenancy, key: str) -> bool:
    try:
        assert await read_with(tenancy, "acme", key) == TEXTS
    except TenancyError:
        return False
    return True


async def created_until_killed(folder: Path, moment: Any) -> None:
    async with sealing(folder) as tenancy:
        with moment(tenancy):
            await tenancy.create_tenant("acme", **UNMANAGED, key=OLD)


async def is_created_by_the_same_call(folder: Path) -> None:
    later = datetime.now(UTC) + timedelta(seconds=11)
    async with sealing(folder, now=lambda: later) as tenancy:
        with pytest.raises(TenancyError):
            await read_with(tenancy, "acme", OLD)
        acme = await tenancy.create_tenant("acme", **UNMANAGED, key=OLD)
        await write_with(tenancy, "acme", OLD, "works")
        assert {file.name.partition("-")[0] for file in (folder / "tenants").iterdir()} == {f"{acme.id}.db"}
        await tenancy.delete_tenant("acme", drop_data=True)
        assert list((folder / "tenants").iterdir()) == []


def main() -> None:
    for mode in (MANAGED, UNMANAGED):
        folder = Path(sys.argv[1]) / mode.get("key_management_mode", "managed")
        folder.mkdir()
        asyncio.run(made(folder, mode))  # what it imports and compiles, the children need not
        # Where the key is stored, nothing else happens to the file.
        for name, moment in list(REKEYING.items())[:: 1 if mode is UNMANAGED else 3]:
            killed = in_child(rekeyed_until_killed(folder, moment))
            assert killed or name.endswith("later"), name
            assert in_child(opens_and_is_ended(folder, mode)) == 0, name
            sys.stdout.write(f"{name}\n")
    folder = Path(sys.argv[1])
    for name, moment in CREATION.items():
        assert in_child(created_until_killed(folder, moment)), name
        assert in_child(is_created_by_the_same_call(folder)) == 0, name
        sys.stdout.write(f"{name}\n")


if __name__ == "__main__":
    main()
