"""The admin API's route by which a tenant is created: once for a key, and in the background if it takes long."""

import asyncio
import logging
import re
from collections.abc import Coroutine
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from fastapi.requests import Request
from fastapi.responses import JSONResponse
from pydantic import Field

from ...audit import current_actor
from ...errors import (
    ConfigurationError,
    IdempotencyKeyError,
    InvalidHeaderError,
    InvalidIdentifierError,
    InvalidTenantError,
    MediaTypeError,
    NamespaceExistsError,
    RequestRunningError,
    TenantExistsError,
    TenantUnavailableError,
    VetoedError,
)
from ...secret_settings import unmasked
from ...store import IdempotencyStore, RequestRecord
from ...tenant import Tenant
from .answers import ETAG, refusals
from .base import Absent, ManagesTenants, reaching_data
from .idempotency import KEY_IN_DOCUMENT, IdempotentRequests, RunningRequest, digest, idempotency_key
from .preconditions import etag
from .schemas import TenantIn, TenantOut

logger = logging.getLogger(__name__)

MAX_WAIT = 300.0  # seconds

_PREFERENCE = re.compile(r'\s*([\w!#-&*+.^`|~-]+)\s*(?:=\s*"?([^";\s]*)"?)?\s*(?:;.*)?', re.ASCII)
_LOCATION = {"description": "Where the tenant is.", "schema": {"type": "string"}}
_CREATED = {"headers": {**ETAG, "Location": _LOCATION}}
_ACCEPTED = {
    "description": "It is being created in the background; `Location` tells how far it is.",
    "model": TenantOut,
    "headers": {"Location": _LOCATION, "Preference-Applied": {"schema": {"type": "string"}}},
}
_REFUSALS = refusals(
    InvalidIdentifierError,
    InvalidHeaderError,
    TenantExistsError,
    NamespaceExistsError,
    RequestRunningError,
    IdempotencyKeyError,
    VetoedError,
    MediaTypeError,
    TenantUnavailableError,
    body=True,
)


def add_creation(router: APIRouter, tenancy: ManagesTenants, kept_for: timedelta) -> None:
    requests: IdempotentRequests | None = None
    if isinstance(tenancy.store, IdempotencyStore):
        requests = IdempotentRequests(tenancy.store, tenancy.directory, tenancy.now, kept_for)

    @router.post(
        "/tenants",
        status_code=201,
        response_model=TenantOut,
        responses={201: _CREATED, 202: _ACCEPTED, **_REFUSALS},
    )
    async def create_tenant(
        request: Request,
        body: TenantIn,
        wait: Annotated[
            Annotated[float, Field(ge=0, le=MAX_WAIT)] | Absent,
            Query(description="Seconds after which to answer 202; without it, none are too many."),
        ] = None,
        prefer: Annotated[
            str | Absent,
            Header(description="RFC 7240: `respond-async` answers 202.", examples=["respond-async, wait=10"]),
        ] = None,
        idempotency_key: Annotated[
            str | Absent,
            Header(
                description="The same key and body create one tenant.",
                examples=['"8e03978e-40d5-43dd-bc93"'],
                json_schema_extra={"pattern": KEY_IN_DOCUMENT},
            ),
        ] = None,
    ) -> JSONResponse:
        begun = await _begun(request, requests, body)
        if isinstance(begun, RequestRecord):
            return _created(request, begun.body)
        creation = _Creation(tenancy, body, begun)
        work = creation.run() if begun is None else begun.carry_out(creation.run, 201)
        return await creation.answer(request, work, _patience(request) if wait is None else wait)


