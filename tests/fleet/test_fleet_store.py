"""Every store keeps what it promises of a fleet."""

from every_store import store_fixture

from fastapi_tenancy.testing import FleetStoreContract


class TestFleetStore(FleetStoreContract):
    """The contract, over every implementation."""

    store = store_fixture()
