"""A store and clocks that tests of tokens look into and turn."""

from datetime import UTC, datetime, timedelta

from fastapi_tenancy import InMemoryTenantStore, TokenRecord

SECRET = "a secret of the deployment, 32+ bytes"


class Time:
    """Both clocks at once: `clock` for what is remembered, `now` for what is recorded."""

    def __init__(self) -> None:
        self.passed = 0.0

    def clock(self) -> float:
        return self.passed

    def now(self) -> datetime:
        return datetime(2026, 1, 2, tzinfo=UTC) + timedelta(seconds=self.passed)


class CountingStore(InMemoryTenantStore):
    """Knows how often it was asked for which token, and what was written of uses."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.noted: list[dict[str, datetime]] = []

    async def get_token(self, token_id: str) -> TokenRecord | None:
        self.asked.append(token_id)
        return await super().get_token(token_id)

    async def note_token_uses(self, uses) -> None:
        self.noted.append(dict(uses))
        await super().note_token_uses(uses)
