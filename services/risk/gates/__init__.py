"""All gates that stand before a GO, in the order in which an operator reads them."""

from services.risk.gates import (
    clock,
    exchange,
    freshness_index,
    freshness_ladder,
    heartbeat,
    kill_switch,
    window,
)
from services.risk.gates.contract import Answer, Gate, Question
from services.risk.policy import GatePolicy

GATES: tuple[Gate, ...] = (
    window,
    freshness_index,
    freshness_ladder,
    clock,
    kill_switch,
    heartbeat,
    exchange,
)


def ask_all(question: Question, policy: GatePolicy) -> list[Answer]:
    """Return every gate's answer: nothing is short-circuited."""
    return [gate.ask(question, policy) for gate in GATES]
