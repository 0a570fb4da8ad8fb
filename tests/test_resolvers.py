"""A resolver reads exactly what names a tenant, whatever strangers send."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Scope

from fastapi_tenancy import (
    HeaderResolver,
    HostResolver,
    InvalidIdentifierError,
    PathResolver,
    SubdomainResolver,
    Tenant,
)
from fastapi_tenancy.tenant import check_identifier, is_identifier
from fastapi_tenancy.testing import ResolverContract, request_scope, tenant_named

REFUSED = InvalidIdentifierError


def scope_of(*, headers: list[tuple[bytes, bytes]] | None = None, path: str = "/", **given: Any) -> dict[str, Any]:
    return {"type": "http", "method": "GET", "path": path, "headers": headers or [], **given}


def outcome(resolver: Any, scope: dict[str, Any]) -> Any:
    """What is read; the error's class where it is refused, by the resolver or as an identifier."""
    try:
        named = resolver(scope)
        return named if named is None else check_identifier(named)
    except InvalidIdentifierError as error:
        return type(error)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], None),
        ([(b"x-tenant-id", b"acme")], "acme"),
        ([(b"x-tenant-id", b"a")], "a"),
        ([(b"x-tenant-id", b"a-1")], "a-1"),
        ([(b"x-tenant-id", b"a" * 63)], "a" * 63),
        ([(b"x-tenant-id", b"a" * 64)], REFUSED),
        ([(b"x-tenant-id", b"")], REFUSED),
        ([(b"x-tenant-id", b"Acme")], REFUSED),
        ([(b"x-tenant-id", b"acme "), (b"host", b"x")], REFUSED),
        ([(b"x-tenant-id", b"acme\r\n")], REFUSED),
        ([(b"x-tenant-id", b"acme"), (b"x-tenant-id", b"globex")], REFUSED),
        ([(b"x-tenant-id", b"acme"), (b"x-tenant-id", b"acme")], REFUSED),
        ([(b"x-tenant-id", "аcme".encode())], REFUSED),  # noqa: RUF001 - the first letter is Cyrillic
        ([(b"x-tenant-id2", b"acme")], None),
        ([(b"x-tenant", b"acme")], None),
    ],
)
def test_header(headers: list[tuple[bytes, bytes]], expected: Any) -> None:
    assert outcome(HeaderResolver("X-Tenant-ID"), scope_of(headers=headers)) == expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (b"acme.example.com", "acme"),
        (b"ACME.EXAMPLE.COM", "acme"),
        (b"acme.example.com.", "acme"),
        (b"acme.example.com:443", "acme"),
        (b"acme.example.com.:443", "acme"),
        (b"acme.example.com:", "acme"),
        (b"example.com", None),
        (b"www.example.com", None),
        (b"acme.example.org", None),
        (b"acme.example.com.evil.org", None),
        (b"acmeexample.com", None),
        (b"notexample.com", None),
        (b"evil.org:acme.example.com", None),
        (b"[::1]:8000", None),
        (b"127.0.0.1", None),
        (b"", None),
        (b".example.com", REFUSED),
        (b"a.b.example.com", REFUSED),
        (b"-acme.example.com", REFUSED),
        (b"ac_me.example.com", REFUSED),
        (b"acme..example.com", REFUSED),
        (b"acme.example.com..", None),
        (b"acme.example.com:80x", REFUSED),
        (b"acme.example.com:\xb2", REFUSED),
        (b"acme.example.com/x", None),
        (b"user@acme.example.com", REFUSED),
        (b"acme.example.com, globex.example.com", REFUSED),
        (b"\xe9.example.com", REFUSED),
        (b"a" * 64 + b".example.com", REFUSED),
    ],
)
def test_subdomain(host: bytes, expected: Any) -> None:
    assert outcome(SubdomainResolver("example.com"), scope_of(headers=[(b"host", host)])) == expected


def test_subdomain_refuses_two_hosts_and_lives_without_one() -> None:
    resolver = SubdomainResolver("example.com")
    assert outcome(resolver, scope_of(headers=[(b"host", b"acme.example.com")] * 2)) is REFUSED
    assert outcome(resolver, scope_of()) is None


def test_forwarded_hosts_are_not_believed() -> None:
    headers = [
        (b"host", b"example.com"),
        (b"x-forwarded-host", b"acme.example.com"),
        (b"forwarded", b"host=acme.example.com"),
    ]
    assert outcome(SubdomainResolver("example.com"), scope_of(headers=headers)) is None


@pytest.mark.parametrize(
    ("path", "root_path", "expected"),
    [
        ("/t/acme", "", "acme"),
        ("/t/acme/", "", "acme"),
        ("/t/acme/notes/1", "", "acme"),
        ("/api/t/acme/notes", "/api", "acme"),
        ("/t/acme", "/api", "acme"),
        ("/", "", None),
        ("/t", "", None),
        ("/tt/acme", "", None),
        ("/x/t/acme", "", None),
        ("/T/acme", "", None),
        ("/t/", "", REFUSED),
        ("/t//notes", "", REFUSED),
        ("/t/../notes", "", REFUSED),
        ("/t/Acme/notes", "", REFUSED),
        ("/t/ac me", "", REFUSED),
        ("/t/acme\x00", "", REFUSED),
        ("/t/acme;x=1/notes", "", REFUSED),
    ],
)
def test_path(path: str, root_path: str, expected: Any) -> None:
    assert outcome(PathResolver("/t"), scope_of(path=path, root_path=root_path)) == expected


@pytest.mark.parametrize(
    ("raw", "path", "expected"),
    [
        (b"/t/acme/caf%C3%A9", "/t/acme/café", "acme"),
        (b"/t/%61cme/notes", "/t/acme/notes", REFUSED),
        (b"/t/acme%2Fnotes", "/t/acme/notes", REFUSED),
        (b"/%74/acme/notes", "/t/acme/notes", REFUSED),
    ],
)
def test_an_encoded_tenant_in_the_path_is_refused(raw: bytes, path: str, expected: Any) -> None:
    assert outcome(PathResolver("/t"), scope_of(path=path, raw_path=raw)) == expected


def test_the_path_moves_into_the_root_path() -> None:
    resolver, scope = PathResolver("/t"), scope_of(path="/api/t/acme/notes", root_path="/api")
    entered = resolver.enter(scope, "acme")
    assert (entered["path"], entered["root_path"]) == ("/api/t/acme/notes", "/api/t/acme")
    assert scope["root_path"] == "/api"


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


RESOLVERS = st.sampled_from([HeaderResolver("X-Tenant-ID"), SubdomainResolver("example.com"), PathResolver("/t")])
NAMES = st.sampled_from([b"x-tenant-id", b"host", b"accept"])
VALUES = st.binary(max_size=20) | st.binary(max_size=8).map(lambda head: head + b".example.com")
PATHS = st.text(max_size=20).map(lambda tail: f"/{tail}") | st.text(max_size=9).map(lambda tail: f"/t/{tail}")


@given(RESOLVERS, st.lists(st.tuples(NAMES, VALUES), max_size=4), PATHS, st.binary(max_size=20))
def test_anything_gives_a_valid_identifier_or_none_or_a_400(
    resolver: Any, headers: list[tuple[bytes, bytes]], path: str, raw: bytes
) -> None:
    found = outcome(resolver, scope_of(headers=headers, path=path, raw_path=raw))
    assert found is None or found is REFUSED or is_identifier(found)
