"""Gate `drawdown`: the account's loss of the day and of the week within budget (domain.md §3).

Settled fills by what was paid, open positions at the price at which we could get out.
"""

from libs.common.messages import GateResult
from libs.domain.money import MONEY_ONE_E6
from services.risk.gates.contract import DECIDES, Answer, Question
from services.risk.policy import RiskPolicy

NAME = "drawdown"
INPUTS: tuple[str, ...] = ("day_pnl_e6", "week_pnl_e6")
WEIGHT = DECIDES
REASON = "drawdown"


def ask(question: Question, policy: RiskPolicy) -> Answer:
    """Measure the loss that is nearer to its budget."""
    limits = policy.sizing.portfolio
    day_e6, week_e6 = question.day_pnl_e6, question.week_pnl_e6
    over = [
        f"the {name}'s loss is over its budget"
        for name, pnl_e6, limit_e6 in (
            ("day", day_e6, limits.loss_day_max_e6),
            ("week", week_e6, limits.loss_week_max_e6),
        )
        if -pnl_e6 > limit_e6
    ]
    loss_e6, limit_e6 = max(
        ((-day_e6, limits.loss_day_max_e6), (-week_e6, limits.loss_week_max_e6)),
        key=lambda row: row[0] / max(1, row[1]),
    )
    result = GateResult(
        gate=NAME,
        ok=not over,
        reason=REASON if over else "",
        measured=loss_e6 / MONEY_ONE_E6,
        limit=limit_e6 / MONEY_ONE_E6,
        unit="dollars",
        detail="; ".join(over),
    )
    return Answer(result)
