"""The measures of a `Tenancy` for Prometheus."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from ..errors import ConfigurationError
from .measures import measures

try:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
    from prometheus_client.registry import Collector
except ModuleNotFoundError as error:
    raise ConfigurationError(
        f"fastapi_tenancy.observability.prometheus needs {error.name}: pip install prometheus-client"
    ) from error

_FAMILIES: Mapping[str, Callable[..., Any]] = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}


class SupportsStats(Protocol):
    """What is measured: a `Tenancy`."""

    def stats(self) -> dict[str, Any]: ...


class TenancyCollector(Collector):
    """For `registry.register(TenancyCollector(tenancy))`; it is asked when Prometheus asks, and costs nothing else."""

    def __init__(self, tenancy: SupportsStats) -> None:
        self._tenancy = tenancy

    def describe(self) -> list[Metric]:
        return []  # nothing is asked of a tenancy that is not open yet

    def collect(self) -> Iterator[Metric]:
        families: dict[str, Any] = {}
        for measure in measures(self._tenancy.stats()):
            name = measure.name.replace(".", "_")
            if name not in families:
                families[name] = _FAMILIES[measure.kind](name, measure.about, labels=list(measure.labels))
            families[name].add_metric(list(measure.labels.values()), measure.value)
        yield from families.values()
