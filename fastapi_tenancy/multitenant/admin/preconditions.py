"""Entity tags of tenants, and the requests that are meant for one version (RFC 9110, sections 8.8.3 and 13.1)."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header
from fastapi.requests import Request

from ...errors import InvalidHeaderError, PreconditionError, PreconditionRequiredError, TenantConflictError
from ...tenant import Tenant
from .base import Absent

_TAG = re.compile(r'(?:W/)?"[!#-~\x80-\xff]*"')
_IN_DOCUMENT = r'^(?:\*|(?:W/)?"[!#-~]*"(?: *, *(?:W/)?"[!#-~]*")*)$'
_EXAMPLE = '"8d3f4a52c1b94d6c9c0e4f6a1b2c3d4e-3"'


def etag(tenant_id: str, version: int) -> str:
    return f'"{tenant_id}-{version}"'


def etag_of(tenant: Tenant) -> str:
    return etag(tenant.id, tenant.version)


@dataclass(frozen=True, slots=True)
class Precondition:
    """What `If-Match` says; None where it is not sent.

    Attributes:
        tags: the entity tags of which one has to be the tenant's, or "*" for whichever is there.
    """

    tags: frozenset[str] | None

    def require(self) -> None:
        """Insist that there is one.

        Raises:
            PreconditionRequiredError: there is none.
        """
        if self.tags is None:
            raise PreconditionRequiredError("If-Match is missing, and the router has require_if_match=True")

    @contextmanager
    def held(self, tenant: Tenant) -> Iterator[None]:
        """Check it, and hold that a change inside the block is made to the very version that was checked.

        Raises:
            PreconditionError: it is false, or the tenant was changed meanwhile.
        """
        # Strong comparison: no weak tag is among those that we give.
        if self.tags is not None and self.tags.isdisjoint({"*", etag_of(tenant)}):
            raise PreconditionError(f"the tenant {tenant.identifier!r} is in version {tenant.version}; read it again")
        try:
            yield
        except TenantConflictError as error:
            if self.tags is None or not tenant.is_settled:
                raise
            raise PreconditionError(f"the tenant {tenant.identifier!r} was changed meanwhile; read it again") from error


async def if_match(
    request: Request,
    if_match: Annotated[
        str | Absent,
        Header(
            description="Do it only if the tenant is still in this version.",
            examples=[_EXAMPLE],
            json_schema_extra={"pattern": _IN_DOCUMENT},
        ),
    ] = None,
) -> Precondition:
    """A dependency; of the header, which may be sent several times, the parameter is the description.

    Raises:
        InvalidHeaderError: it is malformed, and to ignore it could overwrite what the client has not seen.
    """
    lines = request.headers.getlist("if-match")
    if not lines:
        return Precondition(None)
    tags = _tags(lines)
    if tags is None:
        raise InvalidHeaderError('If-Match is malformed; send the ETag of an answer, with its quotes, or "*" alone')
    return Precondition(tags)


def is_known(request: Request, tenant: Tenant) -> bool:
    """Whether `If-None-Match` says that the client has this version; a malformed one says nothing."""
    tags = _tags(request.headers.getlist("if-none-match")) or frozenset()
    return not {tag.removeprefix("W/") for tag in tags}.isdisjoint({"*", etag_of(tenant)})


IfMatch = Annotated[Precondition, Depends(if_match)]
IfNoneMatch = Annotated[
    str | Absent, Header(description="Answer 304 if the tenant is still in this version.", examples=[_EXAMPLE])
]


def _tags(lines: list[str]) -> frozenset[str] | None:
    """The tags that a header field lists; None where it is malformed. A tag may hold a comma."""
    text = ",".join(lines).strip(" \t")
    if text == "*":
        return frozenset({"*"})
    tags, rest = [], text
    while rest:
        found = _TAG.match(rest)
        if found is not None:
            tags.append(found[0])
            rest = rest[found.end() :].lstrip(" \t")
        if rest and not rest.startswith(","):
            return None
        rest = rest.lstrip(", \t")
    return frozenset(tags) if tags else None
