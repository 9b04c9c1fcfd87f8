"""Check answers and frames against the official schemas, read in place."""

import functools
import re
from typing import Any

import yaml
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from tests.shared_data import shared_file

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@functools.cache
def openapi() -> dict[str, Any]:
    return _load("kalshi/openapi.yaml")


@functools.cache
def asyncapi() -> dict[str, Any]:
    return _load("kalshi/asyncapi.yaml")


def _load(relative: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.load(shared_file(relative).read_text(), Loader=_LOADER)
    _accept_null(document)
    return document


def _accept_null(node: Any) -> None:
    """Turn OpenAPI 3.0's `nullable` into what JSON Schema understands."""
    if isinstance(node, dict):
        if node.pop("nullable", False) is True:
            inner = {key: node.pop(key) for key in list(node) if key != "description"}
            node["anyOf"] = [inner, {"type": "null"}]
        for value in node.values():
            _accept_null(value)
    elif isinstance(node, list):
        for value in node:
            _accept_null(value)


@functools.cache
def _registry(kind: str) -> Registry[Any]:
    document = openapi() if kind == "openapi" else asyncapi()
    empty: Registry[Any] = Registry()
    resource = DRAFT202012.create_resource(document)
    filled: Registry[Any] = empty.with_resource(f"urn:{kind}", resource)
    return filled


def check_pointer(kind: str, pointer: str, value: Any) -> None:
    """Assert that a value is an instance of the schema at a JSON pointer of a document."""
    schema = {"$ref": f"urn:{kind}#{pointer}"}
    validator = Draft202012Validator(schema, registry=_registry(kind))
    errors = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]
    assert not errors, f"{pointer}: {errors[:5]}"


def check_answer(method: str, path: str, status: int, value: Any) -> None:
    """Assert that a body is what the official document says of this operation and status."""
    operation = openapi()["paths"][path][method.lower()]
    assert str(status) in operation["responses"], f"{method} {path} declares no {status}"
    response = operation["responses"][str(status)]
    if "$ref" in response:
        response = openapi()["components"]["responses"][response["$ref"].rsplit("/", 1)[1]]
    if "content" not in response:
        return
    escaped = path.replace("~", "~0").replace("/", "~1")
    content = "application~1json"
    pointer = f"/paths/{escaped}/{method.lower()}/responses/{status}/content/{content}/schema"
    if "$ref" in operation["responses"][str(status)]:
        pointer = "/components/schemas/ErrorResponse"
    check_pointer("openapi", pointer, value)


def check_object(name: str, value: Any) -> None:
    """Assert that a value is an instance of a named OpenAPI schema."""
    check_pointer("openapi", f"/components/schemas/{name}", value)


_FRAMES = {
    "subscribed": "subscribedResponsePayload",
    "unsubscribed": "unsubscribedResponsePayload",
    "ok": "okResponsePayload",
    "error": "errorResponsePayload",
    "orderbook_snapshot": "orderbookSnapshotPayload",
    "orderbook_delta": "orderbookDeltaPayload",
    "ticker": "tickerPayload",
    "trade": "tradePayload",
    "fill": "fillPayload",
    "market_position": "marketPositionPayload",
    "market_lifecycle_v2": "marketLifecycleV2Payload",
    "order_group_updates": "orderGroupUpdatesPayload",
    "event_lifecycle": "eventLifecyclePayload",
    "event_fee_update": "eventFeeUpdatePayload",
    "cfbenchmarks_value_indexlist": "cfbenchmarksIndexListPayload",
    "pyth_value_underlying_list": "pythUnderlyingListPayload",
    "user_order": "userOrderPayload",
}


def check_frame(frame: dict[str, Any]) -> None:
    """Assert that a WebSocket frame is what the official document says of its type."""
    name = _FRAMES[frame["type"]]
    if frame["type"] == "ok" and isinstance(frame.get("msg"), list):
        name = "listSubscriptionsResponsePayload"
    check_pointer("asyncapi", f"/components/schemas/{name}", frame)
    check_numbers(frame.get("msg"))


# What the schemas leave open, as recorded on the wire and in kalshi-api.md section 2.1.
_PRICE = re.compile(r"-?\d+\.\d{4}")
_MONEY = re.compile(r"-?\d+\.\d{6}")
_AVERAGE = re.compile(r"\d+\.\d{4}(\d\d)?")
_COUNT = re.compile(r"-?\d+\.\d{2}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d*[1-9])?Z")
_MONEY_NAME = re.compile(r".*(fees?|cost|exposure|pnl|traded)(_paid)?_dollars|fee_cost")
_COUNT_NAME = re.compile(
    r".*_fp|count|fill_count|remaining_count|initial_count|reduced_by|queue_position"
)
_LEVELS = ("yes_dollars", "no_dollars", "yes_dollars_fp", "no_dollars_fp")


def check_numbers(value: Any, key: str = "") -> None:
    """Assert the formats of all numbers and times written as text: 4, 6 and 2 decimals."""
    if isinstance(value, dict):
        for name, inner in value.items():
            check_numbers(inner, name)
    elif key in _LEVELS:
        for price, count in value:
            assert _PRICE.fullmatch(price), (key, value)
            assert _COUNT.fullmatch(count), (key, value)
    elif isinstance(value, list):
        for inner in value:
            check_numbers(inner, key)
    elif isinstance(value, str) and (pattern := _pattern(key, value)) is not None:
        assert pattern.fullmatch(value), f"{key}: expected {pattern.pattern}, got {value!r}"


def _pattern(name: str, value: str) -> re.Pattern[str] | None:
    if _MONEY_NAME.fullmatch(name):
        return _MONEY
    if name.startswith("average_"):
        return _AVERAGE
    if name.endswith("_dollars") or name in ("price", "start", "end", "step"):
        return _PRICE
    if _COUNT_NAME.fullmatch(name):
        return _COUNT
    return _TIME if name.endswith("_time") and "T" in value else None
