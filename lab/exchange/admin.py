"""The faults by HTTP, on a loopback port of its own and behind a bearer token.

`POST /faults` puts one fault or a list in force, `GET /faults` shows them, `DELETE /faults` and
`DELETE /faults/{number}` lift them, `GET /state` tells what was injected.
"""

import hmac
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import msgspec
from aiohttp import web

from lab.exchange.errors import ApiError
from lab.exchange.faults import read_faults
from lab.exchange.http import ShapedServer, read_body
from lab.exchange.injector import Injector

LOOPBACK = "127.0.0.1"
_encoder = msgspec.json.Encoder()


class AdminServer:
    """Serve the faults of one exchange; `port` says where once it is started."""

    def __init__(
        self,
        injector: Injector,
        token: str,
        operations: tuple[str, ...],
        state: Callable[[], dict[str, Any]],
    ) -> None:
        self._injector = injector
        self._expected = f"Bearer {token}".encode()
        self._operations = operations
        self._state = state
        self._runner: web.ServerRunner | None = None
        self.port = 0

    async def start(self, port: int) -> None:
        """Listen. Raises OSError when the port is taken."""
        server = ShapedServer(self._respond, lambda: formatdate(usegmt=True))
        self._runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, LOOPBACK, port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _respond(self, request: web.BaseRequest) -> web.Response:
        given = request.headers.get("Authorization", "").encode(errors="replace")
        if not hmac.compare_digest(given, self._expected):
            return _refusal(401, "expected the admin token in 'Authorization: Bearer …'")
        match request.method, request.raw_path.strip("/").split("/"):
            case "GET", ["state"]:
                return _answer(200, self._state())
            case "GET", ["faults"]:
                return _answer(200, {"faults": self._injector.book.record()})
            case "POST", ["faults"]:
                body = await read_body(request)
                return self._add(body) if isinstance(body, bytes) else _unreadable(body)
            case "DELETE", ["faults"]:
                self._injector.clear()
                return web.Response(status=204)
            case "DELETE", ["faults", number]:
                return self._remove(number)
        return _refusal(404, "expected /state or /faults, see docs/exchange-simulator.md")

    def _add(self, body: bytes) -> web.Response:
        try:
            value = msgspec.json.decode(body)
            items = value if isinstance(value, list) else [value]
            numbers = self._injector.add(read_faults(items, "faults", self._operations))
        except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError) as error:
            return _refusal(400, str(error))
        return _answer(201, {"numbers": numbers})

    def _remove(self, text: str) -> web.Response:
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            return _refusal(400, f"expected the number of a fault, given {text[:40]!r}")
        if not self._injector.remove(int(text)):
            return _refusal(404, f"expected a fault in force, given {text}")
        return web.Response(status=204)


def _answer(status: int, body: dict[str, Any]) -> web.Response:
    return web.Response(status=status, body=_encoder.encode(body), content_type="application/json")


def _unreadable(error: ApiError) -> web.Response:
    return _refusal(error.status, error.body["details"])


def _refusal(status: int, message: str) -> web.Response:
    return _answer(status, {"error": message})
