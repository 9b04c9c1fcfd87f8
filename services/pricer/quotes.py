"""Choose the complete quote set of one event: which rungs, which side, which price.

A quote improves on the best of others by one tick, never gives away the minimum EV, and never
crosses. A quote that already stands is kept for its place in the queue until another one is
worth clearly more, or until it no longer earns the minimum.
"""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from libs.common.messages import Quote, Side
from libs.domain.money import COUNT_ONE_E2, PRICE_ONE_E4
from services.pricer.ev import ladder_value
from services.pricer.fills import Fills, FillState
from services.pricer.ladder import Books, PricedLadder

CENT_E6 = 10_000

Floats = NDArray[np.float64]
Prices = NDArray[np.int64]


class QuotePolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a quote must earn and how many there may be; per contract, in micro-dollars.

    A quote that fills more seldom than `fill_rate_min_per_min`, or whose EV its slippage eats, is
    not worth having. A standing one moves when another is worth more by `requote_gain_share`.
    """

    ev_min_e6: int = 50_000
    ev_entry_margin_e6: int = 10_000
    ev_shrink: float = 0.9
    requote_gain_share: float = 0.1
    alone_edge_e4: int = 1_000
    quote_count_e2: int = 1_000
    rungs_max: int = 2
    mode_reach: int = 1
    tails_allowed: bool = False
    fill_rate_min_per_min: float = 0.003

    def __post_init__(self) -> None:
        if not 0.0 < self.ev_shrink <= 1.0:
            raise ValueError(f"ev_shrink: expected above 0 to 1, got {self.ev_shrink}")
        if min(self.requote_gain_share, self.fill_rate_min_per_min) < 0.0:
            raise ValueError("requote_gain_share, fill_rate_min_per_min: expected 0 or more")
        if min(self.rungs_max, self.mode_reach, self.quote_count_e2) < 1:
            raise ValueError("rungs_max, mode_reach, quote_count_e2: expected at least 1")


class Candidate(Struct, frozen=True):
    """A quote with its rung, its fill rate, and what it is expected to bring.

    `score` is fill probability times EV less slippage, in micro-dollars per contract.
    """

    rung: int
    quote: Quote
    rate_per_min: float
    score: float


class Moment(Struct, frozen=True, eq=False):
    """What quotes are chosen from: one event's ladder, view, books, fill model and time left."""

    ladder: PricedLadder
    probabilities: Floats
    books: Books
    policy: QuotePolicy
    fills: Fills
    minutes_left: float
    attention: Floats


def choose_quotes(
    moment: Moment, standing: Sequence[Quote] = (), *, may_change: bool = True
) -> tuple[Quote, ...]:
    """Return the quotes wanted now, in rung order; without `may_change` only keep or pull."""
    kept = _kept(moment, standing)
    if not may_change:
        return tuple(candidate.quote for candidate in kept)
    policy, probabilities = moment.policy, moment.probabilities
    if policy.tails_allowed:
        rungs = range(len(probabilities))
    else:
        rungs = moment.ladder.mode_rungs(probabilities, policy.mode_reach)
    place = 1.0 + policy.requote_gain_share
    best: dict[int, tuple[float, Candidate]] = {
        candidate.rung: (candidate.score * place, candidate)
        for candidate in kept
        if candidate.rung in rungs and _worth_having(candidate, policy)
    }
    for candidate in _fresh(moment, rungs):
        rival = best.get(candidate.rung)
        if not _worth_having(candidate, policy):
            continue
        if rival is None or candidate.score > rival[0]:
            best[candidate.rung] = (candidate.score, candidate)
    ranked = sorted(best.values(), key=lambda entry: (-entry[0], entry[1].rung))
    chosen = sorted((entry[1] for entry in ranked[: policy.rungs_max]), key=lambda c: c.rung)
    return tuple(candidate.quote for candidate in chosen)


def _worth_having(candidate: Candidate, policy: QuotePolicy) -> bool:
    return candidate.score > 0.0 and candidate.rate_per_min >= policy.fill_rate_min_per_min


def fill_state(
    books: Books,
    rung: int,
    side: Side,
    price_e4: int,
    count_e2: int,
    probability: float,
    minutes_left: float,
    attention: float,
) -> FillState:
    """Return what the fill model looks at; the queue is the last place at our price.

    Behind the best price the whole depth within five cents counts as before us.
    """
    is_bid = side == "bid"
    best_e4 = int((books.bid_price_e4 if is_bid else books.ask_price_e4)[rung])
    behind_e4 = best_e4 - price_e4 if is_bid else price_e4 - best_e4
    if behind_e4 < 0:
        ahead_e2 = 0
    elif behind_e4 == 0:
        ahead_e2 = int((books.bid_count_e2 if is_bid else books.ask_count_e2)[rung])
    else:
        ahead_e2 = int((books.bid_depth_e2 if is_bid else books.ask_depth_e2)[rung])
    edge = probability - price_e4 / PRICE_ONE_E4
    return FillState(
        side=side,
        behind_e4=behind_e4,
        ahead_e2=ahead_e2,
        count_e2=count_e2,
        edge_cents=100.0 * (edge if is_bid else -edge),
        minutes_left=minutes_left,
        attention=attention,
    )


