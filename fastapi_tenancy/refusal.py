"""Answer a request that must not reach the application."""

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send


async def refuse(error: HTTPException, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with what `error` says, since a middleware's exception never reaches the application's handlers."""
    if error.status_code < 400:  # a redirect has nothing to explain
        response = Response(status_code=error.status_code, headers=error.headers)
    else:
        response = JSONResponse({"detail": error.detail}, error.status_code, error.headers)
    await response(scope, receive, send)


def able_to_refuse(scope: Scope, send: Send) -> Send:
    """A WebSocket's `send` by which `refuse` works; it closes with 1008 where the server takes no denial responses.

    <https://asgi.readthedocs.io/en/latest/extensions.html#websocket-denial-response>
    """
    if "websocket.http.response" in scope.get("extensions", {}):
        return send

    async def closing_instead(message: Message) -> None:
        if message["type"] == "websocket.http.response.start":
            await send({"type": "websocket.close", "code": 1008})
        elif message["type"] != "websocket.http.response.body":
            await send(message)

    return closing_instead
