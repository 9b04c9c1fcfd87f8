"""The `alpha` command."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli import config as config_commands
from cli import driven, fills, kill_switch, override, research, sim
from cli.errors import OperatingError
from libs.common.config import ConfigError

# What a command needs beyond this it imports itself: `alpha --help` answers at once.

EXIT_USAGE = 2
EXIT_OPERATING = 3

app = typer.Typer(
    help="Trade strike ladders on the Kalshi exchange, maker-only.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(sim.commands, name="sim")
app.add_typer(kill_switch.commands, name="kill-switch")
app.add_typer(config_commands.commands, name="config")
app.add_typer(override.commands, name="override")
app.add_typer(research.calibrate, name="calibrate")
app.add_typer(research.score, name="score")
app.add_typer(driven.backtest, name="backtest")
app.add_typer(fills.fit, name="fit")

Seed = Annotated[int, typer.Option(help="Repeats the synthetic index and the other participants.")]
OperatorKey = Annotated[
    Path | None,
    typer.Option(help="File with the public half of the operator's key; see `alpha override`."),
]
Bars = Annotated[
    list[Path] | None,
    typer.Option(
        help="Parquet file of real minute bars; a sibling of the other index is found beside it."
    ),
]
Day = Annotated[str | None, typer.Option("--date", help="Trading day, YYYY-MM-DD.")]
Hour = Annotated[int | None, typer.Option(min=10, max=16, help="Target hour, Eastern time.")]
Env = Annotated[str | None, typer.Option(help="Kalshi's own: prod or demo.")]
RestUrl = Annotated[str | None, typer.Option(help="REST, up to /trade-api/v2.")]
WsUrl = Annotated[str | None, typer.Option(help="WebSocket, up to /trade-api/ws/v2.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@app.command()
def demo(
    seed: Seed = 1,
    speed: Annotated[float, typer.Option(min=0.1, max=60, help="Times real time.")] = 10.0,
    bars: Bars = None,
    day: Day = None,
    hour: Hour = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(help='A fault of the index, after its start: "silence@+300s:20s".'),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Trade one hourly window, T−15 min to settlement, against the simulated exchange.

    Exit code 0: the exchange's own log, the order streams and the ledger agree to the
    micro-dollar and nothing rested after T−2 s. 1: they don't. 3: it could not start.
    """
    from cli.demo import DemoOptions, run_demo
    from cli.plan import parse_day

    options = DemoOptions(
        seed=seed,
        speed=speed,
        bars=tuple(bars or ()),
        day=parse_day(day) if day else None,
        hour=hour,
        faults=tuple(fault or ()),
        as_json=as_json,
    )
    # With --json the result alone goes to standard output, what happens on the way to the other.
    raise typer.Exit(asyncio.run(run_demo(options, Console(stderr=as_json))))


