"""`alpha backtest`: the live cores in one process and in virtual time."""

import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from cli.errors import OperatingError
from libs.common.config import ConfigError

if TYPE_CHECKING:
    from lab.backtest.run import BacktestResult

backtest = typer.Typer(help="Trade real bars against the simulator.", no_args_is_help=True)

EXIT_DISAGREE = 1
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
    """Trade every hourly window that the bars cover, through the live cores, in virtual time.

    feeds → pricer → risk → broker → simulated exchange with other participants → settlement, with
    queue position, fees and latency. P&L counts settled outcomes alone.
    Exit code 0: the exchange's account and the ledger agree. 1: they don't. 2: bars, days or
    arguments that can't be used.
    """
    from cli.run_directory import home
    from lab.backtest import walk
    from lab.backtest.run import NothingToTrade, run_backtest
    from lab.backtest.spans import find_spans
    from lab.capture.errors import CaptureError
    from lab.drive.config import load_drive
    from lab.drive.cores import load_calibrations
    from lab.index.history import HistoryError, split
    from lab.market.bars import BarsError
    from services.pricer.calibration import CalibrationError
    from services.pricer.models.registry import MODELS
    from services.reporting.ledger import LedgerError

    if calibration and walk_forward:
        raise ConfigError("--calibration: expected it or --walk-forward, given both")
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    directory = (out or home() / "backtest" / stamp).resolve()
    if directory.exists() and any(directory.iterdir()):
        raise ConfigError(f"--out: expected a new or empty folder, found files in {directory}")
    try:
        found = find_spans(bars, seed, _day("--from", first), _day("--to", last))
        config = load_drive("replay")
        if walk_forward is not None:
            paths, families = split(walk_forward), tuple(config.pricer.calibrations)
            choose = walk.walk_forward(MODELS["index"], paths, families)
        else:
            path = str(calibration.resolve()) if calibration else None
            choose = walk.always(load_calibrations(config, path))
    except (BarsError, CalibrationError, HistoryError) as error:
        raise ConfigError(str(error)) from None
    progress = Progress(len(found.spans))
    try:
        result = run_backtest(found, config, choose, directory, seed, progress, capture)
    except NothingToTrade as error:
        raise ConfigError(f"--bars: {error}") from None
    except CaptureError as error:
        raise ConfigError(f"--capture: {error}") from None
    except LedgerError as error:
        raise OperatingError(str(error)) from None
    finally:
        progress.end()
    _tell(result, as_json=as_json)
    raise typer.Exit(0 if result.agree else EXIT_DISAGREE)


class Progress:
    """One line on standard error that moves on: which stretch, how far, of how many."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._done: list[Any] = []
        self._live = sys.stderr.isatty()

    def __call__(self, span: Any, now_ns: int) -> None:
        if span not in self._done:
            self._done.append(span)
            if not self._live:
                print(f"{len(self._done)}/{self._count} {span.day} {span.source}", file=sys.stderr)
        if self._live:
            left_s = max(0, (span.targets_ns[-1] - now_ns) // 10**9)
            text = f"{len(self._done)}/{self._count} {span.day} {span.source}: {left_s} s to go"
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave the line."""
        if self._live:
            print("\r\033[K", end="", file=sys.stderr)


def _day(option: str, text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option}: expected YYYY-MM-DD, given {text!r}") from None


def _tell(result: "BacktestResult", *, as_json: bool) -> None:
    import msgspec

    if as_json:
        values = msgspec.to_builtins(result) | {"agree": result.agree}
        Console().print_json(data=values)
        return
    console = Console()
    table = Table(title="days", title_justify="left")
    table.add_column("day")
    for name in ("events", "fills", "contracts", "fees", "settled P&L", "unsettled"):
        table.add_column(name, justify="right")
    for day in result.pnl.days:
        table.add_row(
            day.day,
            str(day.events),
            str(day.fills),
            f"{day.contracts_e2 / 100:.2f}",
            _dollars(day.fees_e6),
            _dollars(day.pnl_e6),
            str(day.markets_unsettled),
        )
    console.print(table)
    for line in _lines(result):
        console.print(line, highlight=False, soft_wrap=True)


def _lines(result: "BacktestResult") -> list[str]:
    pnl = result.pnl
    mean = _dollars(pnl.mean_day_dollars * 1e6)
    if pnl.ci95_day_dollars is None:
        against = f"no interval below {pnl.days_min} days: nothing is shown"
    else:
        low, high = (_dollars(end * 1e6) for end in pnl.ci95_day_dollars)
        words = {True: "better than no trade", False: "worse than no trade"}
        shown = (
            words[pnl.beats_no_trade]
            if pnl.beats_no_trade is not None
            else ("not told apart from no trade")
        )
        against = f"95 % interval over days {low} to {high}: {shown}"
    lines = [
        f"settled P&L after fees {_dollars(pnl.total_e6)}; a day {mean}, {against}",
        f"orders {result.exchange.orders}, fills {result.exchange.fills}, resting after T−2 s: "
        f"{result.resting_after_t2}",
        f"{result.provenance}; whether it gains says nothing about Kalshi",
    ]
    if result.calibration_fitted_on:
        lines.append(f"the calibration was fitted on {', '.join(result.calibration_fitted_on)} too")
    if result.calibration_from_later:
        days = len(result.calibration_from_later)
        lines.append(f"the calibration's data end after {days} of {len(pnl.days)} days traded")
    lines += [f"left out: {name}: {why}" for name, why in result.left_out.items()]
    lines += [f"refused input: {what}: {count}" for what, count in result.refused_inputs.items()]
    lines += [f"differs: {problem}" for problem in result.problems]
    rate = result.input_events / result.took_s if result.took_s else 0.0
    lines += [
        f"{result.input_events} inputs, {result.messages} messages in {result.took_s:.1f} s "
        f"({rate:.0f} inputs/s, {result.market_seconds / max(result.took_s, 0.01):.0f} times real "
        f"speed); effects {result.effects_digest}",
        f"ledger, reports, resting orders: {result.directory}",
        "the books agree" if result.agree else "THE BOOKS DO NOT AGREE",
    ]
    return lines


def _dollars(money_e6: float) -> str:
    return f"{'−' if money_e6 < 0 else ''}${abs(money_e6) / 1e6:,.2f}"
