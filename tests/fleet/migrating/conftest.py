"""A shop with an Alembic folder, whose tenants are at its first revision."""

import asyncio
import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from prepared_stores import put_store
from shops import MODELS, Shop

from fastapi_tenancy import Tenancy
from fastapi_tenancy.fleet.migrating import runner, worker
from fastapi_tenancy.fleet.migrating.processes import Answer
from fastapi_tenancy.migrations import write_folder

MODULE = "shop_of_a_fleet"
NAMES = ("acme", "globex", "initech")

NOTES = """
op.create_table(
    "notes",
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("tenant_id", sa.String(32), nullable=False, index=True),
    sa.Column("text", sa.String(200)),
)
"""
TAGS = 'op.create_table("tags", sa.Column("id", sa.Integer, primary_key=True))'


class InAThread:
    """What a process does, in a thread of this one, which takes a hundredth of the time.

    Attributes:
        orders: all that were carried out.
        turn: an order is carried out only when this is set.
        came: is set when there is one.
    """

    orders: list[Mapping[str, Any]]
    turn: asyncio.Event
    came: asyncio.Event

    @classmethod
    def hold(cls) -> None:
        """Carry out nothing until `turn` is set."""
        cls.turn.clear()
        cls.came.clear()

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        worker._scripts.cache_clear()

    async def carry_out(self, order: Mapping[str, Any], _seconds: float) -> Answer:
        self.came.set()
        await self.turn.wait()
        self.orders.append(order)
        answer = await asyncio.to_thread(worker.carry_out, self._folder, order)
        return Answer(answer["error"], "revision" in answer, answer.get("revision"))

    async def kill(self) -> None:
        pass


class Fleet:
    """The shop, whose tenants acme, globex and initech are at its first revision, and ways to have them behind."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop

    def tenancy(self, models: str = MODELS, **settings: Any) -> Tenancy:
        """A new one, as another process has it."""
        given = {"database_url": "sqlite:///data/tenancy.db", "migrations": "migrations", **settings}
        self.shop.write(models, **given)
        return importlib.import_module(self.shop.module).tenancy

    def advance(self, what: str = TAGS) -> None:
        """Leave everybody behind, for those who read the folder from now on."""
        self.shop.revision("bb20", "aa1", what)


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """The application's folder is the working directory, from which it is imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", [str(folder), *sys.path])
        yield
    sys.modules.pop(MODULE, None)


@pytest.fixture(scope="session")
async def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a shop, made once: a tenant's place has the same name wherever it is copied to."""
    folder = tmp_path_factory.mktemp("fleet")
    with working_in(folder):
        write_folder("migrations", f"{MODULE}:tenancy")
        fleet = Fleet(Shop(folder, MODULE))
        fleet.shop.revision("aa1", None, NOTES)
        (folder / "data").mkdir()
        put_store(folder / "data" / "tenancy.db")
        async with fleet.tenancy() as tenancy:
            for identifier in NAMES:
                await tenancy.create_tenant(identifier)
    return folder


@pytest.fixture
def fleet(prepared: Path, tmp_path: Path) -> Iterator[Fleet]:
    folder = Path(copytree(prepared, tmp_path / "shop"))
    with working_in(folder):
        yield Fleet(Shop(folder, MODULE))


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> type[InAThread]:
    """Threads in the place of processes."""
    made = type("InAThread", (InAThread,), {"orders": [], "turn": asyncio.Event(), "came": asyncio.Event()})
    made.turn.set()
    monkeypatch.setattr(runner, "MigratingProcess", made)
    return made
