"""What resolving the tenant adds to a request, beside fastapi-tenancy 0.5.0.

    python benchmarks/overhead.py [--rival-python PATH]

In process, over an application that does nothing, with 500 tenants in the cache; ours and the rival's take turns.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from rival import RIVAL, rival_python, run_in

ROUNDS = 5

# Both sides run this; `resolvers` and `middleware_of` are what differs.
HARNESS = """
import asyncio, json, logging, time

logging.disable(logging.CRITICAL)
TENANTS, CALLS = 500, 20_000
OTHERS = [(b"accept", b"*/*"), (b"user-agent", b"curl/8"), (b"accept-encoding", b"gzip"), (b"dnt", b"1")]

async def nothing(scope, receive, send):
    pass

def scope(path, headers):
    return {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "root_path": "", "scheme": "http",
            "query_string": b"", "server": ("127.0.0.1", 80), "headers": headers + OTHERS, "state": {}}

SCOPES = {
    "header": lambda n: scope("/notes", [(b"host", b"example.com"), (b"x-tenant-id", b"tenant%d" % n)]),
    "subdomain": lambda n: scope("/notes", [(b"host", b"tenant%d.example.com" % n)]),
    "host": lambda n: scope("/notes", [(b"host", b"tenant%d.example.com" % n)]),
    "path": lambda n: scope("/t/tenant%d/notes" % n, [(b"host", b"example.com")]),
}

async def took(app, scope_of):
    # Each is used again, as a server's is fresh in the processor's cache: 20,000 of them would not fit.
    scopes = [scope_of(n) for n in range(TENANTS)] * (CALLS // TENANTS)
    started = time.perf_counter()
    for each in scopes:
        await app(each, None, None)
    return (time.perf_counter() - started) / CALLS * 1e9

async def main():
    added = {}
    for name, scope_of in SCOPES.items():
        app = await middleware_of(name)
        for n in range(TENANTS):
            await app(scope_of(n), None, None)
        added[name] = min([await took(app, scope_of) - await took(nothing, scope_of) for _ in range(5)])
    print(json.dumps(added))

asyncio.run(main())
"""

OURS = """
from datetime import UTC, datetime
from sqlalchemy import MetaData
from fastapi_tenancy import *

resolvers = {"header": HeaderResolver(), "subdomain": SubdomainResolver("example.com"), "host": HostResolver(),
             "path": PathResolver("/t")}

async def middleware_of(name):
    store, now = InMemoryTenantStore(), datetime.now(UTC)
    for n in range(500):
        await store.add(Tenant(id=str(n), identifier=f"tenant{n}", name="", status=TenantStatus.ACTIVE, created_at=now,
                               updated_at=now))
        await store.add_domain(Domain(host=f"tenant{n}.example.com", tenant_id=str(n), status=DomainStatus.VERIFIED,
                                      token="", created_at=now))
    settings = TenancySettings(database_url="sqlite://", tenant_database_url="sqlite:///never-opened/{id}.db")
    tenancy = Tenancy(settings, resolvers=[resolvers[name]], metadata=MetaData(), store=store)
    return TenancyMiddleware(nothing, tenancy=tenancy)
"""

RIVALS = """
from fastapi_tenancy import TenancyConfig, TenancyManager, TenancyMiddleware
from fastapi_tenancy.core.types import Tenant
from fastapi_tenancy.storage.memory import InMemoryTenantStore

async def middleware_of(name):
    store = InMemoryTenantStore()
    for n in range(500):
        await store.create(Tenant(id=str(n), identifier=f"tenant{n}", name="Tenant"))
    config = TenancyConfig(
        database_url="sqlite+aiosqlite:///:memory:", isolation_strategy="schema",
        resolution_strategy="subdomain" if name == "host" else name,  # it knows no domains of the tenants' own
        l1_cache_enabled=True,
        domain_suffix=".example.com", path_prefix="/t/", tenant_header_name="X-Tenant-ID",
    )
    return TenancyMiddleware(nothing, manager=TenancyManager(config, store))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rival-python", type=Path, help=f"an interpreter that has {RIVAL}")
    sides = {"ours": (Path(sys.executable), OURS)}
    try:
        sides[RIVAL] = (rival_python(parser.parse_args().rival_python), RIVALS)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"{RIVAL} is not measured: {error}")
    best: dict[str, dict[str, float]] = {}
    for _ in range(ROUNDS):
        for side, (python, setup) in sides.items():
            for name, figure in run_in(python, setup + HARNESS).items():
                row = best.setdefault(name, {})
                row[side] = min(figure, row.get(side, figure))
    print(f"{'added to a request':20}" + "".join(f"{side:>26}" for side in sides) + f"{'ratio':>10}")
    for name, row in best.items():
        ratio = f"{row['ours'] / row[RIVAL]:.2f}" if RIVAL in row else "-"
        print(f"{name:20}" + "".join(f"{row[side] / 1000:>23.2f} µs" for side in sides) + f"{ratio:>10}")


if __name__ == "__main__":
    main()