@app.command("up")
def start(
    seed: Seed = 1,
    speed: Annotated[float | None, typer.Option(min=0.1, max=60, help="Times real time.")] = None,
    bars: Bars = None,
    day: Day = None,
    hour: Hour = None,
    release: Annotated[bool, typer.Option(help="Release the kill switch once READY.")] = False,
    brokers: Annotated[
        int, typer.Option(min=1, max=3, help="One leads, the others stand by to take over.")
    ] = 1,
    mode: Annotated[
        str, typer.Option(help="sim, dry (sends nothing, records what it would) or live.")
    ] = "sim",
    env: Env = None,
    rest_url: RestUrl = None,
    ws_url: WsUrl = None,
    index_url: Annotated[str | None, typer.Option(help="Default Massive's in real time.")] = None,
    key_id: Annotated[str | None, typer.Option(help="The id of the exchange's key.")] = None,
    key_file: Annotated[Path | None, typer.Option(help="That key, PEM, mode 0600.")] = None,
    index_key_file: Annotated[
        Path | None, typer.Option(help="File with the index's API key, mode 0600.")
    ] = None,
    operator_key: OperatorKey = None,
    risks: Annotated[
        bool, typer.Option("--i-understand-the-risks", help="Mode live demands it.")
    ] = False,
    with_prometheus: Annotated[
        bool, typer.Option(help="Run Prometheus and Alertmanager beside it; see docs/alerting.md.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run all services in the background, against the simulated exchange and index.

    Without --date, --bars or --speed it follows the wall clock and the next hourly event.
    The kill switch stays engaged until `alpha kill-switch off` (or --release). --mode dry or
    live with --env, keys and files runs on Kalshi itself; what is missing is named at once.

    Exit code 0: all READY. 1: something is up already, or not all READY. 2: wrong arguments.
    3: it could not start.
    """
    from cli import up
    from cli.outside import Given, mode_named
    from cli.plan import parse_day
    from cli.supervise import UpOptions

    if day:
        parse_day(day)
    given = Given(
        env=env,
        rest_url=rest_url,
        ws_url=ws_url,
        index_url=index_url,
        key_id=key_id,
        key_file=key_file,
        index_key_file=index_key_file,
        operator_key_file=operator_key,
        risks_understood=risks,
    )
    options = UpOptions(
        seed=seed,
        speed=speed,
        bars=tuple(str(path.resolve()) for path in bars or ()),
        day=day,
        hour=hour,
        release=release,
        brokers=brokers,
        mode=mode_named(mode),
        with_prometheus=with_prometheus,
    )
    raise typer.Exit(up.up(options, given, Console(stderr=as_json), as_json=as_json))


@app.command("down")
def stop(as_json: AsJson = False) -> None:
    """End what `alpha up` started: orders cancelled first, nothing left behind.

    Exit code 0: nothing is left, or nothing was up. 1: something still runs.
    """
    from cli import up

    raise typer.Exit(up.down(Console(stderr=as_json), as_json=as_json))


@app.command()
def watch() -> None:
    """Show the run that is up, live, until Ctrl-C; plain lines when not a terminal."""
    from cli.watch import watch as show

    raise typer.Exit(show(Console()))


@app.command()
def report(day: Day = None, as_json: AsJson = False) -> None:
    """Write the session report of the run that is up, as Markdown and JSON.

    Exit code 0: written, and its books agree. 1: they don't. 3: nothing is up.
    """
    from cli.plan import parse_day
    from cli.watch import report as write

    session = parse_day(day).isoformat() if day else ""
    raise typer.Exit(write(Console(), session, as_json=as_json))


@app.command()
def windows(
    day: Annotated[str | None, typer.Option("--date", help="YYYY-MM-DD; default today.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show when each family may be quoted on a day, and when it is frozen before that.

    New York time, by configs/index_ops.yaml, with holidays, early closes and shifted releases.
    """
    import time

    from cli.plan import parse_day
    from cli.windows import show_windows
    from libs.domain.eastern import eastern_date

    chosen = parse_day(day) if day else eastern_date(time.time_ns())
    show_windows(chosen, Console(), as_json=as_json)


@app.command()
def export(
    day: Annotated[str, typer.Option(help="New York day, YYYY-MM-DD, of the run's own time.")],
    out: Annotated[Path, typer.Option(help="The capture, a new file.")],
    stream: Annotated[
        list[str] | None,
        typer.Option(help="May be repeated; default TICKS, LADDERS, STATUS: what a replay reads."),
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="The raw copies of what feeds took in, not streams.")
    ] = False,
    run: Annotated[
        Path | None, typer.Option(help="Folder of a run, up or not; default: what is up.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a capture of what a run holds of one day: its streams, or its feeds' raw copies.

    Exit code 0: written. 2: wrong arguments. 3: nothing is up, or nothing of that day is there.
    """
    from cli.export import export_day
    from cli.plan import parse_day
    from lab.capture.export import REPLAYED

    if raw and stream:
        raise ConfigError("--raw: expected it alone, given --stream too")
    names = None if raw else [name.upper() for name in stream or REPLAYED]
    export_day(names, parse_day(day), out, run, Console(), as_json=as_json)


@app.command()
def replay(
    capture: Annotated[
        Path, typer.Argument(help="A capture, or Parquet bars (a file or a folder).")
    ],
    speed: Annotated[str, typer.Option(help="Times real time, or max.")] = "max",
    bus: Annotated[str, typer.Option(help="memory, or nats: a server of its own.")] = "memory",
    seed: Seed = 1,
    as_json: AsJson = False,
) -> None:
    """Drive the live cores from a capture, and print the digest of everything they wanted done.

    The same capture and seed give the same digest, at any speed and over either bus. Exit code
    0: replayed. 2: a capture or arguments that can't be used, named. 3: no NATS server.
    """
    from cli.replay import replay as run

    run(capture, speed, bus, seed, Console(), as_json=as_json)


@app.command("live-smoke")
def live_smoke(
    key_id: Annotated[str, typer.Option(help="The id that the exchange shows for the key.")],
    key_file: Annotated[Path, typer.Option(help="The private key, PEM, mode 0600.")],
    env: Env = None,
    rest_url: RestUrl = None,
    ws_url: WsUrl = None,
    as_json: AsJson = False,
) -> None:
    """Look at an exchange with your key and change nothing: only reads and one subscription.

    Exchange status and schedule, auth, clock, limits, balance, what rests, the next U-series
    events, the WebSocket. Exit code 0: all well. 1: something is not. 2: wrong arguments.
    """
    from cli.exchanges import chosen_exchange
    from cli.live_smoke import live_smoke as look

    exchange = chosen_exchange(env, rest_url, ws_url)
    raise typer.Exit(look(exchange, key_id, key_file, Console(), as_json=as_json))


@app.command("spec-drift")
def spec_drift(
    openapi: Annotated[Path | None, typer.Option(help="The exchange's openapi.yaml.")] = None,
    asyncapi: Annotated[Path | None, typer.Option(help="The exchange's asyncapi.yaml.")] = None,
    as_json: AsJson = False,
) -> None:
    """List what differs from the specifications that the code was written for.

    Each line says whether our client or simulator uses it. Exit code 0: nothing differs.
    1: something does. 2: a file can't be read.
    """
    from cli.spec_drift import run

    raise typer.Exit(run({"openapi": openapi, "asyncapi": asyncapi}, as_json=as_json))


@app.command("reset-group")
def reset_group(
    event: Annotated[str, typer.Argument(help="Its ticker.")], as_json: AsJson = False
) -> None:
    """Let an event quote again that the exchange stopped because too much was filled at once."""
    from cli import broker_admin

    state = broker_admin.reset_group(event.upper())
    if as_json:
        Console().print_json(data={"asked": event.upper(), "broker": state.detail})
    else:
        Console().print(f"asked for; the broker: {state.detail}", highlight=False, soft_wrap=True)


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show every process. Exit code 0: all well; 1: not all; 3: nothing is up."""
    from cli import up

    raise typer.Exit(up.status(Console(), as_json=as_json))


@app.command("monitors")
def show_monitors(
    series: Annotated[
        str | None, typer.Option(help="A family (INXU) or series; what all share is shown too.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show how each monitor stands: value, limit, state, since when, and what was seen.

    Exit code 0: all are OK. 1: one alerts. 4: none alerts, but of one it can't be known.
    2: unknown series. 3: nothing is up.
    """
    from cli import monitors

    raise typer.Exit(monitors.monitors(Console(), series, as_json=as_json))


@app.command("freshness")
def show_freshness(as_json: AsJson = False) -> None:
    """Show how old each feed's newest observation is. Exit codes are those of `monitors`."""
    from cli import monitors

    raise typer.Exit(monitors.freshness(Console(), as_json=as_json))


def main() -> None:
    """Run the command; an error of the user or the surroundings is one line, not a traceback."""
    try:
        app()
    except ConfigError as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_USAGE)
    except OperatingError as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_OPERATING)
