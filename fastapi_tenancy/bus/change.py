"""What changed, as a worker tells it to others: names of what they are to forget, and no values."""

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import uuid4

logger = logging.getLogger(__name__)

_VERSION = 1
_AT_ONCE = 20  # changes in a message: PostgreSQL's NOTIFY takes 7,999 bytes, and one has 300 at the most
_TOO_MANY = 200  # changes at a time, beyond which it is cheaper to forget everything


class Topic(StrEnum):
    """What there is to forget."""

    TENANT = "tenant"
    TOKEN = "token"  # noqa: S105 - no secret
    DOMAIN = "domain"
    EVERYTHING = "everything"


@dataclass(frozen=True, slots=True)
class Change:
    """Something that others have to forget.

    Attributes:
        topic: what.
        keys: of a tenant its id, and the identifier that it has now if that may be new; of a token its id; of a domain
            its tenant's id and the host.
    """

    topic: Topic
    keys: tuple[str, ...] = ()

    @classmethod
    def of_tenant(cls, tenant_id: str, *identifiers: str) -> "Change":
        return cls(Topic.TENANT, (tenant_id, *identifiers))

    @classmethod
    def of_token(cls, token_id: str) -> "Change":
        return cls(Topic.TOKEN, (token_id,))

    @classmethod
    def of_domain(cls, tenant_id: str, host: str) -> "Change":
        return cls(Topic.DOMAIN, (tenant_id, host))


EVERYTHING = Change(Topic.EVERYTHING)


class Messages:
    """Writes and reads messages, in JSON: `{"v": 1, "from": …, "changes": [["tenant", "5f…", "acme"]]}`.

    Each worker has its own, made when it begins to listen and not before: processes that are forked after the
    application was made would else take each other's messages for their own.
    """

    def __init__(self) -> None:
        self._sender = uuid4().hex
        self._complained = False
        self.read = 0
        self.written = 0

    def write(self, changes: Iterable[Change]) -> Iterator[str]:
        """Texts of less than 8,000 bytes."""
        told = [[change.topic, *change.keys] for change in changes]
        if len(told) > _TOO_MANY:
            told = [[Topic.EVERYTHING]]
        self.written += len(told)
        for start in range(0, len(told), _AT_ONCE):
            message = {"v": _VERSION, "from": self._sender, "changes": told[start : start + _AT_ONCE]}
            yield json.dumps(message, separators=(",", ":"))

    def changes_in(self, text: str) -> Sequence[Change]:
        """What a message of somebody else tells; everything where it cannot be understood, as a newer one cannot.

        What is no message of a worker is ignored, and logged once.
        """
        try:
            message = json.loads(text)
            sender, version = message["from"], message["v"]
        except (ValueError, TypeError, KeyError, RecursionError):
            if not self._complained:
                self._complained = True
                logger.warning("bus carries what is no message of a worker", extra={"characters": len(text)})
            return ()
        if sender == self._sender:
            return ()
        changes = _understood(message.get("changes")) if version == _VERSION else (EVERYTHING,)
        self.read += len(changes)
        return changes


def _understood(changes: Any) -> Sequence[Change]:
    try:
        return [_CHECKED[topic](*map(str, keys)) for topic, *keys in changes]
    except (TypeError, ValueError, KeyError):
        return (EVERYTHING,)


_CHECKED: Mapping[str, Callable[..., Change]] = {
    Topic.TENANT: Change.of_tenant,
    Topic.TOKEN: Change.of_token,
    Topic.DOMAIN: Change.of_domain,
    Topic.EVERYTHING: lambda: EVERYTHING,
}
