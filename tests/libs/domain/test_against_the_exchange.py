"""Our words and units against the exchange's own specification and recorded answers."""

import json
import re

from libs.domain.fee_table import FeeType
from libs.domain.money import (
    PRICE_ONE_E4,
    format_count,
    format_price,
    parse_level,
    parse_price,
    parse_signed_count,
)
from libs.domain.strikes import StrikeType
from tests.shared_data import shared_file


def test_fee_types_are_those_of_the_specification() -> None:
    text = shared_file("kalshi/openapi.yaml").read_text()
    match = re.search(r"\n    FeeType:\n      type: string\n      enum: \[([^]]*)\]", text)
    assert match is not None
    assert {word.strip() for word in match[1].split(",")} == {word.value for word in FeeType}


def test_strike_types_are_those_of_the_specification() -> None:
    text = shared_file("kalshi/openapi.yaml").read_text()
    match = re.search(
        r"\n        strike_type:\n(?: {10}.*\n)*? {10}enum: ?((?:.*\n)(?: +- .*\n)*)", text
    )
    assert match is not None
    assert set(re.findall(r"[a-z_]+", match[1])) == {word.value for word in StrikeType}


def test_every_recorded_market_reads_and_writes_back() -> None:
    folder = shared_file("kalshi/recorded")
    seen = 0
    for path in sorted(folder.glob("markets__*.json")):
        if path.name.endswith(".meta.json"):
            continue
        answer = json.loads(path.read_text())
        for market in answer.get("markets") or [
            answer[key] for key in ("market",) if key in answer
        ]:
            for name in ("yes_bid", "yes_ask", "no_bid", "no_ask", "last_price"):
                text = market[f"{name}_dollars"]
                assert format_price(parse_price(text)) == text
            assert parse_price(market["no_bid_dollars"]) == PRICE_ONE_E4 - parse_price(
                market["yes_ask_dollars"]
            )
            for name in ("volume_fp", "open_interest_fp", "yes_bid_size_fp", "yes_ask_size_fp"):
                assert format_count(parse_signed_count(market[name])) == market[name]
            for name in ("floor_strike", "cap_strike"):
                if name in market:
                    assert parse_level(market[name]) == round(market[name] * 10_000)
            seen += 1
    assert seen > 100
