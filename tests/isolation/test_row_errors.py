"""An error of the database says nothing about another tenant's rows."""

from pathlib import Path
from typing import Any

import pytest
from servers import new_database
from sqlalchemy import Integer, cast, func, select
from sqlalchemy.exc import DBAPIError, IntegrityError
from support import Note, add_notes, make_tenancy


@pytest.mark.parametrize(
    "condition",
    [func.to_date(Note.text, "YYYY").is_(None), cast(Note.text, Integer) > 0, func.to_number(Note.text, "9") > 0],
    ids=["a date", "a cast", "a number"],
)
@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
async def test_a_value_that_cannot_be_computed_with_is_not_quoted(
    tmp_path: Path, postgresql_url: str, driver: str, condition: Any
) -> None:
    url = new_database(postgresql_url).replace("psycopg", driver)
    row = {"database_url": url, "manager_type": "shared-profile", "shared_isolation": "row"}
    async with make_tenancy(tmp_path, **row) as tenancy:
        await tenancy.create_tenant("acme")
        await tenancy.create_tenant("globex")
        await add_notes(tenancy, "acme", "bravo")
        async with tenancy.use("acme") as profile, profile.session() as session:
            with pytest.raises(DBAPIError, match="SQLSTATE 22") as caught:
                await session.scalars(select(Note.text).where(condition))
        assert "bravo" not in str(caught.value)
        assert "bravo" not in str(caught.value.orig)


async def test_other_errors_stay_as_they_are(tmp_path: Path, postgresql_url: str) -> None:
    row = {"database_url": new_database(postgresql_url), "manager_type": "shared-profile", "shared_isolation": "row"}
    async with make_tenancy(tmp_path, **row) as tenancy:
        await tenancy.create_tenant("acme")
        async with tenancy.use("acme") as profile, profile.session() as session:
            session.add(Note(text=None))
            with pytest.raises(IntegrityError, match="null value in column"):
                await session.flush()
