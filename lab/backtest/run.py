"""A backtest as a whole: spans through one world, its ledger, its reports, and what it came to."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

from msgspec import Struct

from lab.backtest.pnl import StrategyPnl, strategy_pnl
from lab.backtest.resting import RestingFile
from lab.backtest.spans import Bars, Span
from lab.backtest.walk import Calibrations, Choose
from lab.backtest.world import Progress, World
from lab.capture.feeds import FEEDS_KIND, records_of
from lab.capture.format import CaptureWriter, Head
from lab.drive.account import OURS
from lab.drive.config import DriveConfig
from lab.drive.ledger import open_ledger
from libs.common.clock import NS_PER_S
from libs.common.effects import Event
from services.reporting.account_books import account_books
from services.reporting.ledger import Ledger
from services.reporting.report import write_report

Priced = tuple[Span, Calibrations]
RESTING_FILE = "resting.parquet"


class NothingToTrade(Exception):
    """No span is left; the text says why each is not."""


class Books(Struct, frozen=True, kw_only=True):
    """The exchange's own account beside the ledger: equal, or the run proves nothing."""

    orders: int
    fills: int
    contracts_e2: int
    fees_e6: int
    pnl_e6: int


class BacktestResult(Struct, frozen=True, kw_only=True):
    """What `alpha backtest` prints with --json. Money in e6, counts in e2, both integers."""

    provenance: str
    calibrations: tuple[str, ...]
    """Every artifact that priced something, one for each family."""
    calibration_fitted_on: tuple[str, ...]
    """Days traded whose own minutes a calibration was fitted on."""
    calibration_from_later: tuple[str, ...]
    """Days traded that end before the calibration's data do."""
    seed: int
    pnl: StrategyPnl
    exchange: Books
    ledger: Books
    resting_after_t2: int
    problems: tuple[str, ...]
    left_out: dict[str, str]
    refused_inputs: dict[str, int]
    input_events: int
    messages: int
    effects: int
    effects_digest: str
    exchange_calls: int
    market_seconds: float
    took_s: float
    directory: str
    reports: tuple[str, ...]

    @property
    def agree(self) -> bool:
        """Return whether the books agree and nothing rested too long."""
        return not self.problems


def run_backtest(
    bars: Bars,
    config: DriveConfig,
    choose: Choose,
    directory: Path,
    seed: int,
    progress: Progress,
    capture: Path | None = None,
) -> BacktestResult:
    """Trade every span, then close the books; `capture` keeps what feeds was told.

    A span without a calibration is left out. Raises NothingToTrade, LedgerError, CaptureError.
    """
    priced, left_out = _priced(bars, choose)
    spans = tuple(span for span, _ in priced)
    began_s = time.monotonic()
    directory.mkdir(parents=True, exist_ok=True)
    ledger = open_ledger(directory / "ledger", config.reporting)
    try:
        start_ns = priced[0][0].start_ns - NS_PER_S
        resting, late = RestingFile(directory / RESTING_FILE), 0
        world = World(config, priced[0][1], ledger, start_ns=start_ns, seed=seed)
        with _capturing(world, bars, capture):
            for (_, known), (span, calibrations) in pairwise([priced[0], *priced]):
                if calibrations is not known:
                    world.price_with(calibrations)
                world.run(span, progress)
                late += resting.take(world.account.stays)
        world.close()
        resting.close()
        books = account_books(ledger, [])
        reports, problems = _write_reports(ledger, directory / "reports", spans)
    finally:
        ledger.close()
    exchange, ours = _exchange_books(world, config.lab.balance_e6), _ledger_books(books)
    if exchange != ours:
        problems.append(f"the exchange says {exchange}, the ledger {ours}")
    if late:
        problems.append(f"{late} orders rested past T-2 s")
    knew = _knowledge(priced)
    return BacktestResult(
        provenance="replay: index bars bridged by second; all other participants are invented",
        calibrations=knew.calibrations,
        calibration_fitted_on=knew.fitted_on,
        calibration_from_later=knew.from_later,
        seed=seed,
        pnl=strategy_pnl(
            books["markets"],
            _events_by_day(spans),
            hindsight=bool(knew.fitted_on or knew.from_later),
        ),
        exchange=exchange,
        ledger=ours,
        resting_after_t2=late,
        problems=tuple(problems),
        left_out=left_out,
        refused_inputs=world.market.refused,
        input_events=world.market.events,
        messages=world.services.published,
        effects=world.effects.count,
        effects_digest=world.effects.digest,
        exchange_calls=world.account.calls,
        market_seconds=_seconds(spans, config),
        took_s=round(time.monotonic() - began_s, 2),
        directory=str(directory),
        reports=reports,
    )


