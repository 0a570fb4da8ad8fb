"""Answer a reverse proxy that asks whether to get a certificate for a host."""

import math
import time
from typing import Protocol

from fastapi import APIRouter

from ..errors import AskRateExceededError, ConfigurationError, DomainNotFoundError
from .route_manager import MultitenantRouteManager

try:
    from limits import parse_many
    from limits.storage import MemoryStorage
    from limits.strategies import MovingWindowRateLimiter
except ModuleNotFoundError:
    _INSTALLED = False
else:
    _INSTALLED = True


class HasDomains(Protocol):
    """What the answer needs of a `Tenancy`."""

    @property
    def domains(self) -> MultitenantRouteManager: ...


def ask_router(tenancy: HasDomains, *, rate: str | None = "20/second") -> APIRouter:
    """A router with `GET /ask?domain=…`: 200 if the host is verified for an active tenant, 404 otherwise.

    It is what Caddy's `on_demand_tls` asks, <https://caddyserver.com/docs/automatic-https#on-demand-tls>. It has no
    guard and tells nothing but this; let only the proxy reach it.

    Args:
        tenancy: whose domains.
        rate: how many questions this process answers, such as "20/second" or "20/second; 1000/hour", whoever asks;
            what is more gets a 429. Hosts that are known to be tenants' have a rate of their own of the same size, so
            that strangers who make up hosts do not use up theirs. None answers all.

    Raises:
        ConfigurationError: `rate` is none, or needs limits, which is not installed.
    """
    router = APIRouter(tags=["domains"])
    limit = None if rate is None else _Rate(rate)

    @router.get("/ask")
    async def ask(domain: str) -> dict[str, str]:
        if limit is not None:
            limit.count("known" if tenancy.domains.remembers(domain) else "other")
        tenant = await tenancy.domains.tenant_of(domain)
        if tenant is None or not tenant.is_active:
            raise DomainNotFoundError(f"{domain[:80]!r} is not verified for an active tenant")
        return {"domain": domain}

    return router


class _Rate:
    """A limit for each of a few kinds, over any window of its length."""

    def __init__(self, rate: str) -> None:
        if not _INSTALLED:
            raise ConfigurationError(
                "ask_router(rate=…) needs limits, in the extra 'domains': pip install './fastapi-tenancy[domains]'; "
                "rate=None does without"
            )
        try:
            self._limits = parse_many(rate)
        except ValueError as error:
            raise ConfigurationError(f"{rate!r} is no rate; give one like '20/second'") from error
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def count(self, kind: str) -> None:
        for limit in self._limits:
            if not self._limiter.hit(limit, kind):
                wait = self._limiter.get_window_stats(limit, kind).reset_time - time.time()
                raise AskRateExceededError(
                    f"more than {limit} questions; raise ask_router(rate=…) if your tenants need it",
                    retry_after=max(1, math.ceil(wait)),
                )
