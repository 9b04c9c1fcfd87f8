"""`alpha kill-switch on|off|status`: stop or let trade, and say what was confirmed."""

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

    When no broker does it, whatever the reason, a process of its own stores the switch and cancels
    with the broker's key. Exit code 0: engaged and confirmed. 1: something may still rest, or a
    broker that comes back may trade. 3: nothing is up.
    """
    from cli.panic import engage_anyhow

    console = Console()
    with console.status("cancelling, and reading until nothing rests …"):
        answer = engage_anyhow(reason, getpass.getuser())
    if as_json:
        console.print_json(data=answer)
    else:
        console.print(_told(answer), highlight=False, soft_wrap=True)
    raise typer.Exit(0 if answer["engaged"] and answer["confirmed_zero"] else EXIT_STILL_RESTING)


def _told(answer: dict[str, Any]) -> str:
    without = "" if answer["broker"] else f"{answer['why']}; cancelled directly; "
    engaged = "engaged" if answer["engaged"] else "NOT ENGAGED"
    if answer["confirmed_zero"]:
        text = f"the exchange confirms that nothing rests, after {answer['elapsed_ms']:.0f} ms"
    else:
        shown = {name: answer[name] for name in ("resting", "unknown")}
        counts = [f"{'?' if count is None else count} {name}" for name, count in shown.items()]
        text = f"NOT confirmed: {', '.join(counts)}"
    return f"{without}{engaged}; {text}{'; ' if answer['detail'] else ''}{answer['detail']}"


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
