"""Choose the complete quote set of one event: which rungs, which side, which price.

A quote improves on the best of others by one tick, never gives away the minimum EV, and never
crosses. A quote that already stands is kept for its place in the queue until another one is
worth clearly more, or until it no longer earns the minimum.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from libs.common.messages import Quote, Side
from libs.domain.money import COUNT_ONE_E2, PRICE_ONE_E4
from services.pricer.fills import Fills, FillsAt, FillState
from services.pricer.ladder import Books, PricedLadder

CENT_E6 = 10_000

Floats = NDArray[np.float64]


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


class Candidate(Struct, frozen=True, gc=False):
    """A quote that may be made, its fill rate, and what it is expected to bring.

    `score` is fill probability times EV less slippage, in micro-dollars per contract.
    """

    rung: int
    side: Side
    price_e4: int
    ev_e6: int
    slippage_e6: int
    rate_per_min: float
    fill_probability: float
    score: float


class Moment(Struct, frozen=True, eq=False):
    """What quotes are chosen from: one event's ladder, view, books, fill model and time left.

    `inactive` are the rungs whose market stands still: nothing is quoted there.
    """

    ladder: PricedLadder
    probabilities: Floats
    books: Books
    policy: QuotePolicy
    fills: Fills
    minutes_left: float
    attention: Floats
    inactive: tuple[int, ...] = ()


def choose_quotes(
    moment: Moment, standing: Sequence[Quote] = (), *, may_change: bool = True
) -> tuple[Quote, ...]:
    """Return the quotes wanted now, in rung order; without `may_change` only keep or pull."""
    worth = _Worth(moment)
    kept = _kept(moment, worth, standing)
    if not may_change:
        return tuple(map(worth.quote, kept))
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
    for candidate in _fresh(moment, worth, rungs):
        if not _worth_having(candidate, policy):
            continue
        rival = best.get(candidate.rung)
        if rival is None or candidate.score > rival[0]:
            best[candidate.rung] = (candidate.score, candidate)
    ranked = sorted(best.values(), key=lambda entry: (-entry[0], entry[1].rung))
    chosen = sorted((entry[1] for entry in ranked[: policy.rungs_max]), key=lambda c: c.rung)
    return tuple(map(worth.quote, chosen))


def _worth_having(candidate: Candidate, policy: QuotePolicy) -> bool:
    return candidate.score > 0.0 and candidate.rate_per_min >= policy.fill_rate_min_per_min


def _queue(books: Books, rung: int, is_bid: bool, price_e4: int) -> tuple[int, int]:
    """Return how far behind the best of others a price is, and what would be filled before it.

    The queue is the last place at our price; behind the best price the whole depth within five
    cents counts as before us.
    """
    if is_bid:
        behind_e4 = books.bid_price_e4[rung] - price_e4
    else:
        behind_e4 = price_e4 - books.ask_price_e4[rung]
    if behind_e4 < 0:
        return behind_e4, 0
    if behind_e4 == 0:
        return 0, (books.bid_count_e2 if is_bid else books.ask_count_e2)[rung]
    return behind_e4, (books.bid_depth_e2 if is_bid else books.ask_depth_e2)[rung]


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
    """Return what the fill model looks at."""
    is_bid = side == "bid"
    behind_e4, ahead_e2 = _queue(books, rung, is_bid, price_e4)
    return FillState(
        side=side,
        behind_e4=behind_e4,
        ahead_e2=ahead_e2,
        count_e2=count_e2,
        edge_cents=_edge_cents(is_bid, price_e4, probability),
        minutes_left=minutes_left,
        attention=attention,
    )


def _edge_cents(is_bid: bool, price_e4: int, probability: float) -> float:
    edge = probability - price_e4 / PRICE_ONE_E4
    return 100.0 * (edge if is_bid else -edge)


def attention_of(probabilities: Floats) -> Floats:
    """Return the part of a ladder's doubt, p(1 − p), that lies on each rung, shape (rungs,)."""
    doubt = probabilities * (1.0 - probabilities)
    return doubt / max(float(np.add.reduce(doubt)), 1e-9)


def participation(books: Books, rung: int, side: Side, count_e2: int) -> float:
    """Return our share of the depth that an order joins, itself included."""
    depth_e2 = (books.bid_depth_e2 if side == "bid" else books.ask_depth_e2)[rung]
    return count_e2 / (count_e2 + depth_e2)


