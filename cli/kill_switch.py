"""`alpha kill-switch on|off|status`: ask the broker, and wait until it is confirmed."""

import getpass
from typing import Annotated, Any

import typer
from rich.console import Console

EXIT_STILL_RESTING = 1

commands = typer.Typer(
    help="Engage, release or show the kill switch of the run that is up.", no_args_is_help=True
)
Reason = Annotated[str, typer.Option(help="Why, for the record.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@commands.command("on")
def engage(reason: Reason = "operator", as_json: AsJson = False) -> None:
    """Stop trading: cancel everything and wait until the exchange confirms that nothing rests.

    Exit code 0: confirmed. 1: something may still rest. 3: nothing is up, or no answer.
    """
    from cli import broker_admin

    answer = broker_admin.engage(reason, getpass.getuser())
    console = Console()
    if as_json:
        console.print_json(
            data={
                "engaged": True,
                "confirmed_zero": answer.confirmed_zero,
                "resting": answer.resting,
                "unknown": answer.unknown,
                "elapsed_ms": answer.elapsed_ms,
            }
        )
    elif answer.confirmed_zero:
        console.print(
            f"engaged; the exchange confirms that nothing rests, after {answer.elapsed_ms:.0f} ms"
        )
    else:
        console.print(
            f"engaged, but NOT confirmed: {answer.resting} resting, {answer.unknown} unknown; "
            f"{answer.detail}"
        )
    raise typer.Exit(0 if answer.confirmed_zero else EXIT_STILL_RESTING)


@commands.command("off")
def release(reason: Reason = "operator", as_json: AsJson = False) -> None:
    """Let the broker trade on the next verdicts."""
    from cli import broker_admin

    _show(broker_admin.release(reason, getpass.getuser()), as_json=as_json)


@commands.command()
def status(as_json: AsJson = False) -> None:
    """Show the kill switch and what rests."""
    from cli import broker_admin

    _show(broker_admin.state(), as_json=as_json)


def _show(state: Any, *, as_json: bool) -> None:
    console = Console()
    values = {
        "engaged": state.kill_switch_engaged,
        "reason": state.kill_switch_reason,
        "by": state.kill_switch_by,
        "resting": state.resting,
        "unknown": state.unknown,
    }
    if as_json:
        console.print_json(data=values)
        return
    shown = "ENGAGED" if state.kill_switch_engaged else "released"
    console.print(
        f"kill switch {shown} ({state.kill_switch_reason or 'no reason'}, "
        f"by {state.kill_switch_by or 'nobody'}); {state.resting} resting, {state.unknown} unknown"
    )
