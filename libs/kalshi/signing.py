"""What is signed and how it travels. Keys live elsewhere: a Signer is passed in.

kalshi-api.md §1: the timestamp in milliseconds, the method in upper case and the full path from
the host root, with no separator; no host, no query, no body.
"""

from typing import Protocol

KEY_HEADER = "KALSHI-ACCESS-KEY"
TIMESTAMP_HEADER = "KALSHI-ACCESS-TIMESTAMP"
SIGNATURE_HEADER = "KALSHI-ACCESS-SIGNATURE"

WEBSOCKET_METHOD = "GET"
WEBSOCKET_PATH = "/trade-api/ws/v2"
REST_PREFIX = "/trade-api/v2"


class Signer(Protocol):
    """Sign requests with one key."""

    @property
    def key_id(self) -> str:
        """Return the id that the exchange knows the key by."""
        ...

    def sign(self, timestamp_ms: int, method: str, path: str) -> dict[str, str]:
        """Return the three headers for a request at `timestamp_ms`; see `signed_bytes`."""
        ...


def signed_bytes(timestamp_ms: int, method: str, path: str) -> bytes:
    """Return the bytes to sign. Raises ValueError on seconds, a query or a path without root."""
    if not 10**12 <= timestamp_ms < 10**13:
        raise ValueError(f"timestamp_ms: expected Unix milliseconds, got {timestamp_ms}")
    if not path.startswith("/trade-api/") or "?" in path or "#" in path:
        raise ValueError(f"path: expected /trade-api/... without a query, got {path!r}")
    if not method.isascii() or not method.isalpha():
        raise ValueError(f"method: expected an HTTP method, got {method!r}")
    return f"{timestamp_ms}{method.upper()}{path}".encode()
