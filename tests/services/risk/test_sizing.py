"""Sizing: golden rows, each step, monotone, and never past the PAL at any interleaving."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.own_orders import OwnOrders
from services.risk.policy import SizingPolicy
from services.risk.sizing import (
    Cap,
    apply_caps,
    exposure_of,
    kelly_fraction,
    scale_fraction,
    size_quotes,
)
from tests.services.risk.builders import EVENT, TICKERS, fill, order, quote

WIDE = SizingPolicy(
    pilot_count_max_e2=10**9, pilot_position_max_e2=10**9, bankroll_e6=10**15, pilot_rungs_max=9
)


def folded(*messages) -> OwnOrders:
    own = OwnOrders()
    for sequence, message in enumerate(messages, 1):
        own.apply(message, type(message).__name__, sequence)
    return own


def size(*quotes, own=None, policy=WIDE, family="INXU"):
    return size_quotes(quotes, family, EVENT, own or OwnOrders(), policy)


def counts(*quotes, **options) -> list[tuple[int, str]]:
    return [(q.count_e2, q.limited_by) for q in size(*quotes, **options).quotes]


@pytest.mark.parametrize(
    ("p", "m", "f"), [(0.62, 0.55, 0.155556), (0.45, 0.55, -0.222222), (0.6, 0.5, 0.2)]
)
def test_kelly_golden(p, m, f):
    assert kelly_fraction(p, m) == pytest.approx(f, abs=5e-7)


def test_scale_golden():
    assert scale_fraction(0.2, 0.5, 0.25, 0.25) == pytest.approx(0.075)


@pytest.mark.parametrize(("f", "cut"), [(0.9, 0.25), (-0.9, -0.25), (0.2, 0.2)])
def test_the_fraction_is_truncated(f, cut):
    assert scale_fraction(f, 0.0, 0.0, 0.25) == cut


@pytest.mark.parametrize(
    ("caps", "allowed", "by"),
    [((800, 1200, 500), 500, "c2"), ((800, 1200, None), 800, "c0"), ((0, 1200, 500), 0, "c0")],
)
def test_caps_golden(caps, allowed, by):
    named = [Cap(f"c{index}", cap) for index, cap in enumerate(caps)]
    assert apply_caps(1000, named) == (allowed, by)


def test_what_fits_is_granted_as_asked():
    assert counts(quote(count_e2=1000)) == [(1000, "asked")]


def test_pal_is_a_thousand_dollars_of_loss_per_strike():
    """At 40 cents $1,000 buys 2,500 contracts; a sale at 40 cents risks 60: 1,666 whole ones."""
    assert counts(quote(count_e2=10**7)) == [(250_000, "pal")]
    sale = quote(side="ask", price_e4=4000, count_e2=10**7, p=0.2)
    assert counts(sale) == [(166_600, "pal")]


def test_kelly_stakes_its_share_of_the_bankroll():
    """p .62 at .55 is f .155556: $1,555.56 of $10,000, at 55 cents 2,828 contracts."""
    policy = SizingPolicy(
        pilot_count_max_e2=10**9, pilot_position_max_e2=10**9, pal_e6={"INXU": 10**12}
    )
    asked = quote(price_e4=5500, p=0.62, count_e2=10**7)
    assert counts(asked, policy=policy) == [(282_800, "kelly")]


def test_kelly_of_a_sale_takes_the_no_side():
    """Selling at .40 with p .20 is buying NO at .60 worth .80: f .5, cut to .25."""
    (gate,) = [g for g in size(quote(side="ask", p=0.2)).gates if g.gate == "kelly"]
    assert (gate.measured, gate.limit) == (0.25, 0.25)


def test_the_pilot_gets_one_contract_on_two_rungs():
    quotes = [quote(rung, ev=ev) for rung, ev in ((0, 60_000), (1, 90_000), (2, 80_000))]
    sizing = size(*quotes, policy=SizingPolicy())
    assert [(q.ticker, q.count_e2, q.asked_count_e2, q.limited_by) for q in sizing.quotes] == [
        (TICKERS[1], 100, 1000, "pilot"),
        (TICKERS[2], 100, 1000, "pilot"),
    ]
    assert all(gate.ok for gate in sizing.gates)


def test_the_pilot_holds_ten_contracts_on_a_side():
    own = folded(fill(950))
    assert counts(quote(), own=own, policy=SizingPolicy()) == []
    assert counts(quote(side="ask", p=0.2), own=own, policy=SizingPolicy()) == [(100, "pilot")]


@pytest.mark.parametrize(
    ("asked", "own", "family", "gate", "reason"),
    [
        (quote(p=0.4), (), "INXU", "kelly", "kelly_not_positive"),
        (quote(p=0.3), (), "INXU", "kelly", "kelly_not_positive"),
        (quote(price_e4=10_000, p=1.0), (), "INXU", "kelly", "kelly_not_positive"),
        (quote(), (), "CLAIMS", "pal", "pal_exhausted"),
        (quote(), (fill(250_000),), "INXU", "pal", "pal_exhausted"),
        (quote(count_e2=50), (), "INXU", "pilot", "pilot_clamp"),
    ],
)
def test_a_step_that_leaves_nothing_fails_as_a_gate(asked, own, family, gate, reason):
    sizing = size(asked, own=folded(*own), family=family)
    assert sizing.quotes == ()
    assert [(g.gate, g.reason) for g in sizing.gates if not g.ok] == [(gate, reason)]


def test_a_dropped_quote_beside_a_sound_one_fails_nothing():
    sizing = size(quote(0), quote(1, p=0.3))
    assert [q.ticker for q in sizing.quotes] == [TICKERS[0]]
    assert all(gate.ok for gate in sizing.gates)
    assert [g.detail for g in sizing.gates if g.gate == "kelly"] == ["dropped 1"]


def test_an_empty_proposal_passes():
    assert all(gate.ok for gate in size().gates)


@pytest.mark.parametrize(
    ("messages", "room_e2"),
    [
        ((order("resting", count_e2=50_000),), 250_000),
        ((order("unknown", count_e2=50_000),), 200_000),
        ((fill(50_000),), 200_000),
        ((fill(50_000, side="ask"),), 250_000),
        ((order("resting", count_e2=50_000, side="ask"),), 250_000),
        ((order("unknown", count_e2=50_000, ticker=TICKERS[0]),), 250_000),
        ((order("cancelled", count_e2=50_000),), 250_000),
    ],
)
def test_what_counts_against_a_bid(messages, room_e2):
    """$1,000 at 40 cents less what is held or unknown; the order it replaces is not counted."""
    assert counts(quote(count_e2=10**7), own=folded(*messages)) == [(room_e2, "pal")]


def test_exposure_is_by_outcome():
    """100 bought at .40, 50 on offer at .70: NO costs $40; YES gains 60 and may cost 15."""
    own = folded(
        fill(10_000), order("resting", side="ask", price_e4=7000, count_e2=5_000, client="c2")
    )
    found = exposure_of(own, EVENT, TICKERS[1], None)
    assert found.loss_if_no_e6 == 40_000_000
    assert found.loss_if_yes_e6 == -45_000_000


def test_two_quotes_of_one_side_do_not_share_a_room_twice():
    assert len(size(quote(price_e4=4000), quote(price_e4=3900)).quotes) == 1


sides = st.sampled_from(["bid", "ask"])
cents = st.integers(1, 99).map(lambda value: value * 100)


@given(
    side=sides,
    price_e4=cents,
    p=st.floats(0, 1),
    asks=st.lists(st.integers(0, 10**8), min_size=2, max_size=2).map(sorted),
    held=st.integers(-(10**5), 10**5),
    unknown=st.integers(0, 10**5),
    pal=st.integers(0, 10**10),
)
def test_asking_for_more_never_yields_less(side, price_e4, p, asks, held, unknown, pal):
    own = folded(
        fill(abs(held), side="bid" if held > 0 else "ask"),
        order("unknown", side=side, count_e2=unknown, client="c2"),
    )
    policy = SizingPolicy(pal_e6={"INXU": pal}, pilot_count_max_e2=10**6)
    got = [
        sum(
            q.count_e2
            for q in size(quote(1, side, price_e4, asked, p), own=own, policy=policy).quotes
        )
        for asked in asks
    ]
    assert got[0] <= got[1]
    assert all(granted <= asked for granted, asked in zip(got, asks, strict=True))


@given(data=st.data())
def test_never_past_the_pal_at_any_interleaving(data):
    """A broker that lets at most a verdict's count rest, fills at any time, unknown at any time.

    Whatever fills, the worst loss of the strike stays within the PAL: checked against the broker
    model's own books, which share nothing with risk's.
    """
    pal_e6 = 20_000_000
    policy = SizingPolicy(
        pal_e6={"INXU": pal_e6}, pilot_count_max_e2=10**9, pilot_position_max_e2=10**9
    )
    own = OwnOrders()
    held_e2 = cash_e6 = sequence = 0
    for turn in range(data.draw(st.integers(1, 6))):
        side, price_e4 = data.draw(sides), data.draw(cents)
        asked = quote(1, side, price_e4, 10**7, p=0.999 if side == "bid" else 0.001)
        granted = size(asked, own=own, policy=policy).quotes
        if not granted:
            continue
        count_e2, client = granted[0].count_e2, f"c{turn}"
        name = {"price_e4": price_e4, "side": side, "client": client}
        filled_e2 = data.draw(st.integers(0, count_e2))
        story = [
            (order("resting", count_e2=count_e2, **name), "ORDERS"),
            (fill(filled_e2, trade=f"t{turn}", **name), "FILLS"),
            (order("partially_filled", count_e2=count_e2, filled=filled_e2, **name), "ORDERS"),
            (order("cancelled", count_e2=count_e2, filled=filled_e2, **name), "ORDERS"),
        ]
        for message, stream in story if filled_e2 else [story[0], story[3]]:
            sequence += 1
            own.apply(message, stream, sequence)
        signed_e2 = filled_e2 if side == "bid" else -filled_e2
        held_e2 += signed_e2
        cash_e6 -= signed_e2 * price_e4
        # The rest of the order could have filled too before it was cancelled.
        rest_e2 = (count_e2 - filled_e2) * (1 if side == "bid" else -1)
        for extra_e2 in (0, rest_e2):
            cash = cash_e6 - extra_e2 * price_e4
            worst_e6 = max(-cash, -(cash + (held_e2 + extra_e2) * 10_000))
            assert worst_e6 <= pal_e6
