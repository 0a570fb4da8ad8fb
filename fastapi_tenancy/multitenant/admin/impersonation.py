"""The admin API's route by which a support person becomes a tenant for some minutes."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ...errors import (
    ActorMissingError,
    InvalidIdentifierError,
    MediaTypeError,
    TenantConflictError,
    TenantNotFoundError,
    VetoedError,
)
from ..tokens import DEFAULT_IMPERSONATION, MAX_IMPERSONATION, MAX_REASON, is_reason
from .answers import refusals
from .base import ManagesTenants, Named
from .schemas import Scopes, TokenCreated


def _reason(text: str) -> str:
    if not is_reason(text):
        raise ValueError("use printable characters, not all of them spaces")
    return text


class ImpersonationIn(BaseModel):
    """Why, for how long, and what for."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[str, Field(min_length=1, max_length=MAX_REASON, examples=["ticket 7"]), AfterValidator(_reason)]
    scopes: Scopes = Field(default_factory=list)
    expires_in: Annotated[int, Field(ge=1, le=MAX_IMPERSONATION, description="Seconds.")] = DEFAULT_IMPERSONATION


def add_impersonation(router: APIRouter, tenancy: ManagesTenants) -> None:
    @router.post(
        "/tenants/{identifier}/impersonate",
        status_code=201,
        responses=refusals(
            *(InvalidIdentifierError, TenantNotFoundError, ActorMissingError, TenantConflictError, VetoedError),
            MediaTypeError,
            body=True,
        ),
    )
    async def impersonate(identifier: Named, body: ImpersonationIn) -> TokenCreated:
        issued = await tenancy.impersonate(
            identifier, reason=body.reason, scopes=body.scopes, expires_in=body.expires_in
        )
        return TokenCreated(token_id=issued.token_id, token=issued.token)
