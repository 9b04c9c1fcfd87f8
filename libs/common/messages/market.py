"""What comes in from the outside: index levels, clock samples, ladders and their books."""

from msgspec import Struct

from libs.common.messages.base import (
    CountE2,
    LevelE4,
    Message,
    Name,
    Nanoseconds,
    PriceE4,
    Probability,
    Provenance,
    Text,
)


class IndexTick(Message, frozen=True, kw_only=True, tag="index_tick.1"):
    """One index level: the close of an aggregate bar, known at the bar's end."""

    symbol: Name
    level_e4: LevelE4
    bar_start_ns: Nanoseconds
    bar_end_ns: Nanoseconds
    recv_ns: Nanoseconds
    provenance: Provenance

    def __post_init__(self) -> None:
        super().__post_init__()
        assert self.level_e4 > 0, f"level_e4: expected above 0, got {self.level_e4}"
        assert self.bar_start_ns < self.bar_end_ns, "a bar ends after it starts"


class ClockSample(Message, frozen=True, kw_only=True, tag="clock_sample.1"):
    """Our clock less an outside one, `uncertainty_ns` either side."""

    reference: Name
    skew_ns: int
    uncertainty_ns: int


class PriceRange(Struct, frozen=True, gc=False):
    """Ticks of `step_e4` hold from `start_e4` up to `end_e4`."""

    start_e4: PriceE4
    end_e4: PriceE4
    step_e4: PriceE4


class LadderDefined(Message, frozen=True, kw_only=True, tag="ladder_defined.1"):
    """All rungs of one event in strike order; sent when it changes, named by `ladder_id`."""

    ladder_id: Name
    event_ticker: Name
    series_ticker: Name
    family: Name
    symbol: Text
    kind: Name
    target_ns: Nanoseconds
    close_ns: Nanoseconds
    tickers: tuple[Name, ...]
    strike_types: tuple[Name, ...]
    floors_e4: tuple[LevelE4 | None, ...]
    caps_e4: tuple[LevelE4 | None, ...]
    price_ranges: tuple[PriceRange, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        lengths = {len(self.strike_types), len(self.floors_e4), len(self.caps_e4)}
        assert lengths == {len(self.tickers)}, "ladder columns differ in length"


class LadderSnapshot(Message, frozen=True, kw_only=True, tag="ladder_snapshot.1"):
    """Book tops of one event, columnar in rung order of its definition.

    An absent quote has count 0 (and price 0 for bids, 10,000 for asks). Depth is the count
    resting within five cents of the best price. `stale` names rungs whose book has a gap,
    `inactive` those whose market does not trade now; None says that nobody knows.
    """

    ladder_id: Name
    event_ticker: Name
    series_ticker: Name
    target_ns: Nanoseconds
    recv_ns: Nanoseconds
    provenance: Provenance
    bid_price_e4: tuple[PriceE4, ...]
    bid_count_e2: tuple[CountE2, ...]
    bid_depth_e2: tuple[CountE2, ...]
    ask_price_e4: tuple[PriceE4, ...]
    ask_count_e2: tuple[CountE2, ...]
    ask_depth_e2: tuple[CountE2, ...]
    stale: tuple[int, ...] = ()
    inactive: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        columns = (
            self.bid_count_e2,
            self.bid_depth_e2,
            self.ask_price_e4,
            self.ask_count_e2,
            self.ask_depth_e2,
        )
        assert {len(column) for column in columns} == {len(self.bid_price_e4)}, (
            "ladder columns differ in length"
        )
        rungs = len(self.bid_price_e4)
        assert all(0 <= rung < rungs for rung in self.inactive or ()), "inactive: no such rung"


class FairLadder(Message, frozen=True, kw_only=True, tag="fair_ladder.1"):
    """The model's probability of YES for each rung, with what it was computed from.

    `market` is what the quotes of others say at the same time: empty without fresh books, and
    where they contradict one another.
    """

    ladder_id: Name
    event_ticker: Name
    series_ticker: Name
    target_ns: Nanoseconds
    model: Name
    calibration_id: Name
    level_e4: LevelE4
    level_ns: Nanoseconds
    mean: float
    sigma: float
    probabilities: tuple[Probability, ...]
    market: tuple[Probability, ...] = ()
