"""`alpha backtest`: its arguments; `backtest.py` does it, and takes a while to import."""

from pathlib import Path
from typing import Annotated

import typer

backtest = typer.Typer(help="Trade real bars against the simulator.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Seed = Annotated[
    int, typer.Option(help="Repeats latencies, seconds between bars, and other participants.")
]


@backtest.callback()
def _group() -> None:
    """Trade real bars against the simulator."""


@backtest.command("index")
def backtest_index(
    bars: Annotated[
        list[Path],
        typer.Option(help="Parquet file of minute bars, or a folder of them; may be repeated."),
    ],
    first: Annotated[
        str | None, typer.Option("--from", help="First New York day, YYYY-MM-DD.")
    ] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last New York day, included.")] = None,
    family: Annotated[
        list[str] | None,
        typer.Option(help="INXU, NASDAQ100U, INX or NASDAQ100; may be repeated; default all."),
    ] = None,
    seed: Seed = 1,
    calibration: Annotated[
        Path | None, typer.Option(help="Artifact to price with; default: configs/pricer.yaml's.")
    ] = None,
    walk_forward: Annotated[
        str | None,
        typer.Option(help="DIR,FILE of bars and levels: fit before each day on what came before."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="New folder for ledger and reports; default: under var/.")
    ] = None,
    capture: Annotated[
        Path | None, typer.Option(help="Keep what feeds was told as a capture, for alpha replay.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Trade every window that the bars cover, hourly and close, through the live cores.

    feeds → pricer → risk → broker → simulated exchange with other participants → settlement, in
    virtual time with queue position, fees and latency. P&L counts settled outcomes alone.
    Exit code 0: the exchange's account and the ledger agree. 1: they don't. 2: bars, days or
    arguments that can't be used.
    """
    from cli.backtest import BacktestOptions, backtest_days

    options = BacktestOptions(
        bars=tuple(bars),
        first=first,
        last=last,
        families=tuple(dict.fromkeys(name.upper() for name in family or ())),
        seed=seed,
        calibration=calibration,
        walk_forward=walk_forward,
        out=out,
        capture=capture,
        as_json=as_json,
    )
    raise typer.Exit(backtest_days(options))
