"""One REST request as the handlers see it, with readers for its query and body."""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from lab.exchange.engine import Engine
from lab.exchange.errors import bare, flat, nested
from lab.exchange.limits import Limits
from libs.domain.money import MoneyError, parse_count, parse_price

Json = dict[str, Any]
Item = TypeVar("Item")

BODY_BYTES_MAX = 1_000_000
TEXT_MAX = 20_000
PRIMARY = 0
_GO_KINDS = {str: "string", int: "int", bool: "bool", list: "[]"}


class Call(Struct, frozen=True, kw_only=True):
    """A request that passed authentication; `account` is None for public reads without a key."""

    engine: Engine
    limits: Limits
    account: str | None
    operation: str
    path: Mapping[str, str]
    query: Mapping[str, Sequence[str]]
    body: bytes
    now_ns: int

    @property
    def member(self) -> str:
        """Return the account of a call that needs one."""
        assert self.account is not None, f"{self.operation} is open without a key"
        return self.account

    def text(self, name: str) -> str:
        """Return a query parameter, empty when it is not there. Raises ApiError."""
        values = self.query.get(name)
        if not values:
            return ""
        if len(values[0]) > TEXT_MAX:
            raise bare(f"Invalid format for parameter {name}: too long")
        return values[0]

    def texts(self, name: str, count_max: int = 100) -> list[str]:
        """Return a comma-separated query parameter. Raises ApiError beyond `count_max`."""
        items = [item for item in self.text(name).split(",") if item]
        if len(items) > count_max:
            raise self.invalid(name, "max")
        return items

    def number(self, name: str) -> int | None:
        """Return an integer query parameter, None when absent. Raises ApiError."""
        text = self.text(name)
        if not text:
            return None
        digits = text[1:] if text[0] in "+-" else text
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
            raise bare(f"Invalid format for parameter {name}: expected an integer, got {text[:40]}")
        return int(text)

    def bounded(self, name: str, default: int, low: int, high: int) -> int:
        """Return an integer within bounds. Raises ApiError with the exchange's words."""
        value = self.number(name)
        if value is None:
            return default
        if value > high:
            raise self.invalid(name, "lte")
        if value < low:
            raise self.invalid(name, "gte")
        return value

    def flag(self, name: str) -> bool:
        """Return a boolean query parameter, False when absent. Raises ApiError."""
        text = self.text(name).lower()
        if text not in ("", "true", "false", "1", "0", "t", "f"):
            raise bare(f"Invalid format for parameter {name}: expected a boolean, got {text[:40]}")
        return text in ("true", "1", "t")

    def one_of(self, name: str, words: Sequence[str]) -> str:
        """Return a word of a closed set, empty when absent. Raises ApiError."""
        text = self.text(name)
        if text and text not in words:
            raise self.invalid(name, "oneof")
        return text

    def invalid(self, name: str, tag: str) -> Exception:
        """Return the exchange's refusal of a query parameter."""
        field = "".join(part.capitalize() for part in name.split("_"))
        return bare(
            f"Parameter validation failed for {self.operation}: Key: "
            f"'{self.operation}Params.{field}' Error:Field validation for '{field}' failed "
            f"on the '{tag}' tag"
        )

    def page(
        self, items: Sequence[Item], key: Callable[[Item], int], limit: int
    ) -> tuple[Sequence[Item], str]:
        """Return one page of items with falling keys, and the cursor of the next one.

        A cursor that is not ours means the first page, as on the exchange.
        """
        after = _cursor_value(self.text("cursor"))
        if after is not None:
            items = [item for item in items if key(item) < after]
        page = items[:limit]
        more = len(items) > limit and limit > 0
        return page, _cursor_text(key(page[-1])) if more else ""

    def check_account_scope(self) -> None:
        """Refuse subaccounts and shards that do not exist. Raises ApiError."""
        check_scope(self.number("subaccount"), self.number("exchange_index"))


def check_scope(subaccount: int | None, exchange_index: int | None) -> None:
    """Refuse any subaccount but the primary one and any shard but 0 (-1: routed). ApiError."""
    if subaccount not in (None, PRIMARY):
        raise nested(403, "forbidden", "forbidden", "this key is locked to subaccount 0")
    if exchange_index not in (None, -1, 0):
        raise nested(400, "invalid_exchange_index", "invalid exchange index")


