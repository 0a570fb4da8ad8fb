"""Run all checks, so that none stops or delays the others."""

import asyncio
from collections.abc import Mapping, Sequence

from .checks import CHECKS
from .deployment import Deployment, UnknownError
from .failures import said
from .finding import Check, Finding, Found, error

TIMEOUT = 30.0  # seconds for each check

_AT_ONCE = 4  # checks, each with a connection or two

_GRAVITY = ("error", "warning", "info")


async def examine(
    deployment: Deployment,
    checks: Mapping[str, Check] = CHECKS,
    timeout: float = TIMEOUT,  # noqa: ASYNC109 - of each check, not of the call
) -> Sequence[Finding]:
    """What is wrong with a deployment, the gravest first; what a check found before it failed is there, too."""
    turns = asyncio.Semaphore(_AT_ONCE)
    try:
        answers = (_answer(deployment, name, check, timeout, turns) for name, check in checks.items())
        found = [finding for each in await asyncio.gather(*answers) for finding in each]
    finally:
        await deployment.aclose()
    return sorted(found, key=lambda finding: _GRAVITY.index(finding.severity))


async def _answer(
    deployment: Deployment, name: str, check: Check, seconds: float, turns: asyncio.Semaphore
) -> list[Finding]:
    found: list[Found] = []

    async def collect() -> None:
        async for each in check(deployment):
            found.append(each)  # noqa: PERF401 - one by one: what was found counts also where the check fails

    async with turns:
        task = asyncio.create_task(collect())
        try:
            # A task that hangs is not waited for: a driver may not hear that it is cancelled.
            await asyncio.wait({task}, timeout=seconds)
        finally:
            task.cancel()
    return [
        Finding(name, each.severity, each.tenant, each.message, each.remedy) for each in (*found, *_end(task, seconds))
    ]


def _end(task: asyncio.Task[None], seconds: float) -> list[Found]:
    """What is to be said of how a check ended."""
    if not task.done():
        return [
            error(f"the check did not end within {seconds:g} s", "mend what hangs, and run: fastapi-tenancy doctor")
        ]
    failure = task.exception()
    if failure is None or isinstance(failure, UnknownError):
        return []
    what = f"the check failed with {type(failure).__name__}: {said(failure)}"
    return [error(what, "mend what it says, and run: fastapi-tenancy doctor")]
