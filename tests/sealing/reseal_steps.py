"""Kill a process before each statement and commit of a rotation of keys, and end the work in another one.

It forks for each place, which is much faster than starting Python anew, and prints how many there were.
"""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

from sealing.sealing_support import NEW, OLD, SETTINGS, sealer_of, sealing_store
from sqlalchemy import Engine, event

from fastapi_tenancy import Resealed, TenantStatus
from fastapi_tenancy.testing import tenant_named

NAMES = ("keyed", "suspended")


def in_child(work: Coroutine[Any, Any, object]) -> bool:
    """Whether it was killed."""
    child = os.fork()
    if child:
        work.close()
        _, status = os.waitpid(child, 0)
        assert status in (0, signal.SIGKILL), status
        return status == signal.SIGKILL
    status = 1
    try:
        asyncio.run(work)
        status = 0
    finally:
        os._exit(status)


async def made(folder: Path) -> None:
    store = sealing_store(f"sqlite:///{folder}/tenancy.db", OLD)
    await store.open()
    keyed = tenant_named("keyed", settings=SETTINGS)
    record = sealer_of(OLD).seal(b"its key", keyed.id, "key")
    await store.add(replace(keyed, key_record=record))
    await store.add(tenant_named("suspended", settings=SETTINGS, status=TenantStatus.SUSPENDED))
    kept = tenant_named("kept", database_url="sqlite:///x.db")
    await store.add(kept)
    await store.remove(kept, keep_namespace=True)
    await store.close()


async def until_killed(folder: Path, place: int) -> None:
    store = sealing_store(f"sqlite:///{folder}/tenancy.db", NEW, OLD)
    await store.open()
    passed = 0

    def step(*given: object) -> None:
        nonlocal passed
        if len(given) > 1 and str(given[2]).startswith("SELECT"):
            return  # it changes nothing
        if passed == place:
            os.kill(os.getpid(), signal.SIGKILL)
        passed += 1

    for name in ("before_cursor_execute", "commit"):
        event.listen(Engine, name, step)
    await store.reseal()


async def resealed(folder: Path) -> Resealed:
    store = sealing_store(f"sqlite:///{folder}/tenancy.db", NEW, OLD)
    await store.open()
    try:
        return await store.reseal()
    finally:
        await store.close()


async def readable(folder: Path, *keys: str) -> None:
    store = sealing_store(f"sqlite:///{folder}/tenancy.db", *keys)
    await store.open()
    for name in NAMES:
        found = await store.get_by_identifier(name)
        assert found is not None
        assert (found.settings, found.version) == (SETTINGS, 1)
        if found.key_record is not None:
            assert sealer_of(*keys).unseal(found.key_record, found.id, "key") == b"its key"
    assert [kept.database_url for kept in await store.retained()] == ["sqlite:///x.db"]
    await store.close()


async def ended(folder: Path) -> None:
    """Everything can be read with the two keys, the same call ends the work, and then the new one is enough."""
    await readable(folder, NEW, OLD)
    done = await resealed(folder)
    assert done.left == []
    await readable(folder, NEW)
    assert (await resealed(folder)).resealed == 0


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        template = Path(place, "template")
        template.mkdir()
        asyncio.run(made(template))
        number = 0
        while True:
            folder = Path(place, str(number))
            shutil.copytree(template, folder)
            killed = in_child(until_killed(folder, number))
            assert not in_child(ended(folder))
            if not killed:
                break
            number += 1
        sys.stdout.write(f"{number}\n")


if __name__ == "__main__":
    main()