def decode_object(body: bytes, schema: str) -> Json:
    """Return a body's JSON object. Raises ApiError in the flat shape."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise flat(f"invalid JSON body: {error}"[:200]) from None
    if not isinstance(value, dict):
        raise flat(
            f"json: cannot unmarshal {_json_kind(value)} into Go value of type {schema}"
        ) from None
    return value


class Fields:
    """Read the fields of one JSON object, each with the type that the exchange wants."""

    def __init__(self, value: object, schema: str) -> None:
        if not isinstance(value, dict):
            raise flat(f"json: cannot unmarshal {_json_kind(value)} into Go value of type {schema}")
        self._value: Json = value
        self._schema = schema

    def text(self, name: str) -> str:
        """Return a string, empty when absent. Raises ApiError."""
        value = self._typed(name, str)
        if value is not None and len(value) > TEXT_MAX:
            raise flat(f"{self._schema}.{name}: too long")
        return value or ""

    def needed(self, name: str) -> str:
        """Return a string that must be there. Raises ApiError."""
        value = self.text(name)
        if not value:
            raise self.invalid(name, "required")
        return value

    def number(self, name: str) -> int | None:
        """Return an integer, None when absent. Raises ApiError."""
        value: int | None = self._typed(name, int)
        if value is not None and not -(2**63) <= value < 2**63:
            raise flat(
                f"json: cannot unmarshal number {value} into Go struct field"
                f" {self._schema}.{name} of type int64"
            )
        return value

    def flag(self, name: str) -> bool:
        """Return a boolean, False when absent. Raises ApiError."""
        return bool(self._typed(name, bool))

    def items(self, name: str) -> list[Any]:
        """Return a list that must be there. Raises ApiError."""
        value = self._typed(name, list)
        if value is None:
            raise self.invalid(name, "required")
        return list(value)

    def word(self, name: str, words: Sequence[str]) -> str:
        """Return a needed word of a closed set. Raises ApiError."""
        value = self.needed(name)
        if value not in words:
            raise self.invalid(name, "oneof")
        return value

    def price_e4(self, name: str) -> int:
        """Return a needed dollar string as a price. Raises ApiError `invalid_price`."""
        try:
            return parse_price(self.needed(name))
        except MoneyError:
            raise nested(400, "invalid_price", "invalid price") from None

    def count_e2(self, name: str) -> int:
        """Return a needed count string. Raises ApiError `invalid_order_size`."""
        try:
            return parse_count(self.needed(name))
        except MoneyError:
            raise nested(400, "invalid_order_size", "invalid order size") from None

    def has(self, name: str) -> bool:
        """Say whether a field is there and not null."""
        return self._value.get(name) is not None

    def scope(self) -> None:
        """Refuse subaccounts and shards that do not exist. Raises ApiError."""
        check_scope(self.number("subaccount"), self.number("exchange_index"))

    def invalid(self, name: str, tag: str) -> Exception:
        """Return the exchange's refusal of a field's value."""
        field = "".join(part.capitalize() for part in name.split("_"))
        return flat(
            f"Key: '{self._schema}.{field}' Error:Field validation for '{field}' failed "
            f"on the '{tag}' tag"
        )

    def _typed(self, name: str, kind: type) -> Any:
        value = self._value.get(name)
        if value is None or type(value) is kind:
            return value
        raise flat(
            f"json: cannot unmarshal {_json_kind(value)} into Go struct field "
            f"{self._schema}.{name} of type {_GO_KINDS[kind]}"
        )


def _json_kind(value: object) -> str:
    if value is None:
        return "null"
    kinds = {bool: "bool", int: "number", float: "number", str: "string", list: "array"}
    return kinds.get(type(value), "object")


def _cursor_text(key: int) -> str:
    return base64.urlsafe_b64encode(b"k" + key.to_bytes(8, "big")).decode().rstrip("=")


def _cursor_value(text: str) -> int | None:
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return int.from_bytes(raw[1:], "big") if len(raw) == 9 and raw[:1] == b"k" else None
