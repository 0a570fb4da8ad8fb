"""Where a tenant is to be taken, as far as that can be told before anything is done."""

from dataclasses import replace

from sqlalchemy import URL

from ...errors import ConfigurationError, MoveError
from ...multitenant import MultitenantManagerProvider
from ...multitenant.shared_profile_manager import ISOLATIONS
from ...tenant import Tenant


async def destination(
    provider: MultitenantManagerProvider,
    tenant: Tenant,
    to: str,
    isolation: str | None,
    database_url: str | URL | None,
) -> Tenant:
    """The tenant as it is to be recorded in its new place.

    Raises:
        ConfigurationError: `to` or `isolation` is unknown, or something does not fit the deployment.
        MoveError: the tenant is encrypted.
    """
    name = to.lower()
    if name not in provider.MANAGER_TYPES:
        raise ConfigurationError(f"no manager is called {to!r}; use one of {', '.join(provider.MANAGER_TYPES)}")
    if isolation is not None and name != "shared-profile":
        raise ConfigurationError('isolation goes with "shared-profile"; leave it out')
    if isolation is not None and isolation not in ISOLATIONS:
        raise ConfigurationError(f"no isolation is called {isolation!r}; use one of {', '.join(ISOLATIONS)}")
    if database_url is not None and name != "basic":
        raise ConfigurationError('database_url goes with "basic"; leave it out')
    if tenant.encrypted:
        raise MoveError(
            f"the tenant {tenant.identifier!r} is encrypted, and is moved to no other place; export it, and import it "
            "where it is to be"
        )
    settings = provider.root_profile.settings
    if {isolation, settings.shared_isolation} == {"row", "rls"}:
        raise ConfigurationError(
            f'shared_isolation is "{settings.shared_isolation}", and "{isolation}" would need the same tables; use '
            '"schema", or to="basic"'
        )
    url = database_url.render_as_string(hide_password=False) if isinstance(database_url, URL) else database_url
    draft = replace(
        tenant,
        manager_type=name,
        database_url=url,
        namespace=None if isolation is None else f"{isolation}/{tenant.id}",
    )
    return await provider.provide({"manager_type": name}).place(draft)
