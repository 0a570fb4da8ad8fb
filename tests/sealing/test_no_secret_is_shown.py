"""No secret is in the store's file, in any log, answer, repr or traceback."""

import pytest
from sealing.leaks import ACTS, everything_shown

PLACES = [*(act.__name__ for act in ACTS), "the database", "the database, closed", "the log"]


@pytest.fixture(scope="module")
async def everything(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], dict[str, bytes]]:
    return await everything_shown(tmp_path_factory.mktemp("leaks"))


@pytest.mark.parametrize("place", PLACES)
async def test_no_planted_secret_is_shown(everything: tuple[dict[str, str], dict[str, bytes]], place: str) -> None:
    planted, shown = everything
    assert [name for name, secret in planted.items() if secret.encode() in shown[place]] == []


async def test_it_would_be_found(everything: tuple[dict[str, str], dict[str, bytes]]) -> None:
    planted, shown = everything
    assert len(planted) > 20
    assert set(shown) == set(PLACES)
    assert b'"plan": "pro"' in shown["the database"]  # what is no secret is there to be read
    assert b"INSERT INTO tenancy_tenants" in shown["the log"]
    assert b"tenancy-sealed-1." in shown["the log"]  # SQLAlchemy logs the rows that it reads
    assert b"tenant not resealed" in shown["the log"]
