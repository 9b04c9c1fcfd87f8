"""The truth log: what really happened on the exchange, one JSON object a line, never rewritten.

Every line has `n` (a running number from 1), `at_ns` (exchange time) and `kind`: account, order,
amend, reduce, trade, end, fill, settlement or market. A line is in the operating system's hands
before the answer that tells of it leaves. It shares no code with the broker.
"""

import os
from pathlib import Path
from typing import Any

import msgspec

from lab.exchange.model import (
    AccountOpened,
    Event,
    Filled,
    MarketChanged,
    OrderChanged,
    Reason,
    Settled,
)

_encoder = msgspec.json.Encoder()


class TruthLogError(Exception):
    """The truth log cannot be opened; the message says why and what to do."""


class TruthLog:
    """Append the events of an engine to a file."""

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
        self._closed = False

    def write(self, event: Event) -> None:
        """Write the line of an event, if it has one."""
        if isinstance(event, OrderChanged):
            self._line(event.at_ns, _order_line(event))
        elif isinstance(event, Filled):
            self._line(event.at_ns, {"kind": "fill", **_fields(event)})
        elif isinstance(event, Settled):
            self._line(event.at_ns, {"kind": "settlement", **_fields(event)})
        elif isinstance(event, MarketChanged):
            self._line(event.at_ns, {"kind": "market", **_fields(event)})
        elif isinstance(event, AccountOpened):
            self._line(event.at_ns, {"kind": "account", **_fields(event)})

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
        line = _encoder.encode({"n": self._count, "at_ns": at_ns, **fields}) + b"\n"
        written = os.write(self._descriptor, line)
        assert written == len(line), f"truth log: wrote {written} of {len(line)} bytes"


def _fields(event: Filled | Settled | MarketChanged | AccountOpened) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.structs.asdict(event)
    del fields["at_ns"]
    return fields


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
