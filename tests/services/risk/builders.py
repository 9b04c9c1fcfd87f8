"""Messages for risk's tests: one SPX noon event of 2024-08-05, everything in order."""

from typing import Any

from libs.common.effects import Effect, Publish, Received
from libs.common.messages import (
    ClockSample,
    EvBin,
    ExchangeStatus,
    FairLadder,
    FeeRules,
    Fill,
    Heartbeat,
    LadderDefined,
    LadderSnapshot,
    LedgerStatus,
    Message,
    MonitorResult,
    OrderIntent,
    OrderUpdate,
    PriceRange,
    Proposal,
    Quote,
    SeriesReadiness,
    SettledEvidence,
    Verdict,
)
from libs.common.topology import SERVICES
from services.risk.core import RiskCore
from services.risk.events import KillSwitchRead
from services.risk.gates.contract import Question
from services.risk.policy import GatePolicy, RiskPolicy

S = 1_000_000_000
MINUTE = 60 * S
DAY = 86_400 * S
TARGET = 1_722_873_600 * S  # 2024-08-05 12:00 in New York
NOW = TARGET - 10 * MINUTE
EVENT = "KXINXU-24AUG05H1200"
HASH = "0011223344556677"
ACKNOWLEDGED = "8899aabbccddeeff"
POLICY = RiskPolicy(gates=GatePolicy(fee_rules={"KXINXU": (ACKNOWLEDGED,)}))
TICKERS = tuple(f"{EVENT}-T{strike}.9999" for strike in (5209, 5219, 5229))


def envelope(name: str, now_ns: int) -> dict:
    return {
        "id": name,
        "ts_event_ns": now_ns,
        "ts_pub_ns": now_ns,
        "cause_id": "",
        "correlation_id": name,
        "source": "test",
    }


def of_event(name: str, now_ns: int) -> dict:
    return envelope(name, now_ns) | {"event_ticker": EVENT, "series_ticker": "KXINXU"}


def quote(rung=1, side="bid", price_e4=4000, count_e2=1000, p=0.5, ev=90_000) -> Quote:
    return Quote(
        ticker=TICKERS[rung],
        side=side,
        price_e4=price_e4,
        count_e2=count_e2,
        probability=p,
        ev_per_contract_e6=ev,
        fill_probability=0.3,
    )


def proposal(now_ns=NOW, quotes=None, **changes) -> Proposal:
    fields = of_event(f"proposal-{now_ns}", now_ns) | {
        "family": "INXU",
        "target_ns": TARGET,
        "expires_at_ns": now_ns + 8 * S,
        "quotes": (quote(),) if quotes is None else tuple(quotes),
        "reasons": (),
        "ladder_id": "ladder-1",
        "level_ns": now_ns,
        "books_ns": now_ns,
        "calibration_id": "INXU-1",
        "calibration_fitted_ns": now_ns,
        "calibration_data_end_ns": now_ns - DAY,
        "provenance": "synthetic",
    }
    return Proposal(**(fields | changes))


def snapshot(now_ns=NOW, stale=(), inactive=()) -> LadderSnapshot:
    return LadderSnapshot(
        **of_event(f"snapshot-{now_ns}", now_ns),
        ladder_id="ladder-1",
        target_ns=TARGET,
        recv_ns=now_ns,
        provenance="synthetic",
        bid_price_e4=(0,) * 3,
        bid_count_e2=(0,) * 3,
        bid_depth_e2=(0,) * 3,
        ask_price_e4=(10_000,) * 3,
        ask_count_e2=(0,) * 3,
        ask_depth_e2=(0,) * 3,
        stale=stale,
        inactive=inactive,
    )


def definition(now_ns=NOW) -> LadderDefined:
    return LadderDefined(
        **of_event(f"definition-{now_ns}", now_ns),
        ladder_id="ladder-1",
        family="INXU",
        symbol="I:SPX",
        kind="nested",
        target_ns=TARGET,
        close_ns=TARGET,
        tickers=TICKERS,
        strike_types=("greater",) * 3,
        floors_e4=(52_099_999, 52_199_999, 52_299_999),
        caps_e4=(None,) * 3,
        price_ranges=(PriceRange(0, 10_000, 100),),
    )


