"""One instance of every message, with every field set to something that can be told apart.

`golden/<tag>.json` holds their wire bytes as they were when the version was made. A golden file
is never changed: what no longer fits it is a new version with a new tag.
"""

from typing import Any

from libs.common import messages as m

NOON = 1_722_873_600_000_000_000  # 2024-08-05 12:00 in New York
EVENT = "KXINXU-24AUG05H1200"
SERIES = "KXINXU"
LOW, HIGH = f"{EVENT}-T5209.9999", f"{EVENT}-T5219.9999"


def envelope(source: str) -> dict[str, Any]:
    return {
        "id": "0123456789abcdef0123456789",
        "ts_event_ns": NOON - 900_000_000_000,
        "ts_pub_ns": NOON - 899_999_999_999,
        "cause_id": "abcdefabcdefabcdefabcdefab",
        "correlation_id": "99999999999999999999999999",
        "source": source,
    }


EVENT_FIELDS: dict[str, Any] = {"event_ticker": EVENT, "series_ticker": SERIES}
MARKET_FIELDS: dict[str, Any] = {**EVENT_FIELDS, "ticker": HIGH}

SAMPLES: tuple[m.Message, ...] = (
    m.IndexTick(
        **envelope("feeds"),
        symbol="I:SPX",
        level_e4=52_184_300,
        bar_start_ns=NOON - 901_000_000_000,
        bar_end_ns=NOON - 900_000_000_000,
        recv_ns=NOON - 899_950_000_000,
        provenance="live",
    ),
    m.ClockSample(
        **envelope("feeds"), reference="exchange", skew_ns=-12_345_678, uncertainty_ns=501_000_000
    ),
    m.LadderDefined(
        **envelope("feeds"),
        ladder_id="ladder-1",
        **EVENT_FIELDS,
        family="INXU",
        symbol="I:SPX",
        kind="nested",
        target_ns=NOON,
        close_ns=NOON - 1,
        tickers=(LOW, HIGH),
        strike_types=("greater", "greater"),
        floors_e4=(52_099_999, 52_199_999),
        caps_e4=(None, 53_000_000),
        price_ranges=(m.PriceRange(0, 1_000, 10), m.PriceRange(1_000, 10_000, 100)),
    ),
    m.LadderSnapshot(
        **envelope("feeds"),
        ladder_id="ladder-1",
        **EVENT_FIELDS,
        target_ns=NOON,
        recv_ns=NOON - 900_000_000_001,
        provenance="replay",
        bid_price_e4=(6_100, 0),
        bid_count_e2=(2_500, 0),
        bid_depth_e2=(9_900, 0),
        ask_price_e4=(6_400, 10_000),
        ask_count_e2=(100, 0),
        ask_depth_e2=(1_750, 0),
        stale=(1,),
    ),
    m.FairLadder(
        **envelope("pricer"),
        ladder_id="ladder-1",
        **EVENT_FIELDS,
        target_ns=NOON,
        model="index_hourly",
        calibration_id="cal-1",
        level_e4=52_184_300,
        level_ns=NOON - 900_000_000_000,
        mean=5218.43,
        sigma=9.015,
        probabilities=(0.8125, 0.4375),
    ),
    m.Proposal(
        **envelope("pricer"),
        **EVENT_FIELDS,
        family="INXU",
        target_ns=NOON,
        expires_at_ns=NOON - 2_000_000_000,
        quotes=(
            m.Quote(
                ticker=HIGH,
                side="bid",
                price_e4=4_100,
                count_e2=1_000,
                probability=0.4375,
                ev_per_contract_e6=27_500,
                fill_probability=0.3,
                slippage_e6=1_250,
            ),
        ),
        reasons=("jump_fade",),
        ladder_id="ladder-1",
        level_ns=NOON - 900_000_000_000,
        books_ns=NOON - 900_000_000_001,
        calibration_id="cal-1",
        calibration_fitted_ns=NOON - 86_400_000_000_000,
        provenance="synthetic",
    ),
    m.Verdict(
        **envelope("risk"),
        decision="GO",
        proposal_id="proposal-1",
        **EVENT_FIELDS,
        family="INXU",
        target_ns=NOON,
        expires_at_ns=NOON - 2_000_000_000,
        quotes=(
            m.SizedQuote(
                ticker=HIGH,
                side="ask",
                price_e4=4_700,
                count_e2=100,
                asked_count_e2=1_000,
                limited_by="pilot",
                probability=0.4375,
                ev_per_contract_e6=32_500,
                position_e2=-200,
            ),
        ),
        gates=(
            m.GateResult(
                gate="window",
                ok=True,
                reason="",
                measured=900.0,
                limit=2.0,
                unit="s",
                detail="noon window",
            ),
        ),
        provenance="live",
        config_hash="0011223344556677",
    ),
    m.BrokerEpoch(**envelope("broker"), epoch=3, broker="broker-1", account="account-1"),
    m.OrderIntent(
        **envelope("broker"),
        action="place",
        client_order_id="client-1",
        order_id="",
        **MARKET_FIELDS,
        side="bid",
        price_e4=4_100,
        count_e2=100,
        expiration_ns=NOON - 2_000_000_000,
        verdict_id="verdict-1",
        epoch=3,
        reason="verdict",
        order_group_id="group-1",
    ),
    m.OrderUpdate(
        **envelope("broker"),
        client_order_id="client-1",
        order_id="order-1",
        **MARKET_FIELDS,
        side="bid",
        price_e4=4_100,
        count_e2=100,
        filled_count_e2=25,
        remaining_count_e2=75,
        previous_state="resting",
        state="partially_filled",
        trigger="fill",
        reason="Trade",
        exchange_ns=NOON - 600_000_000_000,
    ),
    m.Fill(
        **envelope("broker"),
        trade_id="trade-1",
        order_id="order-1",
        client_order_id="client-1",
        **MARKET_FIELDS,
        side="bid",
        price_e4=4_100,
        count_e2=25,
        is_taker=False,
        fee_e6=-17,
        exchange_ns=NOON - 600_000_000_000,
    ),
    m.ExchangeSettlement(
        **envelope("broker"),
        **MARKET_FIELDS,
        result="scalar",
        yes_count_e2=25,
        no_count_e2=50,
        revenue_e6=250_000,
        fee_e6=4_375,
        settled_ns=NOON + 5_000_000_000,
    ),
    m.Settlement(
        **envelope("reporting"),
        **MARKET_FIELDS,
        result="yes",
        level_e4=52_211_100,
        level_ns=NOON - 60_000_000_000,
        fallback="on_before",
        position_e2=-25,
        cost_e6=-102_500,
        fee_e6=0,
        pnl_e6=-147_500,
    ),
    m.Heartbeat(
        **envelope("risk"),
        service="risk",
        instance="risk-77",
        state="READY",
        since_ns=NOON - 950_000_000_000,
        loop_lag_ns=1_234,
        detail="2 events",
    ),
    m.FeedStatus(
        **envelope("feeds"),
        feed="kalshi.ladders",
        ok=False,
        newest_ns=NOON - 910_000_000_000,
        detail="connection lost",
        failures=2,
    ),
    m.ExchangeStatus(
        **envelope("feeds"), exchange_active=True, trading_active=False, detail="maintenance"
    ),
    m.MonitorResult(
        **envelope("monitors"),
        monitor="freshness",
        scope="all",
        state="NO_DATA",
        value=None,
        threshold=2.0,
        since_ns=NOON - 930_000_000_000,
        evidence="not heard of yet: clock",
    ),
    m.Reconciliation(
        **envelope("broker"),
        differences=(
            "position KXINXU-24AUG05H1200-T5219.9999: exchange 300, fills 200 (count_e2)",
        ),
        difference_count=1,
        balance_e6=1_000_000_000,
    ),
    m.LedgerStatus(**envelope("reporting"), watermarks={"FILLS": 7, "ORDERS": 12}, rows=4_321),
    m.DeadLetter(
        **envelope("broker"),
        stream="VERDICTS",
        subject="verdicts.KXINXU.KXINXU-24AUG05H1200",
        sequence=99,
        reason="undecodable: truncated",
        payload='{"type":',
        size_bytes=8,
    ),
)
KILL_SWITCH = m.KillSwitch(engaged=True, reason="drill", by="operator", at_ns=NOON)
