"""`alpha monitors` and `alpha freshness`: how each monitor of the run that is up stands."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.errors import OperatingError
from cli.runs import RunningRun, running_or_say
from cli.watcher import Watcher
from libs.common.bus import BusError
from libs.common.clock import NS_PER_S, ClockSpec
from libs.common.config import ConfigError, load_part
from libs.common.freshness import FreshnessPolicy
from libs.common.messages import MonitorResult
from libs.common.policy_files import CONFIGS
from libs.domain.eastern import eastern_datetime
from libs.domain.families import UnknownFamilyError, family_named, family_of_series
from services.monitors.freshness import Freshness
from services.monitors.policy import MonitorsPolicy
from services.monitors.reading import ALL, is_least

EXIT_ALERT = 1
EXIT_NOT_RUNNING = 3
EXIT_NO_DATA = 4
SILENT_NS = 90 * NS_PER_S
"""Monitors speaks every half minute; what was said longer ago says nothing of now."""
_STYLE = {"OK": "green", "ALERT": "bold red", "NO_DATA": "yellow"}
_FIRST = ("ALERT", "NO_DATA", "OK")


class Row(Struct, frozen=True):
    """One line of either table."""

    monitor: str
    scope: str
    state: str
    value: float | None
    threshold: float | None
    since_ns: int
    evidence: str


class _Watched(Struct, frozen=True, kw_only=True):
    """Of configs/monitors.yaml what says which feeds are needed."""

    families: tuple[str, ...] = MonitorsPolicy().families


def monitors(console: Console, series: str | None, *, as_json: bool) -> int:
    """Show all monitors, or those that concern a series.

    Returns 0 when all are OK, 1 on ALERT, 4 when none alerts but one has NO_DATA, 3 when nothing
    is up. Raises ConfigError for a series that no family holds.
    """
    family = None if series is None else _family(series)
    found = _results(as_json=as_json)
    if found is None:
        return EXIT_NOT_RUNNING
    rows = [row for row in found if family is None or _concerns(row, family)]
    rows.sort(key=lambda row: (_FIRST.index(row.state), row.monitor, row.scope))
    if as_json:
        console.print_json(data=[_plain(row) for row in rows])
    else:
        columns = ("monitor", "scope", "state", "value", "since", "evidence")
        _print(console, columns, [(row.monitor, row.scope, *_cells(row)) for row in rows])
    return exit_code(rows)


def freshness(console: Console, *, as_json: bool) -> int:
    """Show the freshness table: every feed, needed by a watched family or not.

    Returns as `monitors` does; a feed that no watched family needs counts for nothing.
    """
    found = _results(as_json=as_json)
    if found is None:
        return EXIT_NOT_RUNNING
    table = load_part(CONFIGS / "freshness.yaml", "policy.freshness", FreshnessPolicy)
    watched = load_part(CONFIGS / "monitors.yaml", "policy", _Watched)
    told = feeds_told(found, table, watched.families)
    shown = []
    for feed, rule in table.feeds.items():
        by = ", ".join(rule.families) or ALL
        row = told.get(feed)
        shown.append((feed, row, by, rule.source))
    if as_json:
        console.print_json(
            data=[
                {"feed": feed, "needed_by": by, "source": source, **(_plain(row) if row else {})}
                for feed, row, by, source in shown
            ]
        )
    else:
        columns = ("feed", "state", "age in s", "since", "needed by", "source", "evidence")
        cells = []
        for feed, row, by, source in shown:
            *known, evidence = _cells(row) if row else _UNWATCHED
            cells.append((feed, *known, by, source, evidence))
        _print(console, columns, cells)
    return exit_code(list(told.values()))


_UNWATCHED = ("–", "–", "–", "not watched: no watched family needs it")


def feeds_told(
    found: Sequence[Row], table: FreshnessPolicy, watched: Sequence[str]
) -> dict[str, Row]:
    """Return what is known of each feed; one that is needed and has no row is NO_DATA."""
    told = {row.scope: row for row in found if row.monitor == Freshness.name}
    for feed, rule in table.feeds.items():
        if feed not in told and rule.is_needed(watched):
            text = "needed, but monitors has said nothing of it"
            told[feed] = Row(Freshness.name, feed, "NO_DATA", None, None, 0, text)
    return told


def exit_code(rows: Sequence[Row]) -> int:
    """Return 1 on ALERT, else 4 on NO_DATA (which is never OK), else 0; without rows 4."""
    states = {row.state for row in rows}
    if "ALERT" in states:
        return EXIT_ALERT
    return EXIT_NO_DATA if "NO_DATA" in states or not rows else 0


def newest(results: Sequence[MonitorResult], now_ns: int) -> list[Row]:
    """Return a row of each result; one that was said too long ago is NO_DATA."""
    rows = []
    for result in results:
        row = Row(
            result.monitor,
            result.scope,
            result.state,
            result.value,
            result.threshold,
            result.since_ns,
            result.evidence,
        )
        if (silent_ns := now_ns - result.ts_pub_ns) > SILENT_NS:
            text = f"monitors has been silent for {silent_ns / NS_PER_S:.0f} s; it said {row.state}"
            row = replace(row, state="NO_DATA", value=None, evidence=text)
        rows.append(row)
    return rows


def _results(*, as_json: bool) -> list[Row] | None:
    known = running_or_say(as_json=as_json)
    return None if known is None else asyncio.run(_read(known))


async def _read(known: RunningRun) -> list[Row]:
    clock = msgspec.convert(known.state["clock"], ClockSpec).build()
    try:
        watcher = await Watcher.connect(known.run, known.state["nats_url"], clock)
        try:
            found = await watcher.newest_of(MonitorResult)
        finally:
            await watcher.close()
    except (BusError, TimeoutError) as error:
        raise OperatingError(f"the bus can't be read: {error}; see `alpha status`") from None
    return newest(found, clock.now_ns())


def _family(series: str) -> str:
    for find in (family_named, family_of_series):
        try:
            return find(series.upper()).name
        except UnknownFamilyError as error:
            why = str(error)
    raise ConfigError(f"--series: {why}")


def _concerns(row: Row, family: str) -> bool:
    """Tell whether a row is of the family, or of something that all families share."""
    try:
        return family_named(row.scope).name == family
    except UnknownFamilyError:
        return True


def _plain(row: Row) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__struct_fields__}


def _cells(row: Row) -> tuple[str, ...]:
    return (
        f"[{_STYLE[row.state]}]{row.state}[/]",
        _measured(row),
        f"{eastern_datetime(row.since_ns):%a %H:%M}" if row.since_ns else "–",
        escape(row.evidence),
    )


def _measured(row: Row) -> str:
    """Return the value, and the limit or the least that it is held to."""
    value = "–" if row.value is None else f"{row.value:.4g}"
    if row.threshold is None:
        return value
    word = "least" if is_least(row.monitor, row.threshold) else "limit"
    return f"{value}, {word} {row.threshold:.4g}"


def _print(console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table that can be read in 100 columns: what is prose wraps, the rest does not."""
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold", show_edge=False)
    for heading in columns:
        prose = heading in ("needed by", "source", "evidence")
        table.add_column(heading, overflow="fold", no_wrap=not prose)
    before = ""
    for first, *rest in rows:
        table.add_row("" if first == before else first, *rest)
        before = first
    console.print(table)
