"""Plant secrets in an application, let it work and fail, and gather everything that it shows.

To add a secret, give it to `Scene.plant` in an act of yours, and put the act into `ACTS`; what it returns is searched.
"""

import logging
import secrets
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import httpx2 as httpx
from fastapi import Depends, Header, HTTPException
from sealing.sealing_support import stored
from support import client_of, make_app, make_tenancy

from fastapi_tenancy import (
    HeaderResolver,
    SealError,
    Tenancy,
    TenancyError,
    TenancySettings,
    TenantStatus,
    TokenResolver,
)
from fastapi_tenancy.multitenant.admin import admin_router
from fastapi_tenancy.testing import tenant_named


class _Everything(logging.Handler):
    """Keeps each record, with its fields and its traceback."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        shown = "" if error is None else "".join(traceback.format_exception(error))
        self.texts.append(f"{record.getMessage()} {vars(record)} {shown}")


class Scene:
    """One application with its planted secrets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.planted: dict[str, str] = {}
        key, older = (self.plant(f"encryption key {number}", secrets.token_urlsafe(32)) for number in (1, 2))
        self.given: Mapping[str, Any] = {
            "encryption_keys": [key, older],
            "secret_settings": ["api_key", "smtp.password", "webhooks.secret"],
            "token_secrets": [self.plant("token secret")],
            "default_settings": {"api_key": self.plant("default setting")},
            "resolvers": [HeaderResolver("X-Tenant-ID"), TokenResolver()],
        }
        self.tenancy = make_tenancy(folder, **self.given)
        self.app = make_app(self.tenancy, exclude=["/admin"])
        self.app.include_router(admin_router(self.tenancy, dependencies=[Depends(_require_admin)]), prefix="/admin")
        self.client: httpx.AsyncClient

    def plant(self, name: str, secret: str | None = None) -> str:
        """A secret, which is then searched for in everything."""
        self.planted[name] = secret or f"planted{secrets.token_hex(16)}"
        return self.planted[name]

    def settings(self, name: str) -> dict[str, Any]:
        return {
            "plan": "pro",
            "api_key": self.plant(f"{name}: setting"),
            "smtp": {"host": "mail", "password": self.plant(f"{name}: inner setting")},
            "webhooks": [{"secret": self.plant(f"{name}: setting in a list")}],
        }

    async def call(self, method: str, path: str, **given: Any) -> str:
        headers = {"X-Admin-Key": "change-me", **given.pop("headers", {})}
        answer = await self.client.request(method, path, headers=headers, **given)
        return f"{answer.status_code} {answer.headers} {answer.text}"


async def _require_admin(x_admin_key: Annotated[str, Header()]) -> None:
    if x_admin_key != "change-me":
        raise HTTPException(401)


def _shown(*errors_or_values: object) -> str:
    return " ".join(
        "".join(traceback.format_exception(each)) if isinstance(each, BaseException) else f"{each!r} {each}"
        for each in errors_or_values
    )


async def _failure_of(work: Awaitable[object]) -> str:
    try:
        await work
    except (TenancyError, ValueError, OSError) as error:
        return _shown(error)
    raise AssertionError("it was to fail")


async def admin_answers(scene: Scene) -> str:
    settings = scene.settings("by the API")
    made = await scene.call("POST", "/admin/tenants", json={"identifier": "acme", "settings": settings})
    assert made.startswith("201")
    patch = {"settings": {"api_key": scene.plant("by a patch"), "smtp": {"password": "***"}}}
    patched = await scene.call("PATCH", "/admin/tenants/acme", json=patch, headers={"If-Match": "*"})
    assert patched.startswith("200")
    reads = [await scene.call("GET", f"/admin/{path}") for path in ("tenants", "tenants/acme", "stats")]
    return " ".join([made, patched, *reads])


async def refusals(scene: Scene) -> str:
    """Bodies with secrets that are refused."""
    settings = scene.settings("refused")
    bodies: list[Any] = [
        {"identifier": "NO", "settings": settings},
        {"identifier": "new", "settings": [settings]},
        {"identifier": "new", "settings": settings, "database_url": settings["api_key"]},
        {"identifier": "acme", "settings": settings},
        {"identifier": "new", "settings": {"$sealed": settings["api_key"]}},
        {"identifier": "new", "name": "x" * 201, "settings": settings},
    ]
    answers = [await scene.call("POST", "/admin/tenants", json=body) for body in bodies]
    assert all(answer.startswith("4") for answer in answers)
    return " ".join(answers)


