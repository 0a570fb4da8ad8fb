"""Notice in a forked process what it inherited open, since a connection that two processes use is nobody's."""

import os
from typing import Protocol
from weakref import WeakSet


class Inherited(Protocol):
    """What may be open when the process forks."""

    def disinherit(self) -> None:
        """Called in the child: use no connection any more, and close none, since they are the parent's."""


_watched: WeakSet[Inherited] = WeakSet()


def tell_of_forks(one: Inherited) -> None:
    """Have it told in every process that is forked from this one."""
    _watched.add(one)


def _in_the_child() -> None:
    for one in tuple(_watched):
        one.disinherit()


if hasattr(os, "register_at_fork"):  # not where there is no fork
    os.register_at_fork(after_in_child=_in_the_child)
