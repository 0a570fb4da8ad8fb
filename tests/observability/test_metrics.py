"""What a Tenancy counts, for Prometheus and for OpenTelemetry."""

import httpx2 as httpx
import pytest
from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry, generate_latest
from support import make_app, make_tenancy

from fastapi_tenancy import ConfigurationError, Limit, TenancyMiddleware, TenantLimits, TenantUsage
from fastapi_tenancy.observability.measures import INSTRUMENTS, measures
from fastapi_tenancy.observability.opentelemetry import TENANT, TENANT_ID, TenantSpanMiddleware, measure
from fastapi_tenancy.observability.prometheus import TenancyCollector


@pytest.fixture
async def tenancy(tmp_path):
    limits = TenantLimits({}, default=Limit(rate="100/second"))
    async with make_tenancy(tmp_path, limits=limits, usage=TenantUsage()) as tenancy:
        await tenancy.create_tenant("acme")
        await tenancy.create_tenant("beta")
        app = make_app(tenancy)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            for _ in range(3):
                assert (await client.get("/notes", headers={"X-Tenant-ID": "acme"})).status_code == 200
            await client.get("/whoami", headers={"X-Tenant-ID": "beta"})
        yield tenancy


def exposed(tenancy, **top):
    registry = CollectorRegistry()
    registry.register(TenancyCollector(tenancy, **top))
    return {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in generate_latest(registry).decode().splitlines()
        if not line.startswith("#")
    }


async def test_prometheus_reads_what_was_counted(tenancy):
    found = exposed(tenancy)
    assert found['tenancy_cache_hits_total{cache="tenants"}'] == 2
    assert found["tenancy_store_loads_total"] == 2
    assert found["tenancy_usage_requests_total"] == 4
    assert found['tenancy_profiles{manager="MultitenantManager",state="open"}'] == 1
    assert found['tenancy_limits_refused_total{by="rate"}'] == 0


async def test_a_tenancy_that_is_not_open_yet_can_be_registered(tmp_path):
    assert "tenancy_store_loads_total" in exposed(make_tenancy(tmp_path))


async def test_no_measure_is_labelled_by_tenant_unless_it_is_asked_for(tenancy):
    assert not any("acme" in name or "beta" in name for name in exposed(tenancy))


async def test_as_many_tenants_as_are_asked_for_have_series_of_their_own(tenancy):
    found = exposed(tenancy, top=1, by="requests")
    acme = f'tenant="acme",tenant_id="{(await tenancy.get_tenant("acme")).id}"'
    assert found[f'tenancy_tenant_requests_total{{status="2xx",{acme}}}'] == 3
    assert found[f"tenancy_tenant_statements_total{{{acme}}}"] == 3
    assert found[f"tenancy_tenant_connections{{{acme}}}"] == 0
    assert not any("beta" in name for name in found)


async def test_tenants_are_shown_only_where_they_are_counted(tmp_path):
    with pytest.raises(ConfigurationError, match="usage=TenantUsage"):
        TenancyCollector(make_tenancy(tmp_path), top=10)


@pytest.mark.parametrize("top", [0, 10])
async def test_opentelemetry_observes_the_same_numbers(tenancy, top):
    reader = InMemoryMetricReader()
    measure(tenancy, MeterProvider([reader]), top, "requests")
    data = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
    observed = {
        (metric.name, tuple(sorted(point.attributes.items()))): point.value
        for metric in data
        for point in metric.data.data_points
    }
    counted = {(each.name, tuple(sorted(each.labels.items()))): each.value for each in shown(tenancy, top)}
    assert observed == counted


def shown(tenancy, top):
    return measures(tenancy.stats(), tenancy.usage.top(top, "requests"))


async def test_every_measure_has_an_instrument(tenancy):
    assert {each.name for each in shown(tenancy, 1)} <= set(INSTRUMENTS)


async def test_the_span_of_a_request_names_its_tenant(tenancy):
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    app = FastAPI()
    app.add_middleware(TenantSpanMiddleware)
    app.add_middleware(TenancyMiddleware, tenancy=tenancy)

    @app.get("/")
    async def nothing() -> None: ...

    async def traced(scope, receive, send):
        with tracer.start_as_current_span("request"):
            await app(scope, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(traced), base_url="http://test") as client:
        await client.get("/", headers={"X-Tenant-ID": "acme"})
        await client.get("/")
    with_tenant, without = exporter.get_finished_spans()
    tenant = await tenancy.get_tenant("acme")
    assert dict(with_tenant.attributes) == {TENANT_ID: tenant.id, TENANT: "acme"}
    assert not without.attributes
    assert not trace.get_current_span().is_recording()