def fair(now_ns) -> FairLadder:
    return FairLadder(
        **of_event(f"fair-{now_ns}", now_ns),
        ladder_id="ladder-1",
        target_ns=TARGET,
        model="index_hourly.1",
        calibration_id="INXU-1",
        level_e4=52_200_000,
        level_ns=now_ns,
        mean=5220.0,
        sigma=8.0,
        probabilities=(0.9, 0.5, 0.1),
    )


def heartbeat(service, now_ns=NOW, state="READY") -> Heartbeat:
    return Heartbeat(
        **envelope(f"beat-{service}-{now_ns}", now_ns),
        service=service,
        instance=f"{service}-1",
        state=state,
        since_ns=0,
        loop_lag_ns=0,
    )


def clock_sample(now_ns=NOW, skew_ns=0, reference="exchange") -> ClockSample:
    return ClockSample(
        **envelope(f"clock-{reference}-{now_ns}", now_ns),
        reference=reference,
        skew_ns=skew_ns,
        uncertainty_ns=0,
    )


def exchange_status(now_ns=NOW, exchange=True, trading=True) -> ExchangeStatus:
    return ExchangeStatus(
        **envelope(f"exchange-{now_ns}", now_ns),
        exchange_active=exchange,
        trading_active=trading,
    )


def order(
    state, *, ticker=TICKERS[1], side="bid", price_e4=4000, count_e2=100, filled=0, client="c1"
):
    return OrderUpdate(
        **of_event(f"order-{client}-{state}-{filled}", NOW),
        client_order_id=client,
        order_id=f"o-{client}",
        ticker=ticker,
        side=side,
        price_e4=price_e4,
        count_e2=count_e2,
        filled_count_e2=filled,
        remaining_count_e2=count_e2 - filled,
        previous_state="submitted",
        state=state,
        trigger="t",
        reason="",
        exchange_ns=NOW,
    )


def fill(
    count_e2, *, ticker=TICKERS[1], side="bid", price_e4=4000, trade="t1", client="c1"
) -> Fill:
    return Fill(
        **of_event(f"fill-{trade}", NOW),
        trade_id=trade,
        order_id=f"o-{client}",
        client_order_id=client,
        ticker=ticker,
        side=side,
        price_e4=price_e4,
        count_e2=count_e2,
        is_taker=False,
        fee_e6=0,
        exchange_ns=NOW,
    )


def monitor(name="freshness", state="OK", now_ns=NOW, scope="all", alerted_ns=0) -> MonitorResult:
    return MonitorResult(
        **envelope(f"monitor-{name}-{now_ns}-{state}", now_ns),
        monitor=name,
        scope=scope,
        state=state,
        value=0.0,
        threshold=1.0,
        since_ns=now_ns,
        evidence="",
        alerted_ns=alerted_ns,
    )


def ledger(now_ns=NOW) -> LedgerStatus:
    return LedgerStatus(**envelope(f"ledger-{now_ns}", now_ns), watermarks={}, rows=1)


def fee_rules(now_ns=NOW, facts_hash=ACKNOWLEDGED) -> FeeRules:
    return FeeRules(
        **envelope(f"rules-{now_ns}-{facts_hash}", now_ns),
        series_ticker="KXINXU",
        fee_type="quadratic",
        fee_multiplier=0.5,
        contract_terms_url="about:blank",
        facts_hash=facts_hash,
    )


def readiness(now_ns=NOW, config_hash=HASH, **changes) -> SeriesReadiness:
    fields = envelope(f"readiness-{now_ns}", now_ns) | {
        "series_ticker": "KXINXU",
        "go": True,
        "reasons": (),
        "targets_from_ns": now_ns,
        "targets_until_ns": now_ns + DAY,
        "config_hash": config_hash,
        "expires_ns": now_ns + DAY,
    }
    return SeriesReadiness(**(fields | changes))


