"""What schema isolation cannot place is refused when it is set up, all of it, with what to do."""

import pytest
from isolation.schema_databases import isolation_for
from sqlalchemy import Column, Enum, ForeignKey, Integer, MetaData, Sequence, String, Table, make_url

from fastapi_tenancy.errors import ConfigurationError

POSTGRESQL = make_url("postgresql+psycopg://localhost/app")
MARIADB = make_url("mysql+asyncmy://localhost/app")
SHARED = {"tenancy": "shared"}


def key() -> Column[int]:
    return Column("id", Integer, primary_key=True)


def test_tables_with_a_schema_are_all_named() -> None:
    metadata = MetaData()
    Table("a", metadata, key(), schema="x")
    Table("b", metadata, key(), schema="y")
    Table("c", metadata, key(), schema="y", info=SHARED)
    with pytest.raises(ConfigurationError, match=r"(?s)x\.a: .*leave schema out.*y\.b: ") as error:
        isolation_for(POSTGRESQL, metadata)
    assert "y.c" not in str(error.value)


def test_a_metadata_with_a_schema_is_refused() -> None:
    metadata = MetaData(schema="x")
    Table("a", metadata, key())
    with pytest.raises(ConfigurationError, match=r"x\.a"):
        isolation_for(POSTGRESQL, metadata)


def test_a_type_of_both_kinds_of_tables_is_refused() -> None:
    metadata = MetaData()
    Table("a", metadata, key(), Column("mood", Enum("x", name="mood")))
    Table("b", metadata, key(), Column("mood", Enum("x", name="mood")), info=SHARED)
    with pytest.raises(ConfigurationError, match="mood: shared tables and tenants' own both use it; give"):
        isolation_for(POSTGRESQL, metadata)


def test_a_type_with_a_schema_may_be_of_both() -> None:
    metadata = MetaData()
    Table("a", metadata, key(), Column("mood", Enum("x", name="mood", schema="types")))
    Table("b", metadata, key(), Column("mood", Enum("x", name="mood", schema="types")), info=SHARED)
    isolation_for(POSTGRESQL, metadata)


def test_a_type_is_no_matter_where_types_have_no_names() -> None:
    metadata = MetaData()
    Table("a", metadata, key(), Column("mood", Enum("x", name="mood")))
    Table("b", metadata, key(), Column("mood", Enum("x", name="mood")), info=SHARED)
    isolation_for(MARIADB, metadata)


def test_a_sequence_with_a_schema_is_refused() -> None:
    metadata = MetaData()
    Table("a", metadata, Column("id", Integer, Sequence("numbers", schema="x"), primary_key=True))
    with pytest.raises(ConfigurationError, match="a: its sequence has a schema"):
        isolation_for(POSTGRESQL, metadata)


def test_a_sequence_of_both_kinds_of_tables_is_refused() -> None:
    metadata, numbers = MetaData(), Sequence("numbers")
    Table("a", metadata, Column("id", Integer, numbers, primary_key=True))
    Table("b", metadata, Column("id", Integer, Sequence("numbers"), primary_key=True), info=SHARED)
    with pytest.raises(ConfigurationError, match="numbers: shared tables and tenants' own"):
        isolation_for(POSTGRESQL, metadata)


def test_a_shared_table_that_refers_to_a_tenants_is_refused() -> None:
    metadata = MetaData()
    Table("a", metadata, key())
    Table("b", metadata, key(), Column("a_id", ForeignKey("a.id")), info=SHARED)
    with pytest.raises(ConfigurationError, match="b: it is shared and refers to a,"):
        isolation_for(POSTGRESQL, metadata)


def test_sqlite_has_no_schemas() -> None:
    with pytest.raises(ConfigurationError, match='set shared_isolation to "row"'):
        isolation_for(make_url("sqlite+aiosqlite:///x.db"), MetaData())


def test_mysql_has_no_path_for_a_transaction() -> None:
    with pytest.raises(ConfigurationError, match="tenant_search_path needs PostgreSQL"):
        isolation_for(MARIADB, MetaData(), tenant_search_path=True)


def test_tenants_start_with_an_empty_path() -> None:
    assert isolation_for(POSTGRESQL, MetaData()).starts_with == {"search_path": ""}


def test_tenants_start_with_the_extensions() -> None:
    isolation = isolation_for(POSTGRESQL, MetaData(), extensions_schema='ext "x"')
    assert isolation.starts_with == {"search_path": '"ext ""x"""'}


def test_tenants_connect_to_no_database_on_mysql() -> None:
    assert isolation_for(MARIADB, MetaData()).tenants_url(MARIADB).database is None


def test_tenants_connect_to_the_deployments_database_on_postgresql() -> None:
    assert isolation_for(POSTGRESQL, MetaData()).tenants_url(POSTGRESQL) == POSTGRESQL


def test_columns_that_only_look_like_ours_are_left_alone() -> None:
    metadata = MetaData()
    Table("a", metadata, key(), Column("pg_name", String(9)), Column("search_path", String(9)))
    isolation_for(POSTGRESQL, metadata)
