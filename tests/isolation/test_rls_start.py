"""Whatever would let a tenant past row-level security keeps the application from starting, and is named."""

import re
from collections.abc import Iterator, Sequence

import pytest
from isolation.rls_models import (
    A,
    B,
    Base,
    Database,
    Note,
    connected,
    empty_database,
    planted_database,
    sync_session_of,
)
from servers import plain_role
from sqlalchemy import (
    Column,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    inspect,
    make_url,
    select,
    text,
)

from fastapi_tenancy.errors import ConfigurationError
from fastapi_tenancy.multitenant.isolation.policies import row_security
from fastapi_tenancy.multitenant.isolation.rls import RLSIsolation
from fastapi_tenancy.multitenant.isolation.rls_faults import faults

ALPHA = ["alpha-1", "alpha-2"]
CREATE_ISOLATION = (
    "CREATE POLICY tenancy_isolation ON notes FOR ALL USING (tenant_id = current_setting('tenancy.tenant_id')) "
    "WITH CHECK (tenant_id = current_setting('tenancy.tenant_id'))"
)

# What is done to a prepared database, and the faults that are then named, each with the SQL that mends it. The tables
# are the superuser's, so that the library cannot mend them itself.
FAULTS: dict[str, tuple[Sequence[str], dict[str, str]]] = {
    "no row security": (
        ["ALTER TABLE notes DISABLE ROW LEVEL SECURITY"],
        {"notes has no row-level security": "ALTER TABLE notes ENABLE ROW LEVEL SECURITY"},
    ),
    "no row security on a shared table": (
        ["ALTER TABLE countries DISABLE ROW LEVEL SECURITY"],
        {"countries has no row-level security": "ALTER TABLE countries ENABLE ROW LEVEL SECURITY"},
    ),
    "not forced": (
        ["ALTER TABLE notes NO FORCE ROW LEVEL SECURITY"],
        {"notes does not hold its owner to its policies": "ALTER TABLE notes FORCE ROW LEVEL SECURITY"},
    ),
    "no policy": (
        ["DROP POLICY tenancy_isolation ON notes"],
        {"notes lacks the policy tenancy_isolation": CREATE_ISOLATION},
    ),
    "no policies on a shared table": (
        ["DROP POLICY tenancy_reading ON countries", "DROP POLICY tenancy_writing ON countries"],
        {
            "countries lacks the policy tenancy_reading": (
                "CREATE POLICY tenancy_reading ON countries FOR SELECT USING (true)"
            ),
            "countries lacks the policy tenancy_writing": (
                "CREATE POLICY tenancy_writing ON countries FOR ALL "
                "USING (coalesce(current_setting('tenancy.tenant_id', true), '') = '') "
                "WITH CHECK (coalesce(current_setting('tenancy.tenant_id', true), '') = '')"
            ),
        },
    ),
    "another condition": (
        ["ALTER POLICY tenancy_isolation ON notes USING (tenant_id <> '')"],
        {
            "the policy tenancy_isolation on notes is not what the library wrote": (
                f'DROP POLICY "tenancy_isolation" ON notes; {CREATE_ISOLATION}'
            )
        },
    ),
    "another check": (
        ["ALTER POLICY tenancy_isolation ON notes WITH CHECK (true)"],
        {
            "the policy tenancy_isolation on notes is not what the library wrote": (
                f'DROP POLICY "tenancy_isolation" ON notes; {CREATE_ISOLATION}'
            )
        },
    ),
    "a further policy": (
        ['CREATE POLICY "all of them" ON notes FOR SELECT USING (true)'],
        {"the policy all of them on notes lets in more rows": 'DROP POLICY "all of them" ON notes'},
    ),
    "a further policy on a shared table": (
        ["CREATE POLICY everybody ON countries USING (true)"],
        {"the policy everybody on countries lets in more rows": 'DROP POLICY "everybody" ON countries'},
    ),
    "a view of a superuser": (
        ["CREATE VIEW every_note AS SELECT * FROM notes", "GRANT SELECT ON every_note TO PUBLIC"],
        {
            "every_note reads tenants' rows as its owner, for whom row-level security does not hold": (
                "ALTER VIEW every_note SET (security_invoker = true)"
            )
        },
    ),
    "a view of a superuser, by way of another": (
        [
            "CREATE VIEW every_note AS SELECT * FROM notes",
            "CREATE VIEW some_notes AS SELECT text FROM every_note",
            "GRANT SELECT (text) ON some_notes TO PUBLIC",
        ],
        {
            "every_note reads tenants' rows as its owner, for whom row-level security does not hold": (
                "ALTER VIEW every_note SET (security_invoker = true)"
            )
        },
    ),
    "a materialised view": (
        ["CREATE MATERIALIZED VIEW kept_notes AS SELECT * FROM notes", "GRANT SELECT ON kept_notes TO PUBLIC"],
        {"kept_notes keeps tenants' rows without their policies": "DROP MATERIALIZED VIEW kept_notes"},
    ),
    "a child": (
        ["CREATE TABLE old_notes () INHERITS (notes)"],
        {
            "old_notes has no row-level security": "ALTER TABLE old_notes ENABLE ROW LEVEL SECURITY",
            "old_notes does not hold its owner to its policies": "ALTER TABLE old_notes FORCE ROW LEVEL SECURITY",
            "old_notes lacks the policy tenancy_isolation": CREATE_ISOLATION.replace("notes", "old_notes"),
        },
    ),
}

