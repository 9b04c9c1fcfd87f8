"""The truth log: what really happened on the exchange, one JSON object a line, never rewritten.

docs/exchange-simulator.md lists the kinds of lines and their fields. Lines are in the operating
system's hands before the answer that tells of them leaves. It shares no code with the broker.
"""

import os
from pathlib import Path
from typing import Any

import msgspec

from lab.exchange.model import (
    AccountOpened,
    BookChanged,
    CollateralReturned,
    Event,
    Filled,
    GroupChanged,
    MarketChanged,
    OrderChanged,
    PauseChanged,
    Reason,
    Settled,
    Traded,
)

_encoder = msgspec.json.Encoder()


class TruthLogError(Exception):
    """The truth log cannot be opened; the message says why and what to do."""


_KINDS: dict[type, str] = {
    AccountOpened: "account",
    Filled: "fill",
    Settled: "settlement",
    CollateralReturned: "collateral",
    MarketChanged: "market",
    GroupChanged: "group",
    PauseChanged: "pause",
}


class TruthLog:
    """Append the events of an engine, and the write requests that it got, to a file."""

    def __init__(self, path: Path) -> None:
        """Open a new log. Raises TruthLogError if it is there already or cannot be made."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        try:
            self._descriptor = os.open(path, flags, 0o644)
        except OSError as error:
            raise TruthLogError(
                f"truth log: expected to create {path}, got {error.strerror}; name a new file"
            ) from error
        self._path = path
        self._count = 0
        self._request = 0
        self._waiting: list[bytes] = []
        self._closed = False

    def write(self, event: Event) -> None:
        """Write the line of an event; books and prints follow from orders and have none."""
        if isinstance(event, OrderChanged):
            self._line(event.at_ns, _order_line(event))
        elif not isinstance(event, BookChanged | Traded):
            fields = msgspec.structs.asdict(event)
            del fields["at_ns"]
            self._line(event.at_ns, {"kind": _KINDS[type(event)], **fields})

    def begin(self, at_ns: int, received_ns: int, key_id: str, call: str, body: bytes) -> None:
        """Write that a write request came in; what follows is its doing until `end`."""
        assert not self._request, f"request {self._request} has not ended"
        self._request = self._count + 1
        line = {
            "kind": "request",
            "received_ns": received_ns,
            "key_id": _clean(key_id),
            "call": _clean(call),
            "body": body.decode(errors="replace"),
        }
        self._line(at_ns, line)

    def end(self, at_ns: int, status: int, body: bytes | None) -> None:
        """Write the answer of the request that began, before it leaves."""
        assert self._request, "no request began"
        answer = msgspec.Raw(body or b"null")
        self._line(at_ns, {"kind": "answer", "status": status, "body": answer})
        self._request = 0
        self._flush()

    def close(self) -> None:
        """Push everything to the disk and close; closing again does nothing."""
        if not self._closed:
            self._closed = True
            os.fsync(self._descriptor)
            os.close(self._descriptor)

    def remove(self) -> None:
        """Close and delete the log of an exchange that never began to serve."""
        self.close()
        self._path.unlink(missing_ok=True)

    def _line(self, at_ns: int, fields: dict[str, Any]) -> None:
        self._count += 1
        line: dict[str, Any] = {"n": self._count, "at_ns": at_ns, **fields}
        if self._request and self._request != self._count:
            line["request"] = self._request
        self._waiting.append(_encoder.encode(line))
        if not self._request:
            self._flush()

    def _flush(self) -> None:
        self._waiting.append(b"")
        lines = b"\n".join(self._waiting)
        self._waiting.clear()
        written = os.write(self._descriptor, lines)
        assert written == len(lines), f"truth log: wrote {written} of {len(lines)} bytes"


def _clean(text: str) -> str:
    """Return a header's or a path's text without the halves of characters it may hold."""
    return text.encode(errors="replace").decode()


def _order_line(event: OrderChanged) -> dict[str, Any]:
    order = event.order
    line: dict[str, Any] = {
        "kind": _order_kind(event),
        "account": order.account,
        "order_id": order.order_id,
        "client_order_id": order.client_order_id,
        "ticker": order.ticker,
        "remaining_e2": order.remaining_e2,
    }
    if line["kind"] in ("order", "amend"):
        line |= {
            "side": order.side,
            "price_e4": order.price_e4,
            "expiration_ns": order.expiration_ns,
        }
    if line["kind"] == "order":
        line |= {
            "count_e2": order.initial_e2,
            "time_in_force": order.time_in_force,
            "post_only": order.post_only,
            "cancel_on_pause": order.cancel_on_pause,
            "group_id": order.group_id,
        }
    else:
        line |= {"reason": event.reason.value, "reduced_e2": event.reduced_e2}
    return line


def _order_kind(event: OrderChanged) -> str:
    if event.reason is Reason.NEW:
        return "order"
    if event.order.status != "resting":
        return "end"
    return {Reason.AMEND: "amend", Reason.TRADE: "trade"}.get(event.reason, "reduce")
