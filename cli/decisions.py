"""What risk decides now, for `alpha status`: each event's newest verdict and every no behind it."""

from typing import Any

from rich.console import Console
from rich.table import Table

from cli.admin_client import AdminError
from cli.risk_admin import get_state
from cli.runs import RunningRun
from libs.domain.eastern import eastern_datetime


def risk_state(known: RunningRun) -> dict[str, Any] | None:
    """Return risk's state as plain data, None when it does not answer."""
    try:
        state = get_state(known)
    except AdminError:
        return None
    return {
        "mode": state.mode,
        "config_hash": state.config_hash,
        "panic_latched_by": list(state.panic_latched_by),
        "overrides": [f"{one.kind} {one.scope} {one.value}".strip() for one in state.overrides],
        "overrides_refused": dict(state.overrides_refused),
        "events": [
            {
                "event_ticker": one.event_ticker,
                "decision": one.decision,
                "at_ns": one.at_ns,
                "expires_at_ns": one.expires_at_ns,
                "gates": one.gates,
                "failed": [_no(gate) for gate in one.failed if not gate.advisory],
                "advice": [_no(gate) for gate in one.failed if gate.advisory],
            }
            for one in state.verdicts
        ],
    }


def _no(gate: Any) -> dict[str, str]:
    return {"gate": gate.gate, "reason": gate.reason, "detail": gate.detail}


def show_decisions(console: Console, state: dict[str, Any] | None) -> None:
    """Print the newest verdicts below the processes."""
    if state is None:
        console.print("risk does not answer: nothing new is quoted")
        return
    parts = [f"mode {state['mode']}", f"policy {state['config_hash']}"]
    if latched := state["panic_latched_by"]:
        parts.append(f"[red]PANIC latched by {', '.join(latched)}[/red]")
    if state["overrides"]:
        parts.append(f"overrides: {', '.join(state['overrides'])}")
    if refused := state["overrides_refused"]:
        parts.append(f"refused: {', '.join(f'{why} {n}' for why, n in refused.items())}")
    console.print("; ".join(parts), highlight=False, soft_wrap=True)
    if not state["events"]:
        console.print("no verdict yet")
        return
    table = Table()
    for heading in ("event", "decision", "at", "why not", "advice"):
        table.add_column(heading, overflow="fold")
    for one in state["events"]:
        failed = [f"{no['gate']}: {no['reason']} {no['detail']}".strip() for no in one["failed"]]
        table.add_row(
            one["event_ticker"],
            one["decision"],
            f"{eastern_datetime(one['at_ns']):%H:%M:%S}",
            "\n".join(failed),
            ", ".join(no["reason"] for no in one["advice"]),
        )
    console.print(table)
