"""One ladder made ready for pricing: edges, ticks and fees once, then arrays only."""

from collections.abc import Mapping

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from libs.common.messages import LadderDefined, LadderSnapshot, Side
from libs.domain.families import LadderKind, family_of_series
from libs.domain.fees import schedule_at
from libs.domain.ladder_maths import contradictions
from libs.domain.market_implied import LadderContradicts, implied_pmf, implied_survival
from libs.domain.money import COUNT_ONE_E2, PRICE_ONE_E4
from libs.domain.strikes import Ladder, Rung, StrikeType
from services.pricer.ev import FeeTerms
from services.pricer.ticks import TickGrid

Floats = NDArray[np.float64]
Prices = NDArray[np.int64]


class LadderRefused(ValueError):
    """A ladder definition that can't be priced; the text says why."""


class Books(Struct, frozen=True, eq=False):
    """Best quotes of others per rung, shape (rungs,): bid 0 and ask 10,000 where there is none.

    Counts rest at the best price, depths within five cents of it.
    """

    bid_price_e4: Prices
    ask_price_e4: Prices
    bid_count_e2: Prices
    ask_count_e2: Prices
    bid_depth_e2: Prices
    ask_depth_e2: Prices


class PricedLadder:
    """The parts of a ladder that change only with its definition or its fees."""

    def __init__(self, definition: LadderDefined, now_ns: int) -> None:
        try:
            self.ladder = _ladder_of(definition)
            self.family = family_of_series(definition.series_ticker).name
            self.edges = self.ladder.edges()
            self.ticks = TickGrid(definition.price_ranges)
            self.definition = definition
            self.fees = self._fee_terms(now_ns)
        except ValueError as error:
            raise LadderRefused(str(error)) from error
        self.rung_of = {ticker: index for index, ticker in enumerate(definition.tickers)}

    def refresh_fees(self, now_ns: int) -> None:
        """Read the fee schedule again if the known one has ended."""
        if self.fees.to_ns is not None and now_ns >= self.fees.to_ns:
            self.fees = self._fee_terms(now_ns)

    def mode_rungs(self, probabilities: Floats, reach: int) -> range:
        """Return the rungs within `reach` of the likeliest outcome.

        In a nested ladder those are the thresholds on either side of the likeliest interval.
        """
        rungs = len(probabilities)
        if self.ladder.kind is LadderKind.NESTED:
            masses = -np.diff(probabilities, prepend=1.0, append=0.0)
            mode = int(masses.argmax())
            return range(max(0, mode - reach), min(rungs, mode + reach))
        mode = int(probabilities.argmax())
        return range(max(0, mode - reach), min(rungs, mode + reach + 1))

    def contradictions(self, books: Books) -> int:
        """Return how often quotes contradict one another, before any projection."""
        return contradictions(self.ladder.kind, books.bid_price_e4, books.ask_price_e4)

    def market(self, books: Books) -> Floats | None:
        """Return what the quotes of others say each rung is worth, shape (rungs,).

        None where they contradict one another, where there are none, and for a partition with a
        range that nobody quotes: what it is worth would be a guess.
        """
        no_bid, no_ask = books.bid_price_e4 == 0, books.ask_price_e4 == PRICE_ONE_E4
        unquoted = no_bid & no_ask
        bids = np.where(no_bid, np.nan, books.bid_price_e4 / PRICE_ONE_E4)
        asks = np.where(no_ask, np.nan, books.ask_price_e4 / PRICE_ONE_E4)
        nested = self.ladder.kind is LadderKind.NESTED
        if unquoted.all() or (unquoted.any() and not nested):
            return None
        try:
            if nested:
                counts_e2 = np.maximum(books.bid_count_e2, books.ask_count_e2)
                return implied_survival(bids, asks, counts_e2 / COUNT_ONE_E2).survival
            return implied_pmf(bids, asks)
        except LadderContradicts:
            return None

    def books_of_others(
        self, snapshot: LadderSnapshot, own_e2: Mapping[tuple[str, Side, int], int]
    ) -> Books:
        """Return a snapshot's quotes with our own resting orders taken out.

        A snapshot holds the best price only: where all of it is ours, the best of others is
        somewhere behind, and we assume one tick behind; so we never outbid ourselves. What rests
        there is unknown: we assume the whole depth.
        """
        columns = (
            snapshot.bid_price_e4,
            snapshot.ask_price_e4,
            snapshot.bid_count_e2,
            snapshot.ask_count_e2,
            snapshot.bid_depth_e2,
            snapshot.ask_depth_e2,
        )
        found = Books(*(np.array(column, dtype=np.int64) for column in columns))
        found.bid_price_e4[found.bid_count_e2 == 0] = 0
        found.ask_price_e4[found.ask_count_e2 == 0] = PRICE_ONE_E4
        for (ticker, side, price_e4), count_e2 in own_e2.items():
            rung = self.rung_of.get(ticker)
            if rung is not None:
                self._take_out(found, rung, side, price_e4, count_e2)
        return found

    def _take_out(self, books: Books, rung: int, side: Side, price_e4: int, count_e2: int) -> None:
        """Take an order of ours out of the books that show it."""
        is_bid = side == "bid"
        best_e4 = books.bid_price_e4 if is_bid else books.ask_price_e4
        counts_e2 = books.bid_count_e2 if is_bid else books.ask_count_e2
        depths_e2 = books.bid_depth_e2 if is_bid else books.ask_depth_e2
        if best_e4[rung] != price_e4:
            return
        depths_e2[rung] = max(int(depths_e2[rung]) - count_e2, 0)
        if counts_e2[rung] > count_e2:
            counts_e2[rung] -= count_e2
            return
        behind = self.ticks.below if is_bid else self.ticks.above
        best_e4[rung] = behind(best_e4[rung : rung + 1])[0]
        counts_e2[rung] = depths_e2[rung]

    def _fee_terms(self, now_ns: int) -> FeeTerms:
        definition = self.definition
        schedule = schedule_at(definition.series_ticker, now_ns, definition.event_ticker)
        return FeeTerms.of(schedule, self.ticks.prices_e4)


def _ladder_of(definition: LadderDefined) -> Ladder:
    """Return the domain's ladder of a definition; raises ValueError when it can't be one."""
    columns = zip(
        definition.tickers,
        definition.strike_types,
        definition.floors_e4,
        definition.caps_e4,
        strict=True,
    )
    rungs = tuple(
        Rung(ticker, StrikeType(strike_type), floor_e4, cap_e4)
        for ticker, strike_type, floor_e4, cap_e4 in columns
    )
    return Ladder(
        definition.event_ticker,
        definition.series_ticker,
        definition.target_ns,
        rungs,
        LadderKind(definition.kind),
    )
