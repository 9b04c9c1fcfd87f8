"""Which stretches of real bars a backtest runs over: files, days, and the targets they cover."""

from collections.abc import Collection, Iterable, Sequence
from datetime import date
from itertools import pairwise
from pathlib import Path

from msgspec import Struct

from lab.market.bars import NAMES, BarsError, read_bars, resolve_bars, symbol_in_name
from lab.market.path import IndexPath
from libs.domain.calendar import CalendarError
from libs.domain.eastern import eastern_date, eastern_ns
from libs.domain.families import INDEX_FAMILIES, family_named
from libs.domain.windows import index_targets, index_window

DAYS_MAX = 2_000
OUTSIDE = "not within --from and --to"


class Span(Struct, frozen=True, kw_only=True, eq=False):
    """One stretch of one day's bars, and the events whose whole window it covers.

    `families` names those of each target, in order of time: at the close hourly events and ranges.
    """

    day: date
    source: str
    path: IndexPath
    start_ns: int
    families: dict[int, tuple[str, ...]]

    @property
    def targets_ns(self) -> tuple[int, ...]:
        """Return the targets, in order of time."""
        return tuple(self.families)

    @property
    def events(self) -> int:
        """Return how many events there are."""
        return sum(map(len, self.families.values()))


class Bars(Struct, frozen=True, eq=False):
    """What was found: spans in order of time, and what was left out with its reason."""

    spans: tuple[Span, ...]
    left_out: dict[str, str]


def find_spans(
    paths: Sequence[Path],
    seed: int,
    first: date | None,
    last: date | None,
    families: Collection[str] = INDEX_FAMILIES,
) -> Bars:
    """Read bar files and folders of them; keep the days from `first` to `last`, both included.

    Files of the two indices with otherwise equal names are one stretch. A stretch without a
    covered target is left out and named. Raises BarsError.
    """
    spans: list[Span] = []
    left_out: dict[str, str] = {}
    for name, files in _stretches(paths).items():
        bars = {symbol: read_bars(path, symbol) for symbol, path in sorted(files.items())}
        path = IndexPath(seed, bars, symbols=tuple(bars))
        found, why = _spans_of(name, path, families)
        spans += found
        if not found:
            left_out[name] = why
    spans.sort(key=lambda span: span.targets_ns)
    _refuse_overlap(spans)
    kept = [
        span
        for span in spans
        if (first is None or span.day >= first) and (last is None or span.day <= last)
    ]
    for span in spans:
        if span not in kept:
            left_out[f"{span.source} {span.day}"] = OUTSIDE
    return Bars(tuple(kept), left_out)


def _stretches(paths: Sequence[Path]) -> dict[str, dict[str, Path]]:
    """Return stretch name -> symbol -> file."""
    found: dict[str, dict[str, Path]] = {}
    for path in dict.fromkeys(_files(paths)):
        symbol = symbol_in_name(path)
        if symbol is None:
            raise BarsError(path, "SPX or NDX in the file's name", path.stem)
        name = path.stem.replace(NAMES[symbol], "*")
        known = found.setdefault(name, {}).setdefault(symbol, path)
        if known != path:
            raise BarsError(path, f"one file of {symbol} by that name", f"{known} too")
    return found


def _files(paths: Sequence[Path]) -> Iterable[Path]:
    for path in paths:
        if path.is_dir():
            inside = sorted(path.glob("*.parquet"))
            if not inside:
                raise BarsError(path, "*.parquet files of minute bars", "none")
            yield from inside
        elif path.is_file():
            yield from resolve_bars([path]).values()
        else:
            raise BarsError(path, "a folder or file of minute bars", "nothing there")


def _spans_of(name: str, path: IndexPath, families: Collection[str]) -> tuple[list[Span], str]:
    covered = [span for symbol in path.symbols if (span := path.coverage_ns(symbol)) is not None]
    start_ns = max(span[0] for span in covered)
    end_ns = min(span[1] for span in covered)
    if start_ns >= end_ns:
        return [], "the indices' bars have no time in common"
    spans: list[Span] = []
    known = [one for one in families if family_named(one).index_symbol in path.symbols]
    day, last = eastern_date(start_ns), eastern_date(end_ns)
    for _ in range(DAYS_MAX):
        begin_ns = max(start_ns, eastern_ns(day, 9, 30))
        try:
            whole = _whole(day, begin_ns, end_ns, known)
        except CalendarError as error:
            return spans, str(error)
        if whole:
            spans.append(Span(day=day, source=name, path=path, start_ns=begin_ns, families=whole))
        if day >= last:
            break
        day = date.fromordinal(day.toordinal() + 1)
    return spans, f"it covers no whole window of {', '.join(families)}"


def _whole(
    day: date, begin_ns: int, end_ns: int, families: Iterable[str]
) -> dict[int, tuple[str, ...]]:
    """Return target -> families of a day whose window begins and ends within the bars."""
    found: dict[int, list[str]] = {}
    for name in families:
        for target_ns in index_targets(name, day):
            if begin_ns <= index_window(name, target_ns).opens_ns and target_ns <= end_ns:
                found.setdefault(target_ns, []).append(name)
    return {target_ns: tuple(found[target_ns]) for target_ns in sorted(found)}


def _refuse_overlap(spans: Sequence[Span]) -> None:
    for one, other in pairwise(spans):
        if other.start_ns < one.targets_ns[-1]:
            raise BarsError(
                Path(other.source),
                f"bars that begin after those of {one.source} end",
                f"both cover {other.day}",
            )
