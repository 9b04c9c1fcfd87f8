"""`alpha override …`: an operator's signed, expiring word to risk."""

import getpass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from libs.common.messages import OverrideKind

EXIT_REFUSED = 1
HOURS_MAX = 168.0

commands = typer.Typer(
    help="Lift the panic latch, acknowledge fee rules, set a size-ladder stage: signed, expiring.",
    no_args_is_help=True,
)
Reason = Annotated[str, typer.Option(help="Why, for the record.")]
Hours = Annotated[float, typer.Option(min=0.01, max=HOURS_MAX, help="How long it holds.")]
KeyFile = Annotated[
    Path | None,
    typer.Option("--key-file", help="The operator's key; default: the run's own, if it has one."),
]
Series = Annotated[str, typer.Argument(help="KXINXU, say.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@commands.command("keygen")
def keygen(
    out: Annotated[Path, typer.Option(help="Where the private key goes; must not be there yet.")],
) -> None:
    """Make an operator's key; print the public half for configs/risk.yaml or --operator-key."""
    from cli.keys import write_operator_key

    Console().print(f"operator_key: {write_operator_key(out)}", highlight=False)


@commands.command("lift-panic")
def lift_panic(
    reason: Reason, hours: Hours = 1.0, key_file: KeyFile = None, as_json: AsJson = False
) -> None:
    """Lift the panic latch of the day: alerts up to now no longer count.

    Exit code 0: in force. 1: refused, with the reason. 3: nothing is up.
    """
    _give("lift_panic", "", "", reason, hours, key_file, as_json=as_json)


@commands.command("acknowledge-fees")
def acknowledge_fees(
    series: Series,
    facts: Annotated[str, typer.Argument(help="The hash that the fee_rules gate shows.")],
    reason: Reason,
    hours: Hours = HOURS_MAX,
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Acknowledge a series' published fee and rule facts, until configs/risk.yaml names them.

    Exit code 0: in force. 1: refused, with what was expected: another hash than the published one,
    say. 3: nothing is up.
    """
    kind: OverrideKind = "acknowledge_fee_rules"
    _give(kind, series.upper(), facts, reason, hours, key_file, as_json=as_json)


@commands.command("stage")
def stage(
    letter: Annotated[str, typer.Argument(help="One of size_ladder.yaml: A to D as shipped.")],
    reason: Reason,
    series: Annotated[str, typer.Option(help="One series; default all.")] = "",
    hours: Hours = 24.0,
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Set the size-ladder stage for a while."""
    kind: OverrideKind = "size_ladder_stage"
    _give(kind, series.upper(), letter.upper(), reason, hours, key_file, as_json=as_json)


@commands.command("list")
def show(as_json: AsJson = False) -> None:
    """Show which overrides are in force, and how many were refused."""
    from cli.risk_admin import get_state
    from libs.domain.eastern import eastern_datetime

    state = get_state()
    rows = [
        {name: getattr(one, name) for name in (*_SHOWN, "issued_ns", "expires_ns")}
        for one in state.overrides
    ]
    refused = dict(state.overrides_refused)
    console = Console()
    if as_json:
        console.print_json(data={"in_force": rows, "refused": refused})
        return
    table = Table()
    for heading in (*_SHOWN, "until"):
        table.add_column(heading)
    for row in rows:
        until = f"{eastern_datetime(row['expires_ns']):%Y-%m-%d %H:%M} ET"
        table.add_row(*(str(row[name]) for name in _SHOWN), until)
    console.print(table if rows else "none in force")
    if refused:
        console.print(f"refused: {', '.join(f'{why} {count}' for why, count in refused.items())}")


_SHOWN = ("kind", "scope", "value", "reason", "by", "nonce")


def _give(
    kind: OverrideKind,
    scope: str,
    value: str,
    reason: str,
    hours: float,
    key_file: Path | None,
    *,
    as_json: bool,
) -> None:
    """Sign, offer and tell what became of it; leave with the exit code."""
    from cli.broker_admin import demand_running
    from cli.risk_admin import offer

    known = demand_running()
    answer = offer(
        known,
        key_file or known.run.secrets / "operator.pem",
        kind=kind,
        scope=scope,
        value=value,
        reason=reason,
        by=getpass.getuser(),
        hours=hours,
    )
    _told(answer, as_json=as_json)


def _told(answer: dict[str, Any], *, as_json: bool) -> None:
    console = Console()
    if as_json:
        console.print_json(data=answer)
    elif answer["in_force"]:
        console.print(f"in force until {answer['expires']}", highlight=False)
    else:
        told = f"REFUSED: {answer['refusal']}: {answer['explanation']}"
        console.print(told, highlight=False, markup=False, style="red", soft_wrap=True)
    raise typer.Exit(0 if answer["in_force"] else EXIT_REFUSED)