@contextmanager
def _capturing(world: World, bars: Bars, path: Path | None) -> Iterator[None]:
    """Keep every input of feeds in a capture meanwhile, if one is wanted. Raises CaptureError."""
    if path is None:
        yield
        return
    about = {"bars": ", ".join(sorted({span.source for span in bars.spans}))}
    head = Head(kind=FEEDS_KIND, provenance="replay", about=about)
    with CaptureWriter(path, head) as writer:

        def record(event: Event) -> None:
            for one in records_of(event):
                writer.add(one)

        world.market.record = record
        yield
        world.market.record = None


def _write_reports(
    ledger: Ledger, directory: Path, spans: tuple[Span, ...]
) -> tuple[tuple[str, ...], list[str]]:
    """Write the session report of each day; return where, and what in them does not agree."""
    paths, problems = [], []
    for day in sorted({span.day for span in spans}):
        written = write_report(ledger, directory, [], day.isoformat())
        paths.append(str(written.markdown))
        problems += [f"{day}: {problem}" for problem in written.problems]
    return tuple(paths), problems


def _exchange_books(world: World, balance_e6: int) -> Books:
    """Add up our account from the engine itself, which knows nothing of our streams."""
    done = world.done()
    return Books(
        orders=done.orders,
        fills=done.fills,
        contracts_e2=done.contracts_e2,
        fees_e6=done.fees_e6,
        pnl_e6=world.engine.account(OURS).cash_e6 - balance_e6,
    )


def _ledger_books(books: dict[str, Any]) -> Books:
    return Books(
        orders=books["orders_accepted"],
        fills=books["fills"],
        contracts_e2=books["contracts_filled_e2"],
        fees_e6=books["fees_e6"],
        pnl_e6=books["settlement_pnl_e6"],
    )


def _events_by_day(spans: tuple[Span, ...]) -> dict[date, int]:
    found: Counter[date] = Counter()
    for span in spans:
        found[span.day] += span.events
    return dict(found)


def _priced(bars: Bars, choose: Choose) -> tuple[list[Priced], dict[str, str]]:
    """Return each span with its calibrations, and what is left out with its reason."""
    priced: list[Priced] = []
    left_out = dict(bars.left_out)
    for span in bars.spans:
        found = choose(span)
        if isinstance(found, str):
            left_out[f"{span.source} {span.day}"] = found
        else:
            priced.append((span, found))
    if not priced:
        why = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise NothingToTrade(f"expected at least one window to trade, found none ({why})")
    return priced, left_out


class _Knowledge(Struct, frozen=True, kw_only=True):
    """What the calibrations knew: see `BacktestResult`."""

    calibrations: tuple[str, ...]
    fitted_on: tuple[str, ...]
    from_later: tuple[str, ...]


def _knowledge(priced: Sequence[Priced]) -> _Knowledge:
    """Name the artifacts that priced something, and the days on which they had hindsight."""
    names: set[str] = set()
    fitted_on: set[str] = set()
    from_later: set[str] = set()
    for span, calibrations in priced:
        day = span.day.isoformat()
        for name in {name for families in span.families.values() for name in families}:
            if (one := calibrations.get(name)) is None:
                continue
            names.add(one.id_for(name))
            if day in one.minute_days:
                fitted_on.add(day)
            if one.data_end_ns > span.targets_ns[-1]:
                from_later.add(day)
    return _Knowledge(
        calibrations=tuple(sorted(names)),
        fitted_on=tuple(sorted(fitted_on)),
        from_later=tuple(sorted(from_later)),
    )


def _seconds(spans: tuple[Span, ...], config: DriveConfig) -> float:
    ends_s = config.lab.settle_s
    return sum((span.targets_ns[-1] - span.start_ns) / NS_PER_S + ends_s for span in spans)
