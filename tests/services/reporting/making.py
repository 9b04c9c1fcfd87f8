"""Messages of a small session made by hand, and their places in streams."""

from typing import Any

from libs.common import messages as m
from libs.common.bus import Stored
from libs.common.topology import stream_of_subject, subject_of
from services.reporting.ledger import LedgerRow

S = 1_000_000_000
TARGET_NS = 1_722_873_600 * S  # 2024-08-05 16:00:00 UTC, noon in New York
EVENT = "KXINXU-24AUG05H1200"
SERIES = "KXINXU"
RUNGS = tuple(f"{EVENT}-T{floor}" for floor in ("5149.9999", "5159.9999", "5169.9999"))
FLOORS_E4 = (51_499_999, 51_599_999, 51_699_999)
MARKET: dict[str, Any] = {"event_ticker": EVENT, "series_ticker": SERIES}


def envelope(name: str, at_ns: int, source: str = "feeds") -> dict[str, Any]:
    """Return the fields that every message has."""
    return {
        "id": name,
        "ts_event_ns": at_ns,
        "ts_pub_ns": at_ns,
        "cause_id": "",
        "correlation_id": name,
        "source": source,
    }


def tick(end_ns: int, level_e4: int, *, long_ns: int = S) -> m.IndexTick:
    return m.IndexTick(
        **envelope(f"tick-{end_ns}-{long_ns}", end_ns),
        symbol="I:SPX",
        level_e4=level_e4,
        bar_start_ns=end_ns - long_ns,
        bar_end_ns=end_ns,
        recv_ns=end_ns,
        provenance="replay",
    )


def ladder(
    first_type: str = "greater", floor_e4: int | None = FLOORS_E4[0], cap_e4: int | None = None
) -> m.LadderDefined:
    strike_types = (first_type, "greater", "greater")
    floors_e4 = (floor_e4, *FLOORS_E4[1:])
    caps_e4 = (cap_e4, None, None)
    return m.LadderDefined(
        **envelope("ladder", TARGET_NS - 900 * S),
        **MARKET,
        ladder_id="ladder-1",
        family="INXU",
        symbol="I:SPX",
        kind="nested",
        target_ns=TARGET_NS,
        close_ns=TARGET_NS,
        tickers=RUNGS,
        strike_types=strike_types,
        floors_e4=floors_e4,
        caps_e4=caps_e4,
        price_ranges=(m.PriceRange(0, 10_000, 100),),
    )


def verdict(name: str, quotes: tuple[m.SizedQuote, ...], failed: str = "") -> m.Verdict:
    gates: tuple[m.GateResult, ...] = (m.GateResult(gate="window", ok=True),)
    if failed:
        gates += (m.GateResult(gate="freshness", ok=False, reason=failed),)
    return m.Verdict(
        **envelope(name, TARGET_NS - 600 * S, "risk"),
        **MARKET,
        decision="NO-GO" if failed else "GO",
        proposal_id=f"proposal-of-{name}",
        family="INXU",
        target_ns=TARGET_NS,
        expires_at_ns=TARGET_NS - 2 * S,
        quotes=quotes,
        gates=gates,
        provenance="replay",
        config_hash="cafe0123",
    )


def sized(rung: int, side: m.Side, price_e4: int, ev_e6: int) -> m.SizedQuote:
    return m.SizedQuote(
        ticker=RUNGS[rung],
        side=side,
        price_e4=price_e4,
        count_e2=100,
        asked_count_e2=100,
        limited_by="pilot",
        probability=0.5,
        ev_per_contract_e6=ev_e6,
    )


def intent(
    name: str, rung: int, side: m.Side, price_e4: int, count_e2: int, verdict_id: str
) -> m.OrderIntent:
    return m.OrderIntent(
        **envelope(f"intent-{name}", TARGET_NS - 590 * S, "broker"),
        **MARKET,
        ticker=RUNGS[rung],
        action="place",
        client_order_id=name,
        order_id="",
        side=side,
        price_e4=price_e4,
        count_e2=count_e2,
        expiration_ns=TARGET_NS - 2 * S,
        verdict_id=verdict_id,
        epoch=1,
        reason="",
    )


