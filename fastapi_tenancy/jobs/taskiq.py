"""Tenants in taskiq: a middleware that sends the tenant along, and a dependency that opens it for the task."""

from collections.abc import AsyncIterator
from typing import Annotated, Any, cast

from ..errors import ConfigurationError, TenantSuspendedError
from ..multitenant import Profile
from ..tenancy import Tenancy
from .carrier import TENANT, inject, resume

try:
    from taskiq import AsyncBroker, Context, TaskiqDepends, TaskiqMessage, TaskiqMiddleware
    from taskiq.exceptions import NoResultError
    from taskiq.kicker import AsyncKicker
except ModuleNotFoundError as error:
    raise ConfigurationError(f"fastapi_tenancy.jobs.taskiq needs {error.name}: pip install taskiq") from error

# The label of a task that belongs to no tenant: @broker.task(tenancy="none").
_KIND, _NONE = "tenancy", "none"


class TenantMiddleware(TaskiqMiddleware):
    """Sends each task with the tenant that is current where it is sent, and refuses to send it without one.

    Args:
        tenancy: which the worker opens and closes with the broker; elsewhere it is open already, or not needed.
        park: seconds after which a task whose tenant is suspended is tried again, by the label `delay`, which not every
            broker heeds; None lets it fail with a `TenantSuspendedError`.
    """

    def __init__(self, tenancy: Tenancy, *, park: float | None = None) -> None:
        super().__init__()
        self._tenancy = tenancy
        self._park = park

    def set_broker(self, broker: AsyncBroker) -> None:
        super().set_broker(broker)
        broker.state.tenancy = self._tenancy
        broker.state.tenancy_park = self._park

    async def startup(self) -> None:
        if self.broker.is_worker_process:
            await self._tenancy.__aenter__()

    async def shutdown(self) -> None:
        if self.broker.is_worker_process:
            await self._tenancy.__aexit__()

    def pre_send(self, message: TaskiqMessage) -> TaskiqMessage:
        # What is sent again, to be retried, has its tenant already.
        if message.labels.get(_KIND) != _NONE and TENANT not in message.labels:
            inject(message.labels)
        return message


async def _profile(context: Annotated[Context, TaskiqDepends()]) -> AsyncIterator[Profile]:
    state: Any = context.state
    try:
        opened = resume(state.tenancy, context.message.labels)
        profile = await opened.__aenter__()
    except TenantSuspendedError:
        if state.tenancy_park is None:
            raise
        await _send_later(context, state.tenancy_park)
        raise NoResultError from None
    try:
        yield profile
    finally:
        await opened.__aexit__(None, None, None)


async def _send_later(context: Context, seconds: float) -> None:
    message = context.message
    labels = {**message.labels, "delay": seconds}
    kicker: Any = AsyncKicker(message.task_name, context.broker, labels).with_task_id(message.task_id)
    await kicker.kiq(*message.args, **message.kwargs)


TenantProfile = Annotated[Profile, cast("Any", TaskiqDepends(_profile))]
