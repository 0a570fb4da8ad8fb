"""A Python prompt inside a tenant, which can await; what is piped into it is run as a program."""

import ast
import importlib
import rlcompleter
import sys
from code import InteractiveConsole
from collections.abc import Coroutine
from contextlib import ExitStack, suppress
from types import CodeType, FunctionType
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal
from sqlalchemy import MetaData, select

from ..context import tenant_scope
from ..errors import ConfigurationError
from ..multitenant import Profile
from ..tenancy import Tenancy

_AWAITING = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT


def interact(tenancy: Tenancy, identifier: str, *, key: str | None, allow_inactive: bool) -> None:
    """Read from stdin until it ends.

    The event loop has a thread of its own, so that Ctrl-C ends what is being run here, and not the prompt.
    """
    with ExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal())
        stack.enter_context(portal.wrap_async_context_manager(tenancy))
        using = tenancy.use(identifier, key=key, allow_inactive=allow_inactive)
        profile = stack.enter_context(portal.wrap_async_context_manager(using))
        stack.enter_context(tenant_scope(profile.tenant))
        names = {"tenant": profile.tenant, "profile": profile, "tenancy": tenancy, "select": select}
        with suppress(ConfigurationError):  # there is no synchronous driver: `profile.session()` is left
            names["session"] = stack.enter_context(profile.sync_session())
        names |= _models(tenancy.provider.root_profile.metadata)
        if sys.stdin.isatty():
            _prompt(names, portal, profile)
        else:
            _run_program(sys.stdin.read(), names, portal)


class _Console(InteractiveConsole):
    def __init__(self, names: dict[str, Any], portal: BlockingPortal) -> None:
        super().__init__(names)
        self.compile.compiler.flags |= _AWAITING
        self._names = names
        self._portal = portal

    def runcode(self, code: CodeType) -> None:
        try:
            _run(code, self._names, self._portal)
        except SystemExit:
            raise
        except BaseException:  # noqa: BLE001 - whatever was typed is shown, as in any prompt
            self.showtraceback()


def _prompt(names: dict[str, Any], portal: BlockingPortal, profile: Profile) -> None:
    with suppress(ImportError):
        # Not before: where stdout is no terminal, some versions write to it when they are imported.
        readline = importlib.import_module("readline")
        readline.set_completer(rlcompleter.Completer(names).complete)
        readline.parse_and_bind("tab: complete")
    banner = f"Inside {profile.tenant.identifier}: {', '.join(names)}; await works; Ctrl-D ends."
    _Console(names, portal).interact(banner, exitmsg="")


def _run_program(source: str, names: dict[str, Any], portal: BlockingPortal) -> None:
    for statement in ast.parse(source, "<stdin>").body:
        # One by one, so that the value of an expression is printed as it is at a prompt.
        _run(compile(ast.Interactive([statement]), "<stdin>", "single", _AWAITING), names, portal)


def _run(code: CodeType, names: dict[str, Any], portal: BlockingPortal) -> None:
    value = FunctionType(code, names)()
    if not isinstance(value, Coroutine):
        return
    running = portal.start_task_soon(_awaited, value)
    try:
        running.result()
    except KeyboardInterrupt:
        running.cancel()
        raise


async def _awaited(value: Coroutine[Any, Any, None]) -> None:
    await value


def _models(metadata: MetaData) -> dict[str, Any]:
    """The application's mapped classes, by their names; as far as they stand in its modules."""
    return {
        value.__name__: value
        for module in list(sys.modules.values())
        for value in list(getattr(module, "__dict__", {}).values())
        if isinstance(value, type) and _metadata_of(value) is metadata
    }


def _metadata_of(kind: type) -> MetaData | None:
    mapper = vars(kind).get("__mapper__")
    return getattr(getattr(mapper, "local_table", None), "metadata", None)
