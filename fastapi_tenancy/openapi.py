"""Show the tenant's header in an application's OpenAPI document."""

from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.models import APIKey, APIKeyIn
from fastapi.security.base import SecurityBase

from .resolvers import Resolver

_NAME = "Tenant"


class TenantScheme(SecurityBase):
    """Gives `/docs` an Authorize button for the tenant's header.

    FastAPI's `APIKeyHeader` would do, but it cannot be called for a WebSocket.
    """

    def __init__(self) -> None:
        self.model = APIKey(**{"in": APIKeyIn.header}, name="X-Tenant-ID")
        self.scheme_name = _NAME

    async def __call__(self) -> None:
        """Nothing to check: the middleware has read the header."""


def document_tenant(app: FastAPI, resolvers: Iterable[Resolver]) -> None:
    """Let `app.openapi()` name the header that `resolvers` really read, or none where they read no header."""
    scheme = next((each.security_scheme() for each in resolvers if hasattr(each, "security_scheme")), None)
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        schema = generate()
        schemes = schema.get("components", {}).get("securitySchemes", {})
        if _NAME in schemes:
            if scheme is not None:
                schemes[_NAME] = scheme
            else:
                del schemes[_NAME]
                _drop_requirement(schema)
        return schema

    app.openapi = openapi  # type: ignore[method-assign]  # the way that FastAPI documents for extending it


def _drop_requirement(schema: dict[str, Any]) -> None:
    for path in schema["paths"].values():
        for operation in path.values():
            if "security" in operation:
                operation["security"] = [each for each in operation["security"] if _NAME not in each]
