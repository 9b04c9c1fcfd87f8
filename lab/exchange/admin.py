"""The faults by HTTP, on a loopback port of its own and behind a bearer token.

`POST /faults` puts one fault or a list in force, `GET /faults` shows them, `DELETE /faults` and
`DELETE /faults/{number}` lift them, `GET /state` tells what was injected.
"""

import hmac
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from lab.exchange.faults import read_faults
from lab.exchange.injector import Injector

LOOPBACK = "127.0.0.1"
BODY_BYTES_MAX = 1_000_000
_encoder = msgspec.json.Encoder()

State = Callable[[], dict[str, Any]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class AdminServer:
    """Serve the faults of one exchange; `port` says where once it is started."""

    def __init__(
        self, injector: Injector, token: str, operations: tuple[str, ...], state: State
    ) -> None:
        self._injector = injector
        self._expected = f"Bearer {token}".encode()
        self._operations = operations
        self._state = state
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self, port: int) -> None:
        """Listen. Raises OSError when the port is taken."""
        application = web.Application(middlewares=[self._guard], client_max_size=BODY_BYTES_MAX)
        application.add_routes(
            [
                web.get("/faults", self._list),
                web.post("/faults", self._add),
                web.delete("/faults", self._clear),
                web.delete("/faults/{number}", self._remove),
                web.get("/state", self._show),
            ]
        )
        self._runner = web.AppRunner(
            application, handle_signals=False, access_log=None, shutdown_timeout=1
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, LOOPBACK, port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").encode(errors="replace")
        if not hmac.compare_digest(given, self._expected):
            return _refusal(401, "expected the admin token in 'Authorization: Bearer …'")
        try:
            return await handler(request)
        except web.HTTPException as error:
            return _refusal(error.status, error.reason)

    async def _list(self, request: web.Request) -> web.Response:
        del request
        return _answer(200, {"faults": self._injector.book.record()})

    async def _add(self, request: web.Request) -> web.Response:
        try:
            value = msgspec.json.decode(await request.read())
            items = value if isinstance(value, list) else [value]
            numbers = self._injector.add(read_faults(items, "faults", self._operations))
        except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError) as error:
            return _refusal(400, str(error))
        return _answer(201, {"numbers": numbers})

    async def _clear(self, request: web.Request) -> web.Response:
        del request
        self._injector.clear()
        return web.Response(status=204)

    async def _remove(self, request: web.Request) -> web.Response:
        text = request.match_info["number"]
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            return _refusal(400, f"expected the number of a fault, given {text[:40]!r}")
        if not self._injector.remove(int(text)):
            return _refusal(404, f"expected a fault in force, given {text}")
        return web.Response(status=204)

    async def _show(self, request: web.Request) -> web.Response:
        del request
        return _answer(200, self._state())


def _answer(status: int, body: dict[str, Any]) -> web.Response:
    return web.Response(status=status, body=_encoder.encode(body), content_type="application/json")


def _refusal(status: int, message: str) -> web.Response:
    return _answer(status, {"error": message})
