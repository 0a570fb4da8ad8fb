"""Two uvicorn processes on one store."""

import runpy
from pathlib import Path

import pytest
from prepared_stores import put_store

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


async def test_every_change_in_one_process_is_seen_in_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_store(tmp_path / "tenancy.db")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    measure = runpy.run_path(str(BENCHMARKS / "bus.py"))["measure"]
    url = f"sqlite:///{tmp_path}/tenancy.db"
    delays = await measure({"database_url": url, "bus_poll_interval": 0.02, "cache_ttl": 3600}, 6)
    assert len(delays) == 6  # each was seen; how soon, a machine that is busy with other things does not tell
