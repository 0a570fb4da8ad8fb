"""How the admin API refuses, and how its OpenAPI document tells of that."""

from typing import Any

from pydantic import BaseModel, create_model

from ...errors import RequestError, StoreUnavailableError

# Named and shaped as what the tenants' routes are documented with, so that a document has it once.
Problem: type[BaseModel] = create_model("TenancyError", detail=(str, ...))


class Fault(BaseModel):
    """One thing that is wrong with a request."""

    loc: list[str | int]
    msg: str
    type: str


class Invalid(BaseModel):
    """What is wrong with a request: in words, or each thing with its place."""

    detail: str | list[Fault]


_TEXT = {"type": "string"}
_SECONDS = {"type": "integer"}
ETAG: dict[str, Any] = {"ETag": {"description": "The version of the tenant, for If-Match.", "schema": _TEXT}}
_RETRY_AFTER = {"Retry-After": {"description": "Seconds after which another try makes sense.", "schema": _SECONDS}}
_RETRIED = frozenset({409, 503})
_NOT_JSON = "There was an error parsing the body"  # FastAPI's own words
_INVALID = "A value is missing, malformed or out of its range."

Answers = dict[int | str, dict[str, Any]]


def refusals(*errors: type[RequestError], body: bool = False, checked: bool = True) -> Answers:
    """What a route can refuse with, for its `responses`.

    Args:
        errors: those that it raises; a store that fails goes without saying.
        body: whether it takes one.
        checked: whether it takes anything that can be invalid.
    """
    texts: dict[int, list[str]] = {422: [_INVALID]} if checked else {}
    if body:
        texts[400] = [f"{_NOT_JSON}."]
    raised: list[type[RequestError]] = [*errors, StoreUnavailableError]
    for error in raised:
        if error.public not in texts.setdefault(error.status, []):
            texts[error.status].append(error.public)
    return {status: _answer(status, " ".join(text)) for status, text in sorted(texts.items())}


def _answer(status: int, text: str) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": text, "model": Invalid if status == 422 else Problem}
    return {**answer, "headers": _RETRY_AFTER} if status in _RETRIED else answer
