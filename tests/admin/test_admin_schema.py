"""The admin API does what its OpenAPI document says, and is never at a loss, whatever it is sent."""

import atexit
import shutil
import tempfile

import schemathesis
from fastapi import Depends, FastAPI
from hypothesis import settings
from sqlalchemy import MetaData

from fastapi_tenancy import HeaderResolver, Tenancy, TenancySettings
from fastapi_tenancy.multitenant.admin import admin_router


class Believer:
    """Finds each proof at once, as no test asks the DNS."""

    async def check(self, host: str, token: str) -> bool:
        return True


async def everybody() -> None:
    """A guard for an API that nobody but the test reaches."""


def admin_app(folder: str) -> FastAPI:
    tenancy = Tenancy(
        TenancySettings(database_url=f"sqlite:///{folder}/tenancy.db"),
        resolvers=[HeaderResolver("X-Tenant-ID")],
        metadata=MetaData(),
        domain_checker=Believer(),
    )
    app = FastAPI(lifespan=tenancy.lifespan)
    app.include_router(admin_router(tenancy, dependencies=[Depends(everybody)]), prefix="/admin")
    return app


# At import, as schemathesis's fixtures do not work with pytest 9; it opens and closes the application by itself.
FOLDER = tempfile.mkdtemp()
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
CONFIG = schemathesis.Config.from_dict(
    {
        "checks": {
            # Starlette names the methods of the first route of a path only.
            "allow_header_conformance": {"enabled": False},
            # What no schema can say: IDNA's rules for hosts, the version of a tag, a key that was used already.
            "positive_data_acceptance": {"enabled": False},
            # A domain that is there, and not verified, is none that could be made the primary one.
            "ensure_resource_availability": {"enabled": False},
        }
    }
)
schema = schemathesis.openapi.from_asgi("/openapi.json", admin_app(FOLDER), config=CONFIG)


@schema.parametrize()
@settings(max_examples=10, derandomize=True, deadline=None, database=None)
def test_each_route_answers_as_it_is_documented(case: schemathesis.Case) -> None:
    case.call_and_validate()


def test_what_one_route_made_is_what_the_others_find() -> None:
    schema.as_state_machine().run(
        settings=settings(max_examples=5, stateful_step_count=8, derandomize=True, deadline=None, database=None)
    )
