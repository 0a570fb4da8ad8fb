"""What is asked on the way of a request, and page by page, is found by an index, however many tenants there are."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prepared_stores import new_store_database, put_store
from sqlalchemy import Connection, Engine, NullPool, create_engine, event, insert, inspect

from fastapi_tenancy import SQLAlchemyTenantStore, TenantStatus
from fastapi_tenancy.store.models import audit, domains, migrations, naive, store_metadata, tenants, tokens
from fastapi_tenancy.store.sqlalchemy import _to_row
from fastapi_tenancy.testing import tenant_named
from fastapi_tenancy.testing.tenants import MOMENT

SIZE = 3000
ID = f"{SIZE // 2:032x}"
A_MOMENT = naive(MOMENT)

EXPLAIN = {"sqlite": "EXPLAIN QUERY PLAN ", "postgresql": "EXPLAIN (COSTS OFF) "}
WITHOUT_INDEX = {"sqlite": ("SCAN tenancy_", "TEMP B-TREE"), "postgresql": ("Seq Scan", "Sort")}

Question = Callable[[SQLAlchemyTenantStore], Awaitable[object]]

# What is asked → the index that answers: its name on PostgreSQL, and on SQLite, where it differs.
QUESTIONS: Mapping[str, tuple[Question, str, str | None]] = {
    "a tenant by id": (lambda store: store.get(ID), "tenants_pkey", "tenants_1"),
    "a tenant by identifier": (lambda store: store.get_by_identifier("t77"), "tenants_identifier_key", "tenants_2"),
    "the first page": (lambda store: store.page(100), "tenants_identifier_key", "tenants_2"),
    "a page": (lambda store: store.page(100, "t2"), "tenants_identifier_key", "tenants_2"),
    "a page of a status that many have": (
        lambda store: store.page(100, "t77", TenantStatus.ACTIVE),
        "tenants_of_status",
        None,
    ),
    "a page of a status that few have": (
        lambda store: store.page(100, None, TenantStatus.DELETING),
        "tenants_of_status",
        None,
    ),
    "a page of the fleet": (lambda store: store.fleet(100, ID), "tenants_pkey", "tenants_1"),
    "a token": (lambda store: store.get_token(ID), "tokens_pkey", "tokens_1"),
    "a tenant's tokens": (lambda store: store.list_tokens(ID, 100), "tokens_of_tenant", None),
    "a host": (lambda store: store.find_domain("t77.example"), "domains_verified_host_key", "domains_2"),
    "a tenant's primary host": (lambda store: store.find_primary(ID), "domains_primary_of_key", "domains_3"),
    "a tenant's hosts": (lambda store: store.list_domains(ID, 100), "domains_pkey", "domains_1"),
    "a tenant's audit trail": (lambda store: store.list_audit(100, tenant_id=ID), "audit_of_tenant", None),
    "a tenant's last migration": (lambda store: store.last_migrations(ID), "migrations_of_tenant", None),
}


def fill(connection: Connection) -> None:
    """Tenants of whom a hundredth is being deleted, each with a token, a host, an entry and a migration."""
    ids = {f"t{number}": f"{number:032x}" for number in range(SIZE)}
    statuses = [TenantStatus.DELETING, *[TenantStatus.ACTIVE] * 99]
    connection.execute(
        insert(tenants),
        [
            _to_row(tenant_named(name, id=id_, namespace=f"schema/{id_}", status=statuses[number % 100]))
            for number, (name, id_) in enumerate(ids.items())
        ],
    )
    for table, row_of in ROWS.items():
        connection.execute(insert(table), [row_of(name, id_) for name, id_ in ids.items()])


ROWS: Mapping[Any, Callable[[str, str], dict[str, Any]]] = {
    tokens: lambda _, id_: {
        "token_id": id_,
        "tenant_id": id_,
        "name": "a",
        "scopes": "",
        "digest": "",
        "created_at": A_MOMENT,
    },
    domains: lambda name, id_: {
        "tenant_id": id_,
        "host": f"{name}.example",
        "status": "verified",
        "token": "",
        "created_at": A_MOMENT,
        "verified_host": f"{name}.example",
        "primary_of": id_,
    },
    audit: lambda name, id_: {
        "at": A_MOMENT,
        "action": "tenant.created",
        "tenant_id": id_,
        "identifier": name,
        "details": {},
    },
    migrations: lambda _, id_: {"run_id": "r", "tenant_id": id_, "to_revision": "a", "started_at": A_MOMENT},
}


@contextmanager
def recorded() -> Iterator[list[tuple[str, Any]]]:
    """The statements that are sent meanwhile, with their parameters."""
    sent: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        sent.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(Engine, "before_cursor_execute", note)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    if request.param == "sqlite":
        file = tmp_path_factory.mktemp("plans") / "store.db"
        put_store(file)
        url = f"sqlite:///{file}"
    else:
        url = new_store_database(request.getfixturevalue("postgresql_url"))
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        fill(connection)
    with engine.begin() as connection:
        connection.exec_driver_sql("ANALYZE")
    return engine


async def plan_of(engine: Engine, ask: Question) -> str:
    """How the database answers what the store sends."""
    store = SQLAlchemyTenantStore(engine.url.render_as_string(hide_password=False))
    await store.open()
    try:
        with recorded() as sent:
            await ask(store)
    finally:
        await store.close()
    ((statement, parameters),) = sent
    with engine.connect() as connection:
        plan = connection.exec_driver_sql(EXPLAIN[engine.dialect.name] + statement, parameters)
        return "\n".join(str(line[-1]) for line in plan)


@pytest.mark.parametrize("question", QUESTIONS)
async def test_a_hot_question_is_answered_by_an_index(filled: Engine, question: str) -> None:
    ask, index, on_sqlite = QUESTIONS[question]
    plan = await plan_of(filled, ask)
    if filled.dialect.name == "sqlite" and on_sqlite is not None:
        index = f"sqlite_autoindex_tenancy_{on_sqlite}"
    assert index in plan
    unwanted = [word for word in WITHOUT_INDEX[filled.dialect.name] if word in plan]
    assert unwanted == [], plan


async def test_the_entries_of_all_who_bore_an_identifier_are_found_by_it(filled: Engine) -> None:
    plan = await plan_of(filled, lambda store: store.list_audit(100, identifier="t77"))
    assert "tenancy_audit_of_identifier" in plan


async def test_a_search_in_sqlite_reads_the_table_as_it_lies(tmp_path: Path) -> None:
    put_store(tmp_path / "store.db")
    engine = create_engine(f"sqlite:///{tmp_path}/store.db", poolclass=NullPool)
    plan = await plan_of(engine, lambda store: store.page(100, "t1", None, "acme"))
    assert plan.splitlines()[0] == "SCAN tenancy_tenants"


def test_the_migrations_make_the_indexes_of_the_models(tmp_path: Path) -> None:
    put_store(tmp_path / "store.db")
    migrated, declared = create_engine(f"sqlite:///{tmp_path}/store.db"), create_engine("sqlite://")
    store_metadata.create_all(declared)

    def indexes(engine: Engine) -> dict[str, list[tuple[str | None, Any]]]:
        found = inspect(engine)
        return {
            name: sorted((each["name"], each["column_names"]) for each in found.get_indexes(name))
            for name in store_metadata.tables
        }

    assert indexes(migrated) == indexes(declared)
    migrated.dispose()
    declared.dispose()
