"""A service is made once for an open profile, when it is first asked for, and closed with it."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Any

import pytest
from services.service_support import Crm, Mail, Search, make_crm, opened_profile, settle

from fastapi_tenancy import ConfigurationError, Profile, TenantUnavailableError, current_tenant, tenant_scope
from fastapi_tenancy.multitenant import services
from fastapi_tenancy.testing import tenant_named


class Works:
    """A factory that goes on when it is told, and notes what it made."""

    def __init__(self) -> None:
        self.calls = 0
        self.gate = asyncio.Event()
        self.faults: list[BaseException] = []
        self.made: list[Crm] = []

    async def __call__(self, profile: Profile) -> AsyncIterator[Crm]:
        self.calls += 1
        await self.gate.wait()
        if self.faults:
            raise self.faults.pop()
        crm = Crm(profile)
        self.made.append(crm)
        yield crm
        crm.closed += 1


def asking(profile: Profile, times: int) -> list[asyncio.Task[Crm]]:
    return [asyncio.create_task(profile.service(Crm)) for _ in range(times)]


async def test_it_is_made_at_its_first_use() -> None:
    works = Works()
    works.gate.set()
    profile = opened_profile(works)
    assert works.calls == 0
    assert await profile.service(Crm) is await profile.service(Crm)
    assert works.calls == 1
    await profile.close()


async def test_it_is_made_once_however_many_ask_at_the_same_time() -> None:
    works = Works()
    profile = opened_profile(works)
    tasks = asking(profile, 100)
    await settle()
    works.gate.set()
    assert len(set(await asyncio.gather(*tasks))) == works.calls == 1
    await profile.close()


async def test_a_failure_goes_to_who_started_it_and_the_next_who_waits_starts_again() -> None:
    works = Works()
    works.faults = [OSError("down")]
    profile = opened_profile(works)
    tasks = asking(profile, 5)
    await settle()
    works.gate.set()
    first, *others = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(first, OSError)
    assert others == works.made * 4
    assert works.calls == 2
    await profile.close()


async def test_a_failure_is_not_remembered() -> None:
    works = Works()
    works.gate.set()
    works.faults = [OSError("down")]
    profile = opened_profile(works)
    with pytest.raises(OSError, match="down"):
        await profile.service(Crm)
    assert isinstance(await profile.service(Crm), Crm)
    await profile.close()


@pytest.mark.parametrize("cancelled", [{0}, {1}, {0, 1}, {0, 1, 2}])
async def test_who_is_cancelled_harms_nobody(cancelled: set[int]) -> None:
    works = Works()
    profile = opened_profile(works)
    tasks = asking(profile, 3)
    await settle()
    for each in cancelled:
        tasks[each].cancel()
    await settle()
    works.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(
        isinstance(result, asyncio.CancelledError if i in cancelled else Crm) for i, result in enumerate(results)
    )
    assert [await profile.service(Crm)] == works.made
    await profile.close()


async def test_a_failure_that_nobody_waits_for_is_forgotten() -> None:
    works = Works()
    works.faults = [OSError("down")]
    profile = opened_profile(works)
    [task] = asking(profile, 1)
    await settle()
    task.cancel()
    works.gate.set()
    await settle()
    assert isinstance(await profile.service(Crm), Crm)
    await profile.close()


class Chain:
    """Three services, of which each needs the one before; they note in which order they close."""

    def __init__(self) -> None:
        self.closed: list[str] = []
        self.fault: Exception | None = None

    async def crm(self, _: Profile) -> AsyncIterator[Crm]:
        yield Crm()
        self.closed.append("crm")

    async def mail(self, profile: Profile) -> AsyncIterator[Mail]:
        await profile.service(Crm)
        yield Mail()
        self.closed.append("mail")
        if self.fault:
            raise self.fault

    async def search(self, profile: Profile) -> AsyncIterator[Search]:
        await asyncio.gather(profile.service(Mail), profile.service(Crm))
        yield Search()
        self.closed.append("search")

    def profile(self) -> Profile:
        return opened_profile(self.crm, self.mail, self.search)


@pytest.mark.parametrize("asked", [(Search,), (Crm, Search), (Mail, Search, Crm)])
async def test_what_needs_another_is_closed_before_it(asked: tuple[type[Any], ...]) -> None:
    chain = Chain()
    profile = chain.profile()
    await asyncio.gather(*map(profile.service, asked))
    await profile.close()
    assert chain.closed == ["search", "mail", "crm"]


async def test_one_that_fails_to_close_is_logged_and_the_others_close(caplog: pytest.LogCaptureFixture) -> None:
    chain = Chain()
    chain.fault = OSError("broken pipe")
    profile = chain.profile()
    await profile.service(Search)
    await profile.close()
    assert chain.closed == ["search", "mail", "crm"]
    [record] = caplog.records
    assert (record.message, record.tenant, record.service) == ("service failed", profile.tenant.id, "Mail")  # type: ignore[attr-defined]  # our extra fields
    assert record.exc_info is not None


async def test_one_that_hangs_in_closing_holds_up_no_other(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "_CLOSE_TIMEOUT", 0.001)
    hangs, disposed = asyncio.Event(), []

    async def mail(_: Profile) -> AsyncIterator[Mail]:
        yield Mail()
        await hangs.wait()

    async def dispose() -> None:
        disposed.append(True)

    profile = opened_profile(make_crm, mail, dispose=dispose)
    crm = await profile.service(Crm)
    await profile.service(Mail)
    await profile.close()
    assert (crm.closed, disposed) == (1, [True])
    assert [record.message for record in caplog.records] == ["service hangs in closing"]
    hangs.set()
    await settle()


async def test_closing_twice_closes_once() -> None:
    profile = opened_profile(make_crm)
    crm = await profile.service(Crm)
    await asyncio.gather(profile.close(), profile.close())
    await profile.close()
    assert crm.closed == 1


async def test_a_closed_profile_makes_no_services() -> None:
    profile = opened_profile(make_crm)
    view = profile.with_settings({"plan": "pro"})
    await profile.service(Crm)
    await profile.close()
    for each in (profile, view):
        with pytest.raises(TenantUnavailableError, match="the services of tenant 'acme' are closed"):
            await each.service(Crm)


async def test_what_is_being_made_as_the_profile_closes_is_cut_short() -> None:
    works = Works()
    profile = opened_profile(works)
    tasks = asking(profile, 2)
    await settle()
    await profile.close()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [TenantUnavailableError] * 2
    assert works.made == []


async def test_what_is_made_in_spite_of_that_is_closed_and_given_to_nobody() -> None:
    crm = Crm()

    async def stubborn(_: Profile) -> AsyncIterator[Crm]:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        yield crm
        crm.closed += 1

    profile = opened_profile(stubborn)
    [task] = asking(profile, 1)
    await settle()
    await profile.close()
    with pytest.raises(TenantUnavailableError):
        await task
    assert crm.closed == 1


async def test_what_a_thread_makes_as_the_profile_closes_is_closed() -> None:
    started, go_on, crm = asyncio.Event(), threading.Event(), Crm()
    loop = asyncio.get_running_loop()

    def make(_: Profile) -> Iterator[Crm]:
        loop.call_soon_threadsafe(started.set)
        go_on.wait(10)
        yield crm
        crm.closed += 1

    profile = opened_profile(make)
    [task] = asking(profile, 1)
    await started.wait()
    closing = asyncio.create_task(profile.close())
    await settle()
    go_on.set()
    await closing
    with pytest.raises(TenantUnavailableError):
        await task
    assert crm.closed == 1


async def test_a_closer_may_ask_for_what_it_needed() -> None:
    seen = []

    async def mail(profile: Profile) -> AsyncIterator[Mail]:
        crm = await profile.service(Crm)
        yield Mail()
        seen.append((await profile.service(Crm) is crm, crm.closed))

    profile = opened_profile(make_crm, mail)
    await profile.service(Mail)
    await profile.close()
    assert seen == [(True, 0)]


class Circle:
    """Three services in a circle, that go on together once all are asked for."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.others: dict[str, Profile] = {}

    async def crm(self, profile: Profile) -> Crm:
        await self.gate.wait()
        await self.others.get("crm", profile).service(Mail)
        return Crm()

    async def mail(self, profile: Profile) -> Mail:
        await self.gate.wait()
        await self.others.get("mail", profile).service(Search)
        return Mail()

    async def search(self, profile: Profile) -> Search:
        await self.gate.wait()
        await asyncio.gather(self.others.get("search", profile).service(Crm))
        return Search()

    def profile(self, identifier: str = "acme") -> Profile:
        return opened_profile(self.crm, self.mail, self.search, identifier=identifier)


