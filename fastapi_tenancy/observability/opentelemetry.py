"""The measures of a `Tenancy` for OpenTelemetry, and the tenant on the current span."""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

from ..errors import ConfigurationError
from .measures import INSTRUMENTS, measures

try:
    from opentelemetry import metrics, trace
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
except ModuleNotFoundError as error:
    raise ConfigurationError(
        "fastapi_tenancy.observability.opentelemetry needs OpenTelemetry: pip install opentelemetry-api"
    ) from error

TENANT_ID, TENANT = "tenancy.tenant.id", "tenancy.tenant.identifier"


class SupportsStats(Protocol):
    """What is measured: a `Tenancy`."""

    def stats(self) -> dict[str, Any]: ...


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


def measure(tenancy: SupportsStats, meter_provider: MeterProvider | None = None) -> None:
    """Have all measures of an open `tenancy` observed, each time that the provider collects.

    Args:
        tenancy: whose.
        meter_provider: None for the global one.
    """
    meter = metrics.get_meter("fastapi_tenancy", meter_provider=meter_provider)
    create = {"counter": meter.create_observable_counter, "gauge": meter.create_observable_gauge}
    for name, (kind, about) in INSTRUMENTS.items():
        create[kind](name, callbacks=[_observer(tenancy, name)], description=about)


def _observer(tenancy: SupportsStats, name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(_options: CallbackOptions) -> Iterable[Observation]:
        found = (each for each in measures(tenancy.stats()) if each.name == name)
        return [Observation(each.value, dict(each.labels)) for each in found]

    return observe
