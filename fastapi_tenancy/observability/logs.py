"""The tenant on every log record, by the standard library's logging and by structlog."""

import logging
from collections.abc import MutableMapping
from typing import Any

from ..context import CURRENT

_NOBODY = "-"


class TenantFilter(logging.Filter):
    """Gives each record `tenant` (the identifier) and `tenant_id`, for a formatter; "-" where there is no tenant.

    A record that names a tenant by itself keeps that. Add it to handlers: a filter of a logger does not see what
    loggers below it write.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        tenant = CURRENT.get()
        if not hasattr(record, "tenant"):
            record.tenant = _NOBODY if tenant is None else tenant.identifier
        if not hasattr(record, "tenant_id"):
            record.tenant_id = _NOBODY if tenant is None else tenant.id
        return True


def add_tenant(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor of structlog: `tenant` and `tenant_id` of the running code, where they are not in the event yet."""
    tenant = CURRENT.get()
    if tenant is not None:
        event.setdefault("tenant", tenant.identifier)
        event.setdefault("tenant_id", tenant.id)
    return event