HARMLESS: dict[str, Sequence[str]] = {
    "nothing at all": [],
    "a view that reads as the invoker": [
        "CREATE VIEW every_note WITH (security_invoker) AS SELECT * FROM notes",
        "GRANT SELECT ON every_note TO PUBLIC",
    ],
    "a view that our role may not read": ["CREATE VIEW every_note AS SELECT * FROM notes"],
    "a view of a shared table": [
        "CREATE VIEW every_country AS SELECT * FROM countries",
        "GRANT SELECT ON every_country TO PUBLIC",
    ],
    "a restrictive policy": ["CREATE POLICY fewer ON notes AS RESTRICTIVE USING (id > 0)"],
    "a policy for a role that is not ours": [
        "CREATE POLICY audit ON notes FOR SELECT TO pg_read_all_stats USING (true)"
    ],
}


@pytest.fixture(scope="module")
def database(postgresql_url: str) -> Iterator[Database]:
    """Prepared, and then taken over by the superuser; what these tests do in it is rolled back."""
    with planted_database(postgresql_url) as database:
        _give_to_the_superuser(database)
        yield database


@pytest.fixture
def empty(postgresql_url: str) -> Iterator[Database]:
    with empty_database(postgresql_url) as database:
        yield database


@pytest.fixture
def planted(postgresql_url: str) -> Iterator[Database]:
    with planted_database(postgresql_url) as database:
        yield database


def _give_to_the_superuser(database: Database) -> None:
    role = make_url(database.role).username
    database.run(
        *(f"ALTER TABLE {table} OWNER TO CURRENT_USER" for table in Base.metadata.tables),
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}",
        as_superuser=True,
    )


def found_in(database: Database, *done: str) -> list[str]:
    """The lines of the refusal after the superuser has `done` something; all of it is rolled back."""
    role, engine = make_url(database.role).username, create_engine(database.superuser)
    try:
        with engine.connect() as connection:
            for statement in done:
                connection.exec_driver_sql(statement)
            connection.exec_driver_sql(f"SET SESSION AUTHORIZATION {role}")
            database.isolation().prepare(connection)
    except ConfigurationError as error:
        return str(error).splitlines()
    finally:
        engine.dispose()
    return []


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_with_its_cure(database: Database, name: str) -> None:
    done, expected = FAULTS[name]
    lines = [f"  {what}; mend it with: {remedy}" for what, remedy in expected.items()]
    assert found_in(database, *done) == ["row-level security would not keep tenants apart:", *lines]


@pytest.mark.parametrize("name", FAULTS)
def test_the_cure_cures(database: Database, name: str) -> None:
    done, expected = FAULTS[name]
    assert found_in(database, *done, *expected.values()) == []


@pytest.mark.parametrize("name", HARMLESS)
def test_what_lets_nobody_past_is_let_be(database: Database, name: str) -> None:
    assert found_in(database, *HARMLESS[name]) == []


def test_all_faults_are_named_at_once(database: Database) -> None:
    names = (
        "no row security",
        "not forced",
        "a further policy",
        "a view of a superuser",
        "a materialised view",
        "a child",
    )
    done = [statement for name in names for statement in FAULTS[name][0]]
    assert len(found_in(database, *done)) == 1 + sum(len(FAULTS[name][1]) for name in names)


def test_a_superuser_is_refused(database: Database) -> None:
    superuser = make_url(database.superuser).username
    with pytest.raises(
        ConfigurationError, match=f"does not hold for the role {superuser}, .* which database_url names"
    ):
        database.prepare(database.superuser)


def test_a_role_with_bypassrls_is_refused(empty: Database) -> None:
    empty.run(f"ALTER ROLE {make_url(empty.role).username} BYPASSRLS", as_superuser=True)
    with pytest.raises(ConfigurationError, match=r"CREATE ROLE application LOGIN .* NOSUPERUSER NOBYPASSRLS"):
        empty.prepare()


def test_a_role_that_can_become_one_that_bypasses_is_refused(empty: Database) -> None:
    own = make_url(empty.role).username
    other = f"{own}_other"
    empty.run(f"CREATE ROLE {other} BYPASSRLS", f"GRANT {other} TO {own}", as_superuser=True)
    with pytest.raises(ConfigurationError, match=f"{own} can become it; mend it with: REVOKE {other} FROM {own}"):
        empty.prepare()


def test_a_session_that_was_a_superusers_is_refused(database: Database) -> None:
    role = make_url(database.role).username
    with connected(database.superuser) as connection:
        connection.exec_driver_sql(f"SET ROLE {role}")
        with pytest.raises(ConfigurationError, match=f"for the role {make_url(database.superuser).username}"):
            database.isolation().prepare(connection)


