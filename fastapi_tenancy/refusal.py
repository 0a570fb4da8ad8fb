"""Answer a request that must not reach the application."""

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from .errors import TenantMigratingError

_POLICY_VIOLATION, _TRY_AGAIN_LATER = 1008, 1013  # <https://www.iana.org/assignments/websocket/websocket.xhtml>


async def refuse(error: HTTPException, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with what `error` says, since a middleware's exception never reaches the application's handlers."""
    if isinstance(error, TenantMigratingError) and scope["type"] == "websocket" and not _takes_denials(scope):
        await send({"type": "websocket.close", "code": _TRY_AGAIN_LATER})
        return
    if error.status_code < 400:  # a redirect has nothing to explain
        response = Response(status_code=error.status_code, headers=error.headers)
    else:
        response = JSONResponse({"detail": error.detail}, error.status_code, error.headers)
    await response(scope, receive, send)


def able_to_refuse(scope: Scope, send: Send) -> Send:
    """A WebSocket's `send` by which `refuse` works; it closes with 1008 where the server takes no denial responses.

    <https://asgi.readthedocs.io/en/latest/extensions.html#websocket-denial-response>
    """
    if _takes_denials(scope):
        return send

    async def closing_instead(message: Message) -> None:
        if message["type"] == "websocket.http.response.start":
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
        elif message["type"] != "websocket.http.response.body":
            await send(message)

    return closing_instead


def _takes_denials(scope: Scope) -> bool:
    return "websocket.http.response" in scope.get("extensions", {})
