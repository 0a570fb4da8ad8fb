"""Put load on an HTTP server on this machine, over connections that are kept; and run such a server.

    python benchmarks/load.py PORT PATH [--header "X-Tenant-ID: tenant{}"] [--tenants N] [--method GET]
                              [--connections N] [--seconds S] [--rate R]

Without `--rate` each connection sends its next request when it has the answer to the last (closed loop). With it,
requests begin at R a second whatever the server does (open loop); each takes a free connection, and its latency counts
from when it should have begun, so that a server that stalls does not hide the requests that wait. Prints JSON.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from statistics import quantiles
from typing import Any, NamedTuple

HOST = "127.0.0.1"

# What follows the script of an application `app`. It prints where it listens and what uvicorn is made of here, and for
# each line that it reads the seconds of processor time that it has had so far.
SERVE = """
import logging, socket, sys, threading, time
from importlib.util import find_spec
import uvicorn

def tell():
    for _ in sys.stdin:
        print(time.process_time(), flush=True)

logging.disable(logging.CRITICAL)
# Told that it is TCP, asyncio sends small answers at once, as it does where uvicorn binds the port itself.
listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
listener.bind(("127.0.0.1", 0))
listener.listen(1024)
config = uvicorn.Config(app, access_log=False)
config.load()
loop = "uvloop" if find_spec("uvloop") else "asyncio"
print(listener.getsockname()[1], config.http_protocol_class.__name__, "on", loop, flush=True)
threading.Thread(target=tell, daemon=True).start()
uvicorn.Server(config).run([listener])
"""


class Server:
    """One that runs."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        port, _, self.made_of = self._read().partition(" ")
        self.port = int(port)

    def processor_seconds(self) -> float:
        """What it has had so far; unlike the time of day this does not depend on what else the machine does."""
        print(file=self._process.stdin, flush=True)
        return float(self._read())

    def _read(self) -> str:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise OSError("the server ended; it says why above")
        return line.strip()


@contextmanager
def serving(script: str, python: Path = Path(sys.executable)) -> Iterator[Server]:
    """Serve the `app` that the script defines, by uvicorn with one worker; isolated, as the rival's scripts are."""
    process = subprocess.Popen(
        [python, "-I", "-c", script + SERVE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tempfile.gettempdir(),
    )
    try:
        yield Server(process)
    finally:
        process.terminate()
        process.communicate(timeout=30)


@dataclass
class Outcome:
    """What became of the requests: the seconds that each took, how many had which status, how many came in a second."""

    took: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    per_second: float = 0.0

    def add(self, status: int, seconds: float) -> None:
        self.statuses[status] += 1
        self.took.append(seconds)


def percentiles(took: list[float]) -> tuple[float, float]:
    """The 50th and the 99th."""
    cuts = quantiles(took, n=100)
    return cuts[49], cuts[98]


class Connection(NamedTuple):
    """One that is kept, to a server whose answers have a Content-Length."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, request: bytes) -> int:
        self.writer.write(request)
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        await self.reader.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r\n")[0]))
        return int(head[9:12])


@asynccontextmanager
async def connected(port: int, number: int) -> AsyncIterator[list[Connection]]:
    async with AsyncExitStack() as stack:
        connections = []
        for _ in range(number):
            connections.append(Connection(*await asyncio.open_connection(HOST, port)))
            stack.callback(connections[-1].writer.close)
        yield connections


async def closed_loop(connections: list[Connection], requests: Iterator[bytes], seconds: float) -> Outcome:
    outcome, end = Outcome(), time.perf_counter() + seconds

    async def client(connection: Connection) -> None:
        while (begun := time.perf_counter()) < end:
            status = await connection.ask(next(requests))
            outcome.add(status, time.perf_counter() - begun)

    await asyncio.gather(*map(client, connections))
    return outcome


async def open_loop(connections: list[Connection], requests: Iterator[bytes], seconds: float, rate: float) -> Outcome:
    outcome, start = Outcome(), time.perf_counter()
    free: asyncio.Queue[Connection] = asyncio.Queue()
    for connection in connections:
        free.put_nowait(connection)

    async def client(due: float) -> None:
        connection = await free.get()
        status = await connection.ask(next(requests))
        free.put_nowait(connection)
        outcome.add(status, time.perf_counter() - due)

    async with asyncio.TaskGroup() as clients:
        for number in range(int(seconds * rate)):
            due = start + number / rate
            await asyncio.sleep(due - time.perf_counter())
            clients.create_task(client(due))
    return outcome


async def put_load(options: argparse.Namespace) -> Outcome:
    requests = cycle(
        [
            f"{options.method} {options.path} HTTP/1.1\r\nHost: {HOST}\r\n{options.header.format(number)}\r\n"
            "Content-Length: 0\r\n\r\n".encode()
            for number in range(options.tenants)
        ]
    )
    async with connected(options.port, options.connections) as connections:
        begun = time.perf_counter()
        if options.rate is None:
            outcome = await closed_loop(connections, requests, options.seconds)
        else:
            outcome = await open_loop(connections, requests, options.seconds, options.rate)
        outcome.per_second = len(outcome.took) / (time.perf_counter() - begun)
    return outcome


@contextmanager
def loading(port: int, path: str, **options: object) -> Iterator[subprocess.Popen[str]]:
    """Run this program in a process of its own, which is ended with the block; `outcome_of` waits for it."""
    words = [f"--{name}={value}" for name, value in options.items()]
    process = subprocess.Popen([sys.executable, __file__, str(port), path, *words], stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def outcome_of(process: subprocess.Popen[str]) -> Outcome:
    printed: dict[str, Any] = json.loads(process.communicate()[0])
    statuses = Counter({int(status): number for status, number in printed.pop("statuses").items()})
    return Outcome(statuses=statuses, **printed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("path")
    parser.add_argument("--header", default="Accept: */*", help="sent with each; {} is a tenant's number")
    parser.add_argument("--tenants", type=int, default=1, help="how many take turns")
    parser.add_argument("--method", default="GET")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rate", type=float, help="requests a second")
    print(json.dumps(vars(asyncio.run(put_load(parser.parse_args())))))


if __name__ == "__main__":
    main()
