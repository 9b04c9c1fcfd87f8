"""Golden rows of domain.md §8 and kalshi-api.md §5, and properties of the rounding."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.domain.fee_table import (
    EXCHANGE_FEES,
    INDEX_FULL_RATE_NS,
    MICRO_ROUNDING_NS,
    EventFeeOverride,
    FeeChange,
    FeeType,
)
from libs.domain.fees import (
    OTHER_MEMBER_UNIT_E6,
    Charge,
    FeeError,
    FeeSchedule,
    OrderFees,
    Role,
    Side,
    UnknownFeeError,
    runbook_schedule,
    schedule_at,
)

TODAY_NS = 1_792_000_000_000_000_000  # 2026-10-14
JUNE_2026_NS = 1_781_159_370_000_000_000
DOLLAR = 1_000_000

prices = st.integers(1, 9_999)
counts = st.integers(1, 1_000_000)
roles: st.SearchStrategy[Role] = st.sampled_from(["maker", "taker"])
sides: st.SearchStrategy[Side] = st.sampled_from(["bid", "ask"])


@pytest.mark.parametrize(
    ("contracts", "price_e4", "cents"),
    [
        *((100, 3_500, 160), (100, 5_000, 175), (100, 9_900, 7), (1, 3_500, 2), (1, 100, 1)),
        *((10, 4_999, 18), (10, 2_504, 14)),
    ],
)
def test_runbook_taker(contracts: int, price_e4: int, cents: int) -> None:
    fee_e6 = runbook_schedule("KXCPI").trade_fee_e6("taker", price_e4, contracts * 100)
    assert fee_e6 == cents * 10_000


@pytest.mark.parametrize(
    ("contracts", "price_e4", "cents"), [(100, 3_500, 40), (100, 5_000, 44), (1, 5_000, 1)]
)
def test_runbook_maker_on_a_maker_fee_series(contracts: int, price_e4: int, cents: int) -> None:
    fee_e6 = runbook_schedule("KXCPI").trade_fee_e6("maker", price_e4, contracts * 100)
    assert fee_e6 == cents * 10_000


@pytest.mark.parametrize(
    ("contracts", "price_e4", "cents"),
    [
        *((100, 5_000, 88), (100, 3_500, 80), (50, 2_500, 33), (1_000, 5_000, 875)),
        *((1, 5_000, 1), (2, 5_000, 2), (4, 4_200, 4), (3, 4_200, 3)),
    ],
)
def test_runbook_index_taker(contracts: int, price_e4: int, cents: int) -> None:
    for series in ("KXINX", "KXINXU", "KXNASDAQ100", "KXNASDAQ100U"):
        schedule = runbook_schedule(series)
        assert schedule.name == "runbook-2025-10"
        assert schedule.trade_fee_e6("taker", price_e4, contracts * 100) == cents * 10_000
        assert schedule.trade_fee_e6("maker", price_e4, contracts * 100) == 0


@pytest.mark.parametrize(
    ("series", "role", "contracts", "price_e4", "gross_e6", "ev_e6"),
    [
        ("KXCPI", "maker", 10, 4_500, 1_000_000, 950_000),
        ("KXCPI", "maker", 10, 4_500, -1_000_000, -1_050_000),
        ("KXCPI", "taker", 10, 4_500, 1_000_000, 820_000),
        ("KXINX", "maker", 10, 5_000, 500_000, 500_000),
        ("KXINXU", "taker", 100, 5_000, 0, -880_000),
    ],
)
def test_ev_rows_of_the_runbook_after_fees(
    series: str, role: Role, contracts: int, price_e4: int, gross_e6: int, ev_e6: int
) -> None:
    fee_e6 = runbook_schedule(series).trade_fee_e6(role, price_e4, contracts * 100)
    assert gross_e6 - fee_e6 == ev_e6


@pytest.mark.parametrize(
    ("series", "role", "contracts", "price_e4", "trade_fee_e6", "debit_e6"),
    [
        ("KXINXU", "taker", 1, 5_200, 17_472, 537_500),
        ("KXINXU", "taker", 100, 5_000, 1_750_000, 51_750_000),
        ("KXCPI", "maker", 100, 5_000, 437_500, 50_437_500),
        ("KXCPI", "maker", 2, 6_700, 7_739, 1_347_800),
        ("KXCPI", "taker", 1, 550, 3_639, 58_700),
        ("KXINXU", "maker", 100, 5_000, 0, 50_000_000),
    ],
)
def test_todays_schedule_for_a_direct_member(
    series: str, role: Role, contracts: int, price_e4: int, trade_fee_e6: int, debit_e6: int
) -> None:
    schedule = schedule_at(series, TODAY_NS)
    assert schedule.trade_fee_e6(role, price_e4, contracts * 100) == trade_fee_e6
    charge = OrderFees(schedule).fill(role, "bid", price_e4, contracts * 100)
    assert charge.trade_fee_e6 == trade_fee_e6
    assert charge.balance_change_e6 == -debit_e6


def test_rounding_of_the_exchanges_own_examples() -> None:
    direct = OrderFees(schedule_at("KXINXU", TODAY_NS)).fill("taker", "bid", 5_200, 100)
    assert direct == Charge(17_472, 28, 0, 17_500, -537_500)
    # 1 at $0.055 for a member who clears through others: floor to the cent
    other = OrderFees(schedule_at("KXCPI", TODAY_NS), OTHER_MEMBER_UNIT_E6)
    assert other.fill("taker", "bid", 550, 100) == Charge(3_639, 1_361, 0, 5_000, -60_000)
    maker = OrderFees(schedule_at("KXCPI", TODAY_NS)).fill("maker", "bid", 6_700, 200)
    assert maker.fee_e6 == 7_800


def test_the_accumulator_rebates_whole_units_and_carries_the_rest() -> None:
    # Roundings of $0.004, $0.004, $0.004: the third fill gets $0.01 back and carries $0.002.
    # 1 at $0.006 with a fee of 0 has revenue -0.006, floored to -0.01.
    free = schedule_at("KXHIGHNY", TODAY_NS)
    order = OrderFees(free, OTHER_MEMBER_UNIT_E6)
    charges = [order.fill("maker", "bid", 60, 100) for _ in range(3)]
    assert [charge.rounding_e6 for charge in charges] == [4_000, 4_000, 4_000]
    # The net fee of a fill is never negative, so a free fill's rebate waits for one with a fee.
    assert [charge.rebate_e6 for charge in charges] == [0, 0, 0]
    assert order.carried_e6 == 12_000
    taken = order.fill("taker", "bid", 5_000, 100)  # fee 0.0175, floored to -0.52: rounding 0.0025
    assert taken == Charge(17_500, 2_500, 10_000, 10_000, -510_000)
    assert order.carried_e6 == 4_500


def test_carry_row_by_row_where_the_fee_allows_the_rebate() -> None:
    # 1 at 0.47: fee .017437, exact -0.487437, floored to -0.49, rounding .002563 each time.
    order = OrderFees(schedule_at("KXINXU", TODAY_NS), OTHER_MEMBER_UNIT_E6)
    charges = [order.fill("taker", "bid", 4_700, 100) for _ in range(4)]
    assert [charge.rebate_e6 for charge in charges] == [0, 0, 0, 10_000]
    assert [charge.fee_e6 for charge in charges] == [20_000, 20_000, 20_000, 10_000]
    assert order.carried_e6 == 4 * 2_563 - 10_000


@pytest.mark.parametrize(("price_e4", "fee_e6"), [(5_200, 17_500), (9_900, 700)])
def test_recorded_fills_of_june_had_fees_ceiled_at_four_decimals(
    price_e4: int, fee_e6: int
) -> None:
    schedule = schedule_at("KXCPI", JUNE_2026_NS)
    assert schedule.trade_fee_e6("taker", price_e4, 100) == fee_e6


def test_index_takers_paid_half_until_july() -> None:
    before = schedule_at("KXINXU", INDEX_FULL_RATE_NS - 1)
    after = schedule_at("KXINXU", INDEX_FULL_RATE_NS)
    assert before.trade_fee_e6("taker", 5_000, 10_000) == 875_000  # .035 × 100 × .25
    assert after.trade_fee_e6("taker", 5_000, 10_000) == 1_750_000
    assert before.to_ns == after.from_ns == INDEX_FULL_RATE_NS == 1_783_098_000_000_000_000
    assert after.to_ns == MICRO_ROUNDING_NS == 1_788_048_000_000_000_000
    assert schedule_at("KXINXU", MICRO_ROUNDING_NS).to_ns is None


@pytest.mark.parametrize("series", ["KXUST10AD", "KXUST10A", "KXHIGHNY", "KXJOBLESSCLAIMS"])
def test_other_series_without_maker_fees(series: str) -> None:
    schedule = schedule_at(series, TODAY_NS)
    assert schedule.trade_fee_e6("maker", 5_000, 10_000) == 0
    assert schedule.trade_fee_e6("taker", 5_000, 10_000) == 1_750_000


@pytest.mark.parametrize("series", ["KXCPI", "KXCPIYOY", "KXPAYROLLS", "KXU3", "KXFED", "KXGDP"])
def test_series_with_maker_fees(series: str) -> None:
    assert schedule_at(series, TODAY_NS).trade_fee_e6("maker", 5_000, 10_000) == 437_500


@pytest.mark.parametrize("series", ["", "KXBTCD", "INXU", "KXINXUX", "KXCPICORE", "KXAAAGASW"])
def test_unknown_series_is_an_error_never_zero(series: str) -> None:
    with pytest.raises(UnknownFeeError, match="no schedule"):
        schedule_at(series, TODAY_NS)
    with pytest.raises(UnknownFeeError):
        runbook_schedule(series)


def test_flat_has_no_model() -> None:
    table = EXCHANGE_FEES.with_change(FeeChange("KXNEW", 0, FeeType.FLAT))
    with pytest.raises(UnknownFeeError, match="no model"):
        schedule_at("KXNEW", TODAY_NS, table=table)


def test_event_override_wins_until_it_is_cleared() -> None:
    event = "KXINXU-26OCT14H1200"
    table = EXCHANGE_FEES
    table = table.with_change(
        EventFeeOverride(event, TODAY_NS, FeeType.QUADRATIC_WITH_MAKER_FEES, 20_000)
    )
    table = table.with_change(EventFeeOverride(event, TODAY_NS + 100))
    before = schedule_at("KXINXU", TODAY_NS - 1, event, table)
    during = schedule_at("KXINXU", TODAY_NS, event, table)
    after = schedule_at("KXINXU", TODAY_NS + 100, event, table)
    assert before.to_ns == TODAY_NS
    assert during.trade_fee_e6("maker", 5_000, 10_000) == 875_000
    assert (during.from_ns, during.to_ns) == (TODAY_NS, TODAY_NS + 100)
    assert after.trade_fee_e6("maker", 5_000, 10_000) == 0
    other = schedule_at("KXINXU", TODAY_NS, "KXINXU-26OCT14H1300", table)
    assert other.fee_type is FeeType.QUADRATIC
    assert table.with_change(EventFeeOverride(event, TODAY_NS + 100)) is table


def test_published_series_change_is_added_once() -> None:
    change = FeeChange("KXINXU", TODAY_NS + 5, FeeType.QUADRATIC_WITH_COMBO_MAKER_FEES)
    table = EXCHANGE_FEES.with_change(change)
    assert table.with_change(change) is table
    later = schedule_at("KXINXU", TODAY_NS + 5, table=table)
    assert later.trade_fee_e6("maker", 5_000, 10_000) == 875_000  # half of the taker's
    assert schedule_at("KXINXU", TODAY_NS, table=table).to_ns == TODAY_NS + 5


@pytest.mark.parametrize(("price_e4", "count_e2"), [(0, 100), (10_000, 100), (5_000, 0), (-1, 1)])
def test_what_is_no_trade_has_no_fee(price_e4: int, count_e2: int) -> None:
    schedule = schedule_at("KXINXU", TODAY_NS)
    with pytest.raises(FeeError):
        schedule.trade_fee_e6("taker", price_e4, count_e2)


def test_wrong_words_are_errors() -> None:
    schedule = schedule_at("KXINXU", TODAY_NS)
    with pytest.raises(FeeError, match="role"):
        schedule.trade_fee_e6("Taker", 5_000, 100)  # type: ignore[arg-type]
    with pytest.raises(FeeError, match="side"):
        OrderFees(schedule).fill("taker", "yes", 5_000, 100)  # type: ignore[arg-type]
    with pytest.raises(FeeError, match="unit"):
        OrderFees(schedule, 7)


@given(roles, prices, counts, st.sampled_from(["KXINXU", "KXCPI"]))
def test_trade_fee_is_the_model_ceiled(role: Role, price: int, count: int, series: str) -> None:
    p, n = Fraction(price, 10_000), Fraction(count, 100)
    rate = Fraction(7, 100) if role == "taker" else Fraction(7 * (series == "KXCPI"), 400)
    model_e6 = rate * n * p * (1 - p) * DOLLAR
    fee_e6 = schedule_at(series, TODAY_NS).trade_fee_e6(role, price, count)
    assert model_e6 <= fee_e6 < model_e6 + 1


fills = st.lists(st.tuples(roles, sides, prices, counts), min_size=1, max_size=20)


@given(
    fills,
    st.sampled_from([100, 10_000]),
    st.sampled_from(["KXINXU", "KXCPI"]),
    st.sampled_from([JUNE_2026_NS, TODAY_NS]),
)
def test_every_charge_balances(
    trades: list[tuple[Role, Side, int, int]], unit_e6: int, series: str, at_ns: int
) -> None:
    order = OrderFees(schedule_at(series, at_ns), unit_e6)
    total_rounding = total_rebate = 0
    for role, side, price, count in trades:
        charge = order.fill(role, side, price, count)
        paid = price if side == "bid" else 10_000 - price
        assert charge.fee_e6 == charge.trade_fee_e6 + charge.rounding_e6 - charge.rebate_e6
        assert charge.fee_e6 >= 0
        assert charge.balance_change_e6 == -paid * count - charge.fee_e6
        assert charge.balance_change_e6 % unit_e6 == 0
        assert 0 <= charge.rounding_e6 < unit_e6
        total_rounding += charge.rounding_e6
        total_rebate += charge.rebate_e6
        assert order.carried_e6 == total_rounding - total_rebate


@given(st.lists(st.tuples(roles, prices, counts), min_size=1, max_size=20))
def test_runbook_rounds_the_order_not_the_fill(trades: list[tuple[Role, int, int]]) -> None:
    schedule: FeeSchedule = runbook_schedule("KXCPI")
    order = OrderFees(schedule)
    charged = sum(order.fill(role, "bid", price, count).fee_e6 for role, price, count in trades)
    rates = {"taker": Fraction(7, 100), "maker": Fraction(7, 400)}
    model = sum(
        rates[role] * Fraction(count, 100) * Fraction(price * (10_000 - price), 10**8)
        for role, price, count in trades
    )
    assert charged == -(-model * 100 // 1) * 10_000


@given(prices, counts, st.integers(2, 10))
def test_parts_of_an_order_cost_no_less_than_the_whole(price: int, count: int, parts: int) -> None:
    schedule = schedule_at("KXCPI", TODAY_NS)
    whole = OrderFees(schedule).fill("maker", "bid", price, count * parts)
    order = OrderFees(schedule)
    pieces = [order.fill("maker", "bid", price, count) for _ in range(parts)]
    spent = sum(piece.fee_e6 for piece in pieces)
    # Each part may add one unit of ceiling and carry less than what waits for a rebate.
    assert whole.trade_fee_e6 <= spent <= whole.fee_e6 + parts + order.carried_e6
