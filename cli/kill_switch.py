"""`alpha kill-switch on|off|status`: ask the broker, and wait until it is confirmed."""

import asyncio
import getpass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from cli.admin_client import AdminError, admin_channel, authorization, call
from cli.run_directory import RunDirectory
from cli.runs import RunningRun, running
from proto import broker_pb2, broker_pb2_grpc

ENGAGE_TIMEOUT_S = 30.0
CALL_TIMEOUT_S = 10.0
EXIT_STILL_RESTING = 1

commands = typer.Typer(
    help="Engage, release or show the kill switch of the run that is up.", no_args_is_help=True
)
Reason = Annotated[str, typer.Option(help="Why, for the record.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


async def ask_broker(
    token_file: Path, port: int, method: str, request: Any, timeout_s: float = CALL_TIMEOUT_S
) -> Any:
    """Call one method of the broker's admin endpoint; raise `AdminError`."""
    async with admin_channel(port) as channel:
        stub = broker_pb2_grpc.BrokerAdminStub(channel)
        return await call(getattr(stub, method), request, authorization(token_file), timeout_s)


async def release_kill_switch(run: RunDirectory, port: int, by: str) -> None:
    """Let the broker trade; raise `AdminError` when it won't."""
    request = broker_pb2.KillSwitchRequest(reason="session start", by=by)
    await ask_broker(run.token("admin.token"), port, "ReleaseKillSwitch", request)


@commands.command("on")
def engage(reason: Reason = "operator", as_json: AsJson = False) -> None:
    """Stop trading: cancel everything and wait until the exchange confirms that nothing rests.

    Exit code 0: confirmed. 1: something may still rest. 3: nothing is up, or no answer.
    """
    request = broker_pb2.KillSwitchRequest(reason=reason, by=getpass.getuser())
    answer = _ask("EngageKillSwitch", request, ENGAGE_TIMEOUT_S)
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
    request = broker_pb2.KillSwitchRequest(reason=reason, by=getpass.getuser())
    _show(_ask("ReleaseKillSwitch", request, CALL_TIMEOUT_S), as_json=as_json)


@commands.command()
def status(as_json: AsJson = False) -> None:
    """Show the kill switch and what rests."""
    _show(_ask("GetState", broker_pb2.GetStateRequest(), CALL_TIMEOUT_S), as_json=as_json)


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


def _ask(method: str, request: Any, timeout_s: float) -> Any:
    known = _running()
    token_file = known.run.secrets / "admin.token"
    return asyncio.run(
        ask_broker(token_file, known.admin_port("broker"), method, request, timeout_s)
    )


def _running() -> RunningRun:
    known = running()
    if known is None:
        raise AdminError("nothing is up; start it with `alpha up` or `alpha demo`")
    return known
