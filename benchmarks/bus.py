"""How soon one uvicorn process sees what another changed, by each bus, and by the TTL alone.

    PYTHONPATH=tests python benchmarks/bus.py [--changes N]

Tenants are created, suspended, activated, renamed and deleted, and tokens revoked, over the admin API of one process.
The time counts from its answer until the other process, which had remembered the opposite, answers accordingly; it is
asked again and again. Whatever is not seen within `DEADLINE` ends the program with an error.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import httpx2 as httpx
from load import percentiles, serving

DEADLINE = 10.0  # seconds

SCRIPT = """
from fastapi import Depends, FastAPI
from sqlalchemy import MetaData
from fastapi_tenancy import CurrentTenant, HeaderResolver, Tenancy, TenancyMiddleware, TenancySettings, TokenResolver
from fastapi_tenancy.multitenant.admin import admin_router

settings = TenancySettings(manager_type="shared-profile", shared_isolation="row", **{settings!r})
tenancy = Tenancy(settings, resolvers=[HeaderResolver("X-Tenant-ID"), TokenResolver()], metadata=MetaData())
app = FastAPI(lifespan=tenancy.lifespan)
app.add_middleware(TenancyMiddleware, tenancy=tenancy)

def anybody() -> None:
    pass

app.include_router(admin_router(tenancy, dependencies=[Depends(anybody)]), prefix="/admin")

@app.get("/whoami")
async def whoami(tenant: CurrentTenant) -> str:
    return tenant.identifier
"""


class Step(NamedTuple):
    """A change, and how a request is answered once it is known: its headers, and the status."""

    method: str
    path: str
    body: Mapping[str, Any] | None
    headers: Mapping[str, str]
    status: int


def steps(number: int) -> Iterator[Step]:
    """What becomes of one tenant; a step in which nothing is to be seen has the status 0."""
    name, renamed = f"t{number}", f"t{number}-new"
    path = f"/admin/tenants/{name}"
    as_name, as_renamed = {"X-Tenant-ID": name}, {"X-Tenant-ID": renamed}
    yield Step("POST", "/admin/tenants", {"identifier": name}, as_name, 200)
    yield Step("POST", f"{path}/suspend", None, as_name, 403)
    yield Step("POST", f"{path}/activate", None, as_name, 200)
    yield Step("POST", f"{path}/tokens", {"name": "ci"}, {}, 0)
    yield Step("DELETE", f"{path}/tokens/{{token_id}}", None, {"Authorization": "Bearer {token}"}, 401)
    yield Step("PATCH", path, {"identifier": renamed}, as_renamed, 200)
    yield Step("DELETE", f"/admin/tenants/{renamed}?drop_data=true", None, as_renamed, 404)


async def delays(here: httpx.AsyncClient, there: httpx.AsyncClient) -> AsyncIterator[float]:
    """Change one tenant after the other in one process, and give the seconds until the other one has seen each."""
    number, issued = 0, {"token_id": "", "token": ""}
    while True:
        number += 1
        for step in steps(number):
            headers = {key: value.format(**issued) for key, value in step.headers.items()}
            await there.get("/whoami", headers=headers)  # which is remembered
            answer = await here.request(step.method, step.path.format(**issued), json=step.body)
            changed = time.perf_counter()
            answer.raise_for_status()
            if not step.status:
                issued = answer.json()
                continue
            async with asyncio.timeout(DEADLINE):
                while (await there.get("/whoami", headers=headers)).status_code != step.status:
                    pass
            yield time.perf_counter() - changed


async def measure(settings: Mapping[str, Any], changes: int) -> list[float]:
    """The seconds that each of so many changes took."""
    with (
        serving(SCRIPT.format(settings=dict(settings))) as here,
        serving(SCRIPT.format(settings=dict(settings))) as there,
    ):
        async with client(here.port) as asked, client(there.port) as other:
            took: list[float] = []
            async for delay in delays(asked, other):
                took.append(delay)
                if len(took) == changes:
                    return took
    raise AssertionError("there is always another tenant")


def client(port: int) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE)


def main() -> None:
    from servers import new_database, postgresql, redis

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=1000)
    changes = parser.parse_args().changes
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(postgresql())
        rows: dict[str, Mapping[str, Any]] = {
            "redis": {
                "database_url": f"sqlite:///{folder}/redis.db",
                "redis_url": stack.enter_context(redis()),
            },
            "postgresql, psycopg": {"database_url": new_database(server)},
            "postgresql, asyncpg": {"database_url": new_database(server).replace("psycopg", "asyncpg")},
            "poll, SQLite, 0.5 s": {"database_url": f"sqlite:///{folder}/poll.db"},
            "none, cache_ttl of 1 s": {
                "database_url": f"sqlite:///{folder}/none.db",
                "bus": "none",
                "cache_ttl": 1,
                "unknown_cache_ttl": 1,
            },
        }
        print("| Bus | Changes | p50 | p99 | Longest |\n|---|---|---|---|---|")
        for name, given in rows.items():
            number = changes if given.get("bus") != "none" else max(changes // 10, 10)
            took = asyncio.run(measure(given, number))
            low, high = percentiles(took)
            print(
                f"| {name} | {number} | {low * 1e3:.1f} ms | {high * 1e3:.1f} ms | {max(took) * 1e3:.1f} ms |",
                flush=True,
            )


if __name__ == "__main__":
    main()
