"""A factory tells by its shape and its annotation what it makes, and how that is closed."""

import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from functools import partial
from typing import Any, Generic, NewType, Protocol, TypeVar

import pytest
from services.service_support import Crm, Mail, make_crm, opened_profile
from support import make_tenancy

from fastapi_tenancy import ConfigurationError, Profile, Tenancy

T = TypeVar("T")


class Port(Protocol):
    def send(self) -> str: ...


class Adapter:
    def send(self) -> str:
        return "sent"


class Abstract(ABC):
    @abstractmethod
    def send(self) -> str: ...


class Concrete(Abstract):
    def send(self) -> str:
        return "sent"


class Repository(Generic[T]): ...


ApiKey = NewType("ApiKey", str)


def plain(profile: Profile) -> Crm:
    return Crm(profile)


async def coroutine(profile: Profile) -> Crm:
    return Crm(profile)


def written_as_text(profile: Profile) -> "Crm":
    return Crm(profile)


def with_more_arguments(profile: Profile, _: str) -> Crm:
    return Crm(profile)


class Callee:
    def method(self, profile: Profile) -> Crm:
        return Crm(profile)

    async def __call__(self, profile: Profile) -> Crm:
        return Crm(profile)


RETURNING = {
    "def": plain,
    "async def": coroutine,
    "an annotation as text": written_as_text,
    "a partial": partial(with_more_arguments, _="x"),
    "a method": Callee().method,
    "an object that is called": Callee(),
}


@pytest.mark.parametrize("factory", RETURNING.values(), ids=RETURNING)
async def test_what_a_factory_returns_is_the_service(factory: Callable[..., Any]) -> None:
    profile = opened_profile(factory)
    crm = await profile.service(Crm)
    assert crm.profile is profile
    await profile.close()


def generator(profile: Profile) -> Iterator[Crm]:
    crm = Crm(profile)
    yield crm
    crm.closed += 1


def other_generator(profile: Profile) -> Generator[Crm]:
    yield from generator(profile)


async def other_async_generator(profile: Profile) -> AsyncGenerator[Crm]:
    async for crm in make_crm(profile):
        yield crm


class AsyncManaged:
    def __init__(self, profile: Profile) -> None:
        self.crm = Crm(profile)

    async def __aenter__(self) -> Crm:
        return self.crm

    async def __aexit__(self, *_: object) -> None:
        self.crm.closed += 1


def returning_an_async_manager(profile: Profile) -> AbstractAsyncContextManager[Crm]:
    return AsyncManaged(profile)


def returning_a_manager(profile: Profile) -> AbstractContextManager[Crm]:
    return contextmanager(generator)(profile)


CLOSING = (
    make_crm,
    other_async_generator,
    generator,
    other_generator,
    asynccontextmanager(make_crm),
    contextmanager(generator),
    returning_an_async_manager,
    returning_a_manager,
)


@pytest.mark.parametrize("factory", CLOSING)
async def test_what_a_factory_yields_is_closed_with_the_profile(factory: Callable[..., Any]) -> None:
    profile = opened_profile(factory)
    crm = await profile.service(Crm)
    assert (crm.profile, crm.closed) == (profile, 0)
    await profile.close()
    assert crm.closed == 1


async def test_what_is_returned_is_not_entered_although_it_could_be() -> None:
    def make(profile: Profile) -> AsyncManaged:
        return AsyncManaged(profile)

    profile = opened_profile(make)
    managed = await profile.service(AsyncManaged)
    await profile.close()
    assert managed.crm.closed == 0


async def test_blocking_factories_run_in_a_thread() -> None:
    threads = []

    def make(_: Profile) -> Iterator[Crm]:
        threads.append(threading.current_thread())
        yield Crm()
        threads.append(threading.current_thread())

    profile = opened_profile(make)
    await profile.service(Crm)
    await profile.close()
    assert len(threads) == 2
    assert threading.current_thread() not in threads


