"""Draw the session for a terminal, or say it in plain lines."""

from collections.abc import Iterator

from msgspec import Struct
from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from cli.session import EventView, Rung, SessionView
from libs.common.clock import NS_PER_S
from libs.common.messages import GateResult, IndexTick
from libs.common.topology import SERVICES
from libs.domain.eastern import eastern_datetime

RUNGS_MIN, RUNGS_MAX = 3, 11
FILLS_SHOWN = 8
BESIDE_COLUMNS = 118
"""From this width on two ladders fit side by side."""
FRAME_LINES = 4
"""Time, services, feeds, and the line below the last one, where the cursor waits."""
EVENT_LINES = 4
"""What an event needs beside its rungs: title, headings, decision, money."""


class Room(Struct, frozen=True, kw_only=True):
    """How much of everything the terminal can show; the services come first, fills last."""

    beside: int
    rungs: int
    fills: int
    each_gate: bool

    @classmethod
    def of(cls, events: int, fills: int, gates: int, width: int, height: int) -> "Room":
        """Share out a terminal of `width` columns and `height` lines; `gates` are an event's."""
        beside = 2 if width >= BESIDE_COLUMNS else 1
        rows = max(1, -(-events // beside))
        left = height - FRAME_LINES - rows * EVENT_LINES
        fills = min(fills, FILLS_SHOWN, max(0, left - rows * RUNGS_MIN) // 3)
        left -= fills + 1 if fills else 0
        each_gate = left >= rows * (RUNGS_MIN + 2 + gates)
        left -= rows * gates if each_gate else 0
        rungs = max(RUNGS_MIN, min(RUNGS_MAX, left // rows))
        return cls(beside=beside, rungs=rungs, fills=fills, each_gate=each_gate)


def dollars(money_e6: int | None) -> str:
    """Return micro-dollars as signed dollars with all digits that matter."""
    if money_e6 is None:
        return "–"
    sign = "-" if money_e6 < 0 else "+" if money_e6 else ""
    whole, part = divmod(abs(money_e6), 1_000_000)
    digits = f"{part:06d}".rstrip("0").ljust(2, "0")
    return f"{sign}${whole:,}.{digits}"


def contracts(count_e2: int) -> str:
    """Return hundredths of a contract as contracts."""
    whole, part = divmod(abs(count_e2), 100)
    sign = "-" if count_e2 < 0 else ""
    return f"{sign}{whole}" if part == 0 else f"{sign}{whole}.{part:02d}"


def cents(price_e4: int) -> str:
    """Return a price in cents."""
    return f"{price_e4 / 100:.1f}".removesuffix(".0")


def level(level_e4: int) -> str:
    """Return an index level or strike as people write it."""
    return f"{level_e4 / 10_000:,.4f}".rstrip("0").rstrip(".")


def time_left(now_ns: int, target_ns: int) -> str:
    """Return the time to the target as minutes and seconds."""
    seconds = (target_ns - now_ns) / NS_PER_S
    if seconds < 0:
        return f"T+{-seconds:.0f} s"
    return f"T−{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"


def _strike(rung: Rung) -> str:
    if rung.floor_e4 is not None and rung.cap_e4 is not None:
        return f"{level(rung.floor_e4)}–{level(rung.cap_e4)}"
    if rung.floor_e4 is not None:
        return f"> {level(rung.floor_e4)}"
    return f"< {level(rung.cap_e4 or 0)}"


def _distance(rung: Rung, tick: IndexTick | None) -> float:
    """Return how far a rung is from the money: by its strike, by its fair value without a level."""
    if tick is None:
        return abs((rung.fair or 0) - 0.5)
    return abs((rung.floor_e4 or rung.cap_e4 or 0) - tick.level_e4)


def _near(view: SessionView, event: EventView, limit: int) -> list[Rung]:
    """Return the rungs worth a row: where we quote or hold, then those next to the money."""
    priced = [rung for rung in event.rungs if rung.fair is not None]
    if not priced:
        return []
    resting = view.own.resting_e2(event.definition.event_ticker)
    ours = {ticker for (ticker, _, _), count_e2 in resting.items() if count_e2}
    ours |= {ticker for ticker, count_e2 in event.held_e2.items() if count_e2}
    places = {rung.ticker: place for place, rung in enumerate(event.rungs)}
    tick = view.levels.get(event.definition.symbol)
    middle = places[min(priced, key=lambda rung: _distance(rung, tick)).ticker]
    chosen = sorted(
        priced, key=lambda rung: (rung.ticker not in ours, abs(places[rung.ticker] - middle))
    )[:limit]
    return [rung for rung in event.rungs if rung in chosen]


def _ladder(view: SessionView, event: EventView, limit: int) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("strike", "fair", "bid", "ask", "we buy", "we sell", "held"):
        table.add_column(heading, justify="right", no_wrap=True)
    ours: dict[tuple[str, str], list[str]] = {}
    resting = view.own.resting_e2(event.definition.event_ticker)
    for (ticker, side, price_e4), count_e2 in resting.items():
        if count_e2:
            quote = f"{contracts(count_e2)} @ {cents(price_e4)}"
            ours.setdefault((ticker, side), []).append(quote)
    for rung in _near(view, event, limit):
        held_e2 = view.own.position(rung.ticker).count_e2
        table.add_row(
            _strike(rung),
            f"{(rung.fair or 0) * 100:.1f}",
            cents(rung.bid_e4) if rung.bid_count_e2 else "–",
            cents(rung.ask_e4) if rung.ask_count_e2 else "–",
            Text(", ".join(ours.get((rung.ticker, "bid"), [])), style="bold yellow"),
            Text(", ".join(ours.get((rung.ticker, "ask"), [])), style="bold yellow"),
            Text(contracts(held_e2) if held_e2 else "", style="bold"),
        )
    return table


def _amount(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    return f"{value:,.0f} {unit}" if abs(value) >= 100 else f"{value:,.2f} {unit}"


def _why(gate: GateResult) -> str:
    """Return one gate's finding: what it measured, its limit, and its reason if it says no."""
    measured = _amount(gate.measured, gate.unit)
    limit = "" if gate.limit is None else f"{gate.limit:g} {gate.unit}"
    reason = "" if gate.ok else ": ".join(part for part in (gate.reason, gate.detail) if part)
    reason += " (advice)" if gate.advisory else ""
    figures = f"{measured} (limit {limit})" if measured and limit else measured
    return "  ".join(part for part in (gate.gate, figures, reason) if part)


def _decision(event: EventView, now_ns: int) -> str:
    """Return the newest verdict's word; what has expired allows nothing any more."""
    if event.verdict is None:
        return "no verdict"
    over = now_ns >= event.verdict.expires_at_ns
    return f"{event.verdict.decision}{', expired' if over else ''}"


def _gates(event: EventView, now_ns: int, *, each: bool) -> Text:
    """Return the decision and the gates behind it: in one line, or one line for each."""
    decision = _decision(event, now_ns)
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(decision, style="bold green" if decision == "GO" else "bold red")
    gates = event.verdict.gates if event.verdict else ()
    refused = [gate for gate in gates if gate.refuses]
    advice = [gate.gate for gate in gates if gate.advisory]
    if not each:
        for gate in refused:
            text.append(f"  {_why(gate)}", style="red")
        well = len(gates) - len(refused) - len(advice)
        text.append(f"  {well} of {len(gates)} gates ok", style="green")
        if advice:
            text.append(f"  advice: no of {', '.join(advice)}", style="yellow")
        return text
    for gate in gates:
        mark, style = ("✓", "") if gate.ok else ("!", "yellow") if gate.advisory else ("✗", "red")
        text.append(f"\n{mark} {_why(gate)}", style=style)
    return text


def _money(view: SessionView, event: EventView) -> Text:
    settled = view.settled_pnl_e6(event)
    pnl_e6 = settled if settled is not None else view.marked_pnl_e6(event)
    money = Text("settled " if settled is not None else "marked at exit prices ")
    money.append(dollars(pnl_e6), style="green" if pnl_e6 >= 0 else "red")
    money.append(f"  filled {contracts(event.contracts_e2)}  fees {dollars(-event.fees_e6)}")
    return money


def _event_panel(view: SessionView, event: EventView, now_ns: int, room: Room) -> Group:
    definition = event.definition
    tick = view.levels.get(definition.symbol)
    title = (
        f"{definition.event_ticker}  {level(tick.level_e4) if tick else '–'}  "
        f"{time_left(now_ns, definition.target_ns)}"
    )
    return Group(
        Rule(title, align="left", style="dim"),
        _ladder(view, event, room.rungs),
        _gates(event, now_ns, each=room.each_gate),
        _money(view, event),
    )


def _health(view: SessionView, now_ns: int) -> Text:
    text = Text()
    for service in SERVICES:
        beat = view.heartbeats.get(service)
        if beat is None:
            text.append(f"○ {service}  ", style="dim")
            continue
        age_s = (now_ns - beat.ts_pub_ns) / NS_PER_S
        fresh = beat.state == "READY" and age_s < 30
        text.append(f"● {service}", style="green" if fresh else "red")
        text.append("  " if fresh else f" {beat.state} {age_s:.0f} s  ", style="red")
    return text


def _fills(view: SessionView, limit: int) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("time", "fill", "market", "price", "fee"):
        table.add_column(heading)
    for fill in list(view.fills)[-limit:]:
        table.add_row(
            f"{eastern_datetime(fill.exchange_ns):%H:%M:%S}",
            f"{'bought' if fill.side == 'bid' else 'sold'} {contracts(fill.count_e2)}",
            fill.ticker,
            cents(fill.price_e4),
            dollars(-fill.fee_e6),
        )
    return table


def _alerts(view: SessionView) -> Text:
    """Return what is wrong, in one line; what is well is only counted."""
    bad = [f"{feed.feed} {feed.detail}" for feed in view.feeds.values() if not feed.ok]
    alerts = [name for name, result in view.monitors.items() if result.state == "ALERT"]
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f"feeds: {', '.join(bad) or ('all ok' if view.feeds else 'none yet')}")
    text.append(f"   alerts: {', '.join(alerts) or 'none'}", style="red" if alerts else "")
    if view.dead_letters:
        text.append(f"   dead letters: {view.dead_letters}", style="red")
    return text


def draw(
    view: SessionView, now_ns: int, headline: str, *, width: int = 140, height: int = 60
) -> RenderableType:
    """Return the whole screen at this moment, cut to a terminal of `width` × `height`."""
    events = [event for _, event in sorted(view.events.items())]
    gates = max((len(event.verdict.gates) for event in events if event.verdict), default=0)
    room = Room.of(len(events), len(view.fills), gates, width, height)
    pnl_e6 = [
        view.marked_pnl_e6(event) if (settled := view.settled_pnl_e6(event)) is None else settled
        for event in events
    ]
    first = f"{eastern_datetime(now_ns):%a %Y-%m-%d %H:%M:%S} ET   P&L {dollars(sum(pnl_e6))}"
    parts: list[RenderableType] = [
        Text(f"{first}   {headline}", style="bold", no_wrap=True, overflow="ellipsis"),
        _health(view, now_ns),
        _alerts(view),
    ]
    if not events:
        parts.append(Text("waiting for ladders …"))
    grid = Table.grid(expand=True, padding=(0, 2, 0, 0))
    for _ in range(room.beside):
        grid.add_column(ratio=1)
    panels = [_event_panel(view, event, now_ns, room) for event in events]
    for start in range(0, len(panels), room.beside):
        grid.add_row(*panels[start : start + room.beside])
    parts.append(grid)
    if room.fills:
        parts.append(_fills(view, room.fills))
    return Group(*parts)


def plain_lines(view: SessionView, now_ns: int) -> Iterator[str]:
    """Yield one line per event: what a log or a pipe should see."""
    for ticker, event in sorted(view.events.items()):
        tick = view.levels.get(event.definition.symbol)
        resting = view.own.resting_e2(ticker)
        quotes = ", ".join(
            f"{side} {contracts(count_e2)}@{cents(price_e4)} {name.rsplit('-', 1)[1]}"
            for (name, side, price_e4), count_e2 in resting.items()
            if count_e2
        )
        verdict = event.verdict
        reasons = [gate.reason for gate in verdict.gates if gate.refuses] if verdict else []
        advice = sum(gate.advisory for gate in verdict.gates) if verdict else 0
        settled = view.settled_pnl_e6(event)
        pnl = (
            f"settled {dollars(settled)}"
            if settled is not None
            else f"marked {dollars(view.marked_pnl_e6(event))}"
        )
        yield (
            f"{eastern_datetime(now_ns):%H:%M:%S} {ticker} "
            f"{time_left(now_ns, event.definition.target_ns)} "
            f"level {level(tick.level_e4) if tick else '–'} "
            f"{_decision(event, now_ns)}"
            f"{' (' + ', '.join(reasons) + ')' if reasons else ''} "
            f"{f'advice {advice} ' if advice else ''}"
            f"quotes [{quotes}] filled {contracts(event.contracts_e2)} {pnl}"
        )
