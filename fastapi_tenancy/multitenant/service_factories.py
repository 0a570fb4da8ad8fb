"""How a service is made: what a factory's shape and annotation say, turned into a context manager."""

import asyncio
import inspect
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Generator,
    Hashable,
    Iterator,
    Mapping,
)
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from typing import Any, TypeAlias, get_args, get_origin

from ..errors import ConfigurationError

Open: TypeAlias = Callable[[Any], AbstractAsyncContextManager[Any]]  # takes the profile

_HOW = (
    "annotate it with the type of the service, `-> CrmClient`, or where it yields the service, "
    "`-> AsyncIterator[CrmClient]` or `-> Iterator[CrmClient]`"
)


def read_factory(factory: Callable[..., Any]) -> tuple[Hashable, Open]:
    """The type that a factory makes, and what opens one.

    Raises:
        ConfigurationError: its annotation names no type, or does not fit what it is.
    """
    annotation = _return_annotation(factory)
    form = _FORMS.get(get_origin(annotation), "object")
    adapt = _ADAPTERS.get((_shape(factory), form))
    if adapt is None:
        raise ConfigurationError(f"{name_of(factory)} cannot make a service of {name_of(annotation)}; {_HOW}")
    kind: Hashable = annotation if form == "object" else get_args(annotation)[0]
    return kind, adapt(factory)


def name_of(thing: Any) -> str:
    """What a reader calls a type or a function."""
    return str(thing) if get_origin(thing) else getattr(thing, "__qualname__", str(thing))


def _return_annotation(factory: Callable[..., Any]) -> Any:
    try:
        annotation = inspect.signature(factory, eval_str=True).return_annotation
    except NameError as error:
        raise ConfigurationError(f"the annotations of {name_of(factory)} cannot be read: {error}") from error
    if annotation in (inspect.Signature.empty, None):
        raise ConfigurationError(f"{name_of(factory)} does not say what it makes; {_HOW}")
    return annotation


def _shape(factory: Callable[..., Any]) -> str:
    calls = factory, type(factory).__call__  # the latter tells of an object that can be called
    return next((shape for shape, is_one in _SHAPES.items() if any(map(is_one, calls))), "function")


def _in_a_thread(manage: Callable[[Any], AbstractContextManager[Any]]) -> Open:
    """Blocking code does not hold up the event loop, as FastAPI has it for `def`."""

    @asynccontextmanager
    async def opened(profile: Any) -> AsyncIterator[Any]:
        manager = manage(profile)
        entering = asyncio.create_task(asyncio.to_thread(manager.__enter__))
        try:
            yield await asyncio.shield(entering)
        finally:
            # A thread cannot be cancelled: what it has opened is closed all the same.
            await asyncio.wait({entering})
            if entering.exception() is None:
                await asyncio.to_thread(manager.__exit__, None, None, None)

    return opened


def _returning(factory: Callable[[Any], Any]) -> Open:
    @contextmanager
    def made(profile: Any) -> Iterator[Any]:
        yield factory(profile)

    return _in_a_thread(made)


def _awaiting(factory: Callable[[Any], Any]) -> Open:
    @asynccontextmanager
    async def made(profile: Any) -> AsyncIterator[Any]:
        yield await factory(profile)

    return made


_SHAPES: Mapping[str, Callable[[Any], bool]] = {
    "async generator": inspect.isasyncgenfunction,
    "generator": inspect.isgeneratorfunction,
    "coroutine": inspect.iscoroutinefunction,
}
_FORMS: Mapping[Any, str] = {
    AsyncIterator: "async",
    AsyncGenerator: "async",
    AbstractAsyncContextManager: "async",
    Iterator: "sync",
    Generator: "sync",
    AbstractContextManager: "sync",
}
_ADAPTERS: Mapping[tuple[str, str], Callable[[Any], Open]] = {
    ("async generator", "async"): asynccontextmanager,
    ("generator", "sync"): lambda factory: _in_a_thread(contextmanager(factory)),
    ("coroutine", "object"): _awaiting,
    ("function", "object"): _returning,
    ("function", "async"): lambda factory: factory,  # it returns a context manager
    ("function", "sync"): _in_a_thread,
}
