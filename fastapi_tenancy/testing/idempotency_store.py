"""What every store of requests that may be repeated promises."""

# ruff: noqa: S101 - assert is how pytest works

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any, Protocol

import pytest

from ..store import IdempotencyStore, RequestRecord, TenantStore
from .base import AsyncioContract
from .tenants import MOMENT


class TenantAndIdempotencyStore(TenantStore, IdempotencyStore, Protocol):
    """Both at once."""


def _record(key: str = "a", **given: Any) -> RequestRecord:
    values = {"request_digest": "0" * 64, "created_at": MOMENT, "body": ["x"], **given}
    return RequestRecord(key_digest=key * 64, **values)


class IdempotencyStoreContract(AsyncioContract):
    """Proves an `IdempotencyStore`; give a fixture `store` that opens an empty store and closes it after the test."""

    @pytest.fixture
    def store(self) -> TenantAndIdempotencyStore:
        raise NotImplementedError(f"{type(self).__name__} needs a fixture store() that gives the store to be proven")

    async def test_a_request_is_begun_once_and_found_the_second_time(self, store: TenantAndIdempotencyStore) -> None:
        first = _record(status=201, body={"id": "1", "settings": {"none": None, "ö": [1, 2.5]}})
        assert await store.begin_request(first) is None
        assert await store.begin_request(_record(request_digest="1" * 64)) == first
        assert await store.begin_request(_record("b")) is None

    async def test_of_many_that_begin_at_once_one_does(self, store: TenantAndIdempotencyStore) -> None:
        found = await asyncio.gather(*(store.begin_request(_record(body=[number])) for number in range(8)))
        assert found.count(None) == 1
        assert {each.body[0] for each in found if each is not None} == {found.index(None)}

    async def test_what_is_as_it_was_can_be_changed(self, store: TenantAndIdempotencyStore) -> None:
        running = _record()
        await store.begin_request(running)
        ended = replace(running, created_at=MOMENT + timedelta(microseconds=1), status=201, body={"id": "1"})
        assert await store.change_request(running, ended)
        assert await store.begin_request(running) == ended

    async def test_what_is_not_as_it_was_is_left_alone(self, store: TenantAndIdempotencyStore) -> None:
        running = _record()
        await store.begin_request(running)
        for other in (replace(running, created_at=MOMENT + timedelta(microseconds=1)), replace(running, status=201)):
            assert not await store.change_request(other, replace(other, body=["lost"]))
            assert not await store.forget_request(other)
        assert await store.begin_request(running) == running
        assert not await store.change_request(_record("b"), _record("b"))

    async def test_of_many_that_change_one_request_at_once_one_does(self, store: TenantAndIdempotencyStore) -> None:
        dead = _record()
        await store.begin_request(dead)
        later = [replace(dead, created_at=MOMENT + timedelta(seconds=number)) for number in range(1, 9)]
        ends = await asyncio.gather(*(store.change_request(dead, each) for each in later))
        assert sorted(ends) == [False] * 7 + [True]

    async def test_a_request_that_was_forgotten_can_be_begun_again(self, store: TenantAndIdempotencyStore) -> None:
        await store.begin_request(_record())
        assert await store.forget_request(_record())
        assert not await store.forget_request(_record())
        assert await store.begin_request(_record()) is None

    async def test_old_requests_are_forgotten_a_few_at_a_time(self, store: TenantAndIdempotencyStore) -> None:
        for age, key in enumerate("abcde"):
            await store.begin_request(_record(key, created_at=MOMENT - timedelta(hours=age)))
        assert await store.forget_requests(MOMENT, 3) == 3
        assert await store.forget_requests(MOMENT, 3) == 1
        assert await store.forget_requests(MOMENT, 3) == 0
        assert await store.begin_request(_record("a")) == _record("a")
