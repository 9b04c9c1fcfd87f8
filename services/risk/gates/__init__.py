"""All gates that stand before a GO, in the order in which an operator reads them."""

from msgspec.structs import replace

from services.risk.gates import (
    calibration,
    clock,
    drawdown,
    ev_honesty,
    exchange,
    fee_rules,
    freeze,
    freshness_feeds,
    freshness_index,
    freshness_ladder,
    heartbeat,
    kill_switch,
    ledger,
    monitors,
    panic,
    quality,
    readiness,
    sequential_ev,
    window,
)
from services.risk.gates.contract import Answer, Gate, Mode, Question
from services.risk.policy import RiskPolicy

GATES: tuple[Gate, ...] = (
    window,
    freeze,
    freshness_index,
    freshness_ladder,
    freshness_feeds,
    calibration,
    clock,
    kill_switch,
    heartbeat,
    exchange,
    panic,
    drawdown,
    fee_rules,
    sequential_ev,
    quality,
    ev_honesty,
    readiness,
    ledger,
    monitors,
)


def ask_all(question: Question, policy: RiskPolicy, mode: Mode) -> list[Answer]:
    """Return every gate's answer: nothing is short-circuited."""
    return [_weighed(gate, gate.ask(question, policy), mode) for gate in GATES]


def _weighed(gate: Gate, answer: Answer, mode: Mode) -> Answer:
    if answer.result.ok or not gate.WEIGHT.is_advice(mode, unproven=answer.unproven):
        return answer
    return replace(answer, result=replace(answer.result, advisory=True))
