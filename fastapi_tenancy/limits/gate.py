"""Let each tenant's requests pass as far as its limit goes, and answer the others."""

from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from ..errors import RequestError, TenantBusyError, TenantRateLimitError
from ..refusal import refuse
from ..resolvers.base import is_under, path_below_root
from ..settings import TenancySettings
from ..tenant import Tenant
from .bulkhead import Bulkhead, busy
from .plans import Limit, LimitsOfTenants, TenantLimits
from .rate import ProcessRateCounter, RateCounter
from .shared import SharedRateCounter
from .waiting import WaitingClient


class LimitGate:
    """Stands between `TenancyMiddleware` and the application.

    Args:
        limits: of the plans.
        settings: of the deployment.
        clock: seconds that only go forward, for the rates that are counted in this process.

    Raises:
        ConfigurationError: `redis_url` cannot be used.
    """

    def __init__(self, limits: TenantLimits, settings: TenancySettings, clock: Callable[[], float]) -> None:
        self._limits = LimitsOfTenants(limits, settings.default_settings, settings.cache_size)
        self._streams = limits.streams
        self._bulkhead = Bulkhead()
        self._refused = {TenantRateLimitError: 0, TenantBusyError: 0}
        here = ProcessRateCounter(clock)
        url = settings.redis_url
        self._rates: RateCounter = here if url is None else SharedRateCounter(url, here, clock)

    def around(self, app: ASGIApp) -> ASGIApp:
        """The application as it is served to tenants."""
        limit_of, enter, leave = self._limits.of, self._bulkhead.enter, self._bulkhead.leave

        async def limited(scope: Scope, receive: Receive, send: Send) -> None:
            state = scope.get("state", {})
            tenant: Tenant | None = state.get("tenant")
            # A mounted application may have the middleware, too: waiting for its own place it would wait for ever.
            if tenant is None or state.get("limited") == tenant.id:
                await app(scope, receive, send)
                return
            state["limited"] = tenant.id
            limit = limit_of(tenant)
            if limit.parsed_rate is not None and (wait := await self._rates.take(tenant.id, limit.parsed_rate)):
                error = TenantRateLimitError(f"{tenant.identifier!r} is beyond {limit.rate}", retry_after=wait)
                await self._refuse(error, scope, receive, send)
            elif limit.concurrency is None or self._is_long(scope):
                await app(scope, receive, send)
            elif enter(tenant.id, limit.concurrency):
                try:
                    await app(scope, receive, send)
                finally:
                    leave(tenant.id)
            else:
                await self._in_turn(tenant, limit, app, scope, receive, send)

        return limited

    async def close(self) -> None:
        await self._rates.close()

    def stats(self) -> dict[str, int]:
        return {
            **self._bulkhead.stats(),
            "refused_by_rate": self._refused[TenantRateLimitError],
            "refused_as_busy": self._refused[TenantBusyError],
        }

    def _is_long(self, scope: Scope) -> bool:
        """Whether the request takes no place, since it would keep it for too long."""
        if scope["type"] == "websocket":
            return True
        return bool(self._streams) and any(is_under(path_below_root(scope), each) for each in self._streams)

    async def _in_turn(
        self, tenant: Tenant, limit: Limit, app: ASGIApp, scope: Scope, receive: Receive, send: Send
    ) -> None:
        try:
            turn = self._bulkhead.queue(tenant.id, limit)
        except TenantBusyError as error:
            await self._refuse(error, scope, receive, send)
            return
        client = WaitingClient(receive)
        try:
            if await client.wait_for(turn, limit.queue_timeout):
                await app(scope, client, send)
                return
        finally:
            client.close()
            self._bulkhead.end(tenant.id, turn)
        if not client.gone:
            too_late = busy(limit, f"{tenant.identifier!r} got no place in {limit.queue_timeout} s")
            await self._refuse(too_late, scope, client, send)

    async def _refuse(self, error: RequestError, scope: Scope, receive: Receive, send: Send) -> None:
        self._refused[type(error)] += 1
        await refuse(error, scope, receive, send)
