"""What a deployment sets, from code or from `TENANCY_*` environment variables."""

from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import URL

from .errors import ConfigurationError
from .sealing import decode_key


def _url_text(value: Any) -> Any:
    if not isinstance(value, URL):
        return value
    return value.render_as_string(hide_password=False).replace("%7Bid%7D", "{id}")  # our pattern, not the URL's


DatabaseURL = Annotated[str, BeforeValidator(_url_text)]


MIN_TOKEN_SECRET = 32  # bytes: RFC 7518, section 3.2


def _long_enough(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value().encode()) < MIN_TOKEN_SECRET:
        raise ValueError(f"a secret of token_secrets has at least {MIN_TOKEN_SECRET} bytes")
    return secret


TokenSecret = Annotated[SecretStr, AfterValidator(_long_enough)]


def _is_key(key: SecretStr) -> SecretStr:
    decode_key(key.get_secret_value(), "a key of encryption_keys")
    return key


EncryptionKey = Annotated[SecretStr, AfterValidator(_is_key)]


class TenancySettings(BaseSettings):
    """Settings of a deployment; each can be given as an argument or as `TENANCY_<NAME>` in the environment.

    Attributes:
        database_url: where the tenants are listed, and where `shared-profile` keeps their rows.
        tenant_database_url: a `basic` tenant's own database, with `{id}` in place of the tenant's id; None derives it
            from `database_url`: a folder `tenants` beside that file, or a database `t_{id}` on that server.
        tenant_template: the PostgreSQL database that new `basic` databases are copied from.
        tenant_role: give each new `basic` database on the deployment's own server a role that reaches no other.
        manager_type: the manager of a tenant that names none: a name in `MANAGER_TYPES`, or a dotted path.
        shared_isolation: how `shared-profile` keeps tenants apart; "auto" is "row" on SQLite and "schema" on servers.
        extensions_schema: the PostgreSQL schema whose functions and types the tenants' statements find without a
            schema's name.
        tenant_search_path: under "schema", let SQL text find the tenant's own tables; costs a round trip for each
            transaction.
        default_settings: what a tenant's settings hold where the tenant sets nothing else.
        trusted_proxies: networks, addresses or "unix" (a Unix socket) from which `X-Forwarded-Host` is believed.
        reveal_inactive: answer a request for a tenant that is suspended (403) or being created (503) with that status;
            else with the 404 that an unknown tenant gets.
        redis_url: the Redis in which the workers count tenants' rates together, and by which they tell each other what
            changed; None does neither.
        shared_cache: remember tenants in `redis_url`, too, for all workers together, sealed with `encryption_keys`.
        bus: how the workers tell each other what changed; "auto" is "redis" if `redis_url` is set, else "postgresql"
            (LISTEN and NOTIFY) where the store is on PostgreSQL and there is no pooler, else "poll"; "none" tells
            nobody.
        bus_poll_interval: seconds between two looks at the log of changes, under "poll".
        token_secrets: what the tenants' tokens are signed with, the newest first: the first signs, all verify. Each is
            a text of at least 32 bytes, or a private key in PEM (Ed25519, P-256 or RSA).
        encryption_keys: what the store's secrets are sealed with, the newest first: the first seals, all open. Each is
            32 bytes in URL-safe base64.
        migrations: the application's Alembic folder, whose revisions then make and change the tenants' tables; relative
            to the working directory. None has the tables made as the models are, and never changed.
        migrate_on_demand: let the first request of a tenant that is behind `migrations` migrate it, and wait for it.
        pending_tenants: how many tenants are kept ready for the next ones that are created, over all workers.
        encrypt_tenants: encrypt the data of new `basic` tenants in SQLite files, where `create_tenant` does not say.
        secret_settings: names of tenants' settings that are sealed, and masked where they are shown; `smtp.password`
            is the `password` in `smtp`. They need `encryption_keys`.
        cache_size: tenants that are remembered by a worker.
        cache_ttl: seconds for which a remembered tenant is served without asking the store.
        cache_ttl_jitter: the part of `cache_ttl`, below 1, by which a tenant is forgotten earlier at random, so that a
            fleet's workers do not all ask the store at the same moment.
        watch_interval: seconds between two looks at the store for a tenant whose WebSocket or stream is watched; None
            takes `cache_ttl`.
        unknown_cache_size: names without a tenant that are remembered by a worker.
        unknown_cache_ttl: seconds for which such a name is refused without asking the store.
        profile_cache_size: opened profiles that each manager keeps; those in use come on top.
        profile_idle_timeout: seconds after which a profile that nobody uses is closed; None keeps it.
        connection_budget: connections that this process may have open to one database server, all in all; the bus over
            PostgreSQL has one more.
        pooler: "transaction" where a pooler such as PgBouncer hands out the server's connections by the transaction.
        pool_size: connections that an open profile keeps.
        max_overflow: connections that it may open beyond those while it is busy.
        pool_timeout: seconds that a request waits for one of them before it gets a 503.
        store_timeout: seconds that the tenant store may take before a request gets a 503.
        store_failures: failures of the store in a row after which it is spared: one request at a time asks it, after
            pauses of up to 2 s, and the others get their 503 at once.
        stale_for: seconds beyond `cache_ttl` for which a tenant that was active is served while the store fails.
        slow_resolution: seconds beyond which finding a request's tenant is logged as a warning; None never does.
        drain_delay: seconds that the end of the application waits, unready for new requests and serving those that
            come, before it begins to close.
        shutdown_timeout: seconds that the end of the application waits for requests that still use a profile.
    """

    model_config = SettingsConfigDict(env_prefix="TENANCY_", extra="forbid", frozen=True, hide_input_in_errors=True)

    database_url: DatabaseURL = Field(min_length=1, repr=False)
    tenant_database_url: DatabaseURL | None = Field(None, min_length=1, repr=False)
    tenant_template: str | None = Field(None, min_length=1)
    tenant_role: bool = False
    manager_type: str = Field("basic", min_length=1)
    shared_isolation: Literal["auto", "schema", "row", "rls"] = "auto"
    extensions_schema: str | None = Field(None, min_length=1)
    tenant_search_path: bool = False
    default_settings: dict[str, Any] = Field(default_factory=dict, repr=False)  # some may be secret
    trusted_proxies: list[IPv4Network | IPv6Network | Literal["unix"]] = Field(default_factory=list)
    reveal_inactive: bool = True
    redis_url: str | None = Field(None, min_length=1, repr=False)
    shared_cache: bool = False
    bus: Literal["auto", "redis", "postgresql", "poll", "none"] = "auto"
    bus_poll_interval: float = Field(0.5, gt=0)
    token_secrets: tuple[TokenSecret, ...] = Field((), repr=False)
    encryption_keys: tuple[EncryptionKey, ...] = Field((), repr=False)
    migrations: str | None = Field(None, min_length=1)
    migrate_on_demand: bool = False
    pending_tenants: int = Field(0, ge=0)
    encrypt_tenants: bool = False
    secret_settings: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    cache_size: int = Field(1000, ge=1)
    cache_ttl: int = Field(60, ge=1)
    cache_ttl_jitter: float = Field(0.0, ge=0, lt=1)
    watch_interval: float | None = Field(None, gt=0)
    unknown_cache_size: int = Field(10_000, ge=1)
    unknown_cache_ttl: float = Field(5.0, gt=0)
    profile_cache_size: int = Field(100, ge=1)
    profile_idle_timeout: float | None = Field(300.0, gt=0)
    connection_budget: int = Field(50, ge=1)
    pooler: Literal["none", "transaction"] = "none"
    pool_size: int = Field(5, ge=1)
    max_overflow: int = Field(5, ge=0)
    pool_timeout: float = Field(5.0, gt=0)
    store_timeout: float = Field(5.0, gt=0)
    store_failures: int = Field(5, ge=1)
    stale_for: float = Field(0.0, ge=0)
    slow_resolution: float | None = Field(0.5, gt=0)
    drain_delay: float = Field(0.0, ge=0)
    shutdown_timeout: float = Field(10.0, ge=0)

    @classmethod
    def from_environment(cls) -> Self:
        """The settings that `TENANCY_*` hold.

        Raises:
            ConfigurationError: one of them is missing or wrong.
        """
        try:
            return cls()
        except ValidationError as error:
            raise ConfigurationError(
                f"pass TenancySettings(database_url=…), or set TENANCY_DATABASE_URL: {error}"
            ) from error

    @model_validator(mode="after")
    def _template_names_the_tenant(self) -> Self:
        if self.tenant_database_url is not None and "{id}" not in self.tenant_database_url:
            raise ValueError("tenant_database_url must contain {id}, or all tenants would share one database")
        return self
