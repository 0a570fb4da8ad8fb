"""The servers that the tests start do answer."""

import socket
from typing import Any

import pytest
from servers import drop_database, new_database, plain_role
from sqlalchemy import NullPool, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine


async def answer(url: str, question: str) -> Any:
    async with create_async_engine(url, poolclass=NullPool).connect() as connection:
        return (await connection.execute(text(question))).one()


@pytest.mark.parametrize("server", ["postgresql_url", "mysql_url"])
async def test_a_database_is_made_and_dropped(request: pytest.FixtureRequest, server: str) -> None:
    url = new_database(request.getfixturevalue(server))
    assert await answer(url, "SELECT 6 * 7") == (42,)

    drop_database(url)
    with pytest.raises(DBAPIError):
        await answer(url, "SELECT 1")


def test_redis_answers(redis_url: str) -> None:
    url = make_url(redis_url)
    with socket.create_connection((url.host, url.port or 6379)) as connection:
        connection.sendall(b"ECHO hello\r\n")
        assert connection.recv(100) == b"$5\r\nhello\r\n"


async def test_pgbouncer_hands_a_connection_on_when_a_transaction_ends(pgbouncer_url: str) -> None:
    engine = create_async_engine(new_database(pgbouncer_url), poolclass=NullPool)
    async with engine.connect() as one, engine.connect() as two:
        process = await one.scalar(text("SELECT pg_backend_pid()"))
        await one.commit()
        assert await two.scalar(text("SELECT pg_backend_pid()")) == process


ROLE = """
    SELECT rolsuper, rolbypassrls, rolcreatedb, rolcreaterole, pg_get_userbyid(datdba) = current_user
    FROM pg_roles, pg_database WHERE rolname = current_user AND datname = current_database()
"""


async def test_a_plain_role_owns_its_database_and_is_no_superuser(postgresql_url: str) -> None:
    url = plain_role(new_database(postgresql_url))
    assert await answer(url, ROLE) == (False, False, False, False, True)


async def test_a_plain_role_may_make_databases_and_roles_on_request(postgresql_url: str) -> None:
    url = plain_role(new_database(postgresql_url), createdb=True, createrole=True)
    assert await answer(url, ROLE) == (False, False, True, True, True)
