"""Everything that can go wrong, one class per failure, with its HTTP status beside it."""

from typing import ClassVar

from starlette.exceptions import HTTPException


class TenancyError(Exception):
    """Base of every error of this library.

    `str(error)` is for the developer and says what to do next. An error that is only this is a mistake in the
    application: a 500, with its traceback in the log.
    """

    status: ClassVar[int] = 500


class ConfigurationError(TenancyError, ValueError):
    """The application is set up in a way that cannot work."""


def middleware_missing() -> ConfigurationError:
    return ConfigurationError(
        "no TenancyMiddleware is installed; add app.add_middleware(TenancyMiddleware, tenancy=tenancy)"
    )


class IsolationError(TenancyError):
    """A statement or a setting could reach another tenant's rows, so it was refused before it ran."""


class RequestError(TenancyError, HTTPException):
    """Base of the errors that answer a request.

    Being an `HTTPException`, it is answered wherever it is raised: in a dependency, an endpoint, a mounted
    application. `detail` is what the client reads, and never names anything internal.
    """

    public: ClassVar[str] = ""

    def __init__(self, message: str, *, detail: str | None = None, retry_after: int | None = None) -> None:
        headers = None if retry_after is None else {"Retry-After": str(retry_after)}
        HTTPException.__init__(self, self.status, detail or self.public, headers)
        self.message = message

    def __str__(self) -> str:
        return self.message

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.message!r})"


class TenantNotSpecifiedError(RequestError):
    """No tenant was named where one is needed."""

    status = 400
    public = "No tenant was named in the request."


class TenantNotAllowedError(RequestError):
    """A tenant was named where none belongs."""

    status = 400
    public = "This address belongs to no tenant; send the request without one."


class AmbiguousTenantError(RequestError):
    """The request names two tenants."""

    status = 400
    public = "The request names more than one tenant."


class InvalidIdentifierError(RequestError, ValueError):
    """What was given as a tenant's identifier cannot be one."""

    status = 400
    public = "The tenant identifier is malformed."


class InvalidTenantError(RequestError, ValueError):
    """A tenant's name or settings cannot be stored."""

    status = 422
    public = "The tenant's name or settings are not valid."


class InvalidTokenError(RequestError):
    """A token is malformed, expired, revoked or not ours."""

    status = 401
    public = "The token is not valid."

    def __init__(self, message: str, *, detail: str | None = None) -> None:
        super().__init__(message, detail=detail)
        self.headers = {"WWW-Authenticate": "Bearer"}  # RFC 6750, section 3


class TokenScopeError(RequestError):
    """The token is valid, and what is asked for needs scopes that it does not have."""

    status = 403
    public = "The token does not allow this."


class TokenNotFoundError(RequestError):
    """The tenant has no such token."""

    status = 404
    public = "Unknown token."


class TenantKeyMissingError(RequestError):
    """A tenant whose key is not stored was opened without its key."""

    status = 401
    public = "The tenant's key is missing."

    def __init__(self, message: str, *, detail: str | None = None) -> None:
        super().__init__(message, detail=detail)
        self.headers = {"WWW-Authenticate": "TenantKey"}  # RFC 9110, section 15.5.2: every 401 names a scheme


class WrongTenantKeyError(TenantKeyMissingError):
    """What was given as the key of a tenant whose key is not stored is not its key."""

    public = "The tenant's key is wrong."


class InvalidTenantKeyError(RequestError, ValueError):
    """What was given as a tenant's new key cannot be one."""

    status = 400
    public = "The tenant's key is malformed."


class TenantSuspendedError(RequestError):
    """The tenant exists and is suspended."""

    status = 403
    public = "The tenant is suspended."


class TenantNotFoundError(RequestError):
    """No tenant has that identifier or id."""

    status = 404
    public = "Unknown tenant."


class TenantExistsError(RequestError):
    """The identifier or the namespace already belongs to a tenant."""

    status = 409
    public = "A tenant with this identifier already exists."


class TenantConflictError(RequestError):
    """Somebody else changed the tenant since it was read."""

    status = 409
    public = "The tenant was changed by somebody else; read it again."


class VetoedError(RequestError):
    """A listener stopped the act before it was begun."""

    status = 409
    public = "The act was refused."


class ActorMissingError(RequestError, ValueError):
    """Nobody is named as the one who acts where it has to be known, or by a name that cannot be recorded."""

    status = 403
    public = "Nobody is named who could do this."


