"""The three error shapes of the wire, as one exception that knows its answer."""

from typing import Any

from lab.exchange.model import Rejected

Json = dict[str, Any]


class ApiError(Exception):
    """A refused request: an HTTP status and the JSON body that goes with it."""

    def __init__(self, status: int, body: Json) -> None:
        super().__init__(f"{status} {body}")
        self.status = status
        self.body = body


def nested(status: int, code: str, message: str, details: str | None = None) -> ApiError:
    """Return `{error: {code, message, details?}}`, the shape of business errors."""
    return ApiError(status, {"error": error_object(code, message, details)})


def flat(details: str) -> ApiError:
    """Return `{code, message, details}`, the shape of bodies that do not decode."""
    return ApiError(400, {"code": "bad_request", "message": "bad request", "details": details})


def bare(message: str) -> ApiError:
    """Return `{msg}`, the shape of query parameters that do not validate."""
    return ApiError(400, {"msg": message})


def rejected(refusal: Rejected) -> ApiError:
    """Return the answer to an order that the engine refused."""
    return nested(refusal.status, refusal.code, refusal.message, refusal.details)


def error_object(code: str, message: str, details: str | None = None) -> Json:
    """Return the inner error, without `details` when there are none."""
    shown = {"code": code, "message": message}
    return shown if details is None else {**shown, "details": details}


def not_found() -> ApiError:
    """Return the 404 of anything unknown."""
    return nested(404, "not_found", "not found")


def too_many() -> ApiError:
    """Return the 429 of an empty bucket, whose `error` is a plain string."""
    return ApiError(429, {"error": "too many requests"})


def method_not_allowed() -> ApiError:
    """Return the 405 of a known path with another method."""
    return nested(405, "method_not_allowed", "method not allowed")


def internal() -> ApiError:
    """Return the 500 of a fault of ours."""
    return nested(500, "internal_server_error", "internal server error")


def v1_gone() -> ApiError:
    """Return the 410 of the order writes that V2 replaced."""
    return nested(
        410,
        "deprecated_v1_order_endpoint",
        "this endpoint has been removed",
        "use the V2 order endpoints under /portfolio/events/orders",
    )


def unauthorized(details: str) -> ApiError:
    """Return the 401 of a wrong key or signature: `NOT_FOUND`, `INCORRECT_API_KEY_SIGNATURE`."""
    return nested(401, "authentication_error", "authentication_error", details)


def missing_signature() -> ApiError:
    """Return the 401 of a missing access header."""
    return nested(401, "signature_is_missing_from_headers", "signature is missing from headers")


def expired() -> ApiError:
    """Return the 401 of a timestamp outside the window."""
    return nested(401, "header_timestamp_expired", "header timestamp expired")
