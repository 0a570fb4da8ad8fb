"""Show in an application's OpenAPI document how a request names its tenant, and how it can be refused."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from http import HTTPStatus
from itertools import chain, count
from types import MappingProxyType
from typing import Any

from fastapi import FastAPI

from .context import CURRENT
from .errors import (
    AmbiguousTenantError,
    InvalidIdentifierError,
    InvalidTokenError,
    RequestError,
    StoreUnavailableError,
    TenantBusyError,
    TenantNotAllowedError,
    TenantNotFoundError,
    TenantNotSpecifiedError,
    TenantRateLimitError,
    TenantSuspendedError,
    TenantUnavailableError,
)
from .resolvers import Resolver
from .route_kinds import RouteKind, all_routes, kind_of, own_routes, refuses_tenants

Json = dict[str, Any]
Refusal = type[RequestError]

_ERROR: Mapping[str, Any] = MappingProxyType(
    {
        "title": "TenancyError",
        "type": "object",
        "properties": {"detail": {"title": "Detail", "type": "string"}},
        "required": ["detail"],
    }
)
_RETRY_AFTER = MappingProxyType(
    {"description": "Seconds after which another try makes sense.", "schema": {"type": "integer"}}
)
_RETRIED = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


def document_tenant(
    app: FastAPI, resolvers: Sequence[Resolver], *, reveal_inactive: bool = True, limited: bool = False
) -> None:
    """Let `app.openapi()` tell of the tenant, and that of each FastAPI application that is mounted below.

    Args:
        app: the outermost application.
        resolvers: asked for `security_scheme()` and `server()`, where they have these.
        reveal_inactive: whether a client can tell a suspended tenant from an unknown one.
        limited: whether there are limits to what a tenant may ask for.

    Raises:
        ConfigurationError: a route is marked as two kinds.
    """
    refusals = tuple(_refusals(resolvers, reveal_inactive=reveal_inactive, limited=limited))
    applications = [("", app)]
    for path, route in all_routes(app.routes):
        kind_of(route, path)
        if isinstance(getattr(route, "app", None), FastAPI):
            applications.append((path, route.app))
    for path, each in applications:
        document = _Document(each, path, resolvers, refusals)
        each.openapi = document  # type: ignore[method-assign]  # the way that FastAPI documents for extending it


def _refusals(resolvers: Sequence[Resolver], *, reveal_inactive: bool, limited: bool) -> Iterator[Refusal]:
    yield from (TenantNotSpecifiedError, InvalidIdentifierError)
    if len(resolvers) > 1:
        yield AmbiguousTenantError
    if any(scheme["type"] != "apiKey" for scheme in _told_by(resolvers, "security_scheme")):
        yield InvalidTokenError
    if reveal_inactive:
        yield TenantSuspendedError
    yield TenantNotFoundError
    if limited:
        yield from (TenantRateLimitError, TenantBusyError)
    yield from (TenantUnavailableError, StoreUnavailableError)


def _told_by(resolvers: Sequence[Resolver], method: str) -> list[Json]:
    return [getattr(each, method)() for each in resolvers if hasattr(each, method)]


class _Document:
    """Takes the place of `app.openapi`, and adds to what that gave."""

    def __init__(
        self, app: FastAPI, mounted_at: str, resolvers: Sequence[Resolver], refusals: Sequence[Refusal]
    ) -> None:
        self._app = app
        self._mounted_at = mounted_at
        self._schemes = _told_by(resolvers, "security_scheme")
        self._servers = _told_by(resolvers, "server")
        self._has_other_ways = len(self._schemes) < len(resolvers)
        self._refusals: Mapping[RouteKind, Sequence[Refusal]] = {
            RouteKind.TENANT: refusals,
            RouteKind.UNIVERSAL: [each for each in refusals if each is not TenantNotSpecifiedError],
            RouteKind.CENTRAL: [TenantNotAllowedError],
        }
        before: Callable[[], Json] = app.openapi
        # An application that is started again is not documented twice.
        self.generate: Callable[[], Json] = before.generate if isinstance(before, _Document) else before
        self._generated: Json | None = None

    def __call__(self) -> Json:
        generated = self.generate()
        if generated is not self._generated:
            document = deepcopy(generated)
            self._describe_operations(document)
            self._without_tenant, self._of_a_tenant = self._with_servers(document)
            self._generated = generated
        return self._without_tenant if CURRENT.get() is None else self._of_a_tenant

    def _describe_operations(self, document: Json) -> None:
        documented = {
            (route.path_format, method.lower()): route
            for route in own_routes(self._app.routes)
            if getattr(route, "include_in_schema", False)
            for method in route.methods or ()
        }
        for (path, method), route in documented.items():
            operation = document.get("paths", {}).get(path, {}).get(method)
            kind = kind_of(route, path)
            if operation is None or kind is None:
                continue
            operation.setdefault("x-tenancy", kind.value)
            if kind is not RouteKind.CENTRAL:
                self._add_security(document, operation, may_lack=kind is RouteKind.UNIVERSAL or self._has_other_ways)
            if kind is not RouteKind.CENTRAL or refuses_tenants(route):
                self._add_responses(document, operation, self._refusals[kind])

    def _add_security(self, document: Json, operation: Json, *, may_lack: bool) -> None:
        """Demand one of the schemes besides what the application demands, which a document says by multiplying both."""
        if not self._schemes:
            return
        names = dict.fromkeys(_named(document, "securitySchemes", "Tenant", scheme) for scheme in self._schemes)
        tenant: list[Json] = [{name: []} for name in names] + [{}] * may_lack
        others = operation.get("security", document.get("security")) or [{}]
        operation["security"] = [{**other, **each} for other in others for each in tenant]

    def _add_responses(self, document: Json, operation: Json, refusals: Iterable[Refusal]) -> None:
        """List each status, and leave what the application says of it."""
        schema = {"$ref": f"#/components/schemas/{_named(document, 'schemas', _ERROR['title'], dict(_ERROR))}"}
        texts: dict[int, list[str]] = {}
        for each in refusals:
            texts.setdefault(each.status, []).append(each.public)
        told = operation.setdefault("responses", {})
        for status, text in texts.items():
            key = str(status)
            theirs = told.get(key, {})
            if "$ref" in theirs or (not theirs and not told.keys().isdisjoint({f"{key[0]}XX", "default"})):
                continue
            ours = {"description": " ".join(text), "content": {"application/json": {"schema": schema}}}
            if status in _RETRIED:
                ours["headers"] = {"Retry-After": dict(_RETRY_AFTER)}
            told[key] = {**ours, **theirs}

    def _with_servers(self, document: Json) -> tuple[Json, Json]:
        """The document for who names no tenant, and for a tenant, which is not offered the addresses of others."""
        if not self._servers:
            return document, document
        # Relative to the document's own address, which is right below any root path.
        here = "." + "/.." * ((self._app.openapi_url or "/").count("/") - 1)
        own = document.get("servers") or [{"url": here, "description": "This address"}]
        tenants = [each for server in self._servers for each in self._placed(server, own)]
        return {**document, "servers": [*own, *tenants]}, {**document, "servers": own}

    def _placed(self, server: Json, own: Iterable[Json]) -> Iterator[Json]:
        """A resolver's server as it is for this application: on its own host, or below each of `own`."""
        if "//" in server["url"]:
            yield {**server, "url": f"{server['url']}{self._mounted_at}"}
            return
        for each in own:
            url = f"{_above(self._mounted_at, each['url'])}{server['url']}{self._mounted_at}"
            yield {**server, "url": url, "variables": {**each.get("variables", {}), **server["variables"]}}


def _above(path: str, url: str) -> str:
    """Where that is mounted at `path` which is served at `url`."""
    url = url.rstrip("/")
    return url.removesuffix(path) if url.endswith(path) else url + "/.." * path.count("/")


def _named(document: Json, group: str, name: str, value: Json) -> str:
    """The name by which the document's components hold `value`; numbered where the application has the name already."""
    held = document.setdefault("components", {}).setdefault(group, {})
    names = chain([name], (f"{name}{number}" for number in count(2)))
    return next(each for each in names if held.setdefault(each, value) == value)
