"""What a verdict allows is exposure from then on, until nothing can come of it any more."""

import pytest
from msgspec.structs import replace

from libs.common.messages import OrderIntent, SizedQuote, Verdict
from services.risk.sizing.policy import PortfolioPolicy
from services.risk.sizing.reservations import ENTRIES_MAX, Reservations
from tests.services.risk.builders import (
    EVENT,
    NOW,
    TARGET,
    TICKERS,
    S,
    fill,
    of_event,
    order,
    quote,
)
from tests.services.risk.sizing.messages import intent_of
from tests.services.risk.sizing.rig import DOLLAR, NO_PAL, desk, wide

GRACE = 5 * S
TICKER = TICKERS[1]
KEY = (TICKER, "bid")


def verdict(name="v1", *quotes: SizedQuote, at_ns=NOW, lives_ns=8 * S) -> Verdict:
    return Verdict(
        **(of_event(name, at_ns)),
        decision="GO",
        proposal_id="p",
        family="INXU",
        target_ns=TARGET,
        expires_at_ns=at_ns + lives_ns,
        quotes=quotes,
        gates=(),
        provenance="synthetic",
        config_hash="c",
    )


def sized(count_e2, *, ticker=TICKER, side="bid", price_e4=4000, position_e2=0) -> SizedQuote:
    return SizedQuote(
        ticker=ticker,
        side=side,
        price_e4=price_e4,
        count_e2=count_e2,
        asked_count_e2=count_e2,
        limited_by="asked",
        probability=0.5,
        ev_per_contract_e6=1,
        position_e2=position_e2,
    )


def intent(verdict_id: str, action="place") -> OrderIntent:
    return intent_of(f"c-{verdict_id}", verdict_id, action)


def reserved(book: Reservations, now_ns=NOW) -> dict:
    return {
        key: [(one.price_e4, one.reach_e2) for one in entries]
        for key, entries in book.of(EVENT, now_ns).items()
    }


def test_it_ends_a_grace_after_its_verdict():
    book = Reservations(GRACE)
    book.give(verdict("v1", sized(100)))
    assert reserved(book, NOW + 13 * S - 1) == {KEY: [(4000, 100)]}
    assert reserved(book, NOW + 13 * S) == {}
    assert list(book.events()) == []


def test_a_newer_verdict_does_not_take_back_what_the_broker_may_still_do():
    book = Reservations(GRACE)
    book.give(verdict("v1", sized(300)))
    book.give(verdict("v2", sized(100, price_e4=3900), at_ns=NOW + S))
    assert reserved(book, NOW + 2 * S) == {KEY: [(4000, 300), (3900, 100)]}


def test_an_intent_for_a_newer_verdict_releases_the_older():
    book = Reservations(GRACE)
    book.give(verdict("v1", sized(300)))
    book.give(verdict("v2", sized(100, price_e4=3900), at_ns=NOW + S))
    book.acted(intent("v1"))
    book.acted(intent("v2", action="cancel"))
    book.acted(intent("unheard-of"))
    assert len(reserved(book, NOW + S)[KEY]) == 2
    book.acted(intent("v2"))
    assert reserved(book, NOW + S) == {KEY: [(3900, 100)]}


def test_a_renewal_reserves_nothing_more_and_lasts_longer():
    book = Reservations(GRACE)
    book.give(verdict("v1", sized(100)))
    version = book.version(EVENT)
    book.give(verdict("v2", sized(100), at_ns=NOW + 4 * S))
    assert book.version(EVENT) == version
    assert reserved(book, NOW + 16 * S) == {KEY: [(4000, 100)]}


def test_fills_use_an_allowance_up():
    """Of 300 allowed at a position of 50, 120 were filled: up to 350 it may go, 170 are held."""
    known = desk(fill(50), policy=wide())
    known.desk.given(verdict("v1", sized(300, position_e2=50)))
    known.told(fill(120, trade="t2"))
    book = known.desk._book(EVENT, NOW)
    assert [level.count_e2 for level in book.open[KEY].levels] == [180]


