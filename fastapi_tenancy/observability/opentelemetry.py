"""The measures of a `Tenancy` for OpenTelemetry, and the tenant on the current span."""

from collections.abc import Callable, Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from ..errors import ConfigurationError
from ..usage import Counted
from .measures import INSTRUMENTS, Measure, SupportsStats, TopTenants, measures

try:
    from opentelemetry import metrics, trace
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
except ModuleNotFoundError as error:
    raise ConfigurationError(
        "fastapi_tenancy.observability.opentelemetry needs OpenTelemetry: pip install opentelemetry-api"
    ) from error

TENANT_ID, TENANT = "tenancy.tenant.id", "tenancy.tenant.identifier"


class TenantSpanMiddleware:
    """Names the tenant on the span of the request. Add it before `TenancyMiddleware`, which then runs around it.

    Pure ASGI; a request without a tenant, and one that is not sampled, is passed on as it is.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        tenant = scope.get("state", {}).get("tenant")
        if tenant is not None:
            span = trace.get_current_span()
            if span.is_recording():
                span.set_attributes({TENANT_ID: tenant.id, TENANT: tenant.identifier})
        await self.app(scope, receive, send)


def measure(
    tenancy: SupportsStats,
    meter_provider: MeterProvider | None = None,
    top: int = 0,
    by: Counted = "database_seconds",
) -> None:
    """Have all measures of an open `tenancy` observed, each time that the provider collects.

    Args:
        tenancy: whose.
        meter_provider: None for the global one.
        top: tenants that are shown one by one, for a `Tenancy` that counts their `usage`.
        by: what makes them the first.

    Raises:
        ConfigurationError: there are to be some, and none is counted.
    """
    top_tenants = TopTenants(tenancy, top, by)

    def measured() -> Iterable[Measure]:
        return measures(tenancy.stats(), top_tenants())

    meter = metrics.get_meter("fastapi_tenancy", meter_provider=meter_provider)
    create = {"counter": meter.create_observable_counter, "gauge": meter.create_observable_gauge}
    for name, (kind, about) in INSTRUMENTS.items():
        create[kind](name, callbacks=[_observer(measured, name)], description=about)


def _observer(
    measured: Callable[[], Iterable[Measure]], name: str
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(_options: CallbackOptions) -> Iterable[Observation]:
        return [Observation(each.value, dict(each.labels)) for each in measured() if each.name == name]

    return observe