class _Creation:
    """One tenant on its way."""

    def __init__(self, tenancy: ManagesTenants, body: TenantIn, request: RunningRequest | None) -> None:
        self._tenancy = tenancy
        self._secret = tenancy.settings.secret_settings
        self._body = body
        self._reserved: asyncio.Future[Tenant] = asyncio.get_running_loop().create_future()
        self._request = request

    async def run(self) -> dict[str, Any]:
        """Create the tenant, unless an earlier process did so before it died, and return what is to be answered."""
        tenant = await self._made_before()
        if tenant is None:
            try:
                tenant = await self._create()
            except TenantExistsError:
                # The process that was taken for dead may have come to its end after all.
                tenant = await self._made_before()
                if tenant is None:
                    raise
        return TenantOut.of(tenant, self._secret).model_dump(mode="json")

    async def answer(
        self, request: Request, work: Coroutine[Any, Any, dict[str, Any]], wait: float | None
    ) -> JSONResponse:
        """The tenant, or after `wait` seconds how far it is; the work goes on in any case, also if nobody waits."""
        task = self._tenancy.background.start(work)
        try:
            await asyncio.wait((task, self._reserved), return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait((task,), timeout=wait)
        finally:
            if not task.done():
                task.add_done_callback(self._log_failure)
        if task.done():
            return _created(request, task.result())
        reserved = TenantOut.of(self._reserved.result(), self._secret).model_dump(mode="json")
        headers = {"Location": _location(request, reserved), "Preference-Applied": "respond-async"}
        return JSONResponse(reserved, 202, headers)

    async def _create(self) -> Tenant:
        body = self._body
        try:
            with reaching_data():
                return await self._tenancy.create_tenant(
                    body.identifier,
                    name=body.name,
                    settings=unmasked(body.settings, {}, self._secret),
                    manager_type=body.manager_type,
                    on_reserved=self._on_reserved,
                )
        except ConfigurationError as error:
            if body.manager_type is None:
                raise
            detail = "Tenants of this manager_type cannot be kept here."
            raise InvalidTenantError(str(error), detail=detail) from error

    async def _on_reserved(self, tenant: Tenant) -> None:
        if self._request is not None:
            await self._request.note(tenant.id)
        self._reserved.set_result(tenant)

    async def _made_before(self) -> Tenant | None:
        for tenant_id in () if self._request is None else self._request.made:
            tenant = await self._tenancy.directory.find_by_id(tenant_id)
            if tenant is not None and tenant.is_settled:
                return tenant
        return None

    def _log_failure(self, task: asyncio.Task[dict[str, Any]]) -> None:
        if not task.cancelled() and task.exception() is not None:
            logger.error(
                "tenant not created in the background",
                extra={"identifier": self._body.identifier},
                exc_info=task.exception(),
            )


async def _begun(
    request: Request, requests: IdempotentRequests | None, body: TenantIn
) -> RunningRequest | RequestRecord | None:
    key = idempotency_key(request.headers.getlist("idempotency-key"))
    if key is None:
        return None
    if requests is None:
        raise InvalidHeaderError(
            "the store keeps no idempotency keys; give it the methods of IdempotencyStore",
            detail="Idempotency-Key is not supported here; send the request without it.",
        )
    # With the key, which is not stored: else short settings could be guessed from their digest.
    return await requests.begin(digest("POST /tenants", current_actor(), key), digest(key, body.model_dump()))


def _created(request: Request, tenant: dict[str, Any]) -> JSONResponse:
    headers = {"ETag": etag(tenant["id"], tenant["version"]), "Location": _location(request, tenant)}
    return JSONResponse(tenant, 201, headers)


def _location(request: Request, tenant: dict[str, Any]) -> str:
    return f"{request.url.path.rstrip('/')}/{tenant['identifier']}"


def _patience(request: Request) -> float | None:
    """How long the client wants to wait, by RFC 7240; None for as long as it takes."""
    preferences: dict[str, str] = {}
    for each in ",".join(request.headers.getlist("prefer")).split(","):
        if found := _PREFERENCE.fullmatch(each):
            preferences.setdefault(found[1].lower(), found[2] or "")  # section 2: the first of a name counts
    if "respond-async" not in preferences:
        return None
    wait = preferences.get("wait", "0")
    return min(float(wait), MAX_WAIT) if wait.isascii() and wait.isdecimal() else 0.0
