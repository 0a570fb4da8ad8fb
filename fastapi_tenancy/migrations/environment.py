"""What the application's `env.py` calls: it migrates what the library hands over, or compares the models."""

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from types import MappingProxyType
from typing import Any, Protocol

from sqlalchemy import URL, Connection, Dialect, MetaData, event, make_url
from sqlalchemy.engine.mock import MockConnection

from ..errors import ConfigurationError, TenancyError
from ..settings import TenancySettings
from . import foreign_keys
from .lazily import alembic
from .scripts import CONNECTION, DIALECT, steps_to

# Options of `context.configure` that have to be as they are, so that all tenants' revisions are found.
_OURS = frozenset({"connection", "url", "dialect_name", "version_table", "version_table_schema", "output_buffer"})

# Any other paramstyle would double each percent sign.
_OFFLINE: Mapping[str, Any] = MappingProxyType({"literal_binds": True, "dialect_opts": {"paramstyle": "named"}})


class Reference(Protocol):
    """A place of tables to compare the models with.

    Attributes:
        connection: finds the tables by their bare names.
        is_scratch: it is empty, and gone afterwards.
        holds_shared: the tables that all tenants share are in it.
    """

    @property
    def connection(self) -> Connection: ...
    @property
    def is_scratch(self) -> bool: ...
    @property
    def holds_shared(self) -> bool: ...


class Migrated(Protocol):
    """What is asked of a `Tenancy`."""

    settings: TenancySettings

    @property
    def metadata(self) -> MetaData: ...
    def reference(self, identifier: str | None = None) -> AbstractContextManager[Reference]: ...


def run_tenant_migrations(tenancy: Migrated, **configure: Any) -> None:
    """Do in `env.py` what Alembic was called for.

    The library hands over a tenant's connection, and it is migrated. `alembic revision --autogenerate` and `check`
    compare the models with a scratch place at the newest revision, of the kind that the deployment's tenants have; with
    the tenant's tables where `-x tenant=acme` names one. Whatever changes tables needs that name.

    Args:
        tenancy: the application's `Tenancy`, which need not be open.
        configure: options of Alembic's `context.configure`, such as `include_object` or `transaction_per_migration`.

    Raises:
        ConfigurationError: an option is the library's to set.
    """
    if taken := sorted(_OURS & configure.keys()):
        raise ConfigurationError(f"run_tenant_migrations sets {', '.join(taken)} itself; leave it out in env.py")
    options = {"target_metadata": tenancy.metadata, "render_item": _import_own_types, **configure}
    context, given = alembic().context, alembic().context.config.attributes
    if DIALECT in given:
        _render(given[DIALECT], options)
    elif context.is_offline_mode():
        _print_sql(_backend(tenancy.settings), options)
    elif CONNECTION in given:
        _migrate(given[CONNECTION], tenancy.settings, options)
    else:
        try:
            _run_by_hand(tenancy, options)
        except TenancyError as error:  # Alembic's command shows its own errors without a traceback
            raise alembic().util.CommandError(str(error)) from error


def _migrate(connection: Connection, settings: TenancySettings, options: Mapping[str, Any]) -> None:
    context = alembic().context
    if settings.pooler == "transaction":
        event.listen(connection, "set_connection_execution_options", _refuse_autocommit)
    with foreign_keys.unenforced(connection):
        context.configure(connection=connection, **_for_connection(connection, options))
        with context.begin_transaction():
            context.run_migrations()


def _render(dialect: Dialect, options: Mapping[str, Any]) -> None:
    """Write what one transaction of a connection of `dialect` does."""
    context = alembic().context
    given = {**options, "transaction_per_migration": False, "transactional_ddl": True}
    context.configure(dialect_name=dialect.name, **_OFFLINE, **given)
    own = context.get_context()
    # What a server says of its text literals, and what is only guessed without one.
    own.dialect._backslash_escapes = getattr(dialect, "_backslash_escapes", False)  # noqa: SLF001 - it has no public name
    own.connection = own.impl.connection = MockConnection(own.dialect, partial(_write_statement, own))
    context.run_migrations()


