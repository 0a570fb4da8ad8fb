"""The command in a process of its own, as an operator or a script starts it."""

import json
import subprocess
import sys

from cli.cli_support import Shop

NOISY = """
    import logging, sys, warnings
    from pathlib import Path
    from sqlalchemy import MetaData
    from fastapi_tenancy import HeaderResolver, Tenancy, TenancySettings

    print("loaded")
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
    warnings.warn("warned", UserWarning)

    settings = TenancySettings(database_url="sqlite:///tenancy.db")
    tenancy = Tenancy(settings, resolvers=[HeaderResolver("X-Tenant")], metadata=MetaData())

    @tenancy.on("suspended")
    def tell(event):
        print("suspended", event.tenant.identifier)
        print("with Alembic:", "alembic" in sys.modules)
"""


def test_what_the_application_prints_is_not_the_answer(tenants: Shop) -> None:
    tenants.write("jobs", NOISY)
    program = [sys.executable, "-m", "fastapi_tenancy", "tenants", "suspend", "acme", "--json"]
    environment = {"TENANCY_APP": "jobs:tenancy"}
    ended = subprocess.run(program, env=environment, cwd=tenants.folder, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["status"] == "suspended"
    assert {"loaded", "suspended acme", "with Alembic: False", "tenant status changed"} < set(ended.stderr.splitlines())
