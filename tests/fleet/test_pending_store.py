"""Every store keeps what it promises of tenants that were made ahead."""

from every_store import store_fixture

from fastapi_tenancy.testing import PendingStoreContract


class TestPendingStore(PendingStoreContract):
    """The contract, over every implementation."""

    store = store_fixture()
