"""The command that seals what the store keeps with the newest key."""

import typer

from .call import Call, command
from .printing import FailureError

keeping = typer.Typer()


@command(keeping, "reseal", "reseal", "reseal --json")
async def reseal(call: Call) -> None:
    """Seal the store's secrets with the newest of encryption_keys."""
    done = await call.tenancy.reseal()
    call.answer(
        {"resealed": done.resealed, "left": list(done.left)}, f"resealed: {done.resealed}, left: {len(done.left)}"
    )
    if done.left:
        raise FailureError(f"could not be opened with the encryption_keys that are listed: {', '.join(done.left)}")
