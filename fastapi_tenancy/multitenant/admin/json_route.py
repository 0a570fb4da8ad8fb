"""A route that takes JSON and nothing else, and does not repeat what was sent to it."""

from collections.abc import Callable, Coroutine
from email.message import Message
from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.requests import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute

from ...errors import MediaTypeError

_TAKEN = {"POST": ("application/json",), "PATCH": ("application/json", "application/merge-patch+json")}


class JSONRoute(APIRoute):
    """Refuses another media type, which a form of another site could send without asking, and hides what is invalid."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            await _check_media_type(request)
            try:
                return await handle(request)
            except RequestValidationError as error:
                # Without the values: what is invalid may stand beside a secret, and answers are kept by proxies.
                faults = [{key: fault[key] for key in ("loc", "msg", "type")} for fault in error.errors()]
                raise RequestValidationError(faults) from None

        return answer


async def _check_media_type(request: Request) -> None:
    taken = _TAKEN.get(request.method)
    given = request.headers.get("content-type")
    if taken is None or (given is None and not await request.body()):
        return
    message = Message()
    message["content-type"] = given or ""
    if given is None or message.get_content_type() not in taken:
        error = MediaTypeError(f"a body of {given or 'no media type'} is refused; send {' or '.join(taken)}")
        # RFC 5789, section 2.2, and RFC 9110, section 15.5.16.
        error.headers = {"Accept-Patch" if request.method == "PATCH" else "Accept": ", ".join(taken)}
        raise error
