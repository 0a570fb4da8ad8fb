"""A database with two tenants' rows and one with only the first one's, new for each test."""

import shutil
from pathlib import Path

import pytest
from isolation.row_models import A, B, plant


@pytest.fixture(scope="session")
def planted_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plant(tmp_path_factory.mktemp("row") / "planted.db", A, B)


@pytest.fixture(scope="session")
def alone_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plant(tmp_path_factory.mktemp("row") / "alone.db", A)


@pytest.fixture
def planted(planted_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(planted_once, tmp_path / "shared.db"))


@pytest.fixture
def alone(alone_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(alone_once, tmp_path / "alone.db"))
