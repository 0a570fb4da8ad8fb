"""Try resolvers in order; the first that names a tenant decides."""

from collections.abc import Sequence
from inspect import isawaitable

from starlette.types import Scope

from ..errors import ConfigurationError
from ..tenant import Tenant
from .base import Enter, Named, Resolver


class ResolverChain:
    """Several resolvers as one.

    Raises:
        ConfigurationError: there is none, or one is not callable.
    """

    __slots__ = ("_steps", "resolvers")

    def __init__(self, resolvers: Sequence[Resolver]) -> None:
        self.resolvers = tuple(resolvers)
        if not self.resolvers:
            raise ConfigurationError("no resolver is given; use resolvers=[HeaderResolver('X-Tenant-ID')]")
        for resolver in self.resolvers:
            if not callable(resolver):
                raise ConfigurationError(
                    f"{resolver!r} is no resolver; give a callable from an ASGI scope to str or None"
                )
        self._steps = tuple((resolver, getattr(resolver, "enter", None)) for resolver in self.resolvers)

    async def first(self, scope: Scope) -> tuple[Named, Enter | None] | None:
        """What the request names, and how to route it if that is not as it came; None where it names nothing.

        Raises:
            ConfigurationError: a resolver answered something else than a name, a tenant or None.
        """
        for resolver, enter in self._steps:
            named = resolver(scope)
            if named is None:
                continue
            if isinstance(named, str):
                return named, enter
            if isawaitable(named):
                named = await named
            if isinstance(named, (str, Tenant)):
                return named, enter
            if named is not None:
                raise ConfigurationError(
                    f"{resolver!r} answered {type(named).__name__}; a resolver answers a str, a Tenant or None"
                )
        return None
