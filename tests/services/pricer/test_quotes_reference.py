"""The choice of quotes against a slow one that says the rules rung by rung, and nothing twice."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.messages import PriceRange, Quote, Side
from libs.domain.fees import runbook_schedule
from services.pricer.ev import FeeTerms
from services.pricer.fills import Coefficients, Fills, SeriesFills
from services.pricer.ladder import PricedLadder
from services.pricer.quotes import (
    Moment,
    QuotePolicy,
    attention_of,
    choose_quotes,
    fill_state,
    participation,
)
from tests.services.pricer.builders import CENTS, OPEN, TICKERS, definition, snapshot

TAPERED = (PriceRange(0, 1000, 10), PriceRange(1000, 9000, 100), PriceRange(9000, 10_000, 10))
RUNGS = len(TICKERS)
SIDES: tuple[Side, Side] = ("bid", "ask")


def ladder(ranges: tuple[PriceRange, ...], charged: bool) -> PricedLadder:
    """Return the noon ladder on a grid, with the maker fees of CPI if it is charged."""
    found = PricedLadder(definition(price_ranges=ranges), OPEN)
    if charged:
        found.fees = FeeTerms.of(runbook_schedule("KXCPI"), found.ticks.prices_e4)
    return found


LADDERS = [ladder(ranges, charged) for ranges in (CENTS, TAPERED) for charged in (False, True)]


class Slow:
    """What the docstrings of `quotes` say, for one moment."""

    def __init__(self, moment: Moment) -> None:
        self.moment = moment
        self.ticks = moment.ladder.ticks.prices_e4.tolist()

    def at_most(self, price_e4: float) -> int:
        return max((tick for tick in self.ticks if tick <= price_e4), default=0)

    def at_least(self, price_e4: float) -> int:
        return min((tick for tick in self.ticks if tick >= price_e4), default=10_000)

    def fee_e6(self, price_e4: int) -> int:
        return int(self.moment.ladder.fees.by_price_e6[price_e4])

    def worth(self, rung: int, side: Side, price_e4: int) -> tuple[float, float, Quote]:
        """Return score, fill rate and quote, each from its own function."""
        moment, policy, fills = self.moment, self.moment.policy, self.moment.fills
        p, count_e2 = float(moment.probabilities[rung]), policy.quote_count_e2
        state = fill_state(
            moment.books,
            rung,
            side,
            price_e4,
            count_e2,
            p,
            moment.minutes_left,
            float(moment.attention[rung]),
        )
        ev_e6 = round(state.edge_cents * policy.ev_shrink * 10_000) - self.fee_e6(price_e4)
        share = participation(moment.books, rung, side, count_e2)
        slippage_e6 = round(fills.slippage_cents(share, moment.minutes_left) * 10_000)
        alpha = fills.probability(state)
        quote = Quote(
            ticker=TICKERS[rung],
            side=side,
            price_e4=price_e4,
            count_e2=count_e2,
            probability=p,
            ev_per_contract_e6=ev_e6,
            fill_probability=alpha,
            slippage_e6=slippage_e6,
        )
        return alpha * (ev_e6 - slippage_e6), fills.rate_per_min(state), quote

    def price(self, rung: int, side: Side) -> int | None:
        """Return one tick better than others, never dearer than earns the entry EV, not crossing.

        None where no tick does.
        """
        moment, policy = self.moment, self.moment.policy
        fair_e4 = float(moment.probabilities[rung]) * 10_000
        bid_e4, ask_e4 = moment.books.bid_price_e4[rung], moment.books.ask_price_e4[rung]
        entry_e6 = policy.ev_min_e6 + policy.ev_entry_margin_e6
        need_e4 = (entry_e6 + self.fee_e6(self.at_most(fair_e4))) / 100 / policy.ev_shrink
        if side == "bid":
            better = self.at_least(bid_e4 + 1)
            if bid_e4 == 0:
                better = self.at_most(fair_e4 - policy.alone_edge_e4)
            price_e4 = min(better, self.at_most(fair_e4 - need_e4), self.at_most(ask_e4 - 1))
            edge_e4 = fair_e4 - price_e4
        else:
            better = self.at_most(ask_e4 - 1)
            if ask_e4 == 10_000:
                better = self.at_least(fair_e4 + policy.alone_edge_e4)
            price_e4 = max(better, self.at_least(fair_e4 + need_e4), self.at_least(bid_e4 + 1))
            edge_e4 = price_e4 - fair_e4
        earns = edge_e4 * (policy.ev_shrink * 100) - self.fee_e6(price_e4) >= entry_e6
        return price_e4 if earns and 0 < price_e4 < 10_000 else None

    def near(self) -> list[int]:
        """Return the trading thresholds within reach of the likeliest interval."""
        policy, p = self.moment.policy, self.moment.probabilities.tolist()
        trading = [rung for rung in range(RUNGS) if rung not in self.moment.inactive]
        if policy.tails_allowed:
            return trading
        above = [1.0, *p]
        masses = [a - b for a, b in zip(above, [*p, 0.0], strict=True)]
        mode = masses.index(max(masses))
        return [r for r in trading if mode - policy.mode_reach <= r < mode + policy.mode_reach]

    def choose(self, standing: list[Quote], may_change: bool) -> list[Quote]:
        policy, books = self.moment.policy, self.moment.books
        kept = []
        for quote in standing:
            rung = TICKERS.index(quote.ticker)
            worth = self.worth(rung, quote.side, quote.price_e4)
            limit = books.ask_price_e4[rung] if quote.side == "bid" else books.bid_price_e4[rung]
            outside = quote.price_e4 < limit if quote.side == "bid" else quote.price_e4 > limit
            outside = outside and rung not in self.moment.inactive
            if outside and worth[2].ev_per_contract_e6 >= policy.ev_min_e6:
                kept.append((rung, worth))
        if not may_change:
            return [worth[2] for _, worth in kept]
        best: dict[int, tuple[float, Quote]] = {}
        for rung, (score, rate, quote) in kept:
            if rung in self.near() and score > 0 and rate >= policy.fill_rate_min_per_min:
                best[rung] = (score * (1 + policy.requote_gain_share), quote)
        for rung in self.near():
            for side in SIDES:
                price_e4 = self.price(rung, side)
                if price_e4 is None:
                    continue
                score, rate, quote = self.worth(rung, side, price_e4)
                if score <= 0 or rate < policy.fill_rate_min_per_min:
                    continue
                if rung not in best or score > best[rung][0]:
                    best[rung] = (score, quote)
        first = sorted(best, key=lambda rung: (-best[rung][0], rung))[: policy.rungs_max]
        return [best[rung][1] for rung in sorted(first)]


prices = st.integers(1, 999).map(lambda tick: tick * 10)
counts = st.integers(1, 50_000)


@st.composite
def moments(draw: Any) -> Moment:
    """Return any moment: fair values, books with holes, a policy and a fill model."""
    found = draw(st.sampled_from(LADDERS))
    fair = np.array(sorted(draw(st.lists(st.floats(0, 1), min_size=5, max_size=5)))[::-1])
    sides = [sorted(draw(st.tuples(prices, prices))) for _ in range(RUNGS)]
    columns = {
        name: tuple(draw(counts) for _ in range(RUNGS))
        for name in ("bid_count_e2", "bid_depth_e2", "ask_count_e2", "ask_depth_e2")
    }
    bids = tuple(low if draw(st.booleans()) else 0 for low, _ in sides)
    asks = tuple(high if draw(st.booleans()) else 10_000 for _, high in sides)
    columns["bid_count_e2"] = tuple(
        count if bid else 0 for count, bid in zip(columns["bid_count_e2"], bids, strict=True)
    )
    columns["ask_count_e2"] = tuple(
        count if ask < 10_000 else 0
        for count, ask in zip(columns["ask_count_e2"], asks, strict=True)
    )
    policy = QuotePolicy(
        ev_min_e6=draw(st.integers(0, 80_000)),
        ev_entry_margin_e6=draw(st.integers(0, 20_000)),
        requote_gain_share=draw(st.sampled_from([0.0, 0.1, 1.0])),
        rungs_max=draw(st.integers(1, 5)),
        mode_reach=draw(st.integers(1, 5)),
        tails_allowed=draw(st.booleans()),
        fill_rate_min_per_min=draw(st.sampled_from([0.0, 0.003, 0.1])),
    )
    fills = Fills(
        Coefficients(ask=draw(st.floats(-1, 1)), size=0.3, time=-0.4, attention=0.5),
        SeriesFills(
            log_rate=draw(st.floats(-6, 0)), adverse_cents=draw(st.sampled_from([0.0, 5.0, 300.0]))
        ),
    )
    books = found.books_of_others(snapshot(OPEN, bids, asks, **columns), {})
    left = draw(st.floats(0.01, 60))
    inactive = tuple(sorted(draw(st.sets(st.integers(0, RUNGS - 1), max_size=2))))
    return Moment(found, fair, books, policy, fills, left, attention_of(fair), inactive)


@settings(max_examples=300)
@given(moment=moments(), data=st.data())
def test_the_choice_is_that_of_the_slow_rules(moment, data):
    away = st.integers(-15, 15)  # near enough to fair value to be worth keeping, or not quite
    standing = [
        Quote(
            ticker=TICKERS[rung],
            side=data.draw(st.sampled_from(SIDES)),
            price_e4=min(max(round(moment.probabilities[rung] * 100) + data.draw(away), 1), 99)
            * 100,
            count_e2=1000,
            probability=0.5,
            ev_per_contract_e6=0,
            fill_probability=0.0,
        )
        for rung in data.draw(st.sets(st.integers(0, RUNGS - 1)))
    ]
    may_change = data.draw(st.booleans())
    found = choose_quotes(moment, standing, may_change=may_change)
    assert list(found) == Slow(moment).choose(standing, may_change)
