"""Keys, and Tenancies that seal with them, shared by the tests of sealing."""

import secrets
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from sqlalchemy import create_engine, text
from support import make_tenancy

from fastapi_tenancy import Sealer, SQLAlchemyTenantStore, Tenancy

OLD, NEW = (secrets.token_urlsafe(32) for _ in range(2))
SECRET_SETTINGS = ("api_key", "smtp.password")
SETTINGS = {"api_key": "hunter2", "smtp": {"host": "mail", "password": "hunter3"}, "plan": "pro"}


def sealer_of(*keys: str) -> Sealer:
    return Sealer([SecretStr(key) for key in keys])


def sealing_tenancy(folder: Path, *keys: str, **given: Any) -> Tenancy:
    """A Tenancy that seals with the first of `keys`; one that does not where there is none."""
    secret = {"encryption_keys": keys, "secret_settings": SECRET_SETTINGS} if keys else {}
    return make_tenancy(folder, **{**secret, **given})


def sealing_store(url: str, *keys: str, secret_settings: tuple[str, ...] = SECRET_SETTINGS) -> SQLAlchemyTenantStore:
    if not keys:
        return SQLAlchemyTenantStore(url)
    return SQLAlchemyTenantStore(url, sealer=sealer_of(*keys), secret_settings=secret_settings)


def stored(folder: Path) -> bytes:
    """All that SQLite has of the store, also what it has not yet put in its place."""
    return b"".join(file.read_bytes() for file in sorted(folder.glob("tenancy.db*")))


def on_row(folder: Path, statement: str, **values: Any) -> None:
    engine = create_engine(f"sqlite:///{folder}/tenancy.db")
    with engine.begin() as connection:
        connection.execute(text(statement), values)
    engine.dispose()
