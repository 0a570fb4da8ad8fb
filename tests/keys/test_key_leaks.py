"""No key is in a log, a representation, an error's text, the statistics or a file."""

import base64
import logging
import traceback
from pathlib import Path

import pytest
from keys.key_support import needs_sqlcipher, read_with, sealing
from support import client_of, make_app, named

from fastapi_tenancy import HeaderResolver, TenancyError, TokenResolver
from fastapi_tenancy.multitenant.keys import new_key

pytestmark = needs_sqlcipher

KEY, OTHER, MANAGED = [f"{name}{'-planted-key-of-a-tenant-' * 2}"[:42] + "A" for name in ("a", "b", "c")]


def spellings(key: str) -> list[str]:
    raw = new_key(key).get_secret_value()
    return [key, raw.hex(), raw.hex().upper(), str(raw)[2:-1], base64.b64encode(raw).decode()]


PLANTED = [text for key in (KEY, OTHER, MANAGED) for text in spellings(key)]


async def test_planted_keys_are_found_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    said: list[str] = []
    resolvers = [HeaderResolver("X-Tenant-ID"), TokenResolver()]
    async with sealing(tmp_path, resolvers=resolvers, encrypt_tenants=True) as tenancy:
        await tenancy.create_tenant("acme", key=MANAGED)
        umbra = await tenancy.create_tenant("umbra", key_management_mode="unmanaged", key=KEY)
        token = await tenancy.create_auth_token("umbra", key=KEY)
        async with client_of(make_app(tenancy), raise_app_exceptions=False) as client:
            for headers in (
                named("acme"),
                *(named("umbra") | {"X-Tenant-Key": key} for key in (KEY, OTHER, KEY[:-1], f"{KEY}x")),
                {"Authorization": f"Bearer {token}"},
            ):
                paths = ("/notes", "/sync/notes", "/openapi.json")
                said += [(await client.get(path, headers=headers)).text for path in paths]
        for key in (OTHER, KEY[:-1], None):
            try:
                await read_with(tenancy, "umbra", key)
            except TenancyError as error:
                said += [repr(error), "".join(traceback.format_exception(error))]
        async with tenancy.use("umbra", key=KEY) as profile, profile.session() as session:
            engine = session.get_bind()
            said += [
                repr(each) for each in (profile, session, engine, engine.url, engine.pool, umbra, tenancy.settings)
            ]
            said += [str(umbra.key_record), token, repr(vars(engine.dialect)), repr(vars(engine.dialect.dbapi))]
        await tenancy.rekey_tenant("umbra", key=KEY, new_key=OTHER)
        said += [repr(tenancy.stats()), repr(await tenancy.audit_trail())]
    said += [repr(vars(record)) + record.getMessage() for record in caplog.records]
    said += [file.read_bytes().decode("latin-1") for file in tmp_path.rglob("*") if file.is_file()]
    assert len(caplog.records) > 100
    assert [planted for planted in PLANTED if any(planted in text for text in said)] == []
