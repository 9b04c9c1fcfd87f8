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
from services.pricer.ev import ladder_value, slippage_e4
from services.pricer.ladder import Books, PricedLadder

Floats = NDArray[np.float64]
Prices = NDArray[np.int64]


class QuotePolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a quote must earn and how many there may be; per contract, in micro-dollars.

    The fill probabilities are placeholders for a fitted model: `alpha_ahead` for a quote that
    is alone at the best price, `alpha_level` for one that joins it, halved by each tick behind;
    below `alpha_min` a quote is not worth having.
    """

    ev_min_e6: int = 50_000
    ev_entry_margin_e6: int = 10_000
    ev_shrink: float = 0.9
    requote_gain_e6: int = 3_000
    alone_edge_e4: int = 1_000
    quote_count_e2: int = 1_000
    rungs_max: int = 2
    mode_reach: int = 1
    tails_allowed: bool = False
    alpha_ahead: float = 0.30
    alpha_level: float = 0.15
    alpha_min: float = 0.05

    def __post_init__(self) -> None:
        if not 0.0 < self.ev_shrink <= 1.0:
            raise ValueError(f"ev_shrink: expected above 0 to 1, got {self.ev_shrink}")
        if not 0.0 <= self.alpha_level <= self.alpha_ahead <= 1.0:
            raise ValueError("alpha_level, alpha_ahead: expected rising probabilities")
        if min(self.rungs_max, self.mode_reach, self.quote_count_e2) < 1:
            raise ValueError("rungs_max, mode_reach, quote_count_e2: expected at least 1")


class Candidate(Struct, frozen=True):
    """A quote with its rung and what it is expected to bring: fill probability times EV,
    in micro-dollars.
    """

    rung: int
    quote: Quote
    score: float


def choose_quotes(
    ladder: PricedLadder,
    probabilities: Floats,
    books: Books,
    policy: QuotePolicy,
    standing: Sequence[Quote] = (),
    *,
    may_change: bool = True,
) -> tuple[Quote, ...]:
    """Return the quotes wanted now, in rung order; without `may_change` only keep or pull."""
    kept = _kept(ladder, probabilities, books, policy, standing)
    if not may_change:
        return tuple(candidate.quote for candidate in kept)
    if policy.tails_allowed:
        rungs = range(len(probabilities))
    else:
        rungs = ladder.mode_rungs(probabilities, policy.mode_reach)
    best: dict[int, tuple[float, Candidate]] = {
        candidate.rung: (candidate.score + policy.requote_gain_e6, candidate)
        for candidate in kept
        if candidate.rung in rungs and candidate.quote.fill_probability >= policy.alpha_min
    }
    for candidate in _fresh(ladder, probabilities, books, policy, rungs):
        rival = best.get(candidate.rung)
        if candidate.quote.fill_probability < policy.alpha_min:
            continue
        if rival is None or candidate.score > rival[0]:
            best[candidate.rung] = (candidate.score, candidate)
    ranked = sorted(best.values(), key=lambda entry: (-entry[0], entry[1].rung))
    chosen = sorted((entry[1] for entry in ranked[: policy.rungs_max]), key=lambda c: c.rung)
    return tuple(candidate.quote for candidate in chosen)


def fill_probability(
    policy: QuotePolicy, side: Side, price_e4: int, best_of_others_e4: int, tick_e4: int = 100
) -> float:
    """Return the placeholder chance of a fill, by how far the quote is from the best of others."""
    behind_e4 = best_of_others_e4 - price_e4 if side == "bid" else price_e4 - best_of_others_e4
    if behind_e4 < 0:
        return policy.alpha_ahead
    return float(policy.alpha_level * 0.5 ** (behind_e4 / tick_e4))


def _fresh(
    ladder: PricedLadder,
    probabilities: Floats,
    books: Books,
    policy: QuotePolicy,
    rungs: range,
) -> list[Candidate]:
    """Return the best new bid and ask of each rung that earn the entry EV."""
    part = slice(rungs.start, rungs.stop)
    fair_e4 = probabilities[part] * PRICE_ONE_E4
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
    value = ladder_value(probabilities[part], bid_e4, ask_e4, ladder.fees, policy.ev_shrink)
    found: list[Candidate] = []
    for place, rung in enumerate(rungs):
        if bid_e4[place] > 0 and value.bid_e6[place] >= entry_e6:
            found.append(
                _candidate(ladder, probabilities, books, policy, rung, "bid", bid_e4[place])
            )
        if ask_e4[place] < PRICE_ONE_E4 and value.ask_e6[place] >= entry_e6:
            found.append(
                _candidate(ladder, probabilities, books, policy, rung, "ask", ask_e4[place])
            )
    return found


def _kept(
    ladder: PricedLadder,
    probabilities: Floats,
    books: Books,
    policy: QuotePolicy,
    standing: Sequence[Quote],
) -> list[Candidate]:
    """Return the standing quotes that still earn the minimum and cross nobody."""
    kept: list[Candidate] = []
    for quote in standing:
        rung = ladder.rung_of.get(quote.ticker)
        if rung is None:
            continue
        crossing = (
            quote.price_e4 >= books.ask_price_e4[rung]
            if quote.side == "bid"
            else quote.price_e4 <= books.bid_price_e4[rung]
        )
        candidate = _candidate(
            ladder, probabilities, books, policy, rung, quote.side, quote.price_e4
        )
        if not crossing and candidate.quote.ev_per_contract_e6 >= policy.ev_min_e6:
            kept.append(candidate)
    return kept


def _candidate(
    ladder: PricedLadder,
    probabilities: Floats,
    books: Books,
    policy: QuotePolicy,
    rung: int,
    side: Side,
    price_e4: int,
) -> Candidate:
    price_e4 = int(price_e4)
    probability = float(probabilities[rung])
    edge_e4 = probability * PRICE_ONE_E4 - price_e4
    edge_e4 = edge_e4 if side == "bid" else -edge_e4
    fee_e6 = int(ladder.fees.by_price_e6[price_e4])
    ev_e6 = round(edge_e4 * policy.ev_shrink * COUNT_ONE_E2) - fee_e6
    is_bid = side == "bid"
    best_e4 = int((books.bid_price_e4 if is_bid else books.ask_price_e4)[rung])
    depth_e2 = int((books.bid_depth_e2 if is_bid else books.ask_depth_e2)[rung])
    alpha = fill_probability(policy, side, price_e4, best_e4)
    share = policy.quote_count_e2 / (policy.quote_count_e2 + depth_e2)
    slippage_e6 = round(slippage_e4(share) * COUNT_ONE_E2)
    quote = Quote(
        ticker=ladder.definition.tickers[rung],
        side=side,
        price_e4=price_e4,
        count_e2=policy.quote_count_e2,
        probability=min(max(probability, 0.0), 1.0),
        ev_per_contract_e6=ev_e6,
        fill_probability=alpha,
        slippage_e6=slippage_e6,
    )
    return Candidate(rung, quote, alpha * (ev_e6 - slippage_e6))
