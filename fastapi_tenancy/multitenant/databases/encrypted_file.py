"""A tenant's own SQLite file under its own key: copied from a template in memory, and put into its place whole."""

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from pydantic import SecretBytes, SecretStr
from sqlalchemy import StaticPool, create_engine, insert, select

from ...errors import NamespaceMissingError, TenantUnavailableError, WrongTenantKeyError
from ...sqlite import BUSY_TIMEOUT
from ...tenant import Tenant
from ...urls import existing_sqlite, make_parent
from ..ddl import MadeOnce
from ..engine_pair import EnginePair
from ..keys import needs_key
from ..owner import owner_table
from ..profile import RootProfile
from .addresses import Address
from .base import make_tables, taken
from .sqlcipher import SALT_BYTES, connect, drivers, raw, salt_of, sqlcipher
from .sqlite_file import draft_of_file, file_of, in_wal, unlink

_owner = owner_table()
_OWNER = str(select(_owner.c.tenant_id))
_MARK = str(insert(owner_table("draft")))

# <https://www.sqlite.org/fileformat.html#magic_header_string>
_PLAIN = b"SQLite format 3\0"

_POLL = 0.02  # seconds between two tries to lock a file


class EncryptedFiles:
    """A file for each tenant; its first bytes tell whose it is, and nothing else can be read without the key.

    All but `drop` raise a `ConfigurationError` where sqlcipher3 is not installed.
    """

    def __init__(self, root_profile: RootProfile) -> None:
        self._root_profile = root_profile
        self._engines = root_profile.engines
        self._template = MadeOnce[Any]()
        self._one_copy = threading.Lock()

    async def create(self, address: Address, tenant: Tenant, key: SecretBytes) -> None:
        """As `Databases.create`."""
        file = file_of(address)
        if file.exists():
            if _begin_of(file) != salt_of(tenant):
                raise taken(file, tenant)
            return
        try:
            await asyncio.to_thread(self._copy, file, tenant, key)
        except OSError:
            make_parent(file, "tenant_database_url")  # says what is wrong with it, if anything
            await asyncio.to_thread(self._copy, file, tenant, key)

    async def open(self, address: Address, tenant: Tenant, keys: Sequence[SecretBytes]) -> EnginePair:
        """As `Databases.open`, with whichever of the keys opens the file.

        Raises:
            WrongTenantKeyError: none does, and it is not stored.
        """
        file = file_of(address)
        key = await asyncio.to_thread(_key_of, file, tenant, keys)
        return await in_wal(EnginePair(self._engines, existing_sqlite(file), drivers=drivers(raw(key, tenant))))

    def cipher(self, address: Address, tenant: Tenant, keys: Sequence[SecretBytes]) -> SecretStr:
        """What opens the file, as `sqlcipher.drivers` takes it; raises as `open` does."""
        return SecretStr(raw(_key_of(file_of(address), tenant, keys), tenant))

    async def drop(self, address: Address, tenant: Tenant) -> None:
        """As `Databases.drop`; it takes no key."""
        file = file_of(address)
        unlink(draft_of_file(file))
        if file.exists():
            if _begin_of(file) != salt_of(tenant):
                raise taken(file, tenant)
            unlink(file)

    async def rekey(self, address: Address, tenant: Tenant, keys: Sequence[SecretBytes], new: SecretBytes) -> None:
        """Encrypt the file with the key `new`; nothing if that was done before.

        Killed at any moment, it leaves the file under its old key or under the new one, and as it was else: SQLite
        writes the pages by way of its log as in any transaction. Who has the file open has to open it again.

        Raises:
            NamespaceMissingError: the file is not there, is not the tenant's, or none of the keys opens it.
            WrongTenantKeyError: none of the keys opens it, and the tenant's is not stored.
            TenantUnavailableError: others write to it all the time.
        """
        await asyncio.to_thread(_rekey, file_of(address), tenant, (*keys, new), new)

    def _copy(self, file: Path, tenant: Tenant, key: SecretBytes) -> None:
        draft = draft_of_file(file)
        try:
            draft.write_bytes(b"")  # SQLite would not say why it cannot
            with self._one_copy, _attached(self._made_template(), draft, raw(key, tenant)) as template:
                template.execute("PRAGMA draft.journal_mode=MEMORY")  # nobody would roll it back
                template.execute("BEGIN")
                template.execute("SELECT sqlcipher_export('draft')")
                template.execute(_MARK, {"tenant_id": tenant.id})
                template.execute("COMMIT")
            # The file is there whole or not at all, also after a kill.
            draft.rename(file)
        finally:
            unlink(draft)

    def _made_template(self) -> Any:
        root_profile = self._root_profile
        return self._template.get(root_profile.metadata.tables.values(), self._build, root_profile.head)

    def _build(self) -> Any:
        module = sqlcipher()
        template = module.connect(":memory:", isolation_level=None, check_same_thread=False)
        engine = create_engine("sqlite://", module=module, creator=lambda: template, poolclass=StaticPool)
        with engine.connect() as connection:
            make_tables(self._root_profile, connection)
            _owner.create(connection)
            connection.commit()
        return template


def _key_of(file: Path, tenant: Tenant, keys: Sequence[SecretBytes]) -> SecretBytes:
    """The one of the keys under which the tenant's file is."""
    if not file.exists():
        raise NamespaceMissingError(f"the database of tenant {tenant.identifier!r} is missing; restore {file}")
    begin = _begin_of(file)
    if begin == _PLAIN:
        raise NamespaceMissingError(f"{file} is not encrypted, and that of {tenant.id} has to be; restore it")
    if begin != salt_of(tenant):
        raise NamespaceMissingError(f"{file} does not belong to {tenant.id}; restore it")
    for key in keys:
        if _owner_of(file, raw(key, tenant)) == tenant.id:
            return key
    if needs_key(tenant):
        raise WrongTenantKeyError(f"what was given as the key of {tenant.identifier!r} does not open its file")
    raise NamespaceMissingError(f"{file} does not open with the key of {tenant.id}; restore the one or the other")


def _begin_of(file: Path) -> bytes:
    with file.open("rb") as content:
        return content.read(SALT_BYTES)


def _owner_of(file: Path, key: str) -> str | None:
    """The id in the file's mark, read without changing a byte; None where the key does not open it."""
    with closing(connect(f"{file.as_uri()}?mode=ro", key, uri=True)) as connection:
        try:
            rows = connection.execute(_OWNER).fetchall()
        except sqlcipher().DatabaseError:
            return None
    return rows[0][0] if len(rows) == 1 else None


def _rekey(file: Path, tenant: Tenant, keys: Sequence[SecretBytes], new: SecretBytes) -> None:
    deadline = time.monotonic() + BUSY_TIMEOUT
    while (key := _key_of(file, tenant, keys)) != new:
        with closing(connect(str(file), raw(key, tenant), timeout=BUSY_TIMEOUT, isolation_level=None)) as connection:
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute(f'PRAGMA rekey = "{raw(new, tenant)}"')
                keys = (new, *keys)
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # away with what is under the old key
            except sqlcipher().DatabaseError as error:
                # For this one, SQLite does not queue; or somebody else was faster, and that will be seen.
                if time.monotonic() > deadline:
                    raise TenantUnavailableError(f"{file} is in use all the time; try again") from error
                time.sleep(_POLL)


@contextmanager
def _attached(template: Any, draft: Path, key: str) -> Iterator[Any]:
    template.execute("ATTACH ? AS draft KEY ?", (str(draft), key))
    try:
        yield template
    finally:
        if template.in_transaction:
            template.execute("ROLLBACK")
        template.execute("DETACH draft")
