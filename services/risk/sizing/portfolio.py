"""What one event may lose beside all others: every limit that reaches over events."""

from collections.abc import Mapping

from msgspec import Struct

from services.risk.sizing.book import NOTHING, Summary
from services.risk.sizing.chain import (
    FACTOR_VAR,
    FAMILY_LOSS,
    LOSS_BUDGET,
    deviation_room,
    factor_var_room_e6,
)
from services.risk.sizing.policy import CorrelationPolicy, SizingPolicy


class EventSummary(Struct, frozen=True, gc=False):
    """One event's part of the portfolio."""

    family: str
    summary: Summary


class Room(Struct, frozen=True):
    """What is left for one event: losses in any outcome by step, in the outermost, and σ.

    None stands for no limit. What is `beside` are the other events' losses
    by family, and their σ by group.
    """

    losses_e6: dict[str, int | None]
    low_e6: int | None
    high_e6: int | None
    deviation: float
    losses_beside_e6: dict[str, int]
    deviations_beside: dict[str, float]

    def tightest_e6(self) -> int:
        """Return the smallest of the losses by step."""
        known = [loss_e6 for loss_e6 in self.losses_e6.values() if loss_e6 is not None]
        return min(known)


class Portfolio:
    """The summaries of all events that hold or may come to hold something."""

    def __init__(self) -> None:
        self._events: dict[str, EventSummary] = {}
        self.version = 0

    def put(self, event_ticker: str, family: str, summary: Summary) -> None:
        """Replace an event's part; an empty one is forgotten."""
        fresh = EventSummary(family, summary) if summary != NOTHING else None
        if self._events.get(event_ticker) == fresh:
            return
        self.version += 1
        if fresh is None:
            del self._events[event_ticker]
        else:
            self._events[event_ticker] = fresh

    def losses_e6(self, without: str = "") -> dict[str, int]:
        """Return the worst losses by family, one event left out."""
        found: dict[str, int] = {}
        for name, one in self._events.items():
            if name != without:
                found[one.family] = found.get(one.family, 0) + one.summary.worst_e6
        return found

    def room(
        self,
        event_ticker: str,
        family: str,
        settled_e6: tuple[int, int],
        policy: SizingPolicy,
        multiplier: float,
    ) -> Room:
        """Return what an event of a family may lose beside the others.

        `settled_e6` is the profit of the day and of the week; `multiplier` scales each limit.
        """
        portfolio, correlation = policy.portfolio, policy.correlation
        group = portfolio.group_of(family)
        losses_e6 = self.losses_e6(event_ticker)
        group_e6 = sum(
            loss_e6 for name, loss_e6 in losses_e6.items() if portfolio.group_of(name) == group
        )
        group_limit_e6 = portfolio.group_loss_max_e6.get(group)
        budgets_e6 = (portfolio.loss_day_max_e6, portfolio.loss_week_max_e6)
        left_e6 = min(
            scaled(budget_e6, multiplier) + min(0, profit_e6)
            for budget_e6, profit_e6 in zip(budgets_e6, settled_e6, strict=True)
        )
        deviations = self.deviations(policy, event_ticker)
        low_e6, high_e6 = self._tilts(event_ticker, family, policy, multiplier)
        return Room(
            losses_e6={
                FACTOR_VAR: factor_var_room_e6(
                    family,
                    losses_e6,
                    scaled(portfolio.factor_var_max_e6, multiplier),
                    portfolio.factor_vols,
                    portfolio.factor_betas,
                ),
                FAMILY_LOSS: None
                if group_limit_e6 is None
                else max(0, scaled(group_limit_e6, multiplier) - group_e6),
                LOSS_BUDGET: max(0, left_e6 - sum(losses_e6.values())),
            },
            low_e6=low_e6,
            high_e6=high_e6,
            deviation=_deviation_room(group, deviations, correlation, multiplier),
            losses_beside_e6=losses_e6,
            deviations_beside=deviations,
        )

    def deviations(self, policy: SizingPolicy, without: str = "") -> dict[str, float]:
        """Return σ by group; within a group σ add up, as if all moved together."""
        found: dict[str, float] = {}
        for name, one in self._events.items():
            if name != without:
                group = policy.portfolio.group_of(one.family)
                found[group] = found.get(group, 0.0) + one.summary.deviation
        return found

    def _tilts(
        self, event_ticker: str, family: str, policy: SizingPolicy, multiplier: float
    ) -> tuple[int | None, int | None]:
        groups = policy.portfolio.groups
        if family not in groups:
            return None, None
        others = [
            one.summary
            for name, one in self._events.items()
            if name != event_ticker and one.family in groups
        ]
        limit_e6 = scaled(policy.correlation.tilt_max_e6, multiplier)
        return (
            max(0, limit_e6 - sum(one.low_e6 for one in others)),
            max(0, limit_e6 - sum(one.high_e6 for one in others)),
        )


def _deviation_room(
    group: str, deviations: Mapping[str, float], policy: CorrelationPolicy, multiplier: float
) -> float:
    """Return the σ that is left for one event of a group beside the others'."""
    most = scaled(policy.portfolio_var_max_e6, multiplier) / policy.z
    most_of_group = scaled(policy.family_var_max_e6, multiplier) / policy.z
    whole = deviation_room(group, deviations, policy.rho, most)
    return max(0.0, min(whole, most_of_group) - deviations.get(group, 0.0))


def scaled(limit_e6: int, multiplier: float) -> int:
    """Return a limit times a multiplier of at most 1, cut to whole micro-dollars."""
    return limit_e6 if multiplier == 1.0 else int(limit_e6 * multiplier)
