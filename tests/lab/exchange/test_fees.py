"""Fees as charged by the engine: the worked cases of kalshi-api.md section 5, and dated changes."""

from pathlib import Path

import pytest

from lab.exchange.charges import Charges
from lab.exchange.engine import Engine
from lab.exchange.ladders import build_ladder
from lab.exchange.model import NewOrder, Order, Placed, Side
from libs.domain.fee_table import EXCHANGE_FEES, EventFeeOverride, FeeChange, FeeType
from libs.domain.fees import Role, schedule_at
from tests.lab.exchange.harness import (
    EVENT,
    LADDER,
    MARKET,
    START_NS,
    Exchange,
    S,
    running_exchange,
    small_engine,
)
from tests.lab.exchange.schemas import check_answer

NOW = START_NS + S
MAKER_FEES = FeeType.QUADRATIC_WITH_MAKER_FEES


def order(side: Side = "bid") -> Order:
    return Order(
        order_id="1",
        account="a",
        client_order_id="1",
        ticker=MARKET,
        side=side,
        price_e4=5_000,
        initial_e2=100,
        remaining_e2=100,
        time_in_force="good_till_canceled",
        self_trade="maker",
        post_only=False,
        cancel_on_pause=False,
        expiration_ns=None,
        group_id=None,
        created_ns=NOW,
        updated_ns=NOW,
        number=1,
    )


@pytest.mark.parametrize(
    ("series", "role", "price_e4", "count_e2", "debit_e6"),
    [
        ("KXINXU", "taker", 5_200, 100, 537_500),
        ("KXINXU", "taker", 5_000, 10_000, 51_750_000),
        ("KXCPI", "maker", 5_000, 10_000, 50_437_500),
        ("KXCPI", "maker", 6_700, 200, 1_347_800),
        ("KXINXU", "maker", 5_000, 10_000, 50_000_000),
    ],
)
def test_worked_cases_of_a_direct_member(
    series: str, role: Role, price_e4: int, count_e2: int, debit_e6: int
) -> None:
    schedule = schedule_at(series, NOW)
    fee_e6 = Charges().charge(schedule, order(), role, price_e4, count_e2)
    assert price_e4 * count_e2 + fee_e6 == debit_e6


@pytest.mark.parametrize(("direct", "debit_e6"), [(True, 58_700), (False, 60_000)])
def test_the_documents_case_for_both_kinds_of_members(*, direct: bool, debit_e6: int) -> None:
    # revenue -0.055, model fee 0.00363825, trade fee 0.003639: one contract at 0.055 as taker
    schedule = schedule_at("KXINXU", NOW)
    charges = Charges(direct_members=direct)
    assert 55_000 + charges.charge(schedule, order(), "taker", 550, 100) == debit_e6


def test_rounding_comes_back_over_the_fills_of_one_order_and_never_below_zero() -> None:
    charges, one = Charges(), order()
    schedule = schedule_at("KXINXU", NOW)
    # 0.01 contract at 0.52 costs 0.0052, its trade fee is 0.000175: each balance loses 0.0054,
    # 25 of it rounding, until four of them make up a unit of 100
    fees = [charges.charge(schedule, one, "taker", 5_200, 1) for _ in range(8)]
    assert fees == [200, 200, 200, 100, 200, 200, 200, 100]
    assert sum(fees) == 8 * 175


def test_poor_members_pay_whole_cents() -> None:
    engine = Engine(rules=small_engine(direct_members=False).state.rules)
    for name in ("a", "b"):
        engine.open_account(name, 1_000_000_000)
    engine.add_ladder(build_ladder(LADDER), START_NS)
    for name, side in (("b", "ask"), ("a", "bid")):
        new = NewOrder(ticker=MARKET, side=side, price_e4=5_200, count_e2=100)  # type: ignore[arg-type]
        assert isinstance(engine.place(name, new, NOW), Placed)
    assert engine.account("a").cash_e6 == 1_000_000_000 - 540_000


def test_a_dated_change_holds_from_its_very_second() -> None:
    table = EXCHANGE_FEES.with_change(FeeChange("KXINXU", NOW + S, FeeType.QUADRATIC, 5_000))
    engine = Engine(fee_table=table)
    for name in ("a", "b"):
        engine.open_account(name, 1_000_000_000)
    engine.add_ladder(build_ladder(LADDER), START_NS)
    paid = []
    for at_ns in (NOW + S - 1, NOW + S):
        for name, side in (("b", "ask"), ("a", "bid")):
            new = NewOrder(ticker=MARKET, side=side, price_e4=5_000, count_e2=10_000)  # type: ignore[arg-type]
            assert isinstance(engine.place(name, new, at_ns), Placed)
        paid.append(engine.position("a", MARKET).fees_e6)
    assert paid == [1_750_000, 1_750_000 + 875_000]


async def test_an_event_with_its_own_fees_shows_and_charges_them(tmp_path: Path) -> None:
    overrides = (
        EventFeeOverride(EVENT, START_NS - S, MAKER_FEES, 20_000),
        EventFeeOverride(EVENT, START_NS + 60 * S),
    )
    async with running_exchange(tmp_path, fee_overrides=overrides) as exchange:
        await _check_overridden(exchange)


async def _check_overridden(exchange: Exchange) -> None:
    changes = await exchange.call("GET", f"/events/fee_changes?event_ticker={EVENT}")
    check_answer("GET", "/events/fee_changes", 200, changes.json())
    shown = [row["fee_multiplier_override"] for row in changes.json()["event_fee_changes"]]
    assert shown == [None, 2.0]
    one = await exchange.call("GET", f"/events/{EVENT}")
    check_answer("GET", "/events/{event_ticker}", 200, one.json())
    assert one.json()["event"]["fee_type_override"] == MAKER_FEES
    other = (await exchange.call("GET", "/events/KXINX-26OCT02H1100")).json()["event"]
    assert "fee_type_override" not in other
    engine = exchange.engine
    names = sorted(engine.state.histories)
    for wait_s, fees in ((0, (3_500_000, 875_000)), (60, (1_750_000, 0))):
        now_ns = START_NS + wait_s * S
        for name, side in zip(names, ("ask", "bid"), strict=True):
            new = NewOrder(ticker=MARKET, side=side, price_e4=5_000, count_e2=10_000)  # type: ignore[arg-type]
            assert isinstance(engine.place(name, new, now_ns), Placed)
        taker, maker = (engine.state.histories[name].fills[-1].fee_e6 for name in names[::-1])
        assert (taker, maker) == fees
    await exchange.clock.advance_to(START_NS + 60 * S)
    again = (await exchange.call("GET", f"/events/{EVENT}")).json()["event"]
    assert "fee_type_override" not in again


def test_a_series_is_asked_for_its_own_fees_whichever_was_asked_before() -> None:
    table = EXCHANGE_FEES.with_change(FeeChange("KXINXU", 1, FeeType.QUADRATIC, 12_500))
    charges = Charges(table)
    assert charges.schedule("KXINXU", "", 2).multiplier_e4 == 12_500
    assert charges.schedule("KXNASDAQ100U", "", 2).multiplier_e4 == 5_000
