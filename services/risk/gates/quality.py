"""Gate `quality`: the model beats the naive one, and nothing was malformed (domain.md §3).

The reason names the first metric that fails: `quality_<metric>`. The proposal's own EV counts
beside the settled evidence.
"""

from collections.abc import Iterator

from libs.common.messages import GateResult
from services.risk.gates.contract import REAL_MONEY, Answer, Question, expired
from services.risk.policy import QualityGates, RiskPolicy

NAME = "quality"
INPUTS: tuple[str, ...] = ("now_ns", "family", "evidence", "ev_min_e6")
WEIGHT = REAL_MONEY
TREASURY = "TENY"


def ask(question: Question, policy: RiskPolicy) -> Answer:
    """Measure every metric; report the first that fails, or how many passed."""
    if question.ev_min_e6 is not None and question.ev_min_e6 < 0:
        text = f"a quote has an EV of {question.ev_min_e6} e6 after fees"
        return Answer(_no("negative_ev", question.ev_min_e6 / 1e6, 0.0, text))
    evidence = question.evidence
    if (why := expired(evidence, question.now_ns)) is not None or evidence is None:
        return Answer(_no("evidence", None, None, why or ""), unproven=True)
    failed: list[tuple[str, float | None, float]] = []
    count = 0
    for metric, limit, least in _limits(question.family, policy.quality_gates):
        count += 1
        value = evidence.metrics.get(metric)
        if value is None or not (value >= limit if least else value <= limit):
            failed.append((metric, value, limit))
    if not failed:
        result = GateResult(
            gate=NAME, ok=True, measured=float(count), limit=float(count), unit="metrics"
        )
        return Answer(result, evidence.expires_ns)
    metric, value, limit = failed[0]
    shown = [f"{name} {found if found is not None else 'missing'}" for name, found, _ in failed]
    return Answer(_no(metric, value, limit, ", ".join(shown)))


def _limits(family: str, policy: QualityGates) -> Iterator[tuple[str, float, bool]]:
    """Yield each metric's name, its limit, and whether that is the least that is good."""
    for name in ("crps_advantage", "brier_advantage"):
        table: dict[str, float] = getattr(policy, f"{name}_min")
        yield name, table.get(family, table["default"]), True
    yield "non_monotone", policy.non_monotone_max, False
    yield "negative_ev", policy.negative_ev_max, False
    yield "tz", policy.tz_max, False
    if family == TREASURY:
        yield "par_vs_dgs10_bps", policy.par_vs_dgs10_bps_max, False


def _no(metric: str, value: float | None, limit: float | None, detail: str) -> GateResult:
    return GateResult(
        gate=NAME,
        ok=False,
        reason=f"quality_{metric}",
        measured=value,
        limit=limit,
        detail=detail,
    )