def test_an_allowance_that_a_renewed_one_covers_is_gone():
    """300 were allowed, then 100, then 300 again at the same price: 300 it is."""
    known = desk(policy=wide())
    for name, count_e2, levels in (("v1", 300, [300]), ("v2", 100, [300, 100]), ("v3", 300, [300])):
        known.desk.given(verdict(name, sized(count_e2)))
        book = known.desk._book(EVENT, NOW)
        assert [level.count_e2 for level in book.open[KEY].levels] == levels


def test_order_and_allowance_are_alternatives_and_the_dearest_counts():
    """100 rest at .50 and 300 are allowed at .40: 100 at .50 and 200 more at .40 is the worst."""
    known = desk(order("resting", price_e4=5000, count_e2=100), policy=wide())
    known.desk.given(verdict("v1", sized(300)))
    book = known.desk._book(EVENT, NOW)
    assert book.open[KEY].worst_e6 == 100 * 5000 + 200 * 4000


def test_what_was_allowed_elsewhere_leaves_no_room_here_until_it_ends():
    """$40 a day: v1 allowed 100 contracts at .40 on one rung; another rung must wait."""
    policy = wide(portfolio=PortfolioPolicy(loss_day_max_e6=40 * DOLLAR), pal=NO_PAL)
    known = desk(policy=policy)
    known.desk.given(verdict("v1", sized(10_000)))
    other = quote(0, price_e4=8000, p=0.9, count_e2=10**5)
    assert known.counts(other) == []
    later_ns = NOW + 13 * S
    known.fair((0.9, 0.5, 0.1), later_ns)
    assert known.counts(other, now_ns=later_ns) == [(5_000, "loss_budget")]


def test_another_event_waits_too():
    policy = wide(portfolio=PortfolioPolicy(loss_day_max_e6=40 * DOLLAR), pal=NO_PAL)
    known = desk(policy=policy)
    away = sized(10_000, ticker="KXNASDAQ100U-24AUG05H1200-T19000")
    known.desk.given(
        Verdict(
            **{
                name: getattr(verdict("v1", away), name)
                for name in Verdict.__struct_fields__
                if name not in ("event_ticker", "series_ticker")
            },
            event_ticker="KXNASDAQ100U-24AUG05H1200",
            series_ticker="KXNASDAQ100U",
        )
    )
    assert known.counts(quote()) == []
    known.fair((0.9, 0.5, 0.1), NOW + 13 * S)
    assert known.counts(quote(), now_ns=NOW + 13 * S) == [(1000, "asked")]


def test_what_is_over_is_let_go_and_what_is_held_is_not():
    other = TICKERS[0].replace("H1200", "H1100")
    ended = order("cancelled", client="gone", ticker=other)
    known = desk(replace(ended, event_ticker="KXINXU-24AUG05H1100"), fill(100), policy=wide())
    known.desk._known.clear()
    known.desk.forget_past(NOW + 3 * 3_600 * S)
    assert known.desk.own.positions("KXINXU-24AUG05H1100") == {}
    assert known.desk.own.order_count() == 0
    assert known.desk.own.position(TICKERS[1]).count_e2 == 100
    known.desk.refresh(NOW + 3 * 3_600 * S)
    assert known.desk.portfolio.losses_e6() == {"INXU": 40 * DOLLAR // 100}


@pytest.mark.parametrize("side", ["bid", "ask"])
def test_many_alternatives_become_their_worst(side):
    book = Reservations(GRACE)
    for number in range(ENTRIES_MAX + 50):
        price_e4 = 1_000 + number
        book.give(
            verdict(f"v{number}", sized(5_000 - number, side=side, price_e4=price_e4), at_ns=NOW)
        )
    (entries,) = book.of(EVENT, NOW).values()
    assert len(entries) <= ENTRIES_MAX + 1
    assert max(one.reach_e2 for one in entries) == 5_000
    prices = [one.price_e4 for one in entries]
    assert (max(prices) if side == "bid" else min(prices)) == (
        1_000 + ENTRIES_MAX + 49 if side == "bid" else 1_000
    )
