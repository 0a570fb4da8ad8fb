"""Tenants in arq: `enqueue` sends the tenant along, and `tenant_job` is it while the job runs."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, TypeVar

from ..errors import ConfigurationError, TenantSuspendedError
from ..tenancy import Tenancy
from .carrier import inject, resume

try:
    from arq import ArqRedis, Retry
    from arq.jobs import Job
except ModuleNotFoundError as error:
    raise ConfigurationError(f"fastapi_tenancy.jobs.arq needs {error.name}: pip install arq") from error

T = TypeVar("T")
Function = Callable[..., Awaitable[T]]

_CARRIER = "tenancy_carrier"  # arq's messages have no headers, so it goes with the arguments


async def enqueue(redis: ArqRedis, function: str, *args: Any, **kwargs: Any) -> Job | None:
    """As `redis.enqueue_job`, for a `tenant_job`, with the current tenant.

    Raises:
        TenantNotSpecifiedError: there is no current tenant.
    """
    with_carrier: dict[str, Any] = {_CARRIER: dict(inject()), **kwargs}
    return await redis.enqueue_job(function, *args, **with_carrier)


def tenant_job(tenancy: Tenancy, *, park: float | None = None) -> Callable[[Function[T]], Function[T]]:
    """A decorator for a job that a tenant sends: it finds the tenant's profile in `ctx["profile"]`.

    Args:
        tenancy: open in the worker, by its `on_startup` and `on_shutdown`.
        park: seconds after which a job whose tenant is suspended is tried again, as often as `max_tries` allows; None
            lets it fail with a `TenantSuspendedError`.
    """

    def decorate(function: Function[T]) -> Function[T]:
        @wraps(function)
        async def run(ctx: dict[str, Any], *args: Any, **kwargs: Any) -> T:
            try:
                opened = resume(tenancy, kwargs.pop(_CARRIER, {}))
                profile = await opened.__aenter__()
            except TenantSuspendedError:
                if park is None:
                    raise
                raise Retry(defer=park) from None
            try:
                return await function({**ctx, "profile": profile}, *args, **kwargs)
            finally:
                await opened.__aexit__(None, None, None)

        return run

    return decorate
