"""A tenant's row as a database has it: with its URL and its secret settings sealed."""

import json
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import RowMapping

from ..errors import ConfigurationError, InvalidTenantError, SealError
from ..sealing import Sealer
from ..secret_settings import SEALED, merged, split
from ..tenant import Tenant, plain

_URL, _SETTINGS, _KEY = "database_url", "settings", "key"  # what is sealed for one purpose opens for no other


class SealedRows:
    """Seals what is secret in a row, and opens it; without a sealer, rows are as they come.

    Args:
        sealer: None where nothing is sealed.
        names: of the secret settings.

    Raises:
        ConfigurationError: there are secret settings, and no sealer.
    """

    def __init__(self, sealer: Sealer | None, names: Collection[str]) -> None:
        if names and sealer is None:
            raise ConfigurationError(
                "secret_settings are sealed, and there is no key to seal them with; set encryption_keys"
            )
        self._sealer = sealer
        self._names = names

    @property
    def is_sealing(self) -> bool:
        return self._sealer is not None

    def closed(self, tenant: Tenant) -> dict[str, Any]:
        """The columns of `tenant` that may hold secrets, as they are stored.

        Raises:
            InvalidTenantError: its URL or settings are sealed, and would not open after they were sealed again.
            SealError: its key cannot be opened.
        """
        url, settings = tenant.database_url, plain(tenant.settings)
        if SEALED in settings or _is_sealed(url):
            raise InvalidTenantError(
                f"the tenant {tenant.identifier!r} is not written with what is sealed in it; no setting can be called "
                f"{SEALED!r}, and what could not be opened stays as it is"
            )
        if self._sealer is None:
            return {"database_url": url, "settings": settings}
        # Also the key: it may have been sealed again since the tenant was read.
        key_record = _current_key(self._sealer, tenant.id, tenant.key_record)
        return {**_sealed(self._sealer, tenant.id, url, *split(settings, self._names)), "key_record": key_record}

    def closed_url(self, tenant_id: str, url: str | None) -> str | None:
        """A tenant's URL, as it is stored."""
        return url if url is None or self._sealer is None else self._sealer.seal(url.encode(), tenant_id, _URL)

    def opened_url(self, tenant_id: str, url: str | None) -> str | None:
        """What `closed_url` was given.

        Raises:
            SealError: it cannot be opened.
        """
        return self._opened(url, tenant_id, _URL).decode() if url is not None and _is_sealed(url) else url

    def is_stale_url(self, url: str | None) -> bool:
        """Whether it is stored in plain, or sealed with another key than the newest."""
        return url is not None and not self._required().is_current(url)

    def opened(self, row: RowMapping) -> dict[str, Any]:
        """The row in plain, whether or not it was sealed.

        Raises:
            SealError: it cannot be opened.
        """
        opened = {**row, "database_url": self._url(row)}
        if SEALED in row.get("settings", ()):
            opened["settings"] = merged(*self._settings(row))
        return opened

    def listed(self, row: RowMapping) -> dict[str, Any]:
        """As `opened`; what cannot be opened stays sealed, so that one tenant does not hide the others."""
        try:
            return self.opened(row)
        except SealError:
            return dict(row)

    def is_stale(self, row: RowMapping) -> bool:
        """Whether the row holds a secret in plain, or sealed with another key than the newest.

        Raises:
            ConfigurationError: there is no key to seal with.
        """
        sealer, settings = self._required(), row["settings"]
        sealed = [
            row["database_url"],
            settings.get(SEALED),
            row["key_record"] if _is_sealed(row["key_record"]) else None,
        ]
        shown = {key: value for key, value in settings.items() if key != SEALED}
        in_plain = split(shown, self._names)[1]
        return bool(in_plain) or not all(text is None or sealer.is_current(text) for text in sealed)

    def renewed(self, row: RowMapping) -> dict[str, Any]:
        """The columns that may hold secrets, sealed with the newest key. What is sealed in the row is sealed in these.

        Raises:
            SealError: the row cannot be opened.
        """
        sealer, tenant_id = self._required(), row["id"]
        shown, secret = self._settings(row)
        shown, in_plain = split(shown, self._names)
        return {
            **_sealed(sealer, tenant_id, self._url(row), shown, merged(in_plain, secret)),
            "key_record": _current_key(sealer, tenant_id, row["key_record"]),
        }

    def _url(self, row: RowMapping) -> str | None:
        return self.opened_url(row["id"], row["database_url"])

    def _settings(self, row: RowMapping) -> tuple[dict[str, Any], dict[str, Any]]:
        """The settings that are stored in plain, and those that are sealed."""
        shown = dict(row["settings"])
        sealed = shown.pop(SEALED, None)
        return shown, {} if sealed is None else json.loads(self._opened(str(sealed), row["id"], _SETTINGS))

    def _opened(self, sealed: str, tenant_id: str, purpose: str) -> bytes:
        if self._sealer is None:
            raise SealError(f"the {purpose} of the tenant {tenant_id} is sealed; set encryption_keys")
        return self._sealer.unseal(sealed, tenant_id, purpose)

    def _required(self) -> Sealer:
        if self._sealer is None:
            raise ConfigurationError("there is no key to seal with; set encryption_keys, the newest first")
        return self._sealer


def _sealed(
    sealer: Sealer, tenant_id: str, url: str | None, shown: Mapping[str, Any], secret: Mapping[str, Any]
) -> dict[str, Any]:
    # All secret settings in one text: it does not even tell which of them the tenant has.
    sealed = {SEALED: sealer.seal(json.dumps(secret).encode(), tenant_id, _SETTINGS)} if secret else {}
    return {
        "database_url": None if url is None else sealer.seal(url.encode(), tenant_id, _URL),
        "settings": {**shown, **sealed},
    }


def _current_key(sealer: Sealer, tenant_id: str, record: str | None) -> str | None:
    """The record of a tenant's key, sealed with the newest key if it is sealed."""
    if record is None or not _is_sealed(record) or sealer.is_current(record):
        return record
    return sealer.seal(sealer.unseal(record, tenant_id, _KEY), tenant_id, _KEY)


def _is_sealed(text: str | None) -> bool:
    return text is not None and Sealer.is_sealed(text)
