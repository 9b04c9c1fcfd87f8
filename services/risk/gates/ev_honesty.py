"""Gate `ev_honesty`: settled P&L per contract not far below what was expected (domain.md §3).

A bin of probabilities that fell short by more than $0.10 a contract is capped: nothing is quoted
in it. The gate says no when that leaves nothing of a proposal.
"""

from collections.abc import Sequence
from functools import lru_cache

from libs.common.messages import EvBin, GateResult
from libs.domain.money import MONEY_ONE_E6
from services.risk.gates.contract import REAL_MONEY, Answer, Question, expired
from services.risk.policy import RiskPolicy

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
    shortfall_e6, capped = shortfalls(asked, evidence.bins, limit_e6)
    count = sum(capped)
    nothing_left = bool(asked) and count == len(asked)
    result = GateResult(
        gate=NAME,
        ok=not nothing_left,
        reason=REASON if nothing_left else "",
        measured=None if shortfall_e6 is None else shortfall_e6 / MONEY_ONE_E6,
        limit=limit_e6 / MONEY_ONE_E6,
        unit="dollars",
        detail=f"{count} of {len(asked)} quotes in capped bins" if count else "",
    )
    return Answer(result, evidence.expires_ns)


@lru_cache(maxsize=256)
def shortfalls(
    probabilities: tuple[float, ...], bins: tuple[EvBin, ...], most_e6: int
) -> tuple[int | None, tuple[bool, ...]]:
    """Return the worst shortfall of the bins that hold probabilities, and which of them are capped.

    Nothing may be quoted in a bin that fell short by more than `most_e6`, or where there is none.
    """
    found = [_bin_of(probability, bins) for probability in probabilities]
    worst_e6 = max([-one.gap_e6 for one in found if one is not None], default=None)
    return worst_e6, tuple([one is None or -one.gap_e6 > most_e6 for one in found])


def _bin_of(probability: float, bins: Sequence[EvBin]) -> EvBin | None:
    """Return the bin that holds a probability; the last one holds its upper end too."""
    for one in bins:
        if one.lower <= probability < one.upper or probability == one.upper == 1.0:
            return one
    return None
