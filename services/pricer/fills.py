"""How likely an order is to fill, and what its fills cost beyond their price. Pure.

Each resting contract is filled at a rate per minute that is log-linear in what is known of it:
where it stands to the touch, the queue before it, its size, its edge, its side, the time left, how
much of the ladder's doubt is about its rung. Fill times are survival times (Lo, MacKinlay and Zhang
2002), and a rate that falls exponentially with the distance from fair value is the usual form
(Avellaneda and Stoikov 2008). We pull most orders long before they expire: `pull_per_min` is the
rate of that, and α is the share that fills first.
"""

from math import exp, isfinite, log, log1p
from typing import Literal

from msgspec import Struct, structs

from libs.common.messages import Provenance, Side
from libs.domain.money import COUNT_ONE_E2
from services.pricer.calibration import CalibrationError

CENT_E4 = 100
BEHIND_CENTS_MAX = 3.0
EDGE_CENTS_MAX = 40.0
EDGE_CENTS_USUAL = 10.0
MINUTES_USUAL = 7.5
ATTENTION_USUAL, ATTENTION_MIN = 0.2, 0.001
TOLD_MINUTES = 1.0
MINUTES_MIN, MINUTES_MAX = 1.0 / 30.0, 60.0
LOG_RATE_MAX = 10.0
SLIPPAGE_FULL_CENTS = 0.5
"""Half a cent when our order is all of the depth it joins (the curve of domain.md §8)."""


class FillState(Struct, frozen=True, kw_only=True):
    """What is known of an order when it is to rest, or rests.

    `behind_e4` is the distance to the best price of others, below 0 when ours is better;
    `ahead_e2` the count before it at its price; `edge_cents` what a fill earns if fair value is
    right; `attention` the part of its ladder's doubt, p(1 − p), that lies on its rung.
    """

    side: Side
    behind_e4: int
    ahead_e2: int
    count_e2: int
    edge_cents: float
    minutes_left: float
    attention: float = ATTENTION_USUAL


