"""What reporting's settled evidence says of a family, until it expires (domain.md §5).

Monitors has no history of its own. Until reporting sends the figure it is NO_DATA.
"""

from msgspec import Struct

from libs.common.messages import Message, SettledEvidence
from services.monitors.policy import MonitorsPolicy
from services.monitors.reading import Newest, Reading, family_name, judged, no_data, seconds

SERIES_MAX = 64

EV_GAP_BPS, EV_GAP_T, EV_GAP_COUNT = "ev_gap_bps", "ev_gap_t", "ev_gap_count"
"""Settled less expected P&L of the last three days: mean in bps, its t, over so many trades."""
FILL_GAP_PP, FILL_CONTRACTS = "fill_gap_pp", "fill_contracts"
"""Fill rate less alpha in percentage points, over so many contracts asked for."""
CRPS_RATIO, BRIER_RATIO = "crps_ratio", "brier_ratio"
"""The model's score over the baseline's."""
REPLAY_GAP_USD = "replay_gap_usd"
"""EV per contract, live less replayed."""


class Evidence:
    """Keep the newest evidence of each series."""

    def __init__(self) -> None:
        self._newest = Newest(SettledEvidence, lambda shown: shown.series_ticker, SERIES_MAX)

    def fold(self, message: Message) -> None:
        self._newest.hear(message)

    def of(self, family: str) -> list[SettledEvidence]:
        """Return the newest evidence of each of a family's series."""
        return [one for one in self._newest.all() if family_name(one.series_ticker) == family]


class Bound(Struct, frozen=True):
    """A figure, the limit that it may not pass, and on which side of it the alert lies."""

    figure: str
    limit: float
    below: bool
    inclusive: bool = True

    def is_broken(self, value: float) -> bool:
        """Tell whether a value is beyond the limit, or on it if that counts."""
        if value == self.limit:
            return self.inclusive
        return (value < self.limit) == self.below


class SettledMonitor:
    """ALERT when one of a few figures is beyond its bound, from a least count on, by family.

    Of several series the worst one counts; a figure that is missing is NO_DATA.
    """

    def __init__(
        self,
        name: str,
        families: tuple[str, ...],
        evidence: Evidence,
        bounds: tuple[Bound, ...],
        count: tuple[str, int] | None = None,
    ) -> None:
        self.name = name
        self._families = families
        self._evidence = evidence
        self._bounds = bounds
        self._count = count

    def fold(self, message: Message) -> None:
        """Remember nothing: the evidence is folded once for all who read it."""

    def look(self, now_ns: int) -> dict[str, Reading]:
        return {family: self._family(family, now_ns) for family in self._families}

    def _family(self, family: str, now_ns: int) -> Reading:
        shown = self._evidence.of(family)
        if not shown:
            return no_data(self._bounds[0].limit, "the ledger has sent no settled evidence")
        readings = [self._judge(one, now_ns) for one in shown]
        order = ("ALERT", "NO_DATA", "OK")
        return min(readings, key=lambda reading: order.index(reading.state))

    def _judge(self, shown: SettledEvidence, now_ns: int) -> Reading:
        first = self._bounds[0]
        if now_ns >= shown.expires_ns:
            age_s = seconds(now_ns - shown.expires_ns)
            return no_data(first.limit, f"{shown.series_ticker}: expired {age_s:.0f} s ago")
        wanted = [bound.figure for bound in self._bounds]
        wanted += [] if self._count is None else [self._count[0]]
        if missing := [name for name in wanted if name not in shown.metrics]:
            return no_data(first.limit, f"{shown.series_ticker}: no {', '.join(missing)}")
        text = ", ".join(f"{name} {shown.metrics[name]:.4g}" for name in dict.fromkeys(wanted))
        text = f"{shown.series_ticker}: {text}"
        if self._count is not None and shown.metrics[self._count[0]] < self._count[1]:
            return no_data(first.limit, f"{text}; {self._count[1]} are needed")
        broken = [each for each in self._bounds if each.is_broken(shown.metrics[each.figure])]
        told = broken[0] if broken else first
        return judged(bool(broken), shown.metrics[told.figure], told.limit, text)


def settled_monitors(policy: MonitorsPolicy, evidence: Evidence) -> tuple[SettledMonitor, ...]:
    """Return the monitors of settled history with their limits."""
    families = policy.families
    return (
        SettledMonitor(
            "ev_gap",
            families,
            evidence,
            (Bound(EV_GAP_BPS, policy.ev_gap_bps, True), Bound(EV_GAP_T, policy.ev_gap_t, True)),
            (EV_GAP_COUNT, policy.ev_gap_count_min),
        ),
        SettledMonitor(
            "fill_vs_alpha",
            families,
            evidence,
            (Bound(FILL_GAP_PP, policy.fill_gap_pp, True),),
            (FILL_CONTRACTS, policy.fill_gap_contracts_min),
        ),
        SettledMonitor(
            "model_drift",
            families,
            evidence,
            tuple(
                Bound(name, policy.model_drift_ratio, below=False, inclusive=False)
                for name in (CRPS_RATIO, BRIER_RATIO)
            ),
        ),
        SettledMonitor(
            "replay_parity",
            families,
            evidence,
            (
                Bound(REPLAY_GAP_USD, policy.replay_gap_usd, below=False, inclusive=False),
                Bound(REPLAY_GAP_USD, -policy.replay_gap_usd, below=True, inclusive=False),
            ),
        ),
    )