class PreconditionError(RequestError):
    """The tenant is not in the version that the request is meant for."""

    status = 412
    public = "The tenant is not the one that If-Match names; read it again."


class PreconditionRequiredError(RequestError):
    """The request has to say which version of the tenant it is meant for."""

    status = 428
    public = "Send If-Match with the tenant's ETag."


class InvalidHeaderError(RequestError, ValueError):
    """A header field cannot be read, and to do without it would be another request."""

    status = 400
    public = "A header field is malformed."


class MediaTypeError(RequestError):
    """The body is of another media type than the route takes."""

    status = 415
    public = "The body has to be JSON, and to say so in Content-Type."


class IdempotencyKeyError(RequestError):
    """The idempotency key was used before, for another request."""

    status = 422
    public = "This Idempotency-Key belongs to another request; use a new one."


class RequestRunningError(RequestError):
    """A request with the same idempotency key is still being carried out."""

    status = 409
    public = "The request with this Idempotency-Key is still being carried out."


class InvalidDomainError(RequestError, ValueError):
    """What was given as a tenant's domain cannot be one."""

    status = 422
    public = "The domain is malformed."


class DomainNotFoundError(RequestError):
    """The tenant has no such domain, or none that could be verified."""

    status = 404
    public = "Unknown domain."


class DomainTakenError(RequestError):
    """The domain is verified for another tenant."""

    status = 409
    public = "The domain belongs to another tenant."


class DomainNotProvenError(RequestError):
    """The record that proves a domain is not there, or says something else."""

    status = 422
    public = "The record that proves the domain was not found."


class AskRateExceededError(RequestError):
    """The proxy asks for certificates more often than it may."""

    status = 429
    public = "Too many questions."


class DomainCheckError(RequestError):
    """It cannot be found out right now whether a domain is proven."""

    status = 503
    public = "The domain cannot be checked right now."

    def __init__(self, message: str, *, detail: str | None = None, retry_after: int = 10) -> None:
        super().__init__(message, detail=detail, retry_after=retry_after)


class TenantUnavailableError(RequestError):
    """The tenant cannot be served right now: it is being created or migrated, or its data cannot be reached."""

    status = 503
    public = "The tenant is temporarily unavailable."

    def __init__(self, message: str, *, detail: str | None = None, retry_after: int = 2) -> None:
        super().__init__(message, detail=detail, retry_after=retry_after)


class TenantMigratingError(TenantUnavailableError):
    """The tenant's tables are being migrated, or have to be before it can be served."""

    public = "The tenant is being upgraded; try again soon."

    def __init__(self, message: str, *, detail: str | None = None, retry_after: int = 5) -> None:
        super().__init__(message, detail=detail, retry_after=retry_after)


class TenantReadOnlyError(TenantUnavailableError):
    """The tenant is being moved, and until that is done its data can be read only."""

    public = "The tenant is being moved and cannot be changed right now; try again soon."

    def __init__(self, message: str, *, detail: str | None = None, retry_after: int = 5) -> None:
        super().__init__(message, detail=detail, retry_after=retry_after)


class MoveError(RequestError):
    """The tenant cannot be taken to that place, or not now; it stays where it is."""

    status = 409
    public = "The tenant cannot be moved."


class ArchiveError(RequestError):
    """The archive of a tenant cannot be written, or what was given as one cannot be imported."""

    status = 422
    public = "The archive cannot be used."


class TenantRateLimitError(RequestError):
    """The tenant has had as many requests as its rate allows."""

    status = 429
    public = "Too many requests."


class TenantBusyError(RequestError):
    """As many requests of the tenant as may run at once are running, and no place became free in time."""

    status = 429
    public = "Too many requests at once."


class StoreUnavailableError(TenantUnavailableError):
    """The tenant store failed or did not answer in time."""

    public = "The tenant store is temporarily unavailable."


class SealError(TenantUnavailableError):
    """What is sealed cannot be opened: it was changed, is another tenant's, or its key is not listed."""


class NamespaceMissingError(TenantUnavailableError):
    """The database, schema or file that is recorded for a tenant is not there."""


class NamespaceExistsError(RequestError):
    """A database, schema or file of that name is already there and does not belong to the tenant being created."""

    status = 409
    public = "The tenant's storage already exists."