async def tokens(scene: Scene) -> str:
    token = scene.plant("token", await scene.tenancy.create_auth_token("acme"))
    answers = [
        await scene.call("GET", "/admin/tenants/acme/tokens"),
        await scene.call("GET", "/whoami", headers={"Authorization": f"Bearer {token}"}),
        await scene.call("GET", "/whoami", headers={"Authorization": f"Bearer {token}x"}),
    ]
    return " ".join(answers) + await _failure_of(_profile_of(scene.tenancy, f"{token}x"))


async def _profile_of(tenancy: Tenancy, token: str) -> None:
    async with tenancy.get_profile_for_token(token):
        pass


async def a_database_that_is_away(scene: Scene) -> str:
    """Its URL has secrets in its password and in its query."""
    password, query = scene.plant("password of a database"), scene.plant("query of a database URL")
    url = f"postgresql://app:{password}@127.0.0.1:1/gone?sslpassword={query}"
    gone = tenant_named("gone", database_url=url, namespace="gone", settings=scene.settings("gone"))
    await scene.tenancy.store.add(gone)
    answers = [await scene.call(*call) for call in (("GET", "/admin/tenants/gone"), ("GET", "/admin/tenants"))]
    answers.append(await scene.call("GET", "/notes", headers={"X-Tenant-ID": "gone"}))
    failures = [
        await _failure_of(scene.tenancy.create_tenant("other", database_url=url)),
        await _failure_of(scene.tenancy.create_tenant("other", database_url=f"nonsense://app:{password}@host/x")),
        await _failure_of(scene.tenancy.create_tenant("other", database_url=f"no URL {password}")),
    ]
    kept = replace(gone, id="0" * 32, identifier="kept", namespace="kept")
    await scene.tenancy.store.add(kept)
    await scene.tenancy.store.remove(kept, keep_namespace=True)
    return " ".join([*answers, *failures, _shown(gone, await scene.tenancy.retained_namespaces())])


async def what_cannot_be_opened(scene: Scene) -> str:
    """A tenant that was sealed with a key which is not listed."""
    key = scene.plant("key that is not listed", secrets.token_urlsafe(32))
    async with make_tenancy(scene.folder, **{**scene.given, "encryption_keys": [key]}) as other:
        settings = scene.settings("sealed elsewhere")
        await other.store.add(tenant_named("elsewhere", settings=settings, status=TenantStatus.SUSPENDED))
    failure = await _failure_of(scene.tenancy.get_tenant("elsewhere"))
    assert SealError.__name__ in failure
    done = await scene.tenancy.reseal()
    assert done.left == ["elsewhere"]
    lists = await scene.call("GET", "/admin/tenants")
    return failure + lists + _shown((await scene.tenancy.list_tenants()).items, done)


async def wrong_settings(scene: Scene) -> str:
    wrong = scene.plant("what is no key")
    failures = []
    for given in ({"encryption_keys": [wrong]}, {"secret_settings": [1], "encryption_keys": [wrong * 9]}):
        try:
            TenancySettings(database_url="sqlite://", **given)
        except ValueError as error:
            failures.append(_shown(error))
    assert len(failures) == 2
    return " ".join(failures)


async def reprs(scene: Scene) -> str:
    tenancy = scene.tenancy
    acme = await tenancy.get_tenant("acme")
    async with tenancy.use("acme") as profile:
        return _shown(acme, profile, tenancy, tenancy.settings, tenancy.sealer, tenancy.store, tenancy.stats())


ACTS: tuple[Callable[[Scene], Awaitable[str]], ...] = (
    admin_answers,
    refusals,
    tokens,
    a_database_that_is_away,
    what_cannot_be_opened,
    wrong_settings,
    reprs,
)


@asynccontextmanager
async def _logged() -> AsyncIterator[list[str]]:
    """Everything that is logged, by anybody and at any level."""
    handler = _Everything()
    loggers = [logging.getLogger(), logging.getLogger("sqlalchemy")]  # which has a level of its own
    before = [logger.level for logger in loggers]
    loggers[0].addHandler(handler)
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    try:
        yield handler.texts
    finally:
        loggers[0].removeHandler(handler)
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


async def everything_shown(folder: Path) -> tuple[dict[str, str], dict[str, bytes]]:
    """The planted secrets, and what was shown where."""
    async with _logged() as logs:
        scene = Scene(folder)
        async with scene.tenancy, client_of(scene.app, raise_app_exceptions=False) as scene.client:
            shown = {act.__name__: (await act(scene)).encode() for act in ACTS}
            shown["the database"] = stored(folder)
        shown["the database, closed"] = stored(folder)
    return scene.planted, {**shown, "the log": "\n".join(logs).encode()}
