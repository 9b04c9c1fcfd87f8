"""Convert between wire strings and exact integers, the one place where units change.

Prices are `price_e4` ($0.0001), quantities `count_e2` (0.01 contract), money `money_e6`
($0.000001), so `price_e4 * count_e2` is exactly `money_e6`. Index levels and strikes are
`level_e4` (0.0001 point or unit). Nothing here rounds in silence: what does not fit its unit
exactly is a `MoneyError`; only `round_level` rounds, and says so.
"""

import re

PRICE_ONE_E4 = 10_000
COUNT_ONE_E2 = 100
MONEY_ONE_E6 = 1_000_000
LEVEL_ONE_E4 = 10_000

# Bounds keep every product within 64 bits, so that numpy and ClickHouse can carry it.
COUNT_MAX_E2 = 10**14
MONEY_MAX_E6 = 10**18
LEVEL_MAX_E4 = 10**15

_PRICE_TEXTS = tuple(f"{price // 10_000}.{price % 10_000:04d}" for price in range(10_001))
_PRICE_OF_TEXT = {text: price_e4 for price_e4, text in enumerate(_PRICE_TEXTS)}
_PRICE = re.compile(r"([0-9])(?:\.([0-9]{1,6}))?")
_WIRE_COUNT = re.compile(r"(-?[0-9]{1,12})\.([0-9]{2})")
_COUNT = re.compile(r"(-?)([0-9]{1,12})(?:\.([0-9]{1,2}))?")
_MONEY = re.compile(r"(-?)([0-9]{1,12})(?:\.([0-9]{1,6}))?")
_LEVEL = re.compile(r"(-?)([0-9]{1,11})(?:\.([0-9]{1,12}))?")


class MoneyError(ValueError):
    """A wire value that is no exact price, count, money or level."""


def parse_price(text: str) -> int:
    """Return `price_e4` of a dollar string from 0 to 1; raise MoneyError if it is not exact."""
    known_e4 = _PRICE_OF_TEXT.get(text) if isinstance(text, str) else None
    if known_e4 is not None:
        return known_e4
    match = _PRICE.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise _refusal("price", 'a dollar string like "0.4700" from 0 to 1', text)
    micros = int(match[1]) * 1_000_000 + int((match[2] or "").ljust(6, "0"))
    price_e4, rest = divmod(micros, 100)
    if rest or price_e4 > PRICE_ONE_E4:
        raise _refusal("price", "a multiple of $0.0001 from 0 to 1", text)
    return price_e4


def format_price(price_e4: int) -> str:
    """Return the exchange's four-decimal dollar string; raise MoneyError outside 0 to 1."""
    if not 0 <= price_e4 <= PRICE_ONE_E4:
        raise _refusal("price_e4", "an integer from 0 to 10000", price_e4)
    return _PRICE_TEXTS[price_e4]


def parse_count(text: str) -> int:
    """Return `count_e2` of a quantity that cannot be negative; raise MoneyError otherwise."""
    count_e2 = parse_signed_count(text)
    if count_e2 < 0:
        raise _refusal("count", "a quantity that is not negative", text)
    return count_e2


def parse_signed_count(text: str) -> int:
    """Return `count_e2` of a change or a position ("-54.00"); raise MoneyError otherwise."""
    if isinstance(text, str) and (usual := _WIRE_COUNT.fullmatch(text)):
        return int(usual[1] + usual[2])
    match = _COUNT.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise _refusal("count", 'a string like "3.00" with at most two decimals', text)
    count_e2 = int(match[2]) * 100 + int((match[3] or "").ljust(2, "0"))
    return -count_e2 if match[1] else count_e2


def format_count(count_e2: int) -> str:
    """Return the exchange's two-decimal quantity string, signed when negative."""
    if not -COUNT_MAX_E2 < count_e2 < COUNT_MAX_E2:
        raise _refusal("count_e2", "fewer than 10^12 contracts", count_e2)
    whole, part = divmod(abs(count_e2), COUNT_ONE_E2)
    return f"{'-' if count_e2 < 0 else ''}{whole}.{part:02d}"


def parse_money(text: str) -> int:
    """Return `money_e6` of a signed dollar string of up to six decimals, or raise MoneyError."""
    match = _MONEY.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise _refusal("money", 'a dollar string like "-0.017500", six decimals at most', text)
    money_e6 = int(match[2]) * MONEY_ONE_E6 + int((match[3] or "").ljust(6, "0"))
    return -money_e6 if match[1] else money_e6


def format_money(money_e6: int) -> str:
    """Return the six-decimal dollar string, signed when negative."""
    if not -MONEY_MAX_E6 < money_e6 < MONEY_MAX_E6:
        raise _refusal("money_e6", "less than 10^12 dollars", money_e6)
    whole, part = divmod(abs(money_e6), MONEY_ONE_E6)
    return f"{'-' if money_e6 < 0 else ''}{whole}.{part:06d}"


def parse_level(value: str | int | float) -> int:
    """Return `level_e4` of a strike or an index level; raise MoneyError if it is not exact.

    A JSON float counts as the shortest decimal that names it: 7869.9999 is 78699999.
    """
    if isinstance(value, str):
        return _parse_level_text(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _refusal("level", "a number or a decimal string", value)
    if not -1e11 < value < 1e11:  # also refuses NaN and both infinities
        raise _refusal("level", "a finite number below 10^11", value)
    if isinstance(value, int):
        return value * LEVEL_ONE_E4
    level_e4 = round(value * LEVEL_ONE_E4)
    # Division is correctly rounded, so equality means: this decimal's nearest float is `value`.
    if level_e4 / LEVEL_ONE_E4 != value:
        raise _refusal("level", "at most four decimals (round_level rounds)", value)
    return level_e4


def _parse_level_text(text: str) -> int:
    match = _LEVEL.fullmatch(text)
    if match is None:
        raise _refusal("level", 'a decimal string like "7869.9999"', text)
    decimals = match[3] or ""
    if decimals[4:].strip("0"):
        raise _refusal("level", "at most four decimals", text)
    level_e4 = int(match[2]) * LEVEL_ONE_E4 + int(decimals[:4].ljust(4, "0"))
    return -level_e4 if match[1] else level_e4


def round_level(value: float) -> int:
    """Return the `level_e4` nearest to a measured value; raise MoneyError if it is not finite.

    For sources that publish more decimals than the index has (vendors' averages).
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e11 < value < 1e11:
        raise _refusal("level", "a finite number below 10^11", value)
    return round(value * LEVEL_ONE_E4)


def format_level(level_e4: int) -> str:
    """Return the shortest decimal string of a level, as tickers write it: "7869.9999", "8062"."""
    if not -LEVEL_MAX_E4 < level_e4 < LEVEL_MAX_E4:
        raise _refusal("level_e4", "a level below 10^11", level_e4)
    whole, part = divmod(abs(level_e4), LEVEL_ONE_E4)
    decimals = f".{part:04d}".rstrip("0").rstrip(".")
    return f"{'-' if level_e4 < 0 else ''}{whole}{decimals}"


def _refusal(what: str, expected: str, got: object) -> MoneyError:
    shown = repr(got)
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    return MoneyError(f"{what}: expected {expected}, got {shown}; drop the message it came in")
