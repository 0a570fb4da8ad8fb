"""Where the tables, types and sequences of a deployment live: in each tenant's own schema, or once for all tenants."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import ARRAY, Dialect, MetaData, Sequence, Table, TableClause, TypeDecorator
from sqlalchemy.dialects.postgresql import DOMAIN, ENUM
from sqlalchemy.types import TypeEngine

from ...errors import ConfigurationError
from .scoped import is_shared
from .text import refuse

_ID = re.compile(r"[0-9a-f]{32}")


def schema_named(tenant_id: str) -> str:
    """The name of a tenant's schema, which needs no quotes."""
    if not _ID.fullmatch(tenant_id):
        raise ConfigurationError(f"a tenant's schema is named by an id of 32 hexadecimal digits, not by {tenant_id!r}")
    return f"t_{tenant_id}"


class Places:
    """Tells for each table, named type and sequence of `metadata` whether the tenants have it each or in common.

    Attributes:
        dialect: the deployment's.
        shared_schema: where shared tables live that name no schema.
        common_types: the named types that are not a tenant's own.
        own_types: those that each tenant has.

    Raises:
        ConfigurationError: some cannot be placed; all of them are named.
    """

    def __init__(self, metadata: MetaData, dialect: Dialect, shared_schema: str) -> None:
        self.metadata = metadata
        self.dialect = dialect
        self.shared_schema = shared_schema
        self.common_types: list[ENUM | DOMAIN] = []
        self.own_types: list[ENUM | DOMAIN] = []
        self._common_names: set[str] = set()  # of types and sequences that name no schema
        self.settle()

    def settle(self) -> None:
        """Take up what `metadata` has by now."""
        shared, own = _names(self.shared_tables, self.dialect), _names(self.own_tables, self.dialect)
        found = [f"  {table.key}: {why}" for table in self.metadata.tables.values() for why in self._problems(table)]
        found += [
            f"  {name}: shared tables and tenants' own both use it; give the two each its own name, or give a type a "
            "schema, where all share it"
            for name in sorted(shared & own)
        ]
        if found:
            raise ConfigurationError("schema isolation cannot place these:\n" + "\n".join(found))
        self._common_names = shared
        types = {(type_.schema, type_.name): type_ for type_ in _types(self.metadata.tables.values(), self.dialect)}
        self.own_types = [type_ for type_ in types.values() if self.schema_of(type_) is None]
        self.common_types = [type_ for type_ in types.values() if self.schema_of(type_) is not None]

    @property
    def backend(self) -> str:
        return "postgresql" if self.dialect.name == "postgresql" else "mysql"

    @property
    def shared_tables(self) -> list[Table]:
        return [table for table in self.metadata.tables.values() if is_shared(table)]

    @property
    def own_tables(self) -> list[Table]:
        return [table for table in self.metadata.tables.values() if not is_shared(table)]

    def is_shared(self, table: object) -> bool:
        return isinstance(table, Table) and table.metadata is self.metadata and is_shared(table)

    def schema_of(self, item: Any) -> str | None:
        """The schema that a table, type or sequence is in; None for the tenant's.

        Raises:
            IsolationError: a table names a schema and is not shared.
        """
        if self.is_shared(item) or (not isinstance(item, TableClause) and item.name in self._common_names):
            return str(item.schema or self.shared_schema)
        if isinstance(item, TableClause) and item.schema is not None:
            refuse(f"the table {item.schema}.{item.name} is in a schema that is not the tenant's; leave schema out")
        return None if item.schema is None else str(item.schema)

    def _problems(self, table: Table) -> Iterator[str]:
        if not is_shared(table):
            if table.schema is not None:
                yield (
                    f"it is in the schema {table.schema!r}; leave schema out, so that each tenant has it in its own, "
                    'or, if all tenants read it and none writes it, set info={"tenancy": "shared"}'
                )
            if any(sequence.schema is not None for sequence in _sequences(table)):
                yield "its sequence has a schema; leave it out, so that each tenant has its own"
            return
        own = {key.target_fullname.rpartition(".")[0] for key in table.foreign_keys} & {t.key for t in self.own_tables}
        for name in sorted(own):
            yield f"it is shared and refers to {name}, which each tenant has; drop the foreign key"


def _names(tables: Iterable[Table], dialect: Dialect) -> set[str]:
    """Of the named types and sequences that have no schema of their own."""
    tables = list(tables)
    items = (*_types(tables, dialect), *(sequence for table in tables for sequence in _sequences(table)))
    return {str(item.name) for item in items if item.schema is None}


def _sequences(table: Table) -> Iterator[Sequence]:
    for column in table.columns:
        for default in (column.default, column.server_default):
            if isinstance(default, Sequence):
                yield default


def _types(tables: Iterable[Table], dialect: Dialect) -> Iterator[ENUM | DOMAIN]:
    for table in tables:
        for column in table.columns:
            type_ = _on(dialect, column.type)
            if isinstance(type_, ENUM | DOMAIN):
                yield type_


def _on(dialect: Dialect, type_: TypeEngine[Any]) -> TypeEngine[Any]:
    """What a type is on that dialect, and an array's items are."""
    type_ = type_.dialect_impl(dialect)
    if isinstance(type_, TypeDecorator):
        return _on(dialect, type_.impl_instance)
    return _on(dialect, type_.item_type) if isinstance(type_, ARRAY) else type_
