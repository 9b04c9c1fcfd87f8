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
    answers = [gate.ask(question, policy) for gate in GATES]
    return [
        answer if answer.result.ok else _weighed(gate, answer, mode)
        for gate, answer in zip(GATES, answers, strict=True)
    ]


def _weighed(gate: Gate, answer: Answer, mode: Mode) -> Answer:
    if not gate.WEIGHT.is_advice(mode, unproven=answer.unproven):
        return answer
    return replace(answer, result=replace(answer.result, advisory=True))
