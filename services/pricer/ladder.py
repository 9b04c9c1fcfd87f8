"""One ladder made ready for pricing: edges, ticks and fees once, then arrays only."""

from collections.abc import Mapping

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from libs.common.messages import LadderDefined, LadderSnapshot, Side
from libs.domain.families import LadderKind, family_of_series
from libs.domain.fees import schedule_at
from libs.domain.ladder_maths import contradictions, masses_of
from libs.domain.market_implied import LadderContradicts, implied_pmf, implied_survival
from libs.domain.money import COUNT_ONE_E2, PRICE_ONE_E4
from libs.domain.strikes import Ladder, Rung, StrikeType
from services.pricer.ev import FeeTerms
from services.pricer.ticks import TickGrid

Floats = NDArray[np.float64]


class LadderRefused(ValueError):
    """A ladder definition that can't be priced; the text says why."""


class Books(Struct, frozen=True, eq=False):
    """Best quotes of others by rung: bid 0 and ask 10,000 where there is none.

    Counts rest at the best price, depths within five cents of it.
    """

    bid_price_e4: list[int]
    ask_price_e4: list[int]
    bid_count_e2: list[int]
    ask_count_e2: list[int]
    bid_depth_e2: list[int]
    ask_depth_e2: list[int]


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
            mode = int(masses_of(probabilities).argmax())
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
        nested = self.ladder.kind is LadderKind.NESTED
        bids, asks = _floats(books.bid_price_e4), _floats(books.ask_price_e4)
        no_bid, no_ask = bids == 0.0, asks == PRICE_ONE_E4
        unquoted = no_bid & no_ask
        too_few = np.logical_and if nested else np.logical_or
        if too_few.reduce(unquoted):
            return None
        bids /= PRICE_ONE_E4
        asks /= PRICE_ONE_E4
        bids[no_bid] = asks[no_ask] = np.nan
        try:
            if nested:
                most_e2 = np.maximum(_floats(books.bid_count_e2), _floats(books.ask_count_e2))
                return implied_survival(bids, asks, most_e2 / COUNT_ONE_E2).survival
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
        bid_counts_e2, ask_counts_e2 = snapshot.bid_count_e2, snapshot.ask_count_e2
        bids = zip(snapshot.bid_price_e4, bid_counts_e2, strict=True)
        asks = zip(snapshot.ask_price_e4, ask_counts_e2, strict=True)
        found = Books(
            [price_e4 if count_e2 else 0 for price_e4, count_e2 in bids],
            [price_e4 if count_e2 else PRICE_ONE_E4 for price_e4, count_e2 in asks],
            list(bid_counts_e2),
            list(ask_counts_e2),
            list(snapshot.bid_depth_e2),
            list(snapshot.ask_depth_e2),
        )
        for still in snapshot.inactive or ():  # what shows there is no offer
            found.bid_price_e4[still], found.ask_price_e4[still] = 0, PRICE_ONE_E4
            found.bid_count_e2[still] = found.ask_count_e2[still] = 0
            found.bid_depth_e2[still] = found.ask_depth_e2[still] = 0
        for (ticker, side, price_e4), count_e2 in own_e2.items():
            rung = self.rung_of.get(ticker)
            if rung is not None:
                self._take_out(found, rung, side, price_e4, count_e2)
        return found

    def _take_out(self, books: Books, rung: int, side: Side, price_e4: int, count_e2: int) -> None:
        """Take an order of ours out of the books that show it."""
        is_bid = side == "bid"
        best_e4 = books.bid_price_e4 if is_bid else books.ask_price_e4
        if best_e4[rung] != price_e4:
            return
        counts_e2 = books.bid_count_e2 if is_bid else books.ask_count_e2
        depths_e2 = books.bid_depth_e2 if is_bid else books.ask_depth_e2
        depths_e2[rung] = max(depths_e2[rung] - count_e2, 0)
        if counts_e2[rung] > count_e2:
            counts_e2[rung] -= count_e2
            return
        best_e4[rung] = self.ticks.below(price_e4) if is_bid else self.ticks.above(price_e4)
        counts_e2[rung] = depths_e2[rung]

    def _fee_terms(self, now_ns: int) -> FeeTerms:
        definition = self.definition
        schedule = schedule_at(definition.series_ticker, now_ns, definition.event_ticker)
        return FeeTerms.of(schedule, self.ticks.prices_e4)


def _floats(column: list[int]) -> Floats:
    return np.fromiter(column, np.float64, len(column))


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
