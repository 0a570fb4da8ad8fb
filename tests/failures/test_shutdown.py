"""A worker that is told to end serves what it has accepted; workers that are forked share no connection."""

import asyncio
import json
import os
import signal
import sys
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
from prepared_stores import new_store_database
from support import add_notes, client_of, make_app, make_tenancy, named, read_notes

SERVER = """
import asyncio, json, logging, os, socket, sys
import uvicorn
from pathlib import Path
from support import make_app, make_tenancy

tenancy = make_tenancy(Path(sys.argv[1]))
app = make_app(tenancy)
counts = {"begun": 0, "left_open": 0}

@app.get("/slow")
async def slow(session: TenantSession) -> int:
    await asyncio.sleep(0.05)
    return await session.scalar(text("SELECT 1"))

class Counted:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            targets = [os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]
            counts["left_open"] = sum(target.startswith(sys.argv[1]) for target in targets)
            print(json.dumps(counts), flush=True)
            return
        counts["begun"] += 1

        async def sending(message):
            if message["type"] == "http.response.start":
                counts[str(message["status"])] = counts.get(str(message["status"]), 0) + 1
            await send(message)

        await self.app(scope, receive, sending)

logging.disable(logging.CRITICAL)
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
uvicorn.Server(uvicorn.Config(Counted(app), log_level="critical")).run([listener])
"""
SERVER = f"from fastapi_tenancy import TenantSession\nfrom sqlalchemy import text\n{SERVER}"


async def ask(port: int) -> bytes:
    """The whole answer; nothing where the connection was not accepted any more."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /slow HTTP/1.1\r\nHost: x\r\nX-Tenant-ID: acme\r\nConnection: close\r\n\r\n")
    try:
        return await reader.read()
    finally:
        writer.close()


async def test_no_request_that_was_accepted_fails_when_the_server_is_told_to_end(tmp_path: Path) -> None:
    async with make_tenancy(tmp_path) as tenancy:
        await tenancy.create_tenant("acme")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVER, str(tmp_path), stdout=asyncio.subprocess.PIPE, env=environment
    )
    try:
        assert server.stdout is not None
        port = int(await server.stdout.readline())
        answers: list[bytes] = []

        async def client() -> None:
            while True:
                try:
                    answers.append(await ask(port))
                except ConnectionError:
                    if ending:
                        return
                    await asyncio.sleep(0.01)

        ending = False
        clients = [asyncio.create_task(client()) for _ in range(20)]
        while len(answers) < 40:
            await asyncio.sleep(0.01)
        ending = True
        server.send_signal(signal.SIGTERM)
        await asyncio.wait(clients)
        counts = json.loads(await server.stdout.readline())
    finally:
        with suppress(ProcessLookupError):
            server.kill()
        await server.wait()
    assert counts == {"begun": counts["200"], "left_open": 0, "200": counts["begun"]}
    assert {answer[:12] for answer in answers if answer} == {b"HTTP/1.1 200"}


async def test_an_application_that_ends_serves_what_comes_while_it_drains(tmp_path: Path) -> None:
    tenancy = make_tenancy(tmp_path, drain_delay=0.3)
    app = make_app(tenancy)
    async with client_of(app) as client, AsyncExitStack() as stack:
        await stack.enter_async_context(app.router.lifespan_context(app))
        await tenancy.create_tenant("acme")
        ending = asyncio.create_task(stack.aclose())
        while tenancy.readiness.is_open:
            await asyncio.sleep(0)
        assert (await client.get("/notes", headers=named("acme"))).status_code == 200
        await ending


def in_a_child(work) -> str:
    """Run the work in a fork, in an event loop of its own; what it returns, or raises, as text."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            try:
                said = asyncio.run(work())
            except BaseException as error:  # noqa: BLE001 - the edge of the process
                said = f"{type(error).__name__}: {error}"
            os.write(writing, str(said).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read().decode()
    os.waitpid(child, 0)
    return said


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("place", ["sqlite", "postgresql"])
def test_workers_forked_from_one_that_made_the_tenancy_each_open_it(
    tmp_path: Path, request: pytest.FixtureRequest, place: str
) -> None:
    given = {}
    if place == "postgresql":
        url = new_store_database(request.getfixturevalue("postgresql_url"))
        given = {"database_url": url, "manager_type": "shared-profile", "shared_isolation": "row"}
    tenancy = make_tenancy(tmp_path, **given)

    async def worker(name: str) -> list[str]:
        async with tenancy:
            await tenancy.create_tenant(name)
            await add_notes(tenancy, name, f"of {name}")
            return await read_notes(tenancy, name)

    for name in ("acme", "globex"):
        assert in_a_child(lambda name=name: worker(name)) == f"['of {name}']"
    assert asyncio.run(worker("here")) == ["of here"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_of_an_open_application_is_told_so_and_harms_nobody(tmp_path: Path) -> None:
    tenancy = make_tenancy(tmp_path)

    async def use() -> None:
        async with tenancy.use("acme"):
            pass

    async def lease() -> None:
        async with tenancy.lease(acme):
            pass

    with asyncio.Runner() as runner:
        runner.run(tenancy.__aenter__())
        acme = runner.run(tenancy.create_tenant("acme"))
        runner.run(add_notes(tenancy, "acme", "mine"))
        for work in (use, lease, lambda: tenancy.get_tenant("acme"), tenancy.__aenter__):
            said = in_a_child(work)
            assert said.startswith("ConfigurationError: this Tenancy was opened before the process was forked")
        assert runner.run(read_notes(tenancy, "acme")) == ["mine"]
        runner.run(tenancy.__aexit__())
