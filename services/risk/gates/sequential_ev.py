"""Gate `sequential_ev`: a one-sided lower CuSum of settled less expected P&L (domain.md §3).

S rises by what a trade falls short of expectation, less an allowance k, and never falls below
zero; at h it stops, from n trades on. A single catastrophic trade stops at any count.
"""

from functools import lru_cache

from libs.common.messages import GateResult
from services.risk.gates.contract import EVIDENCE, Answer, Question, expired
from services.risk.policy import RiskPolicy

NAME = "sequential_ev"
INPUTS: tuple[str, ...] = ("now_ns", "evidence")
WEIGHT = EVIDENCE
REASON = "sequential_alert"


def ask(question: Question, policy: RiskPolicy) -> Answer:
    """Measure the largest CuSum that was reached, or the worst trade if it was a catastrophe."""
    evidence, limits = question.evidence, policy.quality_gates
    if (why := expired(evidence, question.now_ns)) is not None or evidence is None:
        return Answer(
            GateResult(gate=NAME, ok=False, reason=REASON, detail=why or ""), unproven=True
        )
    deltas = evidence.deltas_bps
    worst = min(deltas, default=0.0)
    measured, limit, detail = lower_cusum(deltas, limits.cusum_k_bps), limits.cusum_h_bps, ""
    if worst <= -limits.catastrophe_bps:
        measured, limit = -worst, limits.catastrophe_bps
        detail = "one trade fell this far short of what was expected"
    elif len(deltas) >= limits.cusum_trades_min and measured >= limit:
        detail = f"over {len(deltas)} trades"
    result = GateResult(
        gate=NAME,
        ok=not detail,
        reason=REASON if detail else "",
        measured=measured,
        limit=limit,
        unit="bps",
        detail=detail,
    )
    return Answer(result, evidence.expires_ns)


@lru_cache(maxsize=256)
def lower_cusum(deltas_bps: tuple[float, ...], allowance_bps: float) -> float:
    """Return the largest value that the one-sided lower CuSum reached."""
    value = largest = 0.0
    for delta in deltas_bps:
        value = max(0.0, value - delta - allowance_bps)
        largest = max(largest, value)
    return largest
