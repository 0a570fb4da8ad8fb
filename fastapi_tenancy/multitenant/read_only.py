"""Say clearly why a database refuses to write a tenant's rows while the tenant is moved."""

from sqlalchemy import Engine, ExceptionContext, event

from ..errors import TenantReadOnlyError

# What the triggers say that keep a tenant's tables as they are; no quotes, as it stands in SQL of several kinds.
READ_ONLY = "fastapi-tenancy: this tenant cannot be written while it is moved"


def tell_read_only(engine: Engine) -> None:
    """Have what a tenants' engine raises for such a write be a `TenantReadOnlyError`; it costs nothing until then."""
    event.listen(engine, "handle_error", _said_clearly)


def _said_clearly(context: ExceptionContext) -> BaseException | None:
    if READ_ONLY not in str(context.original_exception):
        return None
    return TenantReadOnlyError("the tenant is being moved, or this process has not heard yet where to; try again")
