"""Tick grids as the exchange names them, and counts of a hundredth of a contract."""

import pytest

from lab.exchange.ladders import build_ladder
from lab.exchange.matching import on_tick
from lab.exchange.model import PRICE_RANGES, NewOrder, Placed, Rejected, Structure
from libs.domain.strikes import StrikeType
from tests.lab.exchange.harness import (
    MARKET,
    ORDERS,
    RANGES,
    START_NS,
    Exchange,
    S,
    order_body,
    small_engine,
)

NOW = START_NS + S


@pytest.mark.parametrize(
    ("structure", "good", "bad"),
    [
        ("linear_cent", (100, 5_200, 9_900), (0, 10, 150, 5_210, 9_950, 10_000)),
        ("deci_cent", (10, 5_210, 9_990), (0, 5, 5_215, 9_995, 10_000)),
        (
            "tapered_deci_cent",
            (10, 990, 1_000, 1_100, 8_900, 9_000, 9_010, 9_990),
            (0, 5, 1_010, 5_210, 8_990, 9_005, 10_000),
        ),
    ],
)
def test_which_prices_are_on_tick(
    structure: Structure, good: tuple[int, ...], bad: tuple[int, ...]
) -> None:
    engine = small_engine(structure=structure)
    for prices, answers in ((good, Placed), (bad, Rejected)):
        for price_e4 in prices:
            order = NewOrder(ticker=MARKET, side="bid", price_e4=price_e4, count_e2=1)
            engine.cancel_all("a", NOW)
            answer = engine.place("a", order, NOW)
            assert isinstance(answer, answers), (price_e4, answer)
            if isinstance(answer, Rejected):
                assert answer.code == "invalid_price"


@pytest.mark.parametrize("structure", list(PRICE_RANGES))
def test_the_ranges_of_a_structure_cover_the_dollar_once(structure: Structure) -> None:
    ranges = PRICE_RANGES[structure]
    edges = [ranges[0].start_e4, *(grid.end_e4 for grid in ranges)]
    assert [grid.start_e4 for grid in ranges] == edges[:-1]
    assert (edges[0], edges[-1]) == (0, 10_000)
    # a NO price is on the grid when its YES price is
    for price_e4 in range(10_001):
        assert on_tick(price_e4, ranges) == on_tick(10_000 - price_e4, ranges)


@pytest.mark.parametrize("price", ["0.4", "0.40", "0.400", "0.4000", "0.400000"])
@pytest.mark.parametrize("count", ["1", "1.0", "1.00", "0.01"])
async def test_decimals_that_are_taken(exchange: Exchange, price: str, count: str) -> None:
    answer = await exchange.call("POST", ORDERS, order_body(price=price, count=count))
    assert answer.status_code == 201, answer.text
    assert answer.json()["remaining_count"] == f"{float(count):.2f}"


def test_a_partition_is_listed_from_less_over_between_to_greater() -> None:
    rungs = [market.rung for market in build_ladder(RANGES).markets]
    assert [rung.strike_type for rung in rungs] == [
        StrikeType.LESS,
        *[StrikeType.BETWEEN] * 3,
        StrikeType.GREATER,
    ]
    assert [rung.ticker.rsplit("-", 1)[1][0] for rung in rungs] == ["T", "B", "B", "B", "T"]
    # every value of the grid of 0.01 belongs to one of them
    for level_e4 in range(78_000_000, 79_500_000, 100):
        assert sum(rung.settles_yes(level_e4) for rung in rungs) == 1
