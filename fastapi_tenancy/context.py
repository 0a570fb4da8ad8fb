"""The current tenant: a context variable that has no default, and a scope that sets it."""

from contextvars import ContextVar, Token

from .errors import TenantNotSpecifiedError
from .tenant import Tenant

CURRENT: ContextVar[Tenant | None] = ContextVar("fastapi_tenancy.current", default=None)


def current_tenant() -> Tenant:
    """The tenant of the running request, job or `tenant_scope`.

    Raises:
        TenantNotSpecifiedError: there is none.
    """
    tenant = CURRENT.get()
    if tenant is None:
        raise TenantNotSpecifiedError(
            "there is no current tenant; send the request with one, or wrap the code in tenancy.use(identifier)"
        )
    return tenant


class tenant_scope:  # noqa: N801 - used as a function, like contextlib.suppress
    """Make `tenant` the current one inside a `with` block; None for a block that has no tenant."""

    __slots__ = ("_tenant", "_token")

    def __init__(self, tenant: Tenant | None) -> None:
        self._tenant = tenant

    def __enter__(self) -> Tenant | None:
        self._token: Token[Tenant | None] = CURRENT.set(self._tenant)
        return self._tenant

    def __exit__(self, *_: object) -> None:
        CURRENT.reset(self._token)
