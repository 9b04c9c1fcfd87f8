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


NOT_FOUND = nested(404, "not_found", "not found")
TOO_MANY = ApiError(429, {"error": "too many requests"})
METHOD_NOT_ALLOWED = nested(405, "method_not_allowed", "method not allowed")
INTERNAL = nested(500, "internal_server_error", "internal server error")
V1_GONE = nested(
    410,
    "deprecated_v1_order_endpoint",
    "this endpoint has been removed",
    "use the V2 order endpoints under /portfolio/events/orders",
)
UNKNOWN_KEY = nested(401, "authentication_error", "authentication_error", "NOT_FOUND")
BAD_SIGNATURE = nested(
    401, "authentication_error", "authentication_error", "INCORRECT_API_KEY_SIGNATURE"
)
MISSING_SIGNATURE = nested(
    401, "signature_is_missing_from_headers", "signature is missing from headers"
)
EXPIRED = nested(401, "header_timestamp_expired", "header timestamp expired")
