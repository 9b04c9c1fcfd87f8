"""A client that may only read: nothing else leaves it, whichever call is made."""

from collections.abc import Mapping

import pytest

from libs.kalshi import endpoints
from libs.kalshi.endpoints import Endpoint
from libs.kalshi.errors import NotSentError
from libs.kalshi.transport import Answer, ReadOnlyTransport

ALL = [value for value in vars(endpoints).values() if isinstance(value, Endpoint)]
WRITES = [one for one in ALL if one.method != "GET"]


class Wire:
    """What lies below: it keeps what reached it."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        self.sent.append(f"{method} {url}")
        return Answer(200, b"{}")

    async def close(self) -> None:
        pass


@pytest.mark.parametrize("endpoint", ALL, ids=lambda one: f"{one.method} {one.template}")
async def test_only_reads_get_out(endpoint: Endpoint) -> None:
    wire = Wire()
    url = f"https://exchange.example/trade-api/v2{endpoint.template}"
    transport = ReadOnlyTransport(wire)
    if endpoint in WRITES:
        with pytest.raises(NotSentError, match="only reads"):
            await transport.send(endpoint.method, url, {}, b"{}")
        assert wire.sent == []
    else:
        await transport.send(endpoint.method, url, {}, None)
        assert wire.sent == [f"GET {url}"]


def test_there_are_writes_to_refuse() -> None:
    assert {one.method for one in WRITES} == {"POST", "PUT", "DELETE"}
