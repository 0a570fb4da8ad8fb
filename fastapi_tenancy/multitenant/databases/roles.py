"""A PostgreSQL role for a tenant's own database: it uses what is there, and gets into no other tenant's."""

# The deployment's user owns the tables and changes them; the role reads and writes them, also those that a migration
# adds later. So the user needs no more than CREATEROLE, and what a request could do is limited.

import hashlib
import hmac
import secrets
from base64 import b64encode

from sqlalchemy import Connection, column, inspect, select, table
from sqlalchemy.ext.asyncio import AsyncConnection

from .base import quoted

_names = table("pg_roles", column("rolname"), schema="pg_catalog").c.rolname

_ITERATIONS = 4096  # PostgreSQL's default, scram_iterations; the password is random, so more would add nothing

_LET_USE = (
    "GRANT ALL ON SCHEMA {schemas} TO {role}",
    "GRANT ALL ON ALL TABLES IN SCHEMA {schemas} TO {role}",
    "GRANT ALL ON ALL SEQUENCES IN SCHEMA {schemas} TO {role}",
    "ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO {role}",
    "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO {role}",
    "ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO {role}",
)


async def create(server: AsyncConnection, role: str, password: str) -> None:
    """Create the role, in place of one that a creation left that was cut short."""
    await drop(server, role)
    await server.exec_driver_sql(quoted(server, "CREATE ROLE {role} LOGIN ", role=role) + _secret(password))


async def keep_out(server: AsyncConnection, database: str) -> None:
    """Let nobody connect but the owner and who is let in; PostgreSQL lets everybody else."""
    await server.exec_driver_sql(quoted(server, "REVOKE ALL ON DATABASE {database} FROM PUBLIC", database=database))


async def let_in(server: AsyncConnection, role: str, database: str) -> None:
    statement = "GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {role}"
    await server.exec_driver_sql(quoted(server, statement, database=database, role=role))


def let_use(connection: Connection, role: str) -> None:
    """Let the role use all tables of the connection's database, those that are there and those to come."""
    schemas = [name for name in inspect(connection).get_schema_names() if name != "information_schema"]
    quote = connection.dialect.identifier_preparer.quote_identifier
    for statement in _LET_USE:
        connection.exec_driver_sql(statement.format(role=quote(role), schemas=", ".join(map(quote, schemas))))


async def take_over(server: AsyncConnection, role: str) -> None:
    """Become a member of the role, where there is one: only members may end the sessions that it still has."""
    if await server.scalar(select(_names).where(_names == role)):
        await server.exec_driver_sql(quoted(server, "GRANT {role} TO CURRENT_USER", role=role))


async def drop(server: AsyncConnection, role: str) -> None:
    """Drop the role, whose database is gone."""
    await server.exec_driver_sql(quoted(server, "DROP ROLE IF EXISTS {role}", role=role))


def _secret(password: str) -> str:
    """The password as PostgreSQL keeps it: in clear text it would stand in logs, the server's and ours (RFC 5803)."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    in_base64 = [b64encode(each).decode() for each in (salt, stored, server)]
    return "PASSWORD 'SCRAM-SHA-256${}:{}${}:{}'".format(_ITERATIONS, *in_base64)
