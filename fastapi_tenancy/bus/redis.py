"""The bus over Redis publish and subscribe; imports `redis`."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, ClassVar

from ..errors import ConfigurationError
from .base import HEARTBEAT, PATIENCE, ConnectedBus, Hear, in_time
from .change import Change
from .outbox import Outbox

try:
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
except ModuleNotFoundError:
    _INSTALLED = False
else:
    _INSTALLED = True

_WITHIN = 0.25  # seconds; over loopback it is a tenth of a millisecond


class RedisBus(ConnectedBus):
    """Changes are published after they are committed; what cannot be published is tried again until it can.

    Args:
        url: of Redis.
        name: names the channel, the same in all workers of a deployment and in no other; asked once the store is open.

    Raises:
        ConfigurationError: `url` is no URL of Redis, or redis is not installed.
    """

    kind: ClassVar[str] = "redis"

    def __init__(self, url: str, name: Callable[[], str]) -> None:
        super().__init__(_WITHIN)
        if not _INSTALLED:
            raise ConfigurationError("the bus over Redis needs the extra 'redis': run pip install '.[redis]'")
        self._url = url
        self._name = name
        self._client()  # opens nothing, but finds what it does not understand in the URL
        self._outbox = Outbox(self._send)

    def publish(self, change: Change) -> None:
        self._outbox.put(change)

    @asynccontextmanager
    async def running(self, hear: Hear) -> AsyncIterator[None]:
        self._redis, self._channel = self._client(), f"tenancy:bus:{self._name()}"
        try:
            async with super().running(hear), self._outbox.running():
                yield
        finally:
            await in_time(PATIENCE, self._redis.aclose())

    async def _connect(self, closing: AsyncExitStack) -> None:
        self._subscription = self._redis.pubsub()
        closing.push_async_callback(self._subscription.aclose)
        await self._subscription.subscribe(self._channel)
        if await self._message(PATIENCE) is None:
            raise TimeoutError("redis did not confirm the subscription")

    async def _next(self) -> Sequence[Change]:
        message = await self._message(HEARTBEAT)
        if message is None:
            await in_time(PATIENCE, self._ask())
            message = await self._message(PATIENCE)
        if message is None:
            raise TimeoutError("redis gave no sign of life")
        if message["type"] == "subscribe":
            raise ConnectionError("redis was lost, and found again by its client: what it told meanwhile was missed")
        return self._read(message["data"].decode(errors="replace")) if message["type"] == "message" else ()

    async def _ask(self) -> None:
        await self._subscription.ping()

    async def _message(self, seconds: float) -> dict[str, Any] | None:
        """The next one within that time; the client's own time-out comes first, unless it fails."""
        message: dict[str, Any] | None = await in_time(
            seconds + PATIENCE, self._subscription.get_message(timeout=seconds)
        )
        return message

    async def _send(self, changes: Sequence[Change]) -> None:
        for text in self._messages.write(changes):
            await in_time(PATIENCE, self._publish(text))

    async def _publish(self, text: str) -> None:
        await self._redis.publish(self._channel, text)

    def _client(self) -> "Redis":
        try:
            client = Redis.from_url(
                self._url,
                socket_timeout=PATIENCE,
                socket_connect_timeout=PATIENCE,
                retry=Retry(NoBackoff(), 0),  # a connection that is mended behind our back would hide what was missed
            )
            client.connection_pool.make_connection()  # type: ignore[no-untyped-call]  # no annotation there
        except (ValueError, TypeError):
            # Neither cause nor URL are shown: they may hold a password.
            raise ConfigurationError("redis_url is no URL of Redis; give one like 'redis://localhost:6379/0'") from None
        return client
