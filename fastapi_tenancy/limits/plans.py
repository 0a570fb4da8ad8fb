"""What a tenant may ask for: by its plan, and by what its own settings say."""

import logging
from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ..errors import ConfigurationError
from ..tenant import Tenant
from .rate import Rate, parsed

_LONGEST_WAIT = 3600  # seconds; a client gives up long before

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What one tenant may ask for; None is no limit.

    Args:
        rate: requests in a time, such as "60/minute" or "1000 per 2 hours".
        concurrency: requests that a worker serves at once.
        queue: requests that wait in a worker for their turn, in the order in which they came; 0 refuses at once.
        queue_timeout: seconds for which one of them waits.

    Raises:
        ConfigurationError: one of them cannot be.
    """

    rate: str | None = None
    concurrency: int | None = None
    queue: int = 10
    queue_timeout: float = 2.0
    parsed_rate: Rate | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parsed_rate", None if self.rate is None else parsed(self.rate))
        if self.concurrency is not None:
            _check_whole("concurrency", self.concurrency, at_least=1)
        _check_whole("queue", self.queue, at_least=0)
        if type(self.queue_timeout) not in (int, float) or not 0 < self.queue_timeout <= _LONGEST_WAIT:
            raise ConfigurationError(
                f"queue_timeout is {self.queue_timeout!r}; give seconds above 0, at most {_LONGEST_WAIT}"
            )


_GIVEN = frozenset(each.name for each in fields(Limit) if each.init)


@dataclass(frozen=True, slots=True)
class TenantLimits:
    """What tenants may ask for.

    A tenant's plan stands in its settings under `key`. Its own settings may have `limits`, a mapping that takes the
    place of some arguments of its plan's `Limit`.

    Args:
        plans: by their names.
        default: for tenants without a plan, or with one that is not in `plans`; a `Limit`, or the name of a plan.
        key: the setting that names the plan.
        streams: paths whose answers last long, each with all that lies below it. The rate counts them, but they take
            none of the places of `concurrency`.

    Raises:
        ConfigurationError: `default` is no plan, or `streams` holds something that is no path prefix.
    """

    plans: Mapping[str, Limit]
    default: Limit | str = field(kw_only=True)
    key: str = field(default="plan", kw_only=True)
    streams: Sequence[str] = field(default=(), kw_only=True)
    fallback: Limit = field(init=False, repr=False)

    def __post_init__(self) -> None:
        fallback = self.plans.get(self.default) if isinstance(self.default, str) else self.default
        if fallback is None:
            raise ConfigurationError(f"default={self.default!r} is no plan; choose from {', '.join(self.plans)}")
        object.__setattr__(self, "fallback", fallback)
        if isinstance(self.streams, str) or not all(each.startswith("/") and each.strip("/") for each in self.streams):
            raise ConfigurationError(f"streams={self.streams!r} holds no path prefixes; write streams=('/events',)")
        object.__setattr__(self, "streams", tuple(each.rstrip("/") for each in self.streams))


class LimitsOfTenants:
    """The limit of each tenant, worked out when its settings are seen for the first time.

    Args:
        limits: of the plans.
        defaults: what a tenant's settings hold where the tenant sets nothing else.
        size: tenants that are remembered.
    """

    def __init__(self, limits: TenantLimits, defaults: Mapping[str, Any], size: int) -> None:
        self._limits = limits
        self._defaults = defaults
        self._size = size
        self._known: dict[str, tuple[Mapping[str, Any], Limit]] = {}

    def of(self, tenant: Tenant) -> Limit:
        known = self._known.get(tenant.id)
        if known is not None and known[0] is tenant.settings:
            return known[1]
        # The same settings, read from the store again, shall not warn again.
        limit = known[1] if known is not None and known[0] == tenant.settings else self._work_out(tenant)
        if known is None and len(self._known) >= self._size:
            self._known.clear()
        self._known[tenant.id] = (tenant.settings, limit)
        return limit

    def _work_out(self, tenant: Tenant) -> Limit:
        settings = ChainMap(dict(tenant.settings), dict(self._defaults))
        plan = settings.get(self._limits.key)
        limit = self._limits.plans.get(plan) if isinstance(plan, str) else None
        if limit is None:
            if plan is not None:
                logger.warning("tenant has an unknown plan", extra={"tenant": tenant.identifier, "plan": plan})
            limit = self._limits.fallback
        try:
            return _overridden(limit, settings.get("limits"))
        except ConfigurationError as error:
            # What is stored for one tenant must neither fail its requests nor free it from its plan.
            logger.warning("tenant has invalid limits", extra={"tenant": tenant.identifier, "reason": str(error)})
            return limit


def _overridden(limit: Limit, own: Any) -> Limit:
    if own is None:
        return limit
    if not isinstance(own, Mapping) or not own.keys() <= _GIVEN:
        raise ConfigurationError(f"limits are a mapping of some of {', '.join(sorted(_GIVEN))}, not {own!r}")
    return replace(limit, **own)


def _check_whole(name: str, value: object, *, at_least: int) -> None:
    if type(value) is not int or value < at_least:
        raise ConfigurationError(f"{name} is {value!r}; give a whole number of at least {at_least}")
