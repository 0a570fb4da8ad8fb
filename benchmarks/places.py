"""What the place of a tenant takes: time to make and to migrate it, disk, files, and memory of the server.

    python benchmarks/places.py [--quick]

Ten tables for each tenant, one tenant after another; the migration adds two. PostgreSQL is the server that
TENANCY_TEST_POSTGRES_URL names, else one that is started here, in memory and never flushed to disk.
"""

import argparse
import asyncio
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from fleet import MORE, fleet, revise
from sides import database, our_tenancy, postgresql
from sqlalchemy import NullPool, create_engine, make_url, select
from tables import Base

SCHEMAS = "SELECT nspname FROM pg_namespace WHERE starts_with(nspname, 't_')"
FILES = """
    SELECT count(*) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE starts_with(nspname, 't_') AND relfilenode > 0
"""
DATABASE = "SELECT pg_database_size(current_database())"
LARGEST = """
    SELECT max(pg_database_size(oid)) FROM pg_database
    WHERE datname <> current_database() AND datdba = CAST(current_user AS regrole)
"""
BACKEND = "SELECT sum(total_bytes) FROM pg_backend_memory_contexts"
OF_SCHEMAS = {"manager_type": "shared-profile", "shared_isolation": "schema"}


async def schemas(server: str, tenants: int) -> None:
    with database(server) as url:
        before = number_in(url, DATABASE)
        took = await created(tenants, database_url=url, **OF_SCHEMAS)
        size, files = number_in(url, DATABASE) - before, number_in(url, FILES)
        grown = backend_memory(server, url)
    print(f"a PostgreSQL schema: {took:.1f} ms, {size / tenants / 1e3:.0f} KB, {files / tenants:.0f} files")
    print(f"  each connection that has used it: {grown / tenants / 1e3:.0f} KB")


async def databases(server: str, tenants: int) -> None:
    with database(server) as url:
        took = await created(tenants, database_url=url)
        print(f"a PostgreSQL database: {took:.1f} ms, {number_in(url, LARGEST) / 1e6:.1f} MB")


async def files(folder: Path, tenants: int) -> None:
    took = await created(tenants, database_url=f"sqlite:///{folder}/tenancy.db")
    made = list((folder / "tenants").iterdir())
    size = sum(file.stat().st_blocks * 512 for file in made)
    print(f"a SQLite file: {took:.1f} ms, {size / tenants / 1e3:.0f} KB, {len(made) / tenants:.0f} file")


async def created(tenants: int, **settings: Any) -> float:
    """Milliseconds for each of so many tenants, save the first, which builds the template."""
    async with our_tenancy(Base.metadata, **settings) as tenancy:
        await tenancy.create_tenant("first")
        started = time.perf_counter()
        for each in range(1, tenants):
            await tenancy.create_tenant(f"t{each}")
        return (time.perf_counter() - started) / (tenants - 1) * 1e3


async def migrated(name: str, tenants: int, **settings: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with fleet(Path(folder), name, tenants, **settings) as tenancy:
            revise(Path(folder), "bb02", "aa01", MORE)
            started = time.perf_counter()
            report = await tenancy.migrate(workers=2)
            took = (time.perf_counter() - started) / len(report.migrated)
        os.chdir("/")
    print(f"migrated by two processes, {name}: {took * 1e3:.1f} ms for each of {len(report.migrated)}")


def number_in(url: str, query: str) -> int:
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        return int(connection.exec_driver_sql(query).scalar_one())


def backend_memory(server: str, url: str) -> int:
    """Bytes by which a connection grows while it reads every table of every schema; only a superuser sees them."""
    engine = create_engine(make_url(server).set(database=make_url(url).database), poolclass=NullPool)
    with engine.connect() as connection:
        schemas = connection.exec_driver_sql(SCHEMAS).scalars().all()
        before = connection.exec_driver_sql(BACKEND).scalar_one()
        for schema in schemas:
            here = {"schema_translate_map": {None: schema}}
            for table in Base.metadata.tables.values():
                connection.execute(select(table).limit(1), execution_options=here)
        return int(connection.exec_driver_sql(BACKEND).scalar_one() - before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the tenants")
    part = 10 if parser.parse_args().quick else 1
    with postgresql() as server:
        asyncio.run(schemas(server, 100 // part))
        asyncio.run(databases(server, 20 // part))
        with database(server) as url:
            asyncio.run(migrated("postgresql_schemas", 200 // part, database_url=url, **OF_SCHEMAS))
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(files(Path(folder), 100 // part))
    asyncio.run(migrated("sqlite_files", 200 // part, database_url="sqlite:///data/tenancy.db"))


if __name__ == "__main__":
    main()