METRICS = {
    "crps_advantage": 0.01,
    "brier_advantage": 0.0,
    "non_monotone": 0.0,
    "negative_ev": 0.0,
    "tz": 0.0,
}


def evidence(now_ns=NOW, **changes) -> SettledEvidence:
    fields = envelope(f"evidence-{now_ns}", now_ns) | {
        "series_ticker": "KXINXU",
        "metrics": METRICS,
        "deltas_bps": (1.0,) * 12,
        "bins": (EvBin(lower=0.0, upper=1.0, contracts_e2=5_000, gap_e6=0),),
        "expires_ns": now_ns + DAY,
    }
    return SettledEvidence(**(fields | changes))


def question(**changes) -> Question:
    """Everything in order ten minutes before the target."""
    fields: dict[str, Any] = {
        "now_ns": NOW,
        "family": "INXU",
        "target_ns": TARGET,
        "proposal_ns": NOW,
        "proposal_expires_ns": NOW + 8 * S,
        "standing": False,
        "level_ns": NOW,
        "books_ns": NOW,
        "quoted_tickers": (TICKERS[1],),
        "gap_tickers": (),
        "inactive_tickers": (),
        "markets_count": 3,
        "kill_switch_engaged": False,
        "kill_switch_read_ns": NOW,
        "heartbeats": {str(service): heartbeat(str(service)) for service in SERVICES},
        "clock_samples": {"exchange": clock_sample()},
        "exchange": exchange_status(),
        "series_ticker": "KXINXU",
        "event_ticker": EVENT,
        "calibration_data_end_ns": NOW - DAY,
        "ev_min_e6": 50_000,
        "probabilities": (0.5,),
        "config_hash": HASH,
        "readiness": readiness(),
        "evidence": evidence(),
        "ledger_ns": NOW,
        "monitors_ns": NOW,
        "panic_latched_by": (),
        "panic_alerting": (),
        "day_pnl_e6": 0,
        "week_pnl_e6": 0,
        "fee_rules": fee_rules(),
        "feeds": {},
        "acknowledged_hashes": frozenset(),
    }
    return Question(**(fields | changes))


class Bench:
    """A core that knows everything it needs, so that only what a test changes is amiss."""

    def __init__(self, policy=None, now_ns=NOW, mode="live", operator_key=""):
        self.core = RiskCore(policy or POLICY, mode, operator_key)
        self.sequences: dict[str, int] = {}
        self.send(definition(now_ns))
        self.refresh(now_ns)

    def refresh(self, now_ns):
        for service in SERVICES:
            self.send(heartbeat(str(service), now_ns))
        self.send(clock_sample(now_ns))
        self.send(exchange_status(now_ns))
        self.send(snapshot(now_ns))
        self.send(fair(now_ns))
        self.send(monitor(now_ns=now_ns))
        self.send(ledger(now_ns))
        self.send(fee_rules(now_ns))
        self.send(readiness(now_ns, self.core.policy_hash))
        self.send(evidence(now_ns))
        self.switch(now_ns)

    def switch(self, now_ns, engaged: bool | None = False) -> list[Effect]:
        return self.core.handle(KillSwitchRead(now_ns=now_ns, engaged=engaged))

    def send(self, message: Message, now_ns: int | None = None) -> list[Effect]:
        stream = "STATUS"
        if isinstance(message, OrderIntent | OrderUpdate):
            stream = "ORDERS"
        elif isinstance(message, Fill):
            stream = "FILLS"
        self.sequences[stream] = self.sequences.get(stream, 0) + 1
        return list(
            self.core.handle(
                Received(
                    now_ns=message.ts_pub_ns if now_ns is None else now_ns,
                    message=message,
                    stream=stream,
                    sequence=self.sequences[stream],
                )
            )
        )


def verdicts(effects) -> list[Verdict]:
    return [e.message for e in effects if isinstance(e, Publish) and isinstance(e.message, Verdict)]


def failed(verdict: Verdict) -> list[tuple[str, str]]:
    return [(gate.gate, gate.reason) for gate in verdict.gates if not gate.ok]
