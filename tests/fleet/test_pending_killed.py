"""A process that is killed while it makes, gives or drops a pending tenant leaves nothing for ever."""

import asyncio
import sys
from pathlib import Path


async def test_what_was_killed_at_any_step_is_cleared_away_or_resumed(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(Path(__file__).with_name("kill_pending.py")), str(tmp_path)),
        env={"PYTHONPATH": ":".join(sys.path)},
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
