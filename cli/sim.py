"""`alpha sim exchange` and `alpha sim index`: the simulated outside, in the foreground."""

from pathlib import Path
from typing import Annotated

import typer

commands = typer.Typer(
    help="Run the simulated exchange or index in the foreground.", no_args_is_help=True
)

Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on; 0 for a free one.")]
Seed = Annotated[int, typer.Option(help="Repeats the index path and the participants.")]
Bars = Annotated[list[Path] | None, typer.Option(help="Parquet file of real minute bars.")]
Day = Annotated[str | None, typer.Option("--date", help="Trading day, YYYY-MM-DD; default next.")]
Hour = Annotated[int | None, typer.Option(min=10, max=16, help="Target hour, Eastern time.")]
Speed = Annotated[
    float | None,
    typer.Option(min=0.1, max=60, help="Start 15 minutes before the target, times real time."),
]


@commands.command()
def exchange(
    keys: Annotated[Path, typer.Option(help="Folder with a <key id>.pub.pem for each API key.")],
    host: Host = "127.0.0.1",
    port: Port = 0,
    seed: Seed = 1,
    truth: Annotated[
        Path | None, typer.Option(help="New file for its own log; default one in var/sim/.")
    ] = None,
    tier: Annotated[
        str, typer.Option(help="Rate limits: basic, advanced, expert … prestige.")
    ] = "advanced",
    crowd: Annotated[bool, typer.Option(help="Let other participants quote and take.")] = True,
    scenario: Annotated[Path | None, typer.Option(help="YAML list of faults to show.")] = None,
    admin_port: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, help="Take faults on demand on this loopback port."),
    ] = None,
    admin_token_file: Annotated[
        Path | None, typer.Option(help="File with the token that --admin-port asks for.")
    ] = None,
    history_kept: Annotated[
        float, typer.Option(min=0, help="Seconds until what is done is in historical reads alone.")
    ] = 14 * 86_400.0,
    bars: Bars = None,
    day: Day = None,
    hour: Hour = None,
    speed: Speed = None,
) -> None:
    """Serve Kalshi's REST and WebSocket; prints one line with the URL when it is ready.

    Without --date, --bars or --speed it follows the wall clock, with an event every hour of the
    day and night. Requests may be signed at the wall clock's time in any case. Keys are read at
    the start: one added or removed later needs a restart. docs/exchange-simulator.md describes
    the faults.
    """
    from cli.simulators import OnDemand, When, run_exchange

    when = When(seed=seed, bars=tuple(bars or ()), day=day, hour=hour, speed=speed)
    faults = OnDemand(scenario=scenario, admin_port=admin_port, admin_token_file=admin_token_file)
    run_exchange(
        when,
        keys=keys,
        host=host,
        port=port,
        truth=truth,
        tier=tier,
        crowd=crowd,
        history_kept_s=history_kept,
        faults=faults,
    )


@commands.command()
def index(
    key_file: Annotated[Path, typer.Option(help="File with the API key that clients show.")],
    host: Host = "127.0.0.1",
    port: Port = 0,
    seed: Seed = 1,
    bars: Bars = None,
    day: Day = None,
    hour: Hour = None,
    speed: Speed = None,
    fault: Annotated[
        list[str] | None, typer.Option(help='E.g. "silence@+120s:5s", "garbage@+60s".')
    ] = None,
) -> None:
    """Serve the Massive indices WebSocket; prints one line with the URL when it is ready."""
    from cli.simulators import When, run_index_simulator

    when = When(seed=seed, bars=tuple(bars or ()), day=day, hour=hour, speed=speed)
    run_index_simulator(when, key_file=key_file, host=host, port=port, faults=tuple(fault or ()))
