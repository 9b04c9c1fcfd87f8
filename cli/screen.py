"""Draw the session for a terminal, or say it in plain lines."""

from collections.abc import Iterator

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cli.session import EventView, Rung, SessionView
from libs.common.clock import NS_PER_S
from libs.common.topology import SERVICES
from libs.domain.eastern import eastern_datetime

RUNGS_SHOWN = 9


def dollars(money_e6: int | None) -> str:
    """Return micro-dollars as signed dollars with all digits that matter."""
    if money_e6 is None:
        return "–"
    sign = "-" if money_e6 < 0 else "+"
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


def _near(event: EventView) -> list[Rung]:
    """Return the rungs worth a row: those whose fair value is nearest to a half."""
    priced = [rung for rung in event.rungs if rung.fair is not None]
    chosen = sorted(priced, key=lambda rung: abs((rung.fair or 0) - 0.5))[:RUNGS_SHOWN]
    return [rung for rung in event.rungs if rung in chosen]


def _ladder(view: SessionView, event: EventView) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("strike", "fair", "bid", "ask", "ours", "position"):
        table.add_column(heading, justify="right")
    resting = view.own.resting_e2(event.definition.event_ticker)
    for rung in _near(event):
        ours = ", ".join(
            f"{'buy' if side == 'bid' else 'sell'} {contracts(count_e2)} @ {cents(price_e4)}"
            for (ticker, side, price_e4), count_e2 in resting.items()
            if ticker == rung.ticker and count_e2
        )
        held_e2 = view.own.position(rung.ticker).count_e2
        table.add_row(
            _strike(rung),
            f"{(rung.fair or 0) * 100:.1f}",
            cents(rung.bid_e4) if rung.bid_count_e2 else "–",
            cents(rung.ask_e4) if rung.ask_count_e2 else "–",
            Text(ours, style="bold yellow"),
            Text(contracts(held_e2) if held_e2 else "", style="bold"),
        )
    return table


def _gates(event: EventView) -> Text:
    if event.verdict is None:
        return Text("no verdict yet", style="dim")
    text = Text()
    go = event.verdict.decision == "GO"
    text.append(event.verdict.decision, style="bold green" if go else "bold red")
    for gate in event.verdict.gates:
        style = "green" if gate.ok else "red"
        text.append(f"  {gate.gate}", style=style)
        if not gate.ok:
            text.append(f" ({gate.reason})", style=style)
    return text


def _event_panel(view: SessionView, event: EventView, now_ns: int) -> Panel:
    definition = event.definition
    tick = view.levels.get(definition.symbol)
    shown_level = level(tick.level_e4) if tick else "–"
    settled = view.settled_pnl_e6(event)
    money = Text("settled " if settled is not None else "marked at exit prices ")
    pnl_e6 = settled if settled is not None else view.marked_pnl_e6(event)
    money.append(dollars(pnl_e6), style="green" if pnl_e6 >= 0 else "red")
    money.append(f"   filled {contracts(event.contracts_e2)}   fees {dollars(-event.fees_e6)}")
    left = time_left(now_ns, definition.target_ns)
    return Panel(
        Group(_ladder(view, event), _gates(event), money),
        title=f"{definition.event_ticker}  {shown_level}  {left}",
        title_align="left",
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


def _fills(view: SessionView) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("time", "fill", "market", "price", "fee"):
        table.add_column(heading)
    for fill in view.fills:
        table.add_row(
            f"{eastern_datetime(fill.exchange_ns):%H:%M:%S}",
            f"{'bought' if fill.side == 'bid' else 'sold'} {contracts(fill.count_e2)}",
            fill.ticker,
            cents(fill.price_e4),
            dollars(-fill.fee_e6),
        )
    return table


def draw(view: SessionView, now_ns: int, headline: str) -> RenderableType:
    """Return the whole screen at this moment."""
    events = [_event_panel(view, event, now_ns) for _, event in sorted(view.events.items())]
    alerts = [name for name, result in view.monitors.items() if result.state == "ALERT"]
    feeds = "  ".join(
        f"{feed.feed} {'ok' if feed.ok else feed.detail}" for feed in view.feeds.values()
    )
    foot = Text(f"feeds: {feeds or 'none yet'}   alerts: {', '.join(alerts) or 'none'}")
    if view.dead_letters:
        foot.append(f"   dead letters: {view.dead_letters}", style="red")
    parts: list[RenderableType] = [
        Text(f"{eastern_datetime(now_ns):%a %Y-%m-%d %H:%M:%S} ET   {headline}", style="bold"),
        Columns(events, equal=True, expand=True) if events else Text("waiting for ladders …"),
        _health(view, now_ns),
        foot,
    ]
    if view.fills:
        parts.append(_fills(view))
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
        reasons = [gate.reason for gate in verdict.gates if not gate.ok] if verdict else []
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
            f"{verdict.decision if verdict else 'no verdict'}"
            f"{' (' + ', '.join(reasons) + ')' if reasons else ''} "
            f"quotes [{quotes}] filled {contracts(event.contracts_e2)} {pnl}"
        )
