"""Trade real bars through the live cores in virtual time, and tell what came of it."""

import sys
from datetime import UTC, date, datetime
from pathlib import Path

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from cli.errors import OperatingError
from cli.plan import parse_day
from cli.run_directory import home
from lab.backtest.run import BacktestResult, NothingToTrade, run_backtest
from lab.backtest.spans import OUTSIDE, Span, find_spans
from lab.backtest.walk import Choose, always, walk_forward
from lab.capture.errors import CaptureError
from lab.drive.config import DriveConfig, load_drive
from lab.drive.cores import load_calibrations
from lab.index.history import HistoryError, split
from lab.market.bars import BarsError
from libs.common.config import ConfigError
from libs.domain.families import INDEX_FAMILIES
from services.pricer.calibration import CalibrationError
from services.pricer.models.registry import MODELS
from services.reporting.ledger import LedgerError

EXIT_DISAGREE = 1
MODEL = "index"


class BacktestOptions(Struct, frozen=True, kw_only=True):
    """What `alpha backtest index` was asked for."""

    bars: tuple[Path, ...]
    first: str | None
    last: str | None
    families: tuple[str, ...]
    seed: int
    calibration: Path | None
    walk_forward: str | None
    out: Path | None
    capture: Path | None
    as_json: bool


def backtest_days(options: BacktestOptions) -> int:
    """Run and tell; return the exit code. Raises ConfigError, OperatingError in one line."""
    directory = _directory(options.out)
    try:
        first, last = _days(options.first, options.last)
        families = _families(options.families)
        found = find_spans(options.bars, options.seed, first, last, families)
        config = load_drive("replay", families=families)
        choose = _choose(options, config)
    except (BarsError, CalibrationError, HistoryError) as error:
        raise ConfigError(str(error)) from None
    progress = Progress(len(found.spans))
    try:
        result = run_backtest(
            found, config, choose, directory, options.seed, progress, options.capture
        )
    except NothingToTrade as error:
        raise ConfigError(f"--bars: {error}") from None
    except CaptureError as error:
        raise ConfigError(f"--capture: {error}") from None
    except LedgerError as error:
        raise OperatingError(str(error)) from None
    finally:
        progress.end()
    _tell(result, as_json=options.as_json)
    return 0 if result.agree else EXIT_DISAGREE


def _directory(out: Path | None) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    directory = (out or home() / "backtest" / stamp).resolve()
    if directory.exists() and any(directory.iterdir()):
        raise ConfigError(f"--out: expected a new or empty folder, found files in {directory}")
    return directory


def _families(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in INDEX_FAMILIES:
            raise ConfigError(f"--family: expected {', '.join(INDEX_FAMILIES)}, given {name!r}")
    return names or INDEX_FAMILIES


def _choose(options: BacktestOptions, config: DriveConfig) -> Choose:
    if options.walk_forward is None:
        path = str(options.calibration.resolve()) if options.calibration else None
        return always(load_calibrations(config, path))
    if options.calibration is not None:
        raise ConfigError("--calibration: expected it or --walk-forward, given both")
    families = tuple(config.pricer.calibrations)
    return walk_forward(MODELS[MODEL], split(options.walk_forward), families)


class Progress:
    """One line on standard error that moves on: which stretch, how far, of how many."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._done: list[Span] = []
        self._live = sys.stderr.isatty()

    def __call__(self, span: Span, now_ns: int) -> None:
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


def _days(first: str | None, last: str | None) -> tuple[date | None, date | None]:
    begin = parse_day(first, "--from") if first is not None else None
    end = parse_day(last, "--to") if last is not None else None
    if begin is not None and end is not None and begin > end:
        raise ConfigError(f"--from is after --to: {begin} and {end}")
    return begin, end


def _tell(result: BacktestResult, *, as_json: bool) -> None:
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


def _lines(result: BacktestResult) -> list[str]:
    pnl = result.pnl
    mean = _dollars(pnl.mean_day_dollars * 1e6)
    if pnl.ci95_day_dollars is None:
        against = f"no interval below {pnl.days_min} days: nothing is shown"
    else:
        low, high = (_dollars(end * 1e6) for end in pnl.ci95_day_dollars)
        words = {
            True: "better than no trade",
            False: "worse than no trade",
            None: "not told apart from no trade",
        }
        shown = words[pnl.beats_no_trade]
        if result.calibration_fitted_on or result.calibration_from_later:
            shown = "with hindsight in the calibration, so nothing is shown (--walk-forward)"
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
    outside = sum(why == OUTSIDE for why in result.left_out.values())
    lines += [f"left out: {outside} stretches {OUTSIDE}"] if outside else []
    lines += [f"left out: {name}: {why}" for name, why in result.left_out.items() if why != OUTSIDE]
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
