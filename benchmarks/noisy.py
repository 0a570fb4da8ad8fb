"""What a tenant notices of another that floods the application: its latencies with and without a bulkhead.

    python benchmarks/noisy.py [--quick]

One uvicorn worker before PostgreSQL, five connections for all tenants, and a transaction of 30 ms in each request, so
that at most about 150 a second can be served. The quiet tenant sends 20 requests a second, the noisy one 200, both
whatever the server does. What start-up made is kept from the garbage collector, whose first full run would stop the
worker for 80 ms, about once in each phase with load. PostgreSQL is the server that TENANCY_TEST_POSTGRES_URL names,
else one that is started here.
"""

import argparse
import time
from collections import Counter
from contextlib import ExitStack

from load import Outcome, loading, outcome_of, percentiles, serving
from sides import database, postgresql

QUIET, NOISY = 20, 200  # requests a second
ROUNDS, SECONDS = 3, 10.0

APPLICATION = """
import gc
from contextlib import asynccontextmanager, suppress
from fastapi import FastAPI
from sqlalchemy import func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from fastapi_tenancy import *

class Base(DeclarativeBase):
    pass

class Note(TenantScoped, Base):
    __tablename__ = "note"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]

tenancy = Tenancy(
    TenancySettings(database_url=%(url)r, manager_type="shared-profile", pool_size=5, max_overflow=0),
    resolvers=[HeaderResolver()],
    metadata=Base.metadata,
    limits=%(limits)s,
)

@asynccontextmanager
async def lifespan(app):
    async with tenancy.lifespan(app):
        for name in "quiet", "noisy":
            with suppress(TenantExistsError):
                await tenancy.create_tenant(name)
        gc.collect()
        gc.freeze()
        yield

app = FastAPI(lifespan=lifespan)
app.add_middleware(TenancyMiddleware, tenancy=tenancy)

@app.post("/notes")
async def add_note(session: TenantTransaction) -> None:
    session.add(Note(text="hello"))
    await session.flush()
    await session.execute(select(func.pg_sleep(0.03)))  # stands for a query that takes its time
"""

BULKHEAD = "TenantLimits({}, default=Limit(concurrency=2, queue=10))"
PHASES = {
    "quiet alone": (BULKHEAD, False),
    "noisy too, bulkhead on": (BULKHEAD, True),
    "noisy too, bulkhead off": ("None", True),
}


def asked(url: str, limits: str, *, flooded: bool, seconds: float) -> tuple[Outcome, Outcome | None]:
    """What the quiet tenant got, and the noisy one, from a server that is started for them."""
    with ExitStack() as stack:
        server = stack.enter_context(serving(APPLICATION % {"url": url, "limits": limits}))

        def sends(tenant: str, rate: int, connections: int, seconds: float = seconds):  # noqa: ANN202 - a context
            header = f"X-Tenant-ID: {tenant}"
            given = {"method": "POST", "header": header, "rate": rate, "connections": connections, "seconds": seconds}
            return stack.enter_context(loading(server.port, "/notes", **given))

        outcome_of(sends("quiet", QUIET, 5, 1.0))  # opens the connections
        noisy = sends("noisy", NOISY, 100, seconds + 3) if flooded else None
        time.sleep(1.5)  # until it is at full speed
        quiet = outcome_of(sends("quiet", QUIET, 16))
        return quiet, outcome_of(noisy) if noisy else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a round of two seconds, to see that it works")
    rounds, seconds = (1, 2.0) if parser.parse_args().quick else (ROUNDS, SECONDS)
    quiets, noisies = {name: Outcome() for name in PHASES}, {name: Outcome() for name in PHASES}
    with postgresql() as server, database(server) as url:
        for _ in range(rounds):
            for name, (limits, flooded) in PHASES.items():
                quiet, noisy = asked(url, limits, flooded=flooded, seconds=seconds)
                for total, outcome in ((quiets[name], quiet), (noisies[name], noisy or Outcome())):
                    total.took += outcome.took
                    total.statuses += outcome.statuses
    alone = percentiles(quiets["quiet alone"].took)[1]
    print(f"{'the quiet tenant':26}{'p50 ms':>9}{'p99 ms':>9}{'of alone':>10}   its answers   the noisy tenant's")
    for name in PHASES:
        p50, p99 = percentiles(quiets[name].took)
        answers = f"{told(quiets[name].statuses):14}{told(noisies[name].statuses)}"
        print(f"{name:26}{p50 * 1e3:>9.1f}{p99 * 1e3:>9.1f}{p99 / alone:>10.2f}   {answers}")


def told(statuses: Counter[int]) -> str:
    return ", ".join(f"{status}: {number}" for status, number in sorted(statuses.items()))


if __name__ == "__main__":
    main()
