"""Write the Alembic folder of an application."""

import os
import re
from importlib.resources import files
from pathlib import Path

from ..errors import ConfigurationError

_REFERENCE = re.compile(r"([^\W\d]\w*(?:\.[^\W\d]\w*)*):([^\W\d]\w*(?:\.[^\W\d]\w*)*)")


def write_folder(folder: str | Path, tenancy_reference: str) -> None:
    """Write an Alembic folder for tenants: `env.py`, `alembic.ini`, the template of revisions, and no revision.

    Args:
        folder: where to; it is made, and must be empty.
        tenancy_reference: where the application's `Tenancy` is, as "module:attribute", imported from the working
            directory.

    Raises:
        ConfigurationError: something is in the folder, or the reference is none.
    """
    folder, match = Path(folder), _REFERENCE.fullmatch(tenancy_reference)
    if match is None:
        raise ConfigurationError(
            f"{tenancy_reference!r} does not say where the Tenancy is; write module:attribute, like main:tenancy"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigurationError(f"{folder} is there, and not an empty folder; choose another one")
    (folder / "versions").mkdir(parents=True, exist_ok=True)
    module, attribute = match.groups()
    names = {"module": module, "attribute": attribute, "name": attribute.partition(".")[0]}
    names |= {"folder": folder.name, "root": _root_from(folder)}
    for source in (files(__package__) / "folder").iterdir():
        text = source.read_text(encoding="utf-8")
        name = source.name.removesuffix(".txt")
        (folder / name).write_text(text if name == source.name else text.format(**names), encoding="utf-8")


def _root_from(folder: Path) -> str:
    """The working directory as it is seen from the folder, so that both can be moved together."""
    if not folder.resolve().is_relative_to(Path.cwd().resolve()):
        return "."
    return Path("%(here)s", os.path.relpath(Path.cwd().resolve(), folder.resolve())).as_posix()
