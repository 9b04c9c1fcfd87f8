"""Sizing's policy numbers, one struct per file of `configs/`; those files say where each is from.

Money is micro-dollars, counts are 0.01 contract.
"""

from collections.abc import Iterator
from itertools import pairwise

from msgspec import Struct, field

from libs.common.config import demand_at_least_zero
from libs.domain.families import demand_families
from libs.domain.macro_days import MacroEvent
from libs.domain.money import MONEY_ONE_E6, PRICE_ONE_E4


def _dollars(dollars: int) -> int:
    return dollars * MONEY_ONE_E6


class KellyPolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What Kelly's fraction is taken of, its most, and its discounts."""

    bankroll_e6: int = _dollars(10_000)
    fraction_max: float = 0.25
    uncertainty: float = 0.0
    imbalance: float = 0.0

    def __post_init__(self) -> None:
        if self.bankroll_e6 <= 0:
            raise ValueError(f"bankroll_e6: expected above 0, got {self.bankroll_e6}")
        if not 0.0 <= self.fraction_max < 1.0:
            raise ValueError(f"fraction_max: expected 0 to below 1, got {self.fraction_max}")
        for key in ("uncertainty", "imbalance"):
            if not 0.0 <= getattr(self, key) <= 1.0:
                raise ValueError(f"{key}: expected 0 to 1, got {getattr(self, key)}")


class PalPolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Maximum loss per strike: by family, and by strike of a family as its ticker's level reads.

    A family without one may lose nothing, so it gets nothing.
    """

    family_e6: dict[str, int] = field(
        default_factory=lambda: {
            "INXU": _dollars(1_000),
            "NASDAQ100U": _dollars(1_000),
            "INX": _dollars(1_200),
            "NASDAQ100": _dollars(1_200),
            "CPI": _dollars(3_000),
        }
    )
    strikes_e6: dict[str, dict[str, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        demand_families("family_e6", self.family_e6)
        demand_families("strikes_e6", self.strikes_e6)
        demand_at_least_zero(self, "family_e6")
        for family, limits in self.strikes_e6.items():
            if family not in self.family_e6:
                raise ValueError(f"strikes_e6: {family} has no limit in family_e6")
            most_e6 = self.family_e6[family]
            if any(not 0 <= limit_e6 <= most_e6 for limit_e6 in limits.values()):
                raise ValueError(
                    f"strikes_e6: expected 0 to {family}'s {most_e6} in family_e6, got {limits}"
                )

    def limit_e6(self, family: str, strike: str) -> int:
        """Return the most that one strike may lose."""
        own = self.strikes_e6.get(family, {})
        return min(self.family_e6.get(family, 0), own.get(strike, self.family_e6.get(family, 0)))


class PortfolioPolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits over events: factor VaR, the loss of a group of families, the loss budgets."""

    factor_var_max_e6: int = _dollars(3_200)
    factor_vols: dict[str, float] = field(
        default_factory=lambda: {
            "INFLATION": 1.2,
            "RATES": 1.0,
            "EMPLOYMENT": 0.9,
            "WEATHER": 1.1,
        }
    )
    factor_betas: dict[str, dict[str, float]] = field(
        default_factory=lambda: {
            "CPI": {"INFLATION": 1.1, "RATES": 0.2},
            "TENY": {"RATES": 1.2},
            "CLAIMS": {"EMPLOYMENT": 0.8, "INFLATION": 0.3},
            "WEATHER": {"WEATHER": 1.0},
        }
    )
    groups: dict[str, str] = field(
        default_factory=lambda: {
            "INXU": "SPX",
            "INX": "SPX",
            "NASDAQ100U": "NDX",
            "NASDAQ100": "NDX",
        }
    )
    group_loss_max_e6: dict[str, int] = field(
        default_factory=lambda: {"SPX": _dollars(7_500), "NDX": _dollars(7_500)}
    )
    loss_day_max_e6: int = _dollars(2_000)
    loss_week_max_e6: int = _dollars(6_000)

    def __post_init__(self) -> None:
        demand_families("factor_betas", self.factor_betas)
        demand_families("groups", self.groups)
        demand_at_least_zero(
            self,
            "factor_var_max_e6",
            "factor_vols",
            "group_loss_max_e6",
            "loss_day_max_e6",
            "loss_week_max_e6",
        )
        for family, betas in self.factor_betas.items():
            if unknown := set(betas) - set(self.factor_vols):
                raise ValueError(f"factor_betas: {family} names {unknown} without a volatility")
        if unlimited := set(self.groups.values()) ^ set(self.group_loss_max_e6):
            raise ValueError(f"groups: expected a loss limit for each group, see {unlimited}")
        if self.loss_week_max_e6 < self.loss_day_max_e6:
            raise ValueError("loss_week_max_e6: expected at least loss_day_max_e6")

    def group_of(self, family: str) -> str:
        """Return the group that a family moves with; its own name if it stands alone."""
        return self.groups.get(family, family)


class CorrelationPolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """VaR as z·σ: `rho` between groups, 1 within; the tilt is the loss on one side."""

    z: float = 2.05
    rho: float = 0.82
    portfolio_var_max_e6: int = _dollars(3_200)
    family_var_max_e6: int = _dollars(2_200)
    tilt_max_e6: int = _dollars(1_400)

    def __post_init__(self) -> None:
        if not self.z > 0.0:
            raise ValueError(f"z: expected above 0, got {self.z}")
        if not 0.0 <= self.rho <= 1.0:
            raise ValueError(f"rho: expected 0 to 1, got {self.rho}")
        demand_at_least_zero(self, "portfolio_var_max_e6", "family_var_max_e6", "tilt_max_e6")
        if self.family_var_max_e6 > self.portfolio_var_max_e6:
            raise ValueError(
                f"family_var_max_e6: expected at most portfolio_var_max_e6"
                f" ({self.portfolio_var_max_e6}), got {self.family_var_max_e6}"
            )


class RegimePolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What sizes are multiplied by on the days of these events; two on one day multiply."""

    multipliers: dict[MacroEvent, float] = field(
        default_factory=lambda: {MacroEvent.FOMC: 0.5, MacroEvent.CPI: 0.8}
    )

    def __post_init__(self) -> None:
        if any(not 0.0 <= value <= 1.0 for value in self.multipliers.values()):
            raise ValueError(f"multipliers: expected 0 to 1, got {self.multipliers}")


class Stage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much a stage of the size ladder lets rest: per quote, and on how many rungs."""

    count_max_e2: int
    rungs_max: int


class SizeLadderPolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The stages, and which one a family is at; a family not listed is at `stage`."""

    stage: str = "A"
    family_stage: dict[str, str] = field(default_factory=dict)
    stages: dict[str, Stage] = field(
        default_factory=lambda: {
            "A": Stage(count_max_e2=100, rungs_max=1),
            "B": Stage(count_max_e2=200, rungs_max=2),
            "C": Stage(count_max_e2=1_000, rungs_max=4),
            "D": Stage(count_max_e2=10_000, rungs_max=8),
        }
    )

    def __post_init__(self) -> None:
        demand_families("family_stage", self.family_stage)
        for name in (self.stage, *self.family_stage.values()):
            if name not in self.stages:
                raise ValueError(f"stage: expected one of {sorted(self.stages)}, got {name!r}")
        rising = [self.stages[name] for name in sorted(self.stages)]
        for lower, higher in pairwise(rising):
            if higher.count_max_e2 < lower.count_max_e2 or higher.rungs_max < lower.rungs_max:
                raise ValueError("stages: expected each to allow what the one before it does")

    def stage_of(self, family: str) -> Stage:
        """Return the stage that a family is at."""
        return self.stages[self.family_stage.get(family, self.stage)]


class PilotPolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The pilot's clamp: per quote, rungs of an event, contracts held on a rung and side."""

    active: bool = True
    count_max_e2: int = 100
    rungs_max: int = 2
    position_max_e2: int = 1_000

    def __post_init__(self) -> None:
        demand_at_least_zero(self, "count_max_e2", "rungs_max", "position_max_e2")
        if self.active and self.rungs_max < 1:
            raise ValueError("rungs_max: expected 1 or more while the pilot is active, got 0")
        if self.count_max_e2 > self.position_max_e2:
            raise ValueError(
                f"count_max_e2: expected at most position_max_e2 ({self.position_max_e2}),"
                f" got {self.count_max_e2}"
            )


class SizingPolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that decides sizes.

    `lot_e2` is the smallest step of a count. A fair ladder is stale `pmf_age_s_max` behind its
    proposal. What a verdict allowed counts until `reservation_grace_s` after it expired.
    """

    kelly: KellyPolicy = KellyPolicy()
    pal: PalPolicy = field(default_factory=PalPolicy)
    portfolio: PortfolioPolicy = field(default_factory=PortfolioPolicy)
    correlation: CorrelationPolicy = CorrelationPolicy()
    regimes: RegimePolicy = field(default_factory=RegimePolicy)
    size_ladder: SizeLadderPolicy = field(default_factory=SizeLadderPolicy)
    pilot: PilotPolicy = PilotPolicy()
    lot_e2: int = 100
    pmf_age_s_max: float = 10.0
    reservation_grace_s: float = 5.0

    def __post_init__(self) -> None:
        if self.lot_e2 < 1:
            raise ValueError(f"lot_e2: expected 1 or more, got {self.lot_e2}")
        demand_at_least_zero(self, "pmf_age_s_max", "reservation_grace_s")
        smallest = {f"size_ladder.stages.{k}": v for k, v in self.size_ladder.stages.items()}
        for key, stage in smallest.items():
            if stage.count_max_e2 < self.lot_e2 or stage.rungs_max < 1:
                raise ValueError(f"{key}: expected room for one lot of {self.lot_e2} on one rung")
        for key, limit_e6 in self._limits():
            if 0 < limit_e6 < self.lot_e2 * PRICE_ONE_E4:
                raise ValueError(
                    f"{key}: expected 0 or what a lot of {self.lot_e2} may lose,"
                    f" {self.lot_e2 * PRICE_ONE_E4}; got {limit_e6}"
                )
        pilot = self.pilot
        if pilot.active and min(pilot.count_max_e2, pilot.position_max_e2) < self.lot_e2:
            raise ValueError(f"pilot: expected room for one lot of {self.lot_e2}")

    def _limits(self) -> Iterator[tuple[str, int]]:
        """Yield every limit of a loss by its key."""
        for family, limit_e6 in self.pal.family_e6.items():
            yield f"pal.family_e6.{family}", limit_e6
        for family, limits in self.pal.strikes_e6.items():
            for strike, limit_e6 in limits.items():
                yield f"pal.strikes_e6.{family}.{strike}", limit_e6
        for group, limit_e6 in self.portfolio.group_loss_max_e6.items():
            yield f"portfolio.group_loss_max_e6.{group}", limit_e6
        yield "portfolio.factor_var_max_e6", self.portfolio.factor_var_max_e6
        yield "portfolio.loss_day_max_e6", self.portfolio.loss_day_max_e6
        yield "correlation.portfolio_var_max_e6", self.correlation.portfolio_var_max_e6
        yield "correlation.family_var_max_e6", self.correlation.family_var_max_e6
        yield "correlation.tilt_max_e6", self.correlation.tilt_max_e6