def update(
    of: m.OrderIntent,
    state: m.OrderState,
    *,
    filled_e2: int = 0,
    order_id: str | None = None,
    reason: str = "",
) -> m.OrderUpdate:
    return m.OrderUpdate(
        **envelope(f"{of.client_order_id}-{state}-{filled_e2}", TARGET_NS - 580 * S, "broker"),
        **MARKET,
        ticker=of.ticker,
        client_order_id=of.client_order_id,
        order_id=f"x-{of.client_order_id}" if order_id is None else order_id,
        side=of.side,
        price_e4=of.price_e4,
        count_e2=of.count_e2,
        filled_count_e2=filled_e2,
        remaining_count_e2=of.count_e2 - filled_e2,
        previous_state="submitted",
        state=state,
        trigger="test",
        reason=reason,
        exchange_ns=TARGET_NS - 580 * S,
    )


def fill(of: m.OrderIntent, trade_id: str, count_e2: int, *, fee_e6: int = 0) -> m.Fill:
    return m.Fill(
        **envelope(f"fill-{trade_id}", TARGET_NS - 300 * S, "broker"),
        **MARKET,
        ticker=of.ticker,
        trade_id=trade_id,
        order_id=f"x-{of.client_order_id}",
        client_order_id=of.client_order_id,
        side=of.side,
        price_e4=of.price_e4,
        count_e2=count_e2,
        is_taker=False,
        fee_e6=fee_e6,
        exchange_ns=TARGET_NS - 300 * S,
    )


def paid(rung: int, result: Any, yes_e2: int, no_e2: int, revenue_e6: int) -> m.ExchangeSettlement:
    return m.ExchangeSettlement(
        **envelope(f"paid-{rung}-{result}-{revenue_e6}", TARGET_NS + 60 * S, "broker"),
        **MARKET,
        ticker=RUNGS[rung],
        result=result,
        yes_count_e2=yes_e2,
        no_count_e2=no_e2,
        revenue_e6=revenue_e6,
        fee_e6=0,
        settled_ns=TARGET_NS + 60 * S,
    )


def heartbeat(service: str, instance: str, at_ns: int) -> m.Heartbeat:
    return m.Heartbeat(
        **envelope(f"beat-{instance}-{at_ns}", at_ns, service),
        service=service,
        instance=instance,
        state="READY",
        since_ns=at_ns,
        loop_lag_ns=1_000_000,
    )


def troubles(at_ns: int) -> tuple[m.Message, ...]:
    """Return one of each message that says that something was not well."""
    return (
        m.FeedStatus(
            **envelope("feed-1", at_ns), feed="index.ws", ok=False, newest_ns=at_ns, detail="closed"
        ),
        m.MonitorResult(
            **envelope("monitor-1", at_ns, "monitors"),
            monitor="freshness",
            scope="index.ws",
            state="ALERT",
            value=3.0,
            threshold=2.0,
            since_ns=at_ns,
            evidence="",
        ),
        m.DeadLetter(
            **envelope("letter-1", at_ns, "risk"),
            stream="TICKS",
            subject="ticks.index.x",
            sequence=7,
            reason="undecodable: a|b",
            payload="",
            size_bytes=1,
        ),
    )


class Streams:
    """Stored messages by stream, numbered from 1 as a server numbers them."""

    def __init__(self) -> None:
        self.stored: dict[str, list[Stored]] = {}

    def add(self, *messages: m.Message) -> None:
        for message in messages:
            self.add_raw(subject_of(message), m.encode(message))

    def add_raw(self, subject: str, data: bytes) -> None:
        held = self.stored.setdefault(stream_of_subject(subject), [])
        held.append(Stored(subject, len(held) + 1, data))

    def rows(self) -> list[LedgerRow]:
        return [row_of(stream, stored) for stream, held in self.stored.items() for stored in held]


def row_of(stream: str, stored: Stored) -> LedgerRow:
    message = m.decode(stored.data)
    return LedgerRow(
        stream,
        stored.sequence,
        stored.subject,
        m.tag_of(type(message)),
        message.id,
        message.ts_event_ns,
        message.ts_pub_ns,
        message.source,
        stored.data.decode(),
    )
