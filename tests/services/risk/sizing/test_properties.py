"""What holds for every event: the scalar formula, monotone, scale-free, no edge no size, budget."""

from math import floor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from libs.common.messages import Quote
from services.risk.sizing.policy import (
    KellyPolicy,
    PalPolicy,
    PilotPolicy,
    PortfolioPolicy,
    SizingPolicy,
)
from tests.services.risk.builders import fill, order
from tests.services.risk.sizing.rig import (
    DOLLAR,
    NO_PAL,
    NO_PORTFOLIO,
    Desk,
    desk,
    nested,
    proposal_of,
    wide,
)

RUNGS = 6
LADDER = nested(RUNGS)
sides = st.sampled_from(["bid", "ask"])
cents = st.integers(1, 99).map(lambda cent: cent * 100)
curves = (
    st.lists(st.integers(1, 999), min_size=RUNGS, max_size=RUNGS)
    .map(lambda row: sorted(row, reverse=True))
    .map(lambda row: tuple(value / 1000 for value in row))
)


def quote(rung, side, price_e4, p, count_e2=10**7, ev=90_000) -> Quote:
    return Quote(
        ticker=LADDER.tickers[rung],
        side=side,
        price_e4=price_e4,
        count_e2=count_e2,
        probability=p,
        ev_per_contract_e6=ev,
        fill_probability=0.3,
    )


@st.composite
def quote_sets(draw, size_max=6):
    """Fair probabilities, and quotes some cents on the good side of them, or not."""
    curve = draw(curves)
    keys = draw(
        st.lists(st.tuples(st.integers(0, RUNGS - 1), sides), min_size=1, max_size=size_max)
    )
    quotes = []
    for rung, side in dict.fromkeys(keys):
        edge_e4 = draw(st.sampled_from([-200, 0, 100, 300, 500, 1000]))
        price_e4 = round(curve[rung] * 100) * 100 + (-edge_e4 if side == "bid" else edge_e4)
        ev = draw(st.sampled_from([60_000, 90_000]))
        count_e2 = draw(st.sampled_from([50, 100, 1_000, 30_000, 10**6]))
        quotes.append(quote(rung, side, min(9_900, max(100, price_e4)), curve[rung], count_e2, ev))
    return curve, tuple(quotes)


@st.composite
def holdings(draw):
    """Fills and an unknown order, a few contracts to a few hundred."""
    messages = []
    for number in range(draw(st.integers(0, 4))):
        messages.append(
            fill(
                draw(st.integers(1, 50_000)),
                ticker=draw(st.sampled_from(LADDER.tickers)),
                side=draw(sides),
                price_e4=draw(cents),
                trade=f"t{number}",
                client=f"f{number}",
            )
        )
    if draw(st.booleans()):
        messages.append(
            order(
                draw(st.sampled_from(["unknown", "resting"])),
                ticker=draw(st.sampled_from(LADDER.tickers)),
                side=draw(sides),
                price_e4=draw(cents),
                count_e2=draw(st.integers(1, 30_000)),
                client="open",
            )
        )
    return tuple(messages)


def sized(curve, quotes, *messages, policy: SizingPolicy):
    known = Desk(policy)
    known.desk.define(LADDER, 0)
    known.fair(curve, ladder_id=LADDER.ladder_id)
    known.told(*messages)
    return known.desk.size(proposal_of(LADDER, quotes), 0)


def granted(sizing) -> dict[tuple[str, str], int]:
    return {(q.ticker, q.side): q.count_e2 for q in sizing.quotes}


def losses_e6(counts, quotes, messages) -> list[int]:
    """Return the worst loss in each outcome by hand: cash paid, contracts that pay, open at worst.

    Outcome j is above j of the thresholds. It shares no code with risk.
    """
    found = []
    for above in range(RUNGS + 1):
        pays = {ticker: 10_000 * (rung < above) for rung, ticker in enumerate(LADDER.tickers)}
        loss = 0
        for message in messages:
            value = pays[message.ticker] - message.price_e4
            value = value if message.side == "bid" else -value
            if type(message).__name__ == "Fill":
                loss -= value * message.count_e2
            else:
                loss += max(0, -value) * message.count_e2
        for one in quotes:
            value = pays[one.ticker] - one.price_e4
            value = value if one.side == "bid" else -value
            loss += max(0, -value) * counts.get((one.ticker, one.side), 0)
        found.append(loss)
    return found


@given(
    side=sides,
    price_e4=cents,
    p=st.floats(0.001, 0.999),
    uncertainty=st.floats(0, 1),
    imbalance=st.floats(0, 1),
)
def test_one_rung_without_inventory_is_the_scalar_formula(
    side, price_e4, p, uncertainty, imbalance
):
    """f = (p − m)/(1 − m), cut to ±.25, times the discounts, of $10,000: in whole contracts."""
    kelly = KellyPolicy(uncertainty=uncertainty, imbalance=imbalance)
    asked = quote(2, side, price_e4, p)
    curve = tuple([p] * RUNGS)
    sizing = sized(curve, (asked,), policy=wide(kelly=kelly, pal=NO_PAL))
    chance, m = (p, price_e4 / 10_000) if side == "bid" else (1 - p, 1 - price_e4 / 10_000)
    f = max(-0.25, min(0.25, (chance - m) / (1 - m))) * (1 - uncertainty) * (1 - imbalance)
    contracts = min(10**5, max(0.0, f) * 10_000 / m)
    got = sum(granted(sizing).values()) // 100
    assert got in {floor(contracts), floor(contracts + 1e-4), floor(contracts - 1e-4)}


