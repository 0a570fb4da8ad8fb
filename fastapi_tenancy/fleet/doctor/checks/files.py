"""SQLite files: how they are written, and what they are on."""

import os
import shutil
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from shlex import quote

from ....urls import sqlite_file
from ..at_files import in_wal
from ..deployment import Deployment
from ..finding import Found, error, warning
from ..places import NOBODY

# As /proc/self/mountinfo has them; SQLite's write-ahead log needs memory that all who have the file open share:
# <https://www.sqlite.org/wal.html>
_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "fuse.sshfs"})
_MOUNTS = Path("/proc/self/mountinfo")

_LITTLE, _LITTLE_PART, _NOTHING = 1 << 30, 0.05, 64 << 20  # bytes, part of the disk, bytes

_HEADER = 100  # bytes, of which `in_wal` reads two


async def sqlite_files(deployment: Deployment) -> AsyncIterator[Found]:
    files = [file for url in (deployment.store_url, deployment.url) if url is not None and (file := sqlite_file(url))]
    for file in dict.fromkeys(files):
        if file.is_file() and not in_wal(_begin_of(file)):
            yield _without_log(file)
    sights = [sight for sight in (await deployment.sights()).found if sight.place.kind == "file"]
    for sight in sights:
        if not sight.in_wal:
            yield _without_log(sight.place.file, sight.place.tenant.identifier)
    own = (await deployment.places()).of_new
    if own is not None and own.kind == "file" and NOBODY not in str(own.file.parent):
        files.append(own.file)
    mounts = _MOUNTS.read_text() if _MOUNTS.exists() else ""
    for folder in dict.fromkeys((*(file.parent for file in files), *(sight.place.file.parent for sight in sights))):
        if folder.is_dir():
            for found in (*_of_folder(folder), *of_filesystem(folder, mounts), *of_space(folder, *_space(folder))):
                yield found


def of_filesystem(folder: Path, mounts: str) -> Iterator[Found]:
    """`mounts` is what /proc/self/mountinfo holds: <https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html>."""
    kind = ""
    longest = -1
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        point = Path(before.split()[4].encode().decode("unicode_escape"))
        if folder.is_relative_to(point) and len(point.parts) >= longest:
            longest, kind = len(point.parts), after.split()[0]
    if kind in _NETWORK:
        yield warning(
            f"the folder {folder} is on a network ({kind}), where SQLite's write-ahead log does not work between "
            "machines",
            "keep it on a disk of the machine, or the tenants on a server: set TENANCY_DATABASE_URL=postgresql://…",
        )


def of_space(folder: Path, free: int, total: int) -> Iterator[Found]:
    """`free` and `total` are bytes."""
    if free < _LITTLE and free < total * _LITTLE_PART:
        grave = error if free < _NOTHING else warning
        yield grave(
            f"the disk of {folder} has {free >> 20} MiB left, of {total >> 20}",
            f"make room: du -h {quote(str(folder))}",
        )


def _without_log(file: Path, tenant: str | None = None) -> Found:
    return warning(
        f"the file {file} has no write-ahead log, so who writes holds up who reads",
        f"sqlite3 {quote(str(file))} 'PRAGMA journal_mode=WAL'",
        tenant,
    )


def _of_folder(folder: Path) -> Iterator[Found]:
    if not os.access(folder, os.W_OK | os.X_OK):
        yield error(
            f"the folder {folder} cannot be written to: SQLite writes beside its files, too",
            f"chown -R USER {quote(str(folder))}, where USER runs the application",
        )


def _space(folder: Path) -> Iterable[int]:
    usage = shutil.disk_usage(folder)
    return usage.free, usage.total


def _begin_of(file: Path) -> bytes:
    with file.open("rb") as content:
        return content.read(_HEADER)
