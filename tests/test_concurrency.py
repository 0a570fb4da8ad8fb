"""Many requests of many tenants at once: every row is its tenant's, and everything is closed at the end."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
from places import PLACES, places_fixture
from support import make_app, make_tenancy, named, running

TENANTS = [f"tenant-{number}" for number in range(20)]

# PostgreSQL is put under more load, where requests fail as well, in test_load_on_postgresql.
place = places_fixture(name for name in PLACES if not name.startswith("postgresql"))


def open_files(folder: Path) -> list[str]:
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        pytest.skip("needs /proc/self/fd to see what is open")
    targets = [link.readlink() for link in descriptors.iterdir() if link.is_symlink()]
    return [str(target) for target in targets if str(target).startswith(str(folder))]


async def test_mixed_requests_over_20_tenants_mix_no_rows(tmp_path: Path, place: dict[str, Any]) -> None:
    requests = 150 if "database_url" in place else 300
    tenancy = make_tenancy(tmp_path, **place, profile_cache_size=3)
    rng = random.Random(1)
    written: dict[str, list[str]] = {name: [] for name in TENANTS}
    slots = asyncio.Semaphore(50)

    async def one_request(client, number: int) -> None:
        name = rng.choice(TENANTS)
        async with slots:
            if number % 3:
                answer = (await client.get("/notes", headers=named(name))).raise_for_status().json()
                assert answer["tenant"] == name
                assert all(text.startswith(f"{name}:") for text in answer["notes"])
            else:
                text = f"{name}:{number}"
                (await client.post("/notes", params={"text": text}, headers=named(name))).raise_for_status()
                written[name].append(text)

    async with running(make_app(tenancy)) as client:
        for name in TENANTS:
            await tenancy.create_tenant(name)
        await asyncio.gather(*(one_request(client, number) for number in range(requests)))
        for name in TENANTS:
            notes = (await client.get("/notes", headers=named(name))).json()["notes"]
            assert sorted(notes) == sorted(written[name])
        if place["manager_type"] == "basic":
            assert tenancy.stats()["managers"]["MultitenantManager"]["open"] <= 3
    assert open_files(tmp_path) == []


@pytest.mark.parametrize(("identifier", "status"), [("acme", 200), ("nobody", 404)])
async def test_500_first_requests_at_once_ask_the_store_once(
    tmp_path: Path, manager_type: str, identifier: str, status: int
) -> None:
    tenancy = make_tenancy(tmp_path, manager_type=manager_type)
    async with running(make_app(tenancy)) as client:
        await tenancy.create_tenant("acme")
        before = tenancy.stats()["loads"]
        answers = await asyncio.gather(*(client.get("/whoami", headers=named(identifier)) for _ in range(500)))
        assert {answer.status_code for answer in answers} == {status}
        assert tenancy.stats()["loads"] - before == 1