def attention_of(probabilities: Floats) -> Floats:
    """Return the part of a ladder's doubt, p(1 − p), that lies on each rung, shape (rungs,)."""
    doubt = probabilities * (1.0 - probabilities)
    return doubt / max(float(np.add.reduce(doubt)), 1e-9)


def participation(books: Books, rung: int, side: Side, count_e2: int) -> float:
    """Return our share of the depth that an order joins, itself included."""
    depth_e2 = int((books.bid_depth_e2 if side == "bid" else books.ask_depth_e2)[rung])
    return count_e2 / (count_e2 + depth_e2)


def _fresh(moment: Moment, rungs: range) -> list[Candidate]:
    """Return the best new bid and ask of each rung that earn the entry EV."""
    ladder, books, policy = moment.ladder, moment.books, moment.policy
    part = slice(rungs.start, rungs.stop)
    probabilities = moment.probabilities[part]
    fair_e4 = probabilities * PRICE_ONE_E4
    ticks = ladder.ticks
    nearest_e4 = ticks.at_or_below(fair_e4)
    entry_e6 = policy.ev_min_e6 + policy.ev_entry_margin_e6
    need_e4 = (entry_e6 + ladder.fees.by_price_e6[nearest_e4]) / COUNT_ONE_E2 / policy.ev_shrink
    bids_e4, asks_e4 = books.bid_price_e4[part], books.ask_price_e4[part]
    better_bid_e4 = np.where(
        bids_e4 > 0, ticks.above(bids_e4), ticks.at_or_below(fair_e4 - policy.alone_edge_e4)
    )
    better_ask_e4 = np.where(
        asks_e4 < PRICE_ONE_E4,
        ticks.below(asks_e4),
        ticks.at_or_above(fair_e4 + policy.alone_edge_e4),
    )
    bid_e4 = np.minimum(
        np.minimum(better_bid_e4, ticks.at_or_below(fair_e4 - need_e4)), ticks.below(asks_e4)
    )
    ask_e4 = np.maximum(
        np.maximum(better_ask_e4, ticks.at_or_above(fair_e4 + need_e4)), ticks.above(bids_e4)
    )
    value = ladder_value(probabilities, bid_e4, ask_e4, ladder.fees, policy.ev_shrink)
    found: list[Candidate] = []
    for place, rung in enumerate(rungs):
        if bid_e4[place] > 0 and value.bid_e6[place] >= entry_e6:
            found.append(_candidate(moment, rung, "bid", bid_e4[place]))
        if ask_e4[place] < PRICE_ONE_E4 and value.ask_e6[place] >= entry_e6:
            found.append(_candidate(moment, rung, "ask", ask_e4[place]))
    return found


def _kept(moment: Moment, standing: Sequence[Quote]) -> list[Candidate]:
    """Return the standing quotes that still earn the minimum and cross nobody."""
    books = moment.books
    kept: list[Candidate] = []
    for quote in standing:
        rung = moment.ladder.rung_of.get(quote.ticker)
        if rung is None:
            continue
        crossing = (
            quote.price_e4 >= books.ask_price_e4[rung]
            if quote.side == "bid"
            else quote.price_e4 <= books.bid_price_e4[rung]
        )
        candidate = _candidate(moment, rung, quote.side, quote.price_e4)
        if not crossing and candidate.quote.ev_per_contract_e6 >= moment.policy.ev_min_e6:
            kept.append(candidate)
    return kept


def _candidate(moment: Moment, rung: int, side: Side, price_e4: int) -> Candidate:
    price_e4 = int(price_e4)
    policy, books, fills = moment.policy, moment.books, moment.fills
    probability = float(moment.probabilities[rung])
    count_e2 = policy.quote_count_e2
    attention = float(moment.attention[rung])
    state = fill_state(
        books, rung, side, price_e4, count_e2, probability, moment.minutes_left, attention
    )
    fee_e6 = int(moment.ladder.fees.by_price_e6[price_e4])
    ev_e6 = round(state.edge_cents * policy.ev_shrink * CENT_E6) - fee_e6
    rate = fills.rate_per_min(state)
    alpha = fills.share(rate, moment.minutes_left)
    share = participation(books, rung, side, count_e2)
    slippage_e6 = round(fills.slippage_cents(share, moment.minutes_left) * CENT_E6)
    quote = Quote(
        ticker=moment.ladder.definition.tickers[rung],
        side=side,
        price_e4=price_e4,
        count_e2=count_e2,
        probability=min(max(probability, 0.0), 1.0),
        ev_per_contract_e6=ev_e6,
        fill_probability=alpha,
        slippage_e6=slippage_e6,
    )
    return Candidate(rung, quote, rate, alpha * (ev_e6 - slippage_e6))
