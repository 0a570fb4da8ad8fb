"""The application's migrations: the revisions in its Alembic folder, and what brings tables to one of them."""

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from typing import Any

from sqlalchemy import Connection, Dialect

from ..errors import ConfigurationError
from .lazily import alembic
from .revisions import revision_of, write_revision
from .statements import Statements

logger = logging.getLogger(__name__)

# Alembic keeps what it is doing in its modules. Who holds the lock may import an application that reads its folder.
_ONE_AT_A_TIME = RLock()

# As `config.attributes` hands it to env.py; the name is the one of Alembic's own documentation:
# <https://alembic.sqlalchemy.org/en/latest/cookbook.html#sharing-a-connection-across-one-or-more-programmatic-migration-commands>
CONNECTION, DIALECT = "connection", "dialect"


@dataclass(frozen=True, slots=True)
class _Folder:
    """What was read of the folder.

    Attributes:
        directory: Alembic's reading of it.
        head: the newest revision; None where there is none yet.
        known: all revisions, each of which leads to the head, as there is only one.
        below: the revisions below one of them, as far as somebody asked.
        sql: the statements for each dialect, as far as somebody asked.
    """

    directory: Any
    head: str | None
    known: frozenset[str]
    below: dict[str, frozenset[str]] = field(default_factory=dict)
    sql: dict[str, Sequence[str] | None] = field(default_factory=dict)


