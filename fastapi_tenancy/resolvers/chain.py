"""Several resolvers as one: what they name together, and what becomes of two that disagree."""

from collections.abc import Awaitable, Sequence
from inspect import isawaitable
from itertools import chain
from types import MethodType
from typing import Any, Literal, get_args

from starlette.types import Scope

from ..errors import AmbiguousTenantError, ConfigurationError
from ..tenant import Tenant
from .base import Enter, Named, Resolver

Conflict = Literal["refuse", "first"]
"""What becomes of a request in which two resolvers name different tenants."""


class ResolverChain:
    """Resolvers in the order in which they are asked, checked once.

    Args:
        resolvers: at least one.
        tenancy: what those with a method `bound_to` are bound to.
        conflict: "refuse" asks all of them, "first" stops at the first that names a tenant.

    Attributes:
        resolvers: as they were given, or bound.
        name: from a scope to what it names, to None, or to an awaitable of these; `settled` awaits it.
        enter: from a scope and the tenant's identifier to the scope that the application routes; None where that is
            the scope as it came.

    Raises:
        ConfigurationError: there is none, one is not callable, or `conflict` is something else.
    """

    __slots__ = ("_asked", "_entered", "_first_decides", "enter", "name", "resolvers")

    def __init__(self, resolvers: Sequence[Resolver], tenancy: object = None, conflict: Conflict = "refuse") -> None:
        if not resolvers:
            raise ConfigurationError("no resolver is given; use resolvers=[HeaderResolver('X-Tenant-ID')]")
        for each in resolvers:
            if not callable(each):
                raise ConfigurationError(f"{each!r} is no resolver; give a callable from an ASGI scope to str or None")
        if conflict not in get_args(Conflict):
            raise ConfigurationError(f"conflict={conflict!r} is unknown; choose from {', '.join(get_args(Conflict))}")
        self._first_decides = conflict == "first"
        self.resolvers = tuple(each.bound_to(tenancy) if hasattr(each, "bound_to") else each for each in resolvers)
        self._asked = tuple(_as_function(each) for each in self.resolvers)
        self._entered: tuple[Enter, ...] = tuple(each.enter for each in self.resolvers if hasattr(each, "enter"))
        self.name: Resolver = self._asked[0] if len(self._asked) == 1 else self._name
        self.enter: Enter | None = None if not self._entered else self._enter_all

    def _name(self, scope: Scope) -> Named | Awaitable[Named | None] | None:
        agreed: Named | None = None
        for number, ask in enumerate(self._asked):
            named = ask(scope)
            if named is None:
                continue
            if not isinstance(named, (str, Tenant)):
                return self._name_later(scope, agreed, named, self._asked[number + 1 :])
            agreed = _one_of(agreed, named)
            if self._first_decides:
                break
        return agreed

    async def _name_later(
        self, scope: Scope, agreed: Named | None, pending: Awaitable[Any], others: Sequence[Resolver]
    ) -> Named | None:
        for answer in chain((pending,), (ask(scope) for ask in others)):
            named = await settled(answer)
            if named is not None:
                agreed = _one_of(agreed, named)
                if self._first_decides:
                    break
        return agreed

    def _enter_all(self, scope: Scope, identifier: str) -> Scope:
        for enter in self._entered:
            scope = enter(scope, identifier)
        return scope


def _as_function(resolver: Resolver) -> Resolver:
    """The method that makes `resolver` callable, which costs less to call than the object."""
    method: object = getattr(resolver, "__call__")  # noqa: B004, B009 - wanted is the method, and mypy denies it
    return method if isinstance(method, MethodType) else resolver


async def settled(answer: Named | Awaitable[Any] | None) -> Named | None:
    """What a resolver answers in the end.

    Raises:
        ConfigurationError: it is something else than a name, a tenant or None.
    """
    named = await answer if isawaitable(answer) else answer
    if named is None or isinstance(named, (str, Tenant)):
        return named
    raise ConfigurationError(f"a resolver answered {type(named).__name__}; it answers a str, a Tenant or None")


def _one_of(agreed: Named | None, named: Named) -> Named:
    """Either of them, and the tenant itself where one is; they have to name the same."""
    if agreed is None:
        return named
    if _identifier_of(agreed) != _identifier_of(named):
        raise AmbiguousTenantError(
            f"the request names {_identifier_of(agreed)[:80]!r} and {_identifier_of(named)[:80]!r}; send one, or let "
            "the first resolver decide with Tenancy(conflict='first')"
        )
    return named if isinstance(named, Tenant) else agreed


def _identifier_of(named: Named) -> str:
    return named if isinstance(named, str) else named.identifier
