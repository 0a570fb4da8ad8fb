"""An application in the current folder."""

import asyncio
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree

import pytest
from cli.cli_support import APPLICATION, Shop
from prepared_stores import put_store
from support import make_tenancy


async def _make_tenants(folder: Path) -> None:
    async with make_tenancy(folder) as tenancy:
        for identifier in ("acme", "globex", "sleepy"):
            await tenancy.create_tenant(identifier)
        await tenancy.suspend_tenant("sleepy")


@pytest.fixture(scope="session")
def folder_with_tenants(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tenants")
    asyncio.run(_make_tenants(folder))
    return folder


@pytest.fixture
def tenants(folder_with_tenants: Path, shop: Shop) -> Shop:
    """The application with acme and globex, and sleepy, who is suspended."""
    copytree(folder_with_tenants, shop.folder, dirs_exist_ok=True)
    return shop


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """The application without tenants."""
    put_store(tmp_path / "tenancy.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each])
    shop = Shop(tmp_path)
    shop.write("shop", APPLICATION)
    _forget_modules()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background ignores Ctrl-C
    yield shop
    signal.signal(signal.SIGINT, before)
    _forget_modules()


def _forget_modules() -> None:
    for name in ("shop", "jobs", "broken"):
        sys.modules.pop(name, None)
