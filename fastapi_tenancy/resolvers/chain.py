"""Resolvers in the order in which they are tried; the first that names a tenant decides."""

from collections.abc import Awaitable, Sequence
from inspect import isawaitable
from typing import Any

from ..errors import ConfigurationError
from ..tenant import Tenant
from .base import Enter, Named, Resolver


class ResolverChain:
    """Several resolvers, checked once.

    Attributes:
        resolvers: as they were given.
        steps: each with its `enter`, or None where the application routes the scope as it came.

    Raises:
        ConfigurationError: there is none, or one is not callable.
    """

    __slots__ = ("resolvers", "steps")

    def __init__(self, resolvers: Sequence[Resolver], tenancy: object = None) -> None:
        self.resolvers = tuple(each.bound_to(tenancy) if hasattr(each, "bound_to") else each for each in resolvers)
        if not self.resolvers:
            raise ConfigurationError("no resolver is given; use resolvers=[HeaderResolver('X-Tenant-ID')]")
        for resolver in self.resolvers:
            if not callable(resolver):
                raise ConfigurationError(
                    f"{resolver!r} is no resolver; give a callable from an ASGI scope to str or None"
                )
        self.steps: tuple[tuple[Resolver, Enter | None], ...] = tuple(
            (resolver, getattr(resolver, "enter", None)) for resolver in self.resolvers
        )


async def settled(answer: Named | Awaitable[Any] | None, resolver: Resolver) -> Named | None:
    """What a resolver answers in the end, where that is no plain string.

    Raises:
        ConfigurationError: it is something else than a name, a tenant or None.
    """
    named = await answer if isawaitable(answer) else answer
    if named is None or isinstance(named, (str, Tenant)):
        return named
    raise ConfigurationError(
        f"{resolver!r} answered {type(named).__name__}; a resolver answers a str, a Tenant or None"
    )
