"""Each resolver of ours keeps what every resolver promises."""

import pytest
from starlette.types import Scope

from fastapi_tenancy import (
    CookieResolver,
    HeaderResolver,
    HostResolver,
    PathResolver,
    QueryResolver,
    SubdomainResolver,
    Tenant,
)
from fastapi_tenancy.testing import ResolverContract, request_scope, tenant_named


class TestHeaderResolver(ResolverContract):
    @pytest.fixture
    def resolver(self) -> HeaderResolver:
        return HeaderResolver("X-Tenant-ID")

    def names(self, identifier: str) -> Scope:
        return request_scope(headers={"X-Tenant-ID": identifier})


class TestSubdomainResolver(ResolverContract):
    @pytest.fixture
    def resolver(self) -> SubdomainResolver:
        return SubdomainResolver("example.com")

    def names(self, identifier: str) -> Scope:
        return request_scope(headers={"Host": f"{identifier}.example.com"})


class TestPathResolver(ResolverContract):
    @pytest.fixture
    def resolver(self) -> PathResolver:
        return PathResolver("/t")

    def names(self, identifier: str) -> Scope:
        return request_scope(f"/t/{identifier}/notes")


class TestHostResolver(ResolverContract):
    @pytest.fixture
    def resolver(self) -> HostResolver:
        async def find(host: str) -> Tenant | None:
            name, _, domain = host.partition(".")
            return tenant_named(name, id=name) if domain == "example.org" else None

        return HostResolver(find)

    def names(self, identifier: str) -> Scope:
        return request_scope(headers={"Host": f"{identifier}.example.org"})


class TestCookieResolver(ResolverContract):
    @pytest.fixture
    def resolver(self) -> CookieResolver:
        return CookieResolver("__Host-tenant")

    def names(self, identifier: str) -> Scope:
        return request_scope(headers={"Cookie": f'theme="dark"; __Host-tenant={identifier}; seen=1'})


class TestQueryResolver(ResolverContract):
    @pytest.fixture
    def resolver(self) -> QueryResolver:
        return QueryResolver("tenant")

    def names(self, identifier: str) -> Scope:
        return request_scope(query=f"page=2&tenant={identifier}")