async def test_services_in_a_circle_are_an_error_that_shows_it() -> None:
    circle = Circle()
    circle.gate.set()
    profile = circle.profile()
    with pytest.raises(ConfigurationError, match="Search → Crm → Mail → Search"):
        await profile.service(Crm)
    await profile.close()


async def test_a_circle_that_requests_close_together_is_an_error_for_each() -> None:
    circle = Circle()
    profile = circle.profile()
    tasks = [asyncio.create_task(profile.service(kind)) for kind in (Crm, Mail, Search, Crm, Mail, Search)]
    await settle()
    circle.gate.set()
    results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
    assert [type(result) for result in results] == [ConfigurationError] * 6
    await profile.close()


async def test_a_circle_through_two_tenants_is_an_error() -> None:
    circle = Circle()
    circle.gate.set()
    acme, globex = circle.profile(), circle.profile("globex")
    circle.others = {"mail": globex, "search": acme}
    with pytest.raises(ConfigurationError, match="need each other"):
        await acme.service(Crm)


async def test_one_that_asks_for_itself_is_an_error() -> None:
    async def make(profile: Profile) -> Crm:
        return await profile.service(Crm)

    with pytest.raises(ConfigurationError, match="Crm → Crm"):
        await opened_profile(make).service(Crm)


async def test_two_that_need_a_third_are_no_circle() -> None:
    made = []

    async def crm(profile: Profile) -> Crm:
        made.append(profile)
        await settle()
        return Crm()

    async def mail(profile: Profile) -> Mail:
        await profile.service(Crm)
        return Mail()

    async def search(profile: Profile) -> Search:
        await asyncio.gather(profile.service(Crm), profile.service(Mail))
        return Search()

    profile = opened_profile(crm, mail, search)
    await asyncio.gather(profile.service(Mail), profile.service(Search), profile.service(Crm))
    assert made == [profile]
    await profile.close()


