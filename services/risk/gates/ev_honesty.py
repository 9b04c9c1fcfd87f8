"""Gate `ev_honesty`: settled P&L per contract not far below what was expected (domain.md §3).

A bin of probabilities that fell short by more than $0.10 a contract is capped: nothing is quoted
in it. The gate says no when that leaves nothing of a proposal.
"""

from collections.abc import Iterable, Sequence

from libs.common.messages import EvBin, GateResult
from libs.domain.money import MONEY_ONE_E6
from services.risk.gates.contract import REAL_MONEY, Answer, Question, expired
from services.risk.policy import QualityGates, RiskPolicy

NAME = "ev_honesty"
INPUTS: tuple[str, ...] = ("now_ns", "evidence", "probabilities")
WEIGHT = REAL_MONEY
REASON = "ev_honesty"


def ask(question: Question, policy: RiskPolicy) -> Answer:
    """Measure the worst shortfall per contract among the bins that are quoted."""
    evidence, limit_e6 = question.evidence, policy.quality_gates.ev_gap_e6_max
    if (why := expired(evidence, question.now_ns)) is not None or evidence is None:
        return Answer(
            GateResult(gate=NAME, ok=False, reason=REASON, detail=why or ""), unproven=True
        )
    asked = question.probabilities
    found = bins_of(asked, evidence.bins)
    shortfalls_e6 = [-one.gap_e6 for one in found if one is not None]
    capped = sum([is_capped(one, policy.quality_gates) for one in found])
    nothing_left = bool(asked) and capped == len(asked)
    result = GateResult(
        gate=NAME,
        ok=not nothing_left,
        reason=REASON if nothing_left else "",
        measured=max(shortfalls_e6) / MONEY_ONE_E6 if shortfalls_e6 else None,
        limit=limit_e6 / MONEY_ONE_E6,
        unit="dollars",
        detail=f"{capped} of {len(asked)} quotes in capped bins" if capped else "",
    )
    return Answer(result, evidence.expires_ns)


def is_capped(found: EvBin | None, policy: QualityGates) -> bool:
    """Return whether nothing may be quoted in a bin: it fell short, or there is none."""
    return found is None or -found.gap_e6 > policy.ev_gap_e6_max


def bins_of(probabilities: Iterable[float], bins: Sequence[EvBin]) -> list[EvBin | None]:
    """Return the bins that hold probabilities; the last one holds its upper end too."""
    found: list[EvBin | None] = []
    for probability in probabilities:
        for one in bins:
            if one.lower <= probability < one.upper or probability == one.upper == 1.0:
                found.append(one)
                break
        else:
            found.append(None)
    return found