class _Worth:
    """What any quote of a moment is worth; what all of them share is worked out once."""

    def __init__(self, moment: Moment) -> None:
        policy = moment.policy
        self.fair: list[float] = moment.probabilities.tolist()
        self._attention: list[float] = moment.attention.tolist()
        self._books = moment.books
        self._fees_e6 = moment.ladder.fees.at_e6
        self._shrink = policy.ev_shrink
        self._count_e2 = policy.quote_count_e2
        self._fills = FillsAt(moment.fills, policy.quote_count_e2, moment.minutes_left)
        self._tickers = moment.ladder.definition.tickers

    def of(self, rung: int, side: Side, price_e4: int) -> Candidate:
        """Return what a bid or ask at a price is worth."""
        is_bid = side == "bid"
        fills, books = self._fills, self._books
        edge_cents = _edge_cents(is_bid, price_e4, self.fair[rung])
        behind_e4, ahead_e2 = _queue(books, rung, is_bid, price_e4)
        attention = self._attention[rung]
        rate = fills.rate_per_min(is_bid, behind_e4, ahead_e2, edge_cents, attention)
        alpha = fills.share(rate)
        share = participation(books, rung, side, self._count_e2)
        ev_e6 = round(edge_cents * self._shrink * CENT_E6) - self._fees_e6[price_e4]
        slippage_e6 = round(fills.slippage_cents(share) * CENT_E6)
        score = alpha * (ev_e6 - slippage_e6)
        return Candidate(rung, side, price_e4, ev_e6, slippage_e6, rate, alpha, score)

    def quote(self, candidate: Candidate) -> Quote:
        """Return the candidate as what a proposal says."""
        return Quote(
            ticker=self._tickers[candidate.rung],
            side=candidate.side,
            price_e4=candidate.price_e4,
            count_e2=self._count_e2,
            probability=min(max(self.fair[candidate.rung], 0.0), 1.0),
            ev_per_contract_e6=candidate.ev_e6,
            fill_probability=candidate.fill_probability,
            slippage_e6=candidate.slippage_e6,
        )


def _fresh(moment: Moment, worth: _Worth, rungs: range) -> Iterator[Candidate]:
    """Yield the best new bid and ask of each rung that earn the entry EV."""
    books, policy, ticks = moment.books, moment.policy, moment.ladder.ticks
    fees_e6 = moment.ladder.fees.at_e6
    entry_e6 = policy.ev_min_e6 + policy.ev_entry_margin_e6
    scale = policy.ev_shrink * COUNT_ONE_E2
    for rung in rungs:
        if rung in moment.inactive:
            continue
        fair_e4 = worth.fair[rung] * PRICE_ONE_E4
        best_bid_e4, best_ask_e4 = books.bid_price_e4[rung], books.ask_price_e4[rung]
        over_bid_e4, under_ask_e4 = ticks.above(best_bid_e4), ticks.below(best_ask_e4)
        fee_e6 = fees_e6[ticks.at_or_below(fair_e4)]
        need_e4 = (entry_e6 + fee_e6) / COUNT_ONE_E2 / policy.ev_shrink
        better_e4 = over_bid_e4
        if best_bid_e4 == 0:
            better_e4 = ticks.at_or_below(fair_e4 - policy.alone_edge_e4)
        bid_e4 = min(better_e4, under_ask_e4, ticks.at_or_below(fair_e4 - need_e4))
        if bid_e4 > 0 and (fair_e4 - bid_e4) * scale - fees_e6[bid_e4] >= entry_e6:
            yield worth.of(rung, "bid", bid_e4)
        better_e4 = under_ask_e4
        if best_ask_e4 == PRICE_ONE_E4:
            better_e4 = ticks.at_or_above(fair_e4 + policy.alone_edge_e4)
        ask_e4 = max(better_e4, over_bid_e4, ticks.at_or_above(fair_e4 + need_e4))
        if ask_e4 < PRICE_ONE_E4 and (ask_e4 - fair_e4) * scale - fees_e6[ask_e4] >= entry_e6:
            yield worth.of(rung, "ask", ask_e4)


def _kept(moment: Moment, worth: _Worth, standing: Sequence[Quote]) -> list[Candidate]:
    """Return the standing quotes that still earn the minimum and cross nobody."""
    books = moment.books
    kept: list[Candidate] = []
    for quote in standing:
        rung = moment.ladder.rung_of.get(quote.ticker)
        if rung is None or rung in moment.inactive:
            continue
        crossing = (
            quote.price_e4 >= books.ask_price_e4[rung]
            if quote.side == "bid"
            else quote.price_e4 <= books.bid_price_e4[rung]
        )
        if crossing:
            continue
        candidate = worth.of(rung, quote.side, quote.price_e4)
        if candidate.ev_e6 >= moment.policy.ev_min_e6:
            kept.append(candidate)
    return kept
