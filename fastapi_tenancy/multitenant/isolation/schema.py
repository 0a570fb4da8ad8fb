"""A schema for each tenant, with tables of its own, and sessions that reach no other."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar
from uuid import uuid4

from sqlalchemy import URL, Connection, Dialect, Engine, MetaData, insert, inspect, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.schema import CreateSchema

from ...connections import codes_of
from ...errors import ConfigurationError, NamespaceExistsError, NamespaceMissingError
from ...settings import TenancySettings
from ...tenant import Tenant
from .. import ddl
from ..owner import mark, owner_of, owner_table
from ..tables import TenantTables
from .armed import arm
from .base import Isolation, Made
from .places import Places, schema_named
from .schema_servers import SERVERS
from .schema_statements import PlacingPreparer, SchemaCompiler, SchemaContext
from .sessions import AnyEngine, compile_with, derived, new_session, stay_with_the_tenant, tenant_of, write_names_as

# No such table, schema or database: PostgreSQL's SQLSTATE and MySQL's number.
_MISSING = frozenset({"42P01", "3F000", 1146, 1049})

# Whose tables are rendered, to be replaced by the tenant; no table's default or comment can hold it by accident.
_SOMEBODY = uuid4().hex


class SchemaIsolation(Isolation):
    """Keeps each tenant's tables in a schema `t_<id>`; on MySQL and MariaDB that is a database.

    A table of `metadata` that is marked as shared is there once: in its own `schema`, or in the deployment's. All
    tenants read it and none writes it. Whatever else a guarded engine is given finds its tables in the tenant's schema,
    or is refused. SQL text with bare names finds nothing, unless `tenant_search_path` says otherwise; where it names
    another tenant's schema, a catalog of the server's or a table of the deployment's that is not shared, or would
    change where names lead, it is refused. That is told by the text alone, so it holds for what a developer writes, and
    not against one who hides a name: in a view, in a function of the application's, or in a schema of neither kind.
    Not covered, besides, is the driver's own connection (`get_raw_connection()`, `raw_connection()`).

    Raises:
        ConfigurationError: the database or a setting does not allow it, or tables could not be placed; all are named.
    """

    name: ClassVar[str] = "schema"
    separates: ClassVar[bool] = True

    def __init__(self, metadata: MetaData, url: URL, settings: TenancySettings) -> None:
        backend = url.get_backend_name()
        if backend not in SERVERS:
            raise ConfigurationError(
                f'{backend} has no schemas to keep tenants apart by; set shared_isolation to "row", or use one of '
                f"{', '.join(sorted(SERVERS))}"
            )
        self._server = SERVERS[backend]()
        if settings.tenant_search_path and self._server.backend != "postgresql":
            raise ConfigurationError(
                f"tenant_search_path needs PostgreSQL, and this is {backend}, where it would outlast the transaction; "
                "leave it out, and use mapped tables instead of SQL text"
            )
        self._metadata = metadata
        self._settings = settings
        self._places = Places(metadata, url.get_dialect()(), self._server.shared_schema(url))
        self._script = ddl.MadeOnce[str]()

    def tenants_url(self, url: URL) -> URL:
        # Without a default database, MySQL answers a bare name with "No database selected".
        return url if self._server.backend == "postgresql" else url._replace(database=None)

    @property
    def starts_with(self) -> Mapping[str, str]:
        return {"search_path": _path(self._settings.extensions_schema)} if self._server.backend == "postgresql" else {}

    def prepare(self, connection: Connection, *, create: bool = True) -> None:
        places = self._places
        places.settle()
        places.shared_schema = self._server.current_schema(connection) or places.shared_schema
        if places.shared_schema == self._settings.extensions_schema:
            raise ConfigurationError(
                f"extensions_schema {places.shared_schema!r} is where the deployment's own tables are, which SQL text "
                "of tenants would find; move the extensions: ALTER EXTENSION … SET SCHEMA extensions"
            )
        if not places.shared_tables and not places.common_types:
            return
        with self._server.looking(connection, places.shared_schema):
            items = (*places.shared_tables, *places.common_types)
            for schema in sorted({item.schema for item in items if item.schema}):
                if not inspect(connection).has_schema(schema):
                    connection.execute(CreateSchema(schema))
            with ddl.speaking(connection, connection.dialect, places.shared_schema):
                ddl.create_tables(
                    connection, self._metadata, places.shared_tables, without=places.own_types, checkfirst=True
                )

    def create(self, connection: Connection, tenant: Tenant, made: Made | None = None) -> None:
        schema = schema_named(tenant.id)
        with self._server.looking(connection, schema) as exists:
            if exists and self._is_complete(connection, tenant):
                return
            if exists:
                self._server.drop(connection, schema)
            self._places.settle()
            by_script = made or not ddl.runs_python(self._metadata, self._places.own_tables)
            if self._server.is_transactional and by_script:
                ddl.run_script(connection, self._script_for(connection, tenant.id, made))
            else:
                self._create_step_by_step(connection, tenant.id)

    def create_by(self, url: URL, tenant: Tenant, make_tables: Callable[[Connection], object]) -> None:
        schema, admin = schema_named(tenant.id), TenantTables(url)
        # What is whole has the tenant's name, also after a kill; where nothing can be renamed, the mark comes last.
        draft = _draft_of(schema) if self._server.is_transactional else schema
        with admin.connect() as connection, connection.begin(), self._server.looking(connection, schema) as exists:
            if exists and self._is_complete(connection, tenant):
                return
            if self._server.is_there(connection, draft):
                self._server.drop(connection, draft)
            connection.execute(CreateSchema(draft))
        with self._tables_in(draft, url).connect() as connection:
            make_tables(connection)
        with admin.connect() as connection, connection.begin():
            mark(connection, tenant.id, draft)
            if draft != schema:
                connection.exec_driver_sql(f"ALTER SCHEMA {draft} RENAME TO {schema}")

    def drop(self, connection: Connection, tenant: Tenant) -> None:
        schema = schema_named(tenant.id)
        with self._server.looking(connection, schema) as exists:
            if exists:
                self._is_complete(connection, tenant)
                self._server.drop(connection, schema)
            # Left by `create_by`, where that was cut short.
            if self._settings.migrations is not None and self._server.is_there(connection, _draft_of(schema)):
                self._server.drop(connection, _draft_of(schema))

    def tables(self, url: URL, tenant: Tenant) -> TenantTables:
        return self._tables_in(schema_named(tenant.id), url)

    def _tables_in(self, schema: str, url: URL) -> TenantTables:
        if self._server.backend != "postgresql":
            return TenantTables(url.set(database=schema))
        return TenantTables(url, schema=schema, search_path=_path(schema, self._settings.extensions_schema))

    def check(self, connection: Connection, tenant: Tenant) -> None:
        schema = schema_named(tenant.id)
        try:
            owner = connection.scalar(select(owner_table(schema).c.tenant_id))
        except DBAPIError as error:
            if _MISSING.isdisjoint(codes_of(error.orig)):
                raise
            owner = None
        if owner != tenant.id:
            raise NamespaceMissingError(
                f"the schema {schema} of the tenant {tenant.identifier!r} is not there, or not the tenant's; restore it"
            )

    def guard(self, engine: Engine) -> None:
        places = {"places": self._places}
        compile_with(engine, SchemaCompiler, type("SchemaContext", (SchemaContext,), places), **places)
        write_names_as(engine, PlacingPreparer, **places)
        stay_with_the_tenant(engine)
        if self._settings.tenant_search_path:
            arm(engine, self._path_of_the_tenant)
        elif self._settings.pooler == "transaction" and self.starts_with:
            # A pooler knows no start-up settings.
            arm(engine, lambda _: self.starts_with)

    def sessionmaker(self, engine: AnyEngine, session_class: type[AsyncSession], tenant_id: str) -> Any:
        """What opens the sessions of one tenant on a guarded engine; made once per profile, not per session."""
        return new_session(engine, session_class, tenant_id, schema_translate_map={None: schema_named(tenant_id)})

    def _path_of_the_tenant(self, connection: Connection) -> Mapping[str, str]:
        return {"search_path": _path(schema_named(tenant_of(connection)), self._settings.extensions_schema)}

    def _is_complete(self, connection: Connection, tenant: Tenant) -> bool:
        """Whether the schema bears the tenant's mark, rather than none since its creation was cut short.

        Raises:
            NamespaceExistsError: it is not the tenant's.
        """
        schema = schema_named(tenant.id)
        owner = owner_of(connection, schema)
        # The name holds the tenant's id: where creation can be cut short, nobody else left it without a mark.
        if owner != tenant.id and (owner is not None or self._server.is_transactional):
            raise NamespaceExistsError(
                f"a schema {schema} is there that does not belong to the tenant {tenant.identifier!r}; look what it "
                "is, and rename or drop it"
            )
        return owner is not None

    def _script_for(self, connection: Connection, tenant_id: str, made: Made | None) -> str:
        render = partial(self._render, connection, made)
        script = self._script.get(self._places.own_tables, render, made and made.revision)
        return script.replace(_SOMEBODY, tenant_id)

    def _render(self, connection: Connection, made: Made | None) -> str:
        dialect = self._dialect_of(connection, paramstyle="named", positional=False)
        schema, places, owner = schema_named(_SOMEBODY), self._places, owner_table()
        marked = insert(owner).values(tenant_id=_SOMEBODY)
        if made is not None:
            tables = made.statements
        else:
            tables = ddl.rendered_tables(dialect, schema, self._metadata, places.own_tables, places.common_types)
        statements = [
            ddl.rendered(dialect, schema, CreateSchema(schema)),
            self._set_path(schema),
            *tables,
            *ddl.rendered_tables(dialect, schema, owner.metadata, [owner]),
            ddl.rendered(dialect, schema, marked, compile_kwargs={"literal_binds": True}),
        ]
        return "\n;\n".join(statements)

    def _create_step_by_step(self, connection: Connection, tenant_id: str) -> None:
        schema, places = schema_named(tenant_id), self._places
        connection.execute(CreateSchema(schema))
        if self._server.backend == "postgresql":
            connection.execute(text(self._set_path(schema)))
        with ddl.speaking(connection, self._dialect_of(connection), schema):
            ddl.create_tables(connection, self._metadata, places.own_tables, without=places.common_types)
        mark(connection, tenant_id, schema)

    def _dialect_of(self, connection: Connection, **attributes: Any) -> Dialect:
        """The dialect of a connection of the deployment's, but aware of what is shared."""
        theirs = type(connection.dialect.identifier_preparer)
        return ddl.dialect_with(connection.dialect, derived(PlacingPreparer, theirs, places=self._places), **attributes)

    def _set_path(self, schema: str) -> str:
        """For names in the application's own DDL texts, which would else lead to the deployment's tables."""
        return f"SET LOCAL search_path TO {_path(schema, self._settings.extensions_schema)}"


def _draft_of(schema: str) -> str:
    """The schema that is there only while the tenant's own is made."""
    return f"{schema}_provisioning"


def _path(*schemas: str | None) -> str:
    return ", ".join('"' + schema.replace('"', '""') + '"' for schema in schemas if schema)