POLICIES = st.sampled_from(
    [
        wide(),
        wide(kelly=KellyPolicy(), pal=NO_PAL),
        wide(kelly=KellyPolicy(bankroll_e6=500 * DOLLAR), pal=NO_PAL),
        wide(portfolio=PortfolioPolicy(loss_day_max_e6=200 * DOLLAR), pal=NO_PAL),
        SizingPolicy(pilot=PilotPolicy(active=False)),
        SizingPolicy(),
    ]
)


@settings(max_examples=120, deadline=None)
@given(
    found=quote_sets(),
    messages=holdings(),
    policy=POLICIES,
    place=st.integers(0, 5),
    more_e2=st.integers(0, 10**6),
)
def test_asking_for_more_of_a_quote_never_yields_less_of_it(
    found, messages, policy, place, more_e2
):
    curve, quotes = found
    place %= len(quotes)
    asks = list(quotes)
    first = asks[place]
    asks[place] = quote(
        LADDER.tickers.index(first.ticker),
        first.side,
        first.price_e4,
        first.probability,
        first.count_e2 + more_e2,
        first.ev_per_contract_e6,
    )
    key = (first.ticker, first.side)
    before = granted(sized(curve, quotes, *messages, policy=policy)).get(key, 0)
    after = granted(sized(curve, asks, *messages, policy=policy)).get(key, 0)
    assert before <= after <= first.count_e2 + more_e2
    assert before <= first.count_e2


@settings(max_examples=100, deadline=None)
@given(found=quote_sets(), messages=holdings(), budget=st.integers(0, 400))
def test_the_worst_outcome_stays_within_the_loss_budget(found, messages, budget):
    """Whatever fills; where the positions alone pass it, quotes add nothing there."""
    curve, quotes = found
    budget_e6 = budget * DOLLAR
    policy = wide(
        kelly=KellyPolicy(bankroll_e6=100_000 * DOLLAR),
        portfolio=PortfolioPolicy(loss_day_max_e6=budget_e6),
        pal=NO_PAL,
    )
    counts = granted(sized(curve, quotes, *messages, policy=policy))
    before, after = losses_e6({}, quotes, messages), losses_e6(counts, quotes, messages)
    resting = {(m.ticker, m.side) for m in messages if getattr(m, "state", "") == "resting"}
    for was_e6, is_e6 in zip(before, after, strict=True):
        # A quote takes the place of the order on its key, which this count has twice.
        if not resting & set(counts):
            assert is_e6 <= max(budget_e6, was_e6)


@settings(max_examples=60, deadline=None)
@given(found=quote_sets(), messages=holdings())
def test_without_edge_nothing_is_sized(found, messages):
    """At or beyond the probability a quote loses on average, whatever it would hedge."""
    curve, quotes = found
    counts = granted(sized(curve, quotes, *messages, policy=wide(pal=NO_PAL)))
    for one in quotes:
        edge = one.probability - one.price_e4 / 10_000
        if (edge if one.side == "bid" else -edge) <= 0:
            assert counts.get((one.ticker, one.side), 0) == 0


@settings(max_examples=40, deadline=None)
@given(found=quote_sets(), scale=st.sampled_from([2, 10, 100]))
def test_ten_times_the_limits_are_ten_times_the_sizes(found, scale):
    """Bankroll, PAL, budget and requests together: sizes follow, but for lots and ties."""
    curve, quotes = found

    def policy(times: int) -> SizingPolicy:
        return wide(
            kelly=KellyPolicy(bankroll_e6=5_000 * DOLLAR * times),
            pal=PalPolicy(family_e6={"INXU": 300 * DOLLAR * times}),
            portfolio=replace(NO_PORTFOLIO, loss_day_max_e6=700 * DOLLAR * times),
            lot_e2=1,
        )

    bigger = tuple(
        quote(
            LADDER.tickers.index(one.ticker),
            one.side,
            one.price_e4,
            one.probability,
            one.count_e2 * scale,
            one.ev_per_contract_e6,
        )
        for one in quotes
    )
    small = granted(sized(curve, quotes, policy=policy(1)))
    large = granted(sized(curve, bigger, policy=policy(scale)))
    for key in set(small) | set(large):
        expected = small.get(key, 0) * scale
        assert large.get(key, 0) == pytest.approx(expected, abs=2 * scale, rel=1e-3)


@settings(max_examples=40, deadline=None)
@given(found=quote_sets(), messages=holdings(), policy=POLICIES)
def test_steps_only_lower_and_end_in_the_count(found, messages, policy):
    curve, quotes = found
    sizing = sized(curve, quotes, *messages, policy=policy)
    for one in (*sizing.quotes, *sizing.withheld):
        left = one.left_e2
        assert list(left) == sorted(left, reverse=True)
        if left:
            assert (left[0], left[-1]) == (one.asked_count_e2, one.count_e2)
    assert len(sizing.quotes) + len(sizing.withheld) == len(quotes)


def test_a_hedge_that_has_filled_makes_room_and_one_that_has_not_does_not():
    """Long 100 at .40 and short 100 at .60 of one rung can't lose; a bid at rest can."""
    budget = wide(
        portfolio=PortfolioPolicy(loss_day_max_e6=40 * DOLLAR),
        pal=NO_PAL,
    )
    asked = quote(0, "bid", 4_000, 0.5)
    flat = desk(policy=budget)
    flat.desk.define(LADDER, 0)
    flat.fair([0.5] * RUNGS, ladder_id=LADDER.ladder_id)
    ticker = LADDER.tickers[0]
    flat.told(
        fill(10_000, ticker=ticker, price_e4=4_000, trade="a"),
        fill(10_000, ticker=ticker, price_e4=6_000, side="ask", trade="b"),
    )
    sizing = flat.desk.size(proposal_of(LADDER, (asked,)), 0)
    assert granted(sizing) == {(ticker, "bid"): 10_000}