def test_tables_and_policies_are_made(empty: Database) -> None:
    empty.prepare()
    with connected(empty.role) as connection:
        assert set(inspect(connection).get_table_names()) == set(Base.metadata.tables)
        assert connection.scalar(text("SELECT count(*) FROM pg_policy")) == 4


def test_what_is_missing_is_added(planted: Database) -> None:
    planted.run(
        "DROP POLICY tenancy_isolation ON notes",
        "ALTER TABLE notes DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY",
        "DROP POLICY tenancy_writing ON countries",
        "CREATE TABLE old_notes () INHERITS (notes)",
        f"INSERT INTO old_notes (id, text, tenant_id) VALUES (1, 'alpha-0', '{A}'), (2, 'bravo-0', '{B}')",
    )
    planted.prepare()
    with sync_session_of(planted, A) as session:
        assert sorted(session.scalars(text("SELECT text FROM notes"))) == ["alpha-0", *ALPHA]
        assert session.scalars(text("SELECT text FROM old_notes")).all() == ["alpha-0"]
        assert session.execute(text("UPDATE countries SET name = 'x'")).rowcount == 0


def test_a_changed_policy_is_not_overwritten(planted: Database) -> None:
    planted.run("ALTER POLICY tenancy_isolation ON notes USING (tenant_id <> '')")
    with pytest.raises(ConfigurationError, match="not what the library wrote"):
        planted.prepare()


def test_preparing_takes_few_queries(empty: Database) -> None:
    sent: list[str] = []
    many = MetaData()
    for number in range(30):
        Table(f"t{number}", many, Column("id", Integer, primary_key=True), Column("tenant_id", String, nullable=False))
    isolation, engine = RLSIsolation(many, make_url(empty.role)), create_engine(empty.role)
    with engine.begin() as connection:
        isolation.prepare(connection)
    with engine.begin() as connection:
        event.listen(connection, "before_cursor_execute", lambda *args: sent.append(args[2]))
        isolation.prepare(connection)
    engine.dispose()
    assert len(sent) <= 5


def test_a_table_that_is_not_there_is_a_fault(empty: Database) -> None:
    with connected(empty.role) as connection:
        found = {fault.what for fault in faults(connection, Base.metadata)}
    assert {f"{name} has no row-level security" for name in Base.metadata.tables} <= found


def test_a_dba_can_set_it_up_from_the_statements(empty: Database) -> None:
    with connected(empty.superuser) as connection:
        Base.metadata.create_all(connection)
    application = plain_role_beside(empty)
    with pytest.raises(ConfigurationError, match="has no row-level security"):
        empty.prepare(application)
    empty.run(*row_security(Base.metadata), as_superuser=True)
    empty.prepare(application)


def test_the_statements_can_be_run_again(planted: Database) -> None:
    planted.run(*row_security(Base.metadata), *row_security(Base.metadata))
    planted.prepare()
    with sync_session_of(planted, A) as session:
        assert sorted(session.scalars(select(Note.text))) == ALPHA


def test_names_that_need_quotes_get_them(empty: Database) -> None:
    odd = MetaData()
    columns = (Column("id", Integer, primary_key=True), Column("tenant_id", String(32), nullable=False, key="owner"))
    Table('Odd "Name" 50%', odd, *columns, schema="Some Where")
    empty.run('CREATE SCHEMA "Some Where"')
    with connected(empty.role) as connection:
        RLSIsolation(odd, make_url(empty.role)).prepare(connection)
        for statement in row_security(odd):
            connection.execute(text(statement))
        RLSIsolation(odd, make_url(empty.role)).prepare(connection)


def test_the_index_of_tenant_id_is_used(planted: Database) -> None:
    with sync_session_of(planted, A) as session:
        session.execute(
            text(
                "INSERT INTO notes (id, text, tenant_id) SELECT id, repeat('x', 200), "
                "current_setting('tenancy.tenant_id') FROM generate_series(1000, 6000) AS id"
            )
        )
        session.commit()
    planted.run("ANALYZE notes", as_superuser=True)
    with sync_session_of(planted, B) as session:
        plan = "\n".join(session.scalars(text("EXPLAIN SELECT * FROM notes")))
    assert re.search(r"Index.*ix_notes_tenant_id", plan)


@pytest.mark.parametrize("url", ["sqlite+aiosqlite:///x.db", "mysql+asyncmy://host/x"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r'needs PostgreSQL.* use "row" or, on MySQL and MariaDB, "schema"'):
        RLSIsolation(Base.metadata, make_url(url))


def test_tables_that_are_nobodys_are_refused() -> None:
    metadata = MetaData()
    Table("orphans", metadata, Column("id", Integer, primary_key=True))
    with pytest.raises(ConfigurationError, match="orphans: it has no tenant_id"):
        RLSIsolation(metadata, make_url("postgresql://"))
    with pytest.raises(ConfigurationError, match="orphans: it has no tenant_id"):
        row_security(metadata)


def plain_role_beside(database: Database) -> str:
    """A role that may read and write the tables, and owns nothing."""
    url = plain_role(database.superuser)
    database.run(
        "ALTER DATABASE " + str(make_url(url).database) + " OWNER TO CURRENT_USER",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {make_url(url).username}",
        as_superuser=True,
    )
    return url
