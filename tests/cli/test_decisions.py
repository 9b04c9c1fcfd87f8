"""What `alpha status` tells of risk's decisions: every no, and which of them is advice."""

import io

from rich.console import Console

from cli.decisions import show_decisions

EVENT = {
    "event_ticker": "KXINXU-24AUG05H1200",
    "decision": "NO-GO",
    "at_ns": 1_722_872_700_000_000_000,
    "expires_at_ns": 1_722_872_710_000_000_000,
    "gates": 30,
    "failed": [{"gate": "clock", "reason": "clock_skew_exceeded", "detail": "exchange ± 0.5 s"}],
    "advice": [{"gate": "readiness", "reason": "readiness_no_go", "detail": "sent none"}],
}
STATE = {
    "mode": "paper",
    "config_hash": "0011223344556677",
    "panic_latched_by": ["freshness", "ladder_gap", "clock_skew"],
    "overrides": ["size_ladder_stage KXINXU B"],
    "overrides_refused": {"forged": 2},
    "events": [EVENT],
}


def shown(state) -> str:
    text = io.StringIO()
    show_decisions(Console(file=text, width=200, force_terminal=False), state)
    return text.getvalue()


def test_every_no_and_each_advice_is_told():
    text = shown(STATE)
    for part in (
        "mode paper",
        "policy 0011223344556677",
        "PANIC latched by freshness, ladder_gap, clock_skew",
        "overrides: size_ladder_stage KXINXU B",
        "refused: forged 2",
        "KXINXU-24AUG05H1200",
        "NO-GO",
        "11:45:00",
        "clock: clock_skew_exceeded exchange ± 0.5 s",
        "readiness_no_go",
    ):
        assert part in text, part


def test_a_risk_that_is_gone_or_has_said_nothing_is_told_too():
    assert "risk does not answer" in shown(None)
    assert "no verdict yet" in shown({**STATE, "events": []})
