"""What can go wrong in a call to the exchange. The tree says what a caller may conclude.

KalshiError
 ├── NotDoneError             proof that nothing was done at the exchange
 │    ├── NotSentError        no byte left us: no connection
 │    ├── RateLimitedError    429, refused before it was looked at
 │    └── RefusedError        4xx with a body of the exchange: `code` says why
 ├── OutcomeUnknownError      a write may or may not have happened: ask orders and fills
 │    ├── NoAnswerError       timeout, or the connection broke after sending
 │    ├── ServerFaultError    5xx; `exchange_status` is there when the body was one
 │    └── UnreadableError     an answer that we cannot read, whatever its status
 └── CursorLoopError          a listing that does not end
"""

import msgspec
from msgspec import Struct

from libs.kalshi.fields import decoder
from libs.kalshi.wire.market import ExchangeStatus

BODY_SHOWN_CHARACTERS = 200
_TIMEOUT_STATUS = 408
_RATE_LIMIT_STATUS = 429


class KalshiError(Exception):
    """Any failure of a call; `call` is its method and path."""

    def __init__(self, call: str, explanation: str) -> None:
        super().__init__(f"{call}: {explanation}")
        self.call = call
        self.explanation = explanation


class NotDoneError(KalshiError):
    """The exchange did nothing; the same request may be sent again with the same ids."""


class NotSentError(NotDoneError):
    """No connection was made, so nothing was sent."""


class RateLimitedError(NotDoneError):
    """The token bucket at the exchange was empty (429)."""


class RefusedError(NotDoneError):
    """The exchange refused. `code` is "" when its body had none (query validation)."""

    def __init__(self, call: str, status: int, body: "ErrorBody") -> None:
        said = ": ".join(part for part in (body.code, body.message, body.details) if part)
        super().__init__(call, f"the exchange refused with {status}: {said}")
        self.status = status
        self.code = body.code
        self.message = body.message
        self.details = body.details


class OutcomeUnknownError(KalshiError):
    """It may have been done or not: resolve it by reading orders and fills, never by guessing."""


class NoAnswerError(OutcomeUnknownError):
    """Sent, or perhaps sent, and no whole answer came back."""


class ServerFaultError(OutcomeUnknownError):
    """The exchange answered 5xx."""

    def __init__(
        self, call: str, status: int, body: "ErrorBody", exchange_status: ExchangeStatus | None
    ) -> None:
        said = ": ".join(part for part in (body.code, body.message, body.details) if part)
        super().__init__(call, f"the exchange answered {status}: {said or 'no reason given'}")
        self.status = status
        self.code = body.code
        self.exchange_status = exchange_status


class UnreadableError(OutcomeUnknownError):
    """An answer outside the exchange's published forms; `status` is its HTTP status."""

    def __init__(self, call: str, status: int, explanation: str) -> None:
        super().__init__(call, f"cannot read the answer (status {status}): {explanation}")
        self.status = status


class CursorLoopError(KalshiError):
    """A listing gave a cursor again or ran past its page limit."""


class ErrorBody(Struct, frozen=True):
    """The reason of a refusal, whatever the shape it came in."""

    code: str = ""
    message: str = ""
    details: str = ""


_any_json = msgspec.json.Decoder()
_status = decoder(ExchangeStatus)


def read_error_body(body: bytes) -> ErrorBody | None:
    """Return what an error body says, or None when it is in no shape of the exchange's.

    Shapes (kalshi-api.md §2.5): {"error": {code, message, details}}, {code, message, details},
    {"msg": text} and {"error": text}.
    """
    try:
        value = _any_json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    error = value.get("error")
    if isinstance(error, str):
        return ErrorBody(message=error)
    if isinstance(error, dict):
        return _reason_of(error, "code" if "code" in error else "message")
    if isinstance(value.get("msg"), str):
        return ErrorBody(message=value["msg"])
    return _reason_of(value, "code")


def _reason_of(value: dict[str, object], required: str) -> ErrorBody | None:
    """Return the reason if the required field is there.

    The documents require none of the three, but gateways on the way write a bare `message` or a
    number as `code`, and theirs proves nothing.
    """
    said = {name: value.get(name) for name in ErrorBody.__struct_fields__}
    if not isinstance(said[required], str) or not said[required]:
        return None
    return ErrorBody(**{name: text for name, text in said.items() if isinstance(text, str)})


def read_exchange_status(body: bytes) -> ExchangeStatus | None:
    """Return the status that 503 and 504 carry as their body, or None."""
    try:
        status = _status.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    assert isinstance(status, ExchangeStatus)
    return status


def error_of(call: str, status: int, body: bytes) -> KalshiError:
    """Return the error that an answer other than 2xx stands for.

    A 4xx counts as a refusal only with a body of the exchange: a gateway on the way may answer
    4xx for a request that it already passed on.
    """
    reason = read_error_body(body)
    if status == _RATE_LIMIT_STATUS:
        return RateLimitedError(call, "the exchange's rate limit (429); send less or later")
    if status >= 500:
        return ServerFaultError(call, status, reason or ErrorBody(), read_exchange_status(body))
    if 400 <= status < 500 and status != _TIMEOUT_STATUS and reason is not None:
        return RefusedError(call, status, reason)
    shown = body[:BODY_SHOWN_CHARACTERS].decode("utf-8", "replace")
    return UnreadableError(call, status, f"expected an error of the exchange, got {shown!r}")
