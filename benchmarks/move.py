"""Move a tenant with 100,000 rows between row, schema and database on PostgreSQL, killed half-way and resumed.

    python benchmarks/move.py [--rows N]

Each move is made twice: once undisturbed, for the time in which nothing can be written; and once by a process that
kills itself while it copies, and then by another one that goes on: it waits until the first one's lease has ended. All
the while the tenant is read. The rows are compared by PostgreSQL, which knows nothing of the library's checksums.
PostgreSQL is the server that TENANCY_TEST_POSTGRES_URL names, else one that is started here and never flushes to disk.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from sides import database, postgresql
from sqlalchemy import JSON, Boolean, DateTime, ForeignKey, Numeric, String, func, insert, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from fastapi_tenancy import HeaderResolver, Tenancy, TenancySettings, TenantScoped
from fastapi_tenancy.fleet import MoveProgress

ROWS = 100_000
ORDERS = 5  # items of each

# Where the tenant goes, one after the other; it begins with its rows among those of others.
WAY = (("schema", "shared-profile"), ("database", "basic"), ("row", "shared-profile"))


class Base(DeclarativeBase):
    pass


class Order(TenantScoped, Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[str] = mapped_column(String(200))
    placed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    is_paid: Mapped[bool] = mapped_column(Boolean)
    details: Mapped[Any] = mapped_column(JSON)


class Item(TenantScoped, Base):
    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey(Order.id), index=True)
    name: Mapped[str] = mapped_column(String(200))
    price: Mapped[Decimal] = mapped_column(Numeric(10, 2))


@dataclass
class Reads:
    """What became of the requests that were made in the meantime."""

    answered: int = 0
    failed: list[str] = field(default_factory=list)
    slowest: float = 0.0


def tenancy_at(url: str) -> Tenancy:
    settings = TenancySettings(database_url=url, manager_type="shared-profile", shared_isolation="row")
    return Tenancy(settings, resolvers=[HeaderResolver("X-Tenant-ID")], metadata=Base.metadata)


async def fill(tenancy: Tenancy, identifier: str, rows: int) -> None:
    orders = rows // (ORDERS + 1)
    async with tenancy.use(identifier) as profile, profile.transaction() as session:
        given = [
            {"customer": f"Customer {number}", "is_paid": number % 3 == 0, "details": {"note": "x" * 20, "n": number}}
            for number in range(orders)
        ]
        ids = list(await session.scalars(insert(Order).returning(Order.id), given))
        items = [
            {"order_id": ids[number % orders], "name": f"Item {number}", "price": Decimal(number) / 100}
            for number in range(rows - orders)
        ]
        await session.execute(insert(Item), items)


async def digest(tenancy: Tenancy, identifier: str) -> list[Any]:
    """What PostgreSQL says that the rows are."""
    manager = tenancy.provider.for_tenant(tenant := await tenancy.get_tenant(identifier))
    tables = await manager.tables(tenant)

    def ask() -> list[Any]:
        with tables.connect() as connection:
            return [
                tuple(
                    connection.execute(
                        text(
                            f"SELECT count(*), md5(string_agg(md5(t::text), '' ORDER BY id)) FROM {table} t "  # noqa: S608 - ours
                            "WHERE tenant_id = :tenant"
                        ),
                        {"tenant": tenant.id},
                    ).one()
                )
                for table in ("orders", "items")
            ]

    return await asyncio.to_thread(ask)


@asynccontextmanager
async def reading(tenancy: Tenancy, identifier: str) -> AsyncIterator[Reads]:
    reads = Reads()

    async def read() -> None:
        while True:
            started = time.perf_counter()
            try:
                async with tenancy.use(identifier) as profile, profile.session() as session:
                    await session.scalar(select(func.count()).select_from(Order).where(Order.id < 100))
                reads.answered += 1
            except Exception as error:  # noqa: BLE001 - whatever it is, it counts
                reads.failed.append(repr(error))
            reads.slowest = max(reads.slowest, time.perf_counter() - started)
            await asyncio.sleep(0.005)

    task = asyncio.create_task(read())
    try:
        yield reads
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def move(tenancy: Tenancy, name: str, to: str) -> Any:
    return await tenancy.move_tenant("acme", to=to, isolation=name if to == "shared-profile" else None)


async def moved_by_another(url: str, name: str, to: str) -> int:
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--die", json.dumps([url, name, to]), stdout=asyncio.subprocess.DEVNULL
    )
    return await process.wait()


async def die_half_way(url: str, name: str, to: str) -> None:
    def die(progress: MoveProgress) -> None:
        if progress.step == "copy" and progress.table == "items" and progress.done > progress.total / 2:
            os.kill(os.getpid(), signal.SIGKILL)

    async with tenancy_at(url) as tenancy:
        isolation = name if to == "shared-profile" else None
        await tenancy.move_tenant("acme", to=to, isolation=isolation, on_progress=die)


async def measure(url: str, rows: int) -> None:
    async with tenancy_at(url) as tenancy:
        for identifier in ("globex", "acme"):
            await tenancy.create_tenant(identifier)
            await fill(tenancy, identifier, rows)
        before = await digest(tenancy, "acme")
        at = "row"
        print(f"{rows:,} rows".ljust(24), "read only   in all   reads   slowest")
        for killed in (False, True):
            for name, to in WAY:
                async with reading(tenancy, "acme") as reads:
                    started = time.perf_counter()
                    if killed and await moved_by_another(url, name, to) != -signal.SIGKILL:
                        sys.exit("the process was not killed while it copied; give more --rows")
                    moved = await move(tenancy, name, to)
                    seconds = time.perf_counter() - started
                if await digest(tenancy, "acme") != before or reads.failed:
                    sys.exit(f"the rows are others, or reads failed: {reads.failed[:3]}")
                await tenancy.confirm_move("acme", at_once=True)
                title = f"{at} → {name}{', killed' if killed else ''}"
                print(
                    f"{title:24} {moved.read_only_seconds:7.2f} s {seconds:6.2f} s {reads.answered:7} "
                    f"{reads.slowest * 1000:6.0f} ms"
                )
                at = name
        print("Each time the rows were the same afterwards, and no read failed.")
        await tenancy.delete_tenant("acme", drop_data=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--die", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.die:
        asyncio.run(die_half_way(*json.loads(given.die)))
        return
    with postgresql() as server, database(server) as url:
        asyncio.run(measure(url, given.rows))


if __name__ == "__main__":
    main()
