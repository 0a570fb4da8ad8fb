"""Requests a second through uvicorn: a bare Starlette application, the same with our middleware, and with the rival's.

    python benchmarks/throughput.py [--quick] [--rival-python PATH]

One worker each, 16 connections that are kept, the tenant in a header, 500 tenants in the cache. The sides take turns,
in another order each round, so the ratios hold where the absolute numbers do not. uvicorn takes httptools and uvloop
where they are installed; what it took is printed. The processor time that the server takes for a request says the same
where other programs slow down the clock.
"""

import argparse
import random
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import NamedTuple

from load import Server, loading, outcome_of, percentiles, serving
from overhead import OURS, RIVALS
from rival import RIVAL, rival_if_there

ROUNDS, SECONDS = 25, 1.0

# `nothing` is what the set-ups of `overhead.py` put their middleware around.
BARE = """
import asyncio
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

async def hello(request):
    return PlainTextResponse("hello")

app = nothing = Starlette(routes=[Route("/", hello)])
"""
WITH_TENANTS = """
app = asyncio.run(middleware_of("header"))
"""


class Round(NamedTuple):
    """What one side did in one round: requests in a second, processor time for each, and the seconds that each took."""

    per_second: float
    processor: float
    took: list[float]


def asked(server: Server, seconds: float) -> Round:
    before = server.processor_seconds()
    with loading(server.port, "/", header="X-Tenant-ID: tenant{}", tenants=500, seconds=seconds) as process:
        outcome = outcome_of(process)
    if set(outcome.statuses) != {200}:
        raise RuntimeError(f"not all requests were served: {outcome.statuses}")
    processor = (server.processor_seconds() - before) / len(outcome.took)
    return Round(outcome.per_second, processor, outcome.took)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a round of a second, to see that it works")
    parser.add_argument("--rival-python", type=Path, help=f"an interpreter that has {RIVAL} and uvicorn")
    options = parser.parse_args()
    rounds, seconds = (1, 1.0) if options.quick else (ROUNDS, SECONDS)
    done: dict[str, list[Round]] = {}
    with ExitStack() as stack:
        servers = {
            "bare Starlette": stack.enter_context(serving(BARE)),
            "ours": stack.enter_context(serving(BARE + OURS + WITH_TENANTS)),
        }
        if python := rival_if_there(options.rival_python):
            servers[RIVAL] = stack.enter_context(serving(BARE + RIVALS + WITH_TENANTS, python))
        for server in servers.values():
            asked(server, 0.5)  # the first time each tenant is looked up
        order, rng = list(servers), random.Random(1)
        for _ in range(rounds):
            rng.shuffle(order)
            for side in order:
                done.setdefault(side, []).append(asked(servers[side], seconds))
    print(f"{'':24}{'requests/s':>12}{'of bare':>9}{'CPU µs':>9}{'of bare':>9}{'p50 ms':>9}{'p99 ms':>9}   served by")
    for side, server in servers.items():
        print(f"{side:24}{row(done[side], done['bare Starlette'])}   {server.made_of}")


def row(rounds: list[Round], bare: list[Round]) -> str:
    pairs = list(zip(rounds, bare, strict=True))
    p50, p99 = percentiles([seconds for each in rounds for seconds in each.took])
    speed, processor = median(each.per_second for each in rounds), median(each.processor for each in rounds)
    of_speed = median(each.per_second / other.per_second for each, other in pairs)
    of_processor = median(each.processor / other.processor for each, other in pairs)
    return (
        f"{speed:>12.0f}{of_speed:>9.3f}{processor * 1e6:>9.1f}{of_processor:>9.3f}{p50 * 1e3:>9.2f}{p99 * 1e3:>9.2f}"
    )


if __name__ == "__main__":
    main()
