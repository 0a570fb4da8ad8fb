"""Keep requests from tables that the code does not fit, or that are being migrated."""

from collections.abc import Awaitable, Callable
from datetime import datetime

from .errors import TenantMigratingError
from .tenant import Tenant


class MigrationGate:
    """Shut for a tenant whose recorded revision is behind the code's, and while it is being migrated.

    Args:
        is_behind: whether tables at a revision lack a migration that the code has.
        now: the time of day in UTC.

    Attributes:
        migrate: migrates a tenant that is behind, and returns it as it is then; None leaves it to an operator.
    """

    def __init__(self, is_behind: Callable[[str | None], bool], now: Callable[[], datetime]) -> None:
        self._is_behind = is_behind
        self._now = now
        self.migrate: Callable[[Tenant], Awaitable[Tenant]] | None = None

    def is_open(self, tenant: Tenant) -> bool:
        return not self.is_migrating(tenant) and not self._is_behind(tenant.revision)

    def is_migrating(self, tenant: Tenant) -> bool:
        return tenant.work == "migration" and tenant.work_until is not None and tenant.work_until > self._now()

    async def passed(self, tenant: Tenant) -> Tenant:
        """The tenant, migrated if that is done on demand.

        Raises:
            TenantMigratingError: it has to wait.
        """
        if self.is_open(tenant):
            return tenant
        if self.migrate is not None:
            return await self.migrate(tenant)
        if self.is_migrating(tenant):
            raise TenantMigratingError(f"the tenant {tenant.identifier!r} is being migrated; try again")
        raise TenantMigratingError(
            f"the tenant {tenant.identifier!r} is at revision {tenant.revision}, which is behind the code's; "
            "run: fastapi-tenancy migrate"
        )