def _print_sql(backend: str, options: Mapping[str, Any]) -> None:
    context = alembic().context
    context.configure(dialect_name=backend, **_OFFLINE, **options)
    with context.begin_transaction():
        context.run_migrations()


def _write_statement(context: Any, statement: Any, parameters: object = None) -> None:
    """What `op.get_bind().execute` does; Alembic's own would drop the parameters, and write NULL for each.

    Raises:
        ConfigurationError: it cannot be done without a connection.
    """
    if parameters or getattr(statement, "is_select", False):
        raise ConfigurationError("a migration needs an answer, or gives parameters")
    context.execute(statement)


def _run_by_hand(tenancy: Migrated, options: dict[str, Any]) -> None:
    context = alembic().context
    identifier = context.get_x_argument(as_dictionary=True).get("tenant")
    if identifier is None and not _compares():
        raise ConfigurationError(
            "this folder is for tenants, who are migrated by: fastapi-tenancy migrate; for a single one by hand: "
            "alembic -x tenant=acme …"
        )
    if context.config.cmd_opts is not None:  # of Alembic's command, which tells what it finds by logging
        logging.basicConfig(format="%(levelname)s %(message)s")
        logging.getLogger("alembic").setLevel(logging.INFO)
    with tenancy.reference(identifier) as reference:
        included = _included(options.pop("include_object", None), shared=reference.holds_shared)
        options["include_object"] = included
        if reference.is_scratch:
            _bring_to_head(reference.connection, options)
        _migrate(reference.connection, tenancy.settings, options)


def _compares() -> bool:
    """Whether Alembic was called to compare, by `revision --autogenerate` or `check`."""
    context = alembic().context
    context.configure(dialect_name="sqlite")  # any; what Alembic was called for is not told before
    return "revision_context" in context.get_context().opts


def _bring_to_head(connection: Connection, options: Mapping[str, Any]) -> None:
    script = alembic().context.script
    options = {**_for_connection(connection, options), "script": script, "fn": steps_to("heads", script)}
    own = alembic().migration.MigrationContext.configure(connection, opts=options)
    with foreign_keys.unenforced(connection), alembic().operations.Operations.context(own), own.begin_transaction():
        own.run_migrations()


def _for_connection(connection: Connection, options: Mapping[str, Any]) -> dict[str, Any]:
    if connection.dialect.name != "sqlite":
        return dict(options)
    callbacks = alembic().util.to_tuple(options.get("on_version_apply"), default=())
    ours = {"transactional_ddl": True, "on_version_apply": (*callbacks, foreign_keys.check)}
    return {"render_as_batch": True, **options, **ours}


def _included(theirs: Callable[..., bool] | None, *, shared: bool) -> Callable[..., bool]:
    """Whether an autogenerated revision is about something: not about the library's tables, nor about others' place."""

    def is_included(item: Any, name: str | None, kind: str, reflected: bool, compare_to: Any) -> bool:
        if kind == "table" and reflected and compare_to is None and (name or "").startswith("tenancy_"):
            return False
        if kind == "table" and not shared and item.info.get("tenancy") == "shared":
            return False
        return theirs is None or theirs(item, name, kind, reflected, compare_to)

    return is_included


def _import_own_types(kind: str, item: Any, autogen_context: Any) -> bool:
    """Have a revision import the types that it names, which Alembic does for SQLAlchemy's only."""
    module = type(item).__module__
    if kind == "type" and not module.startswith("sqlalchemy."):
        autogen_context.imports.add(f"import {module}")
    return False


def _refuse_autocommit(_: Connection, options: Mapping[str, Any]) -> None:
    if options.get("isolation_level") == "AUTOCOMMIT":
        raise ConfigurationError(
            "an autocommit_block cannot be run through a pooler, which would forget whose tables are meant; set pooler "
            'to "none" and database_url to the server itself for migrations'
        )


def _backend(settings: TenancySettings) -> str:
    own = settings.tenant_database_url if settings.manager_type == "basic" else None
    url: URL = make_url(own or settings.database_url)
    return url.get_backend_name()
