"""An application in a folder of its own, which is the working directory."""

import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from shops import Shop

from fastapi_tenancy.migrations import write_folder


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    shop = Shop(tmp_path, f"shop_{uuid4().hex}")
    write_folder("migrations", f"{shop.module}:tenancy")
    shop.write()
    yield shop
    sys.modules.pop(shop.module, None)
