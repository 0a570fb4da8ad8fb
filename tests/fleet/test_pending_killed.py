"""A process that is killed while it makes, gives or drops a pending tenant leaves nothing for ever."""

from pathlib import Path

from forking import Forking


def test_what_was_killed_at_any_step_is_cleared_away_or_resumed(tmp_path: Path, forked: Forking) -> None:
    process = forked.run(Path(__file__).with_name("kill_pending.py"), str(tmp_path))
    assert process.returncode == 0, process.stderr
