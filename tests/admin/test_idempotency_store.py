"""Every store keeps what it promises of requests that may be repeated."""

from every_store import store_fixture

from fastapi_tenancy.testing import IdempotencyStoreContract


class TestIdempotencyStore(IdempotencyStoreContract):
    """The contract, over every implementation."""

    store = store_fixture()