async def test_a_blocking_factory_may_end_in_any_error() -> None:
    def make(_: Profile) -> Crm:
        raise StopIteration

    profile = opened_profile(make)
    with pytest.raises(RuntimeError):
        await profile.service(Crm)


async def test_any_type_that_is_the_same_in_both_places_will_do() -> None:
    def port(_: Profile) -> Port:
        return Adapter()

    def abstract(_: Profile) -> Abstract:
        return Concrete()

    def of_int(_: Profile) -> Repository[int]:
        return Repository()

    def of_text(_: Profile) -> Iterator[Repository[str]]:
        yield Repository()

    def key(_: Profile) -> ApiKey:
        return ApiKey("x")

    def maybe(_: Profile) -> Crm | None:
        return None

    profile = opened_profile(port, abstract, of_int, of_text, key, maybe)
    assert (await profile.service(Port)).send() == (await profile.service(Abstract)).send() == "sent"
    assert await profile.service(Repository[int]) is not await profile.service(Repository[str])  # type: ignore[comparison-overlap]  # that is the point
    assert await profile.service(ApiKey) == "x"
    assert await profile.service(Crm | None) is None
    with pytest.raises(ConfigurationError, match="Crm is registered"):
        await profile.service(Crm)
    await profile.close()


async def test_an_unknown_type_is_an_error_that_lists_the_registered_ones() -> None:
    def mail(_: Profile) -> Mail:
        return Mail()

    profile = opened_profile(make_crm, mail)
    with pytest.raises(ConfigurationError, match=r"no service of the type int is registered, but Crm, Mail; decorate"):
        await profile.service(int)


async def test_where_nothing_is_registered_the_error_says_so() -> None:
    with pytest.raises(ConfigurationError, match=r"Crm is registered, but none; .*@tenancy\.service"):
        await opened_profile().service(Crm)


def two_of_one_type(_: Profile) -> Crm:
    return Crm()


def unannotated(_: Profile):
    return Crm()


def of_nothing(_: Profile) -> None: ...


async def async_generator_that_says_object(_: Profile) -> Crm:  # type: ignore[misc]  # the mistake to be told of
    yield Crm()


def generator_that_says_object(_: Profile) -> Crm:  # type: ignore[misc]  # as above
    yield Crm()


def generator_that_says_async(_: Profile) -> AsyncIterator[Crm]:  # type: ignore[misc]  # as above
    yield Crm()


async def coroutine_that_says_iterator(_: Profile) -> AsyncIterator[Crm]:
    return make_crm(_)


def of_a_local_name(_: Profile) -> "Unknown":  # type: ignore[name-defined]  # noqa: F821 - as above
    return Crm()


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (two_of_one_type, "make_crm and two_of_one_type both make Crm"),
        (unannotated, "unannotated does not say what it makes"),
        (lambda _: Crm(), "does not say what it makes"),
        (of_nothing, "of_nothing does not say what it makes"),
        (async_generator_that_says_object, r"cannot make a service of Crm; .*-> AsyncIterator\[CrmClient\]"),
        (generator_that_says_object, "cannot make a service of Crm"),
        (generator_that_says_async, "cannot make a service of"),
        (coroutine_that_says_iterator, "cannot make a service of"),
        (of_a_local_name, "of_a_local_name cannot be read: name 'Unknown' is not defined"),
    ],
)
def test_a_factory_that_cannot_work_is_refused_at_once(factory: Callable[..., Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        opened_profile(make_crm, factory)


async def test_an_open_tenancy_takes_no_factory(on_sqlite: Tenancy) -> None:
    with pytest.raises(ConfigurationError, match="register services before"):
        on_sqlite.service(make_crm)


def test_a_decorated_factory_is_still_the_function(tmp_path: Any) -> None:
    assert make_tenancy(tmp_path).service(make_crm) is make_crm