class Coefficients(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What each covariate adds to the log of the rate.

    An order that is best alone, of one contract, on the bid, with an edge of ten cents, 7.5 minutes
    to go and a fifth of its ladder's doubt, has the rate of its series. The defaults hold until
    fills say otherwise: shares of 0.30 and 0.15 in a quarter of an hour ahead and level, halved by
    each cent behind, up to three.
    """

    joins: float = -0.8
    behind_cents: float = -0.7
    queue: float = -0.1
    size: float = 0.0
    edge_cents: float = -0.05
    time: float = 0.0
    ask: float = 0.0
    attention: float = 0.0

    def __post_init__(self) -> None:
        if not all(isfinite(getattr(self, name)) for name in self.__struct_fields__):
            raise CalibrationError("coefficients: expected finite numbers")


def _log_size(count_e2: int) -> float:
    return log(max(count_e2, 1) / COUNT_ONE_E2)


def _log_time(minutes_left: float) -> float:
    return log(min(max(minutes_left, MINUTES_MIN), MINUTES_MAX) / MINUTES_USUAL)


def _log_attention(attention: float) -> float:
    return log((attention if attention > ATTENTION_MIN else ATTENTION_MIN) / ATTENTION_USUAL)


def covariates(state: FillState) -> tuple[float, ...]:
    """Return the covariates in the order of `Coefficients`."""
    behind = state.behind_e4 / CENT_E4
    return (
        1.0 if behind >= 0.0 else 0.0,
        min(max(behind, 0.0), BEHIND_CENTS_MAX),
        log1p(max(state.ahead_e2, 0) / COUNT_ONE_E2),
        _log_size(state.count_e2),
        min(max(state.edge_cents, 0.0), EDGE_CENTS_MAX) - EDGE_CENTS_USUAL,
        _log_time(state.minutes_left),
        1.0 if state.side == "ask" else 0.0,
        _log_attention(state.attention),
    )


def share_told(minutes_left: float) -> float:
    """Return the next minute's part of what is still to come."""
    return min(1.0, TOLD_MINUTES / max(minutes_left, TOLD_MINUTES))


class SeriesFills(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One series: its rates, its slippage, and how much it was fitted on.

    Slippage is what fair value moves against us between the quote and half a minute after its
    fill: `adverse_cents` for any fill in the last minute, less the earlier it is, and up to
    `slippage_full_cents` by our share of the depth.
    """

    log_rate: float = -3.7
    pull_per_min: float = 1.0
    adverse_cents: float = 0.0
    slippage_full_cents: float = SLIPPAGE_FULL_CENTS
    orders: int = 0
    orders_without_fill: int = 0
    fills: int = 0

    def __post_init__(self) -> None:
        numbers = (self.log_rate, self.pull_per_min, self.adverse_cents, self.slippage_full_cents)
        if not all(map(isfinite, numbers)):
            raise CalibrationError("series: expected finite numbers")
        if min(numbers[1:]) < 0.0:
            raise CalibrationError("pull_per_min, adverse, slippage: expected 0 or more")


class Fills(Struct, frozen=True):
    """The fill model of one series, ready to ask."""

    coefficients: Coefficients = Coefficients()
    series: SeriesFills = SeriesFills()

    def rate_per_min(self, state: FillState) -> float:
        """Return how much of what rests is filled in a minute."""
        return FillsAt(self, state.count_e2, state.minutes_left).rate_per_min(
            state.side == "bid",
            state.behind_e4,
            state.ahead_e2,
            state.edge_cents,
            state.attention,
        )

    def if_kept(self, state: FillState) -> float:
        """Return the share filled by expiry of an order that is left alone."""
        return 1.0 - exp(-self.rate_per_min(state) * max(state.minutes_left, 0.0))

    def probability(self, state: FillState) -> float:
        """Return α: the share filled before the order is pulled or expires."""
        return FillsAt(self, state.count_e2, state.minutes_left).share(self.rate_per_min(state))

    def slippage_cents(self, participation: float, minutes_left: float) -> float:
        """Return the expected slippage: linear in our share of the depth, then flat; and adverse.

        A fill tells of the next minute, which is all there is to know in the last one.
        """
        return FillsAt(self, COUNT_ONE_E2, minutes_left).slippage_cents(participation)


class FillsAt:
    """The fill model of one series for orders of one size at one time: what all share, once.

    The pricer asks it about every quote that it weighs, so it takes bare numbers.
    """

    __slots__ = (
        "_adverse_cents",
        "_log_rate",
        "_minutes",
        "_pull_per_min",
        "_size",
        "_slope_cents",
        "_time",
        "_weights",
    )

    def __init__(self, fills: Fills, count_e2: int, minutes_left: float) -> None:
        weights, series = fills.coefficients, fills.series
        self._weights = structs.astuple(weights)
        self._log_rate = series.log_rate
        self._pull_per_min = series.pull_per_min
        self._minutes = max(minutes_left, 0.0)
        self._size = weights.size * _log_size(count_e2)
        self._time = weights.time * _log_time(minutes_left)
        self._adverse_cents = series.adverse_cents * share_told(minutes_left)
        self._slope_cents = series.slippage_full_cents

    def rate_per_min(
        self, is_bid: bool, behind_e4: int, ahead_e2: int, edge_cents: float, attention: float
    ) -> float:
        """Return how much of what rests is filled in a minute; the terms are `covariates`."""
        joins, behind, queue, _, edge, _, ask, doubt = self._weights
        terms = 0.0
        if behind_e4 >= 0:
            cents = behind_e4 / CENT_E4
            terms = joins + behind * (cents if cents < BEHIND_CENTS_MAX else BEHIND_CENTS_MAX)
        if ahead_e2 > 0:
            terms += queue * log1p(ahead_e2 / COUNT_ONE_E2)
        kept = edge_cents if edge_cents < EDGE_CENTS_MAX else EDGE_CENTS_MAX
        kept = kept if kept > 0.0 else 0.0
        terms += self._size
        terms += edge * (kept - EDGE_CENTS_USUAL)
        terms += self._time
        if not is_bid:
            terms += ask
        found = self._log_rate + (terms + doubt * _log_attention(attention))
        return exp(found if found < LOG_RATE_MAX else LOG_RATE_MAX)

    def share(self, rate_per_min: float) -> float:
        """Return α at a rate: the share filled before the order is pulled or expires."""
        ends = rate_per_min + self._pull_per_min
        return rate_per_min / ends * (1.0 - exp(-ends * self._minutes))

    def slippage_cents(self, participation: float) -> float:
        """Return `Fills.slippage_cents`."""
        share = participation if participation < 1.0 else 1.0
        share = share if share > 0.0 else 0.0
        return self._adverse_cents + self._slope_cents * share


class FillModel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fill models of all series with where they come from; a series not named has `default`.

    `provenance` is the least real of what it was fitted on: simulated fills say how the simulator
    fills. `runs` names what it was fitted on by content, `default` is what all have in common.
    """

    schema: Literal["fills.1"] = "fills.1"
    fitted_ns: int = 0
    window_start: str = ""
    window_end: str = ""
    provenance: Provenance | Literal["default"] = "default"
    runs: tuple[str, ...] = ()
    coefficients: Coefficients = Coefficients()
    default: SeriesFills = SeriesFills()
    series: dict[str, SeriesFills] = {}
    counts: dict[str, int] = {}
    metrics: dict[str, float] = {}
    not_estimated: tuple[str, ...] = ()
    sha256: str = ""

    def of_series(self, series_ticker: str) -> Fills:
        """Return the model of a series."""
        return Fills(self.coefficients, self.series.get(series_ticker, self.default))

    @property
    def id(self) -> str:
        """Return its name in logs and reports."""
        return f"fills-{self.sha256[:12]}" if self.sha256 else "fills-default"
