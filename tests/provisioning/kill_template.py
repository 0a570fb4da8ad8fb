"""Kill a process at each step in which the library's own PostgreSQL template and a database from it are made.

Run as a program, with one argument in JSON. It forks for each step, which is much faster than starting Python anew.
"""

import asyncio
import json
import sys
from typing import Any

from multitenant.kill_steps import created_and_gone, gone, in_child, resumed, until_killed
from multitenant.own_databases import Server
from servers import drop_database

# Its draft is dropped, made and renamed, and the first copy begins; the others are those of any creation.
STEPS = 4


class BesideTemplates(Server):
    """Looks at the tenants' databases; of the templates it lets one remain, which is whole."""

    def left(self) -> set[str]:
        templates = self.templates()
        assert not any(name.endswith("_draft") for name in templates), templates
        assert len(templates) <= 1, templates
        return super().left() - templates

    def templates(self) -> set[str]:
        return {name for name in super().left() if name.startswith("tenancy_template_")}


def main() -> None:
    order: dict[str, Any] = json.loads(sys.argv[1])
    server = BesideTemplates(order["server"], set(order["before"]))
    asyncio.run(created_and_gone(order["settings"], {}))
    for number in range(STEPS):
        for name in server.templates():  # so that it is made anew each time
            drop_database(server.named(name))
        assert in_child(until_killed("create", number, order["settings"], {})), number
        assert in_child(resumed("create", server, order["settings"], {})) == 0, number
    asyncio.run(gone(order["settings"]))
    for name in server.templates():
        drop_database(server.named(name))


if __name__ == "__main__":
    main()
