"""The string that is signed (kalshi-api.md §1)."""

import pytest

from libs.kalshi.signing import WEBSOCKET_METHOD, WEBSOCKET_PATH, signed_bytes


@pytest.mark.parametrize(
    ("timestamp_ms", "method", "path", "expected"),
    [
        (
            1_703_123_456_789,
            "GET",
            "/trade-api/v2/portfolio/balance",
            b"1703123456789GET/trade-api/v2/portfolio/balance",
        ),
        (
            1_781_159_360_866,
            "post",
            "/trade-api/v2/portfolio/events/orders",
            b"1781159360866POST/trade-api/v2/portfolio/events/orders",
        ),
        (
            1_781_159_360_866,
            "DELETE",
            "/trade-api/v2/portfolio/events/orders/2597b999-f887",
            b"1781159360866DELETE/trade-api/v2/portfolio/events/orders/2597b999-f887",
        ),
        (
            1_781_159_475_901,
            WEBSOCKET_METHOD,
            WEBSOCKET_PATH,
            b"1781159475901GET/trade-api/ws/v2",
        ),
    ],
)
def test_signed_string(timestamp_ms: int, method: str, path: str, expected: bytes) -> None:
    assert signed_bytes(timestamp_ms, method, path) == expected


@pytest.mark.parametrize(
    ("timestamp_ms", "method", "path"),
    [
        (1_703_123_456, "GET", "/trade-api/v2/portfolio/balance"),  # seconds
        (1_703_123_456_789, "GET", "/portfolio/balance"),  # without the prefix
        (1_703_123_456_789, "GET", "/trade-api/v2/portfolio/orders?limit=5"),  # with the query
        (1_703_123_456_789, "GET ", "/trade-api/v2/portfolio/orders"),
        (1_703_123_456_789, "", "/trade-api/v2/portfolio/orders"),
    ],
)
def test_the_usual_mistakes_are_refused(timestamp_ms: int, method: str, path: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        signed_bytes(timestamp_ms, method, path)
