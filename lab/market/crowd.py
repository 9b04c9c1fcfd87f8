"""What the crowd thinks and wants: fair prices per rung and the quotes of its makers.

Pure numbers over arrays of rungs or quote slots; `flow.py` turns them into orders. Widths, sizes
and the share of two-sided rungs follow the intraday index ladders of kalshi-api.md §4: 41 %
two-sided, median spread 0.28, 0.2 % tight and deep, sizes 5 to 5,000.
"""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from scipy.special import ndtr

from lab.market.seeds import generator
from libs.domain.strikes import Rung

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TICK_E4 = 100
LOWEST_E4, HIGHEST_E4 = TICK_E4, 10_000 - TICK_E4
# Below and above these prices a rung is far from the money: quoted lazily, or not at all.
NEAR_LOW, NEAR_HIGH = 0.03, 0.97
OUTER_LOW, OUTER_HIGH = 0.08, 0.92
SIGMA_FLOOR_E4 = 3_000.0
# Reported levels lie on a 0.01 grid, so thresholds between two of its points are one and the same.
FAR_E4 = 1e12


class CrowdConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the other participants behave. Probabilities per rung, rates per virtual second."""

    seed: int = 1
    grid_ns: int = 250_000_000
    maker_lags_s: tuple[float, ...] = (1.5, 2.5, 4.0)
    maker_view_sigma: float = 0.12
    width_median: float = 0.27
    width_log_sigma: float = 0.45
    far_two_sided: float = 0.40
    far_one_sided: float = 0.38
    near_one_sided: float = 0.06
    tight_and_deep: float = 0.002
    size_median: float = 60.0
    size_log_sigma: float = 1.3
    moves_per_step_max: int = 6
    noise_per_s: float = 0.3
    noise_edge_paid: float = 0.08
    informed_per_s: float = 1.0
    informed_leads_s: tuple[float, ...] = (1.0, 5.0, 20.0)
    informed_edge_min: float = 0.02

    def __post_init__(self) -> None:
        assert self.grid_ns >= 1_000_000, f"grid_ns: expected 1 ms or more, got {self.grid_ns}"
        assert self.maker_lags_s, "maker_lags_s: expected at least one maker"
        assert self.informed_leads_s, "informed_leads_s: expected at least one lead, 0 for none"
        assert 1 <= self.moves_per_step_max <= 100, "moves_per_step_max: expected 1 to 100"


class Bounds(Struct, frozen=True):
    """Each rung pays when low_e4 <= level < high_e4, give or take the level's own grid."""

    low_e4: Floats
    high_e4: Floats

    def take(self, rungs: Ints) -> "Bounds":
        """Return the bounds of the rungs at these indices."""
        return Bounds(self.low_e4[rungs], self.high_e4[rungs])

    def fair(self, level_e4: Floats | float, sigma_e4: float) -> Floats:
        """Return the probability of YES per rung: normal around the level."""
        sigma_e4 = max(sigma_e4, SIGMA_FLOOR_E4)
        above_low = ndtr((level_e4 - self.low_e4) / sigma_e4)
        above_high = ndtr((level_e4 - self.high_e4) / sigma_e4)
        return np.asarray(above_low - above_high, dtype=np.float64)


class Slots(Struct, frozen=True):
    """Places for a maker's pair of quotes: two a rung, the inner ones first.

    `mood` in 0..1 decides whether a far rung is quoted on two sides, one or none.
    """

    rung: Ints
    maker: Ints
    lag_s: Floats
    width: Floats
    count_e2: Ints
    mood: Floats
    outer: NDArray[np.bool_]


def bounds_of(rungs: Sequence[Rung]) -> Bounds:
    """Return the paying range of each market, by its strike type alone."""
    low = [-FAR_E4 if rung.floor_e4 is None else float(rung.floor_e4) for rung in rungs]
    high = [FAR_E4 if rung.cap_e4 is None else float(rung.cap_e4) for rung in rungs]
    return Bounds(np.array(low), np.array(high))


def make_slots(config: CrowdConfig, event_ticker: str, rungs: int) -> Slots:
    """Draw the makers' habits for one ladder, the same for the same seed and event."""
    rng = generator(config.seed, event_ticker, "slots")
    count = 2 * rungs
    rung = np.arange(count, dtype=np.int64) % rungs
    outer = np.arange(count) >= rungs
    maker = rng.integers(0, len(config.maker_lags_s), count)
    # The outer quote of a rung is another maker's, so that a book has depth of two minds.
    maker[rungs:] = (maker[:rungs] + 1) % len(config.maker_lags_s)
    width = config.width_median * np.exp(config.width_log_sigma * rng.standard_normal(count))
    width = np.clip(width, 0.04, 0.70)
    width[outer] = np.clip(width[:rungs] + 0.06 + 0.5 * width[outer], 0.10, 0.90)
    contracts = config.size_median * np.exp(config.size_log_sigma * rng.standard_normal(count))
    tight = ~outer & (rng.random(count) < config.tight_and_deep)
    width[tight] = 0.02
    contracts[tight] = 5_000.0
    return Slots(
        rung=rung,
        maker=maker,
        lag_s=np.array(config.maker_lags_s)[maker],
        width=width,
        count_e2=np.rint(np.clip(contracts, 5.0, 5_000.0)).astype(np.int64) * 100,
        mood=rng.random(count),
        outer=outer,
    )


def wanted_quotes(config: CrowdConfig, slots: Slots, fair: Floats) -> tuple[Ints, Ints]:
    """Return the bid and the ask that each slot wants, in price_e4; 0 where it wants none."""
    near = (fair > NEAR_LOW) & (fair < NEAR_HIGH)
    bid = np.floor((fair - slots.width / 2) * 100.0 + 1e-9) * TICK_E4
    ask = np.ceil((fair + slots.width / 2) * 100.0 - 1e-9) * TICK_E4
    bid = np.where(near, np.maximum(bid, LOWEST_E4), bid)
    ask = np.where(near, np.minimum(ask, HIGHEST_E4), ask)
    low, high = ~near & (fair < 0.5), ~near & (fair >= 0.5)
    wide = np.rint(slots.width * 100.0) * TICK_E4
    bid = np.where(low, LOWEST_E4, np.where(high, HIGHEST_E4 - wide, bid))
    ask = np.where(low, LOWEST_E4 + wide, np.where(high, HIGHEST_E4, ask))
    two_sided = np.where(near, 1.0 - config.near_one_sided, config.far_two_sided)
    one_sided = np.where(near, config.near_one_sided, config.far_one_sided)
    empty = slots.mood >= two_sided + one_sided
    single = ~empty & (slots.mood >= two_sided)
    # A lone quote is the side that risks little: an ask on a cheap rung, a bid on a dear one.
    bid = np.where(empty | (single & (fair < 0.5)), 0.0, bid)
    ask = np.where(empty | (single & (fair >= 0.5)), 0.0, ask)
    idle = slots.outer & ((fair < OUTER_LOW) | (fair > OUTER_HIGH))
    bid = np.where(idle, 0.0, bid).astype(np.int64)
    ask = np.where(idle, 0.0, ask).astype(np.int64)
    return np.maximum(bid, 0), np.maximum(ask, 0)