async def test_who_waits_no_longer_makes_no_circle() -> None:
    gave_up = asyncio.Event()

    async def crm(profile: Profile) -> Crm:
        waiting = asyncio.create_task(profile.service(Mail))
        await settle()
        waiting.cancel()
        await settle()
        gave_up.set()
        await settle()
        return Crm()

    async def mail(profile: Profile) -> Mail:
        await gave_up.wait()
        await profile.service(Crm)
        return Mail()

    profile = opened_profile(crm, mail)
    await asyncio.gather(profile.service(Crm), profile.service(Mail))
    await profile.close()


async def test_what_was_just_made_is_in_no_circle() -> None:
    asked = []

    async def crm(profile: Profile) -> AsyncIterator[Crm]:
        made = asyncio.Event()

        async def use_mail_later() -> None:
            await made.wait()
            asked.append(await profile.service(Mail))

        async with asyncio.TaskGroup() as group:
            group.create_task(use_mail_later())
            await settle()
            made.set()
            yield Crm()

    async def mail(profile: Profile) -> Mail:
        await profile.service(Crm)
        return Mail()

    profile = opened_profile(crm, mail)
    _, made = await asyncio.gather(profile.service(Crm), profile.service(Mail))
    await settle()
    assert asked == [made]
    await profile.close()


async def test_it_lives_in_its_own_tenants_scope_and_in_no_requests_context() -> None:
    request_id: ContextVar[str] = ContextVar("request_id", default="none")
    seen = []

    async def make(_: Profile) -> AsyncIterator[Crm]:
        seen.append((current_tenant(), request_id.get()))
        yield Crm()
        seen.append((current_tenant(), request_id.get()))

    profile = opened_profile(make)
    request_id.set("7")
    with tenant_scope(tenant_named("globex")):
        await profile.service(Crm)
        await profile.close()
    assert seen == [(profile.tenant, "none")] * 2


async def test_a_blocking_factory_sees_its_tenant() -> None:
    def make(_: Profile) -> Crm:
        seen.append(current_tenant())
        return Crm()

    seen: list[object] = []
    profile = opened_profile(make)
    await profile.service(Crm)
    await profile.close()
    assert seen == [profile.tenant]


async def test_its_task_group_is_not_that_of_the_request_that_asked_first() -> None:
    ended = []

    async def refresh() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("refresh")

    async def make(_: Profile) -> AsyncIterator[Crm]:
        async with asyncio.TaskGroup() as group:
            refreshing = group.create_task(refresh())
            yield Crm()
            refreshing.cancel()

    profile = opened_profile(make)
    await asyncio.create_task(profile.service(Crm))
    await settle()
    assert ended == []
    await profile.close()
    assert ended == ["refresh"]


async def test_one_that_ends_by_itself_is_logged_and_made_anew(caplog: pytest.LogCaptureFixture) -> None:
    fail = asyncio.Event()

    async def break_down() -> None:
        await fail.wait()
        raise OSError("connection lost")

    async def make(profile: Profile) -> AsyncIterator[Crm]:
        async with asyncio.TaskGroup() as group:
            group.create_task(break_down())
            yield Crm(profile)
            fail.set()

    profile = opened_profile(make)
    first = await profile.service(Crm)
    fail.set()
    await settle()
    assert [(record.levelno, record.message) for record in caplog.records] == [(logging.ERROR, "service failed")]
    fail.clear()
    assert await profile.service(Crm) is not first
    await profile.close()


async def test_a_view_with_other_settings_has_the_same_services_made_with_the_profiles_own() -> None:
    profile = opened_profile(make_crm, settings={"plan": "free"})
    view = profile.with_settings({"plan": "pro"})
    crm = await view.service(Crm)
    assert crm is await profile.service(Crm)
    assert crm.profile is profile
    await view.close()
    assert crm.closed == 0
    await profile.close()
    assert crm.closed == 1


def test_without_factories_a_profile_has_nothing_of_services() -> None:
    profile = opened_profile()
    assert profile.services is None
