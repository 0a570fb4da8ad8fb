"""`python -m examples.notes`: serve Jotter on this machine, and say where to click."""

import argparse
import errno
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path

import uvicorn

from .addresses import DOMAIN, HEADER, PREFIX
from .app import create_app

GUIDE = """
  Jotter: one process, three companies, and no way from one to another.

    Start here        http://{domain}:{port}/
    Acme, subdomain   http://acme.{domain}:{port}/
    Globex, path      http://{domain}:{port}{prefix}/globex/
    Initech, header   curl -H '{header}: initech' http://{domain}:{port}/api/notes
    JSON API          http://acme.{domain}:{port}/docs

    A browser that does not know acme.{domain} can take http://{domain}:{port}{prefix}/acme/
    Try to cheat      curl -H '{header}: globex' 'http://{domain}:{port}/api/notes?q=acme'

  The data are in {data}. Stop with Ctrl+C; remove the data with: make clean
"""


def main() -> None:
    """Serve until Ctrl+C; exits with 1 and one line where it cannot."""
    options = _parser().parse_args()
    try:
        options.data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        sys.exit(f"cannot use the data folder {options.data}: {error.strerror}; choose another with --data")
    with _listen(options.port) as listener:
        port = listener.getsockname()[1]
        text = GUIDE.format(domain=DOMAIN, prefix=PREFIX, header=HEADER, port=port, data=options.data.absolute())
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
        server = uvicorn.Server(uvicorn.Config(create_app(options.data), log_level="warning"))
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
    sys.exit(0 if server.started else 1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m examples.notes", description="Jotter, the demo application.")
    parser.add_argument("--port", type=_port, default=8000, help="the port to serve on (8000)")
    parser.add_argument("--data", type=Path, default=Path("demo-data"), help="the folder for all data (demo-data)")
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; give 0 to 65535, where 0 takes any free one")
    return int(text)


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as error:
        reason = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used ({os.strerror(error.errno or 0)})"
        other = 8001 if port < 1024 else min(port + 1, 65535)
        sys.exit(f"port {port} {reason}; choose another: make demo PORT={other}")


if __name__ == "__main__":
    main()
