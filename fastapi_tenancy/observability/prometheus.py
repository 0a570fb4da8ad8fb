"""The measures of a `Tenancy` for Prometheus."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..errors import ConfigurationError
from ..usage import Counted
from .measures import SupportsStats, TopTenants, measures

try:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
    from prometheus_client.registry import Collector
except ModuleNotFoundError as error:
    raise ConfigurationError(
        f"fastapi_tenancy.observability.prometheus needs {error.name}: pip install prometheus-client"
    ) from error

_FAMILIES: Mapping[str, Callable[..., Any]] = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}


class TenancyCollector(Collector):
    """For `registry.register(TenancyCollector(tenancy))`; it is asked when Prometheus asks, and costs nothing else.

    Args:
        tenancy: whose measures.
        top: tenants that are shown one by one, for a `Tenancy` that counts their `usage`.
        by: what makes them the first.

    Raises:
        ConfigurationError: there are to be some, and none is counted.
    """

    def __init__(self, tenancy: SupportsStats, top: int = 0, by: Counted = "database_seconds") -> None:
        self._tenancy = tenancy
        self._top_tenants = TopTenants(tenancy, top, by)

    def describe(self) -> list[Metric]:
        return []  # nothing is asked of a tenancy that is not open yet

    def collect(self) -> Iterator[Metric]:
        families: dict[str, Any] = {}
        for measure in measures(self._tenancy.stats(), self._top_tenants()):
            name = measure.name.replace(".", "_")
            if name not in families:
                families[name] = _FAMILIES[measure.kind](name, measure.about, labels=list(measure.labels))
            families[name].add_metric(list(measure.labels.values()), measure.value)
        yield from families.values()
