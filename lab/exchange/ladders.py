"""Ladders as Kalshi lists them (kalshi-api.md section 4), made from a short definition."""

from uuid import NAMESPACE_URL, uuid5

from msgspec import Struct

from lab.exchange.model import (
    NS_PER_S,
    EventSpec,
    Ladder,
    MarketSpec,
    SeriesSpec,
    Structure,
)
from libs.domain.eastern import eastern_datetime
from libs.domain.families import LadderKind, family_of_series
from libs.domain.money import LEVEL_ONE_E4, format_level
from libs.domain.strikes import LADDER_RUNGS_MAX, Rung, StrikeType
from libs.domain.tickers import format_event_ticker, format_market_ticker

_FINEST_E4 = 1
_INDEX_NAMES = {"I:SPX": "S&P 500", "I:NDX": "Nasdaq-100"}


class LadderConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One event to list: thresholds or ranges of `step_e4` around a level, by its family's kind.

    `open_ns` is when its markets open; by default two hours before the target.
    """

    series: str
    target_ns: int
    centre_e4: int
    step_e4: int
    rungs: int
    open_ns: int | None = None
    structure: Structure = "linear_cent"

    def __post_init__(self) -> None:
        if not 3 <= self.rungs <= LADDER_RUNGS_MAX:
            raise ValueError(f"rungs: expected 3 to {LADDER_RUNGS_MAX}, got {self.rungs}")
        if self.step_e4 <= 0 or self.step_e4 % 100:
            raise ValueError(f"step_e4: expected a positive multiple of 100, got {self.step_e4}")
        if self.lowest_e4 <= 0:
            raise ValueError(f"centre_e4: {self.centre_e4} is too low for {self.rungs} rungs")
        if family_of_series(self.series).index_symbol is None:
            raise ValueError(f"series: expected one that settles on an index, got {self.series}")
        format_event_ticker(self.series, self.target_ns)

    @property
    def lowest_e4(self) -> int:
        """Return the lowest edge between two rungs."""
        middle = round(self.centre_e4 / self.step_e4)
        return (middle - (self.rungs - 1) // 2) * self.step_e4


def build_ladder(config: LadderConfig, settlement_timer_ns: int = 0) -> Ladder:
    """Return the event of a definition. Raises UnknownFamilyError or TickerError."""
    family = family_of_series(config.series)
    assert family.index_symbol is not None, f"{config.series}: expected a series on an index"
    name = _INDEX_NAMES.get(family.index_symbol, family.index_symbol)
    local = eastern_datetime(config.target_ns)
    when = f"{local:%b} {local.day}, {local:%Y} at {local:%H:%M %Z}"
    event_ticker = format_event_ticker(config.series, config.target_ns)
    nested = family.kind is LadderKind.NESTED
    series = SeriesSpec(
        ticker=config.series,
        title=f"{name} {'above or below' if nested else 'range'}",
        symbol=family.index_symbol,
        frequency="hourly" if nested else "daily",
    )
    event = EventSpec(
        ticker=event_ticker,
        series_ticker=config.series,
        symbol=family.index_symbol,
        title=f"{name} on {when}",
        sub_title=f"On {when}",
        target_ns=config.target_ns,
        mutually_exclusive=not nested,
    )
    rungs = (_thresholds if nested else _ranges)(config, event_ticker)
    open_ns = config.target_ns - 7200 * NS_PER_S if config.open_ns is None else config.open_ns
    markets = tuple(
        MarketSpec(
            rung=rung,
            market_id=str(uuid5(NAMESPACE_URL, rung.ticker)),
            event_ticker=event_ticker,
            title=f"Will the {name} be {_words(rung)} on {when}?",
            sub_title=_words(rung),
            created_ns=open_ns - 3600 * NS_PER_S,
            open_ns=open_ns,
            close_ns=config.target_ns,
            structure=config.structure,
            settlement_timer_ns=settlement_timer_ns,
        )
        for rung in rungs
    )
    return Ladder(series, event, markets)


def _thresholds(config: LadderConfig, event_ticker: str) -> list[Rung]:
    floors_e4 = [
        config.lowest_e4 + index * config.step_e4 - _FINEST_E4 for index in range(config.rungs)
    ]
    return [
        Rung(format_market_ticker(event_ticker, "T", floor), StrikeType.GREATER, floor_e4=floor)
        for floor in floors_e4
    ]


def _ranges(config: LadderConfig, event_ticker: str) -> list[Rung]:
    edges_e4 = [config.lowest_e4 + index * config.step_e4 for index in range(config.rungs - 1)]
    low_e4, high_e4 = edges_e4[0], edges_e4[-1] - _FINEST_E4
    rungs = [Rung(format_market_ticker(event_ticker, "T", low_e4), StrikeType.LESS, cap_e4=low_e4)]
    for edge_e4 in edges_e4[:-1]:
        middle_e4 = (edge_e4 + config.step_e4 // 2) // LEVEL_ONE_E4 * LEVEL_ONE_E4
        ticker = format_market_ticker(event_ticker, "B", middle_e4)
        cap_e4 = edge_e4 + config.step_e4 - _FINEST_E4
        rungs.append(Rung(ticker, StrikeType.BETWEEN, floor_e4=edge_e4, cap_e4=cap_e4))
    top = format_market_ticker(event_ticker, "T", high_e4)
    return [*rungs, Rung(top, StrikeType.GREATER, floor_e4=high_e4)]


def _words(rung: Rung) -> str:
    if rung.floor_e4 is None:
        assert rung.cap_e4 is not None, "a rung has a bound"
        return f"below {format_level(rung.cap_e4)}"
    if rung.cap_e4 is None:
        return f"above {format_level(rung.floor_e4)}"
    return f"{format_level(rung.floor_e4)} to {format_level(rung.cap_e4)}"