class MigrationScripts:
    """The application's Alembic folder; `TenancySettings.migrations` names it.

    Whatever runs its scripts takes turns with all others of this process, as Alembic is not safe in threads; so it
    belongs into a thread of a process that does nothing else.

    Args:
        folder: with the `env.py`, relative to the working directory.

    Raises:
        ConfigurationError: it is not there, has no `env.py`, or its revisions do not lead to one; the message says what
            to do.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).absolute()
        if not (self.folder / "env.py").is_file():
            raise ConfigurationError(
                f"migrations names {str(folder)!r}, which has no env.py; write it with: "
                f"fastapi-tenancy migrations init {folder}"
            )
        self._ini = _ini_of(self.folder)
        self.refresh()

    def __repr__(self) -> str:
        return f"<MigrationScripts of {self.folder}, head {self.head}>"

    @property
    def head(self) -> str | None:
        """The newest revision; None while there is none."""
        return self._read.head

    def refresh(self) -> None:
        """Read the folder again.

        Raises:
            ConfigurationError: its revisions do not lead to one.
        """
        with _explained(self.folder):
            directory = alembic().script.ScriptDirectory.from_config(self._config())
            sys.path[:] = dict.fromkeys(sys.path)  # it adds prepend_sys_path each time
            try:
                heads = directory.get_heads()
            except KeyError as error:
                raise ConfigurationError(
                    f"a revision in {self.folder} comes after {error}, which is not there; restore its file"
                ) from error
            known = frozenset(script.revision for script in directory.walk_revisions())
        if len(heads) > 1:
            raise ConfigurationError(
                f"the migrations in {self.folder} have {len(heads)} heads ({', '.join(sorted(heads))}); join them "
                f"with: alembic -c {self._ini or 'alembic.ini'} merge heads"
            )
        self._read = _Folder(directory, heads[0] if heads else None, known)

    def resolve(self, to: str) -> str:
        """The revision that is meant by "head", a revision, its beginning or the label of a branch.

        Raises:
            ConfigurationError: there is none, or there are several.
        """
        with _explained(self.folder):
            script = self._read.directory.get_revision(to) if to else None
        if script is None:
            raise ConfigurationError(f"{self.folder} has no revision {to!r}; see what it has with: alembic history")
        return str(script.revision)

    def is_behind(self, revision: str | None, to: str | None = None) -> bool:
        """Whether tables at `revision`, None for never migrated, are strictly below `to`, None for the head.

        A revision that the folder does not know belongs to newer code, and is not behind.
        """
        read = self._read
        if revision is None:
            return read.head is not None
        if to is None or to in ("head", read.head):
            return revision in read.known and revision != read.head
        return revision in self._below(self.resolve(to))

    def upgrade(self, connection: Connection, to: str = "head") -> str | None:
        """Bring the tables that `connection` finds by bare names to a revision, through the folder's `env.py`.

        A transaction that `connection` is in is left to the caller; else what is done is committed, and what fails
        rolled back: all of it, or the one revision where `env.py` says `transaction_per_migration`. Tables beyond `to`
        stay as they are.

        Returns:
            The revision that they are at then; None while the folder has none.

        Raises:
            ConfigurationError: the folder knows no such revision, or not the one that the tables are at.
        """
        with _ONE_AT_A_TIME:
            if self.head is None and to == "head":
                return None
            target = self.resolve(to)
            given = connection.in_transaction()
            try:
                current = revision_of(connection)
                if current is not None and not self.is_behind(current, target):
                    return self._beyond(current)
                if not given:
                    connection.rollback()
                with _explained(self.folder):
                    self._run(target, {CONNECTION: connection})
                return revision_of(connection)
            finally:
                if not given:
                    connection.rollback()

    def stamp(self, connection: Connection, revision: str) -> None:
        """Note that the tables are at `revision`, without touching them; committed as with `upgrade`.

        Raises:
            ConfigurationError: the folder knows no such revision.
        """
        revision = self.resolve(revision)
        if connection.in_transaction():
            write_revision(connection, revision)
        else:
            with connection.begin():
                write_revision(connection, revision)

    def sql(self, dialect: Dialect) -> Sequence[str] | None:
        """The statements that bring an empty place to the head and note it; they work inside one transaction.

        None where the scripts ask the database something, and so cannot do without it; `dialect` is a connection's.
        """
        with _ONE_AT_A_TIME:
            read = self._read
            if dialect.name not in read.sql:
                read.sql[dialect.name] = None if read.head is None else self._render(dialect, read.head)
            return read.sql[dialect.name]

    def _render(self, dialect: Dialect, head: str) -> Sequence[str] | None:
        statements = Statements()
        try:
            self._run(head, {DIALECT: dialect}, output=statements, as_sql=True)
        except Exception as error:  # noqa: BLE001 - the scripts are not ours: with a connection they work, or fail with it
            logger.info("migrations need a connection", extra={"error": repr(error)})
            return None
        return statements.found

    def _run(self, target: str, attributes: dict[str, Any], output: Any = None, **options: Any) -> None:
        config, directory = self._config(output, attributes), self._read.directory
        options["fn"] = steps_to(target, directory)
        with alembic().runtime.environment.EnvironmentContext(config, directory, **options):
            directory.run_env()

    def _config(self, output: Any = None, attributes: dict[str, Any] | None = None) -> Any:
        config = alembic().config.Config(self._ini, output_buffer=output, attributes=attributes)
        config.set_main_option("script_location", str(self.folder).replace("%", "%%"))
        return config

    def _below(self, target: str) -> frozenset[str]:
        read = self._read
        if target not in read.below:
            scripts = read.directory.walk_revisions("base", target)
            read.below[target] = frozenset(script.revision for script in scripts) - {target}
        return read.below[target]

    def _beyond(self, current: str) -> str:
        if current not in self._read.known:
            raise ConfigurationError(
                f"the tables are at revision {current!r}, which {self.folder} does not have; deploy the code that has "
                "it, or note where the tables really are with: fastapi-tenancy migrate --stamp"
            )
        return current


def steps_to(target: str, directory: Any) -> Callable[..., Any]:
    """What Alembic asks for the revisions that are still to be run.

    So do its own commands; to call these would read the folder again each time.
    """
    return lambda now, _: directory._upgrade_revs(target, now)  # noqa: SLF001 - as above


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """What is wrong with the revisions is said as ours."""
    errors = (alembic().util.CommandError, alembic().script.revision.RevisionError)
    try:
        yield
    except errors as error:
        raise ConfigurationError(f"the migrations in {folder}: {error}") from error


def _ini_of(folder: Path) -> Path | None:
    """The `alembic.ini` that is about the folder: in it, beside it or in the working directory."""
    for place in (folder, folder.parent, Path.cwd()):
        ini = place / "alembic.ini"
        if ini.is_file():
            location = alembic().config.Config(ini).get_main_option("script_location")
            if location and Path(location).resolve() == folder.resolve():
                return ini
    return None
