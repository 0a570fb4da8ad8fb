"""What the store keeps sealed: whether it opens, and with which keys."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

from ....errors import TenancyError
from ....sealing import Sealer
from ....secret_settings import SEALED
from ..deployment import Deployment
from ..finding import Found, error, info, warning
from ..records import Records

_STALE = 5  # tenants that a message names


async def sealing(deployment: Deployment) -> AsyncIterator[Found]:
    records = await deployment.records()
    for found in await asyncio.to_thread(lambda: list(_faults(deployment, records))):
        yield found


def _faults(deployment: Deployment, records: Records) -> Iterator[Found]:
    shut: set[str] = set()
    for row in records.rows:
        try:
            deployment.sealed.opened(row)  # type: ignore[arg-type]  # any mapping will do
            _open_key(deployment, records, row)
        except TenancyError as failure:
            shut.add(row["id"])
            yield error(
                str(failure),
                "put the key that sealed it into TENANCY_ENCRYPTION_KEYS, behind the newest; where it was changed, "
                "restore the row from a backup",
                row["identifier"],
            )
    if deployment.sealer is not None:
        yield from _stale(deployment, [row for row in records.rows if row["id"] not in shut])
        yield from _idle_keys(deployment, records)


def _open_key(deployment: Deployment, records: Records, row: Mapping[str, Any]) -> None:
    tenant = records.by_id.get(row["id"])
    if tenant is not None and row["key_record"] is not None and Sealer.is_sealed(row["key_record"]):
        deployment.root.keys.recorded(tenant)


def _stale(deployment: Deployment, rows: Sequence[Mapping[str, Any]]) -> Iterator[Found]:
    sealed = deployment.sealed
    stale = [row["identifier"] or row["former_identifier"] for row in rows if sealed.is_stale(row)]  # type: ignore[arg-type]  # as above
    if stale:
        names = ", ".join(stale[:_STALE]) + (f" and {len(stale) - _STALE} more" if len(stale) > _STALE else "")
        yield warning(
            f"secrets are in plain, or not sealed with the newest key: those of {names}", "fastapi-tenancy reseal"
        )


def _idle_keys(deployment: Deployment, records: Records) -> Iterator[Found]:
    """Of keys that seal nothing; tokens that carry a tenant's own key are sealed, too, and not in the store."""
    if any(tenant.key_management_mode == "unmanaged" for tenant in records.tenants):
        return
    texts = [text for row in (*records.rows, *records.moves) for text in _texts(row)]
    for number, key in enumerate(deployment.settings.encryption_keys[1:], start=2):
        sealer = Sealer([key])
        if not any(map(sealer.is_current, texts)):
            yield info(
                f"the encryption key number {number} seals nothing any more", "remove it from TENANCY_ENCRYPTION_KEYS"
            )


def _texts(row: Mapping[str, Any]) -> Iterator[str]:
    settings = row.get("settings") or {}
    for text in (row["database_url"], row.get("key_record"), settings.get(SEALED)):
        if isinstance(text, str):
            yield text
