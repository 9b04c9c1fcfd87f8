"""What the screen shows, from messages: marked P&L never flatters, settled means settled."""

from typing import Any

from msgspec.structs import replace
from rich.console import Console

from cli.screen import contracts, dollars, draw, plain_lines, time_left
from cli.session import EventView, SessionView
from libs.common import messages as m
from libs.common.clock import NS_PER_S

TARGET_NS = 1_790_956_800 * NS_PER_S
NOW_NS = TARGET_NS - 300 * NS_PER_S
EVENT, SERIES = "KXINXU-26OCT02H1200", "KXINXU"
LOW, HIGH = f"{EVENT}-T6799.9999", f"{EVENT}-T6809.9999"


def envelope(number: int) -> dict[str, Any]:
    return {
        "id": f"m-{number}",
        "ts_event_ns": NOW_NS,
        "ts_pub_ns": NOW_NS,
        "cause_id": "",
        "correlation_id": "c",
        "source": "test",
        "event_ticker": EVENT,
        "series_ticker": SERIES,
    }


DEFINED = m.LadderDefined(
    **envelope(1),
    ladder_id="ladder",
    family="INXU",
    symbol="I:SPX",
    kind="nested",
    target_ns=TARGET_NS,
    close_ns=TARGET_NS,
    tickers=(LOW, HIGH),
    strike_types=("greater", "greater"),
    floors_e4=(67_999_999, 68_099_999),
    caps_e4=(None, None),
    price_ranges=(m.PriceRange(0, 10_000, 100),),
)
FAIR = m.FairLadder(
    **envelope(2),
    ladder_id="ladder",
    target_ns=TARGET_NS,
    model="runbook",
    calibration_id="c",
    level_e4=68_050_000,
    level_ns=NOW_NS,
    mean=6805.0,
    sigma=5.0,
    probabilities=(0.8, 0.2),
)


def snapshot(*, bid: tuple[int, int], ask: tuple[int, int]) -> m.LadderSnapshot:
    """Quote the low rung; nobody quotes the high one."""
    return m.LadderSnapshot(
        **envelope(3),
        ladder_id="ladder",
        target_ns=TARGET_NS,
        recv_ns=NOW_NS,
        provenance="synthetic",
        bid_price_e4=(bid[0], 0),
        bid_count_e2=(bid[1], 0),
        bid_depth_e2=(bid[1], 0),
        ask_price_e4=(ask[0], 10_000),
        ask_count_e2=(ask[1], 0),
        ask_depth_e2=(ask[1], 0),
    )


def fill(number: int, ticker: str, side: m.Side, price_e4: int, count_e2: int = 100) -> m.Fill:
    return m.Fill(
        **envelope(100 + number),
        trade_id=f"t-{number}",
        order_id=f"o-{number}",
        client_order_id=f"c-{number}",
        ticker=ticker,
        side=side,
        price_e4=price_e4,
        count_e2=count_e2,
        is_taker=False,
        fee_e6=0,
        exchange_ns=NOW_NS,
    )


def settlement(ticker: str, pnl_e6: int) -> m.Settlement:
    return m.Settlement(
        **envelope(200),
        ticker=ticker,
        result="yes",
        level_e4=68_050_000,
        level_ns=TARGET_NS,
        fallback="",
        position_e2=100,
        cost_e6=0,
        fee_e6=0,
        pnl_e6=pnl_e6,
    )


def view_of(*messages: m.Message) -> tuple[SessionView, EventView]:
    view = SessionView()
    for sequence, message in enumerate((DEFINED, FAIR, *messages), 1):
        view.apply(message, "FILLS" if isinstance(message, m.Fill) else "LADDERS", sequence)
    return view, view.events[EVENT]


def test_a_long_position_is_worth_the_bid() -> None:
    view, event = view_of(snapshot(bid=(7_000, 500), ask=(9_000, 500)), fill(1, LOW, "bid", 7_500))
    assert view.marked_pnl_e6(event) == (7_000 - 7_500) * 100  # −$0.05


def test_a_short_position_costs_the_ask() -> None:
    view, event = view_of(snapshot(bid=(7_000, 500), ask=(9_000, 500)), fill(1, LOW, "ask", 8_500))
    assert view.marked_pnl_e6(event) == (8_500 - 9_000) * 100


def test_with_nobody_there_a_position_is_worth_the_worst() -> None:
    quotes = snapshot(bid=(0, 0), ask=(10_000, 0))
    view, event = view_of(quotes, fill(1, LOW, "bid", 7_500), fill(2, HIGH, "ask", 2_000))
    # The long one is worth nothing, the short one costs a dollar: −0.75 + 0.20 − 1.00.
    assert view.marked_pnl_e6(event) == -1_550_000


def test_a_short_position_stays_owed_when_its_rung_is_gone_or_paid() -> None:
    # Sold at $0.85 and owed until our own settlement says what it came to: +0.85 − 1.00.
    view, _ = view_of(snapshot(bid=(7_000, 500), ask=(10_000, 0)), fill(1, LOW, "ask", 8_500))
    paid = m.ExchangeSettlement(
        **envelope(90),
        ticker=LOW,
        result="yes",
        yes_count_e2=0,
        no_count_e2=100,
        revenue_e6=0,
        fee_e6=0,
        settled_ns=TARGET_NS,
    )
    view.apply(paid, "FILLS", 90)
    assert view.marked_pnl_e6(view.events[EVENT]) == -150_000
    columns = ("tickers", "strike_types", "floors_e4", "caps_e4")
    one_rung = {name: getattr(DEFINED, name)[1:] for name in columns}
    view.apply(replace(DEFINED, ladder_id="less", **one_rung), "LADDERS", 91)
    assert view.marked_pnl_e6(view.events[EVENT]) == -150_000


def test_a_fill_that_is_told_twice_counts_once() -> None:
    _, event = view_of(fill(1, LOW, "bid", 7_500), fill(1, LOW, "bid", 7_500))
    assert (event.contracts_e2, event.cash_e6) == (100, -750_000)


def test_nothing_is_settled_before_every_traded_market_is() -> None:
    fills = fill(1, LOW, "bid", 7_500), fill(2, HIGH, "bid", 2_000)
    view, event = view_of(*fills, settlement(LOW, 250_000))
    assert view.settled_pnl_e6(event) is None
    view.apply(settlement(HIGH, -200_000), "STATUS", 99)
    assert view.settled_pnl_e6(event) == 50_000


def test_a_new_definition_keeps_our_money() -> None:
    view, event = view_of(fill(1, LOW, "bid", 7_500))
    changed = m.LadderDefined(
        **{
            **{name: getattr(DEFINED, name) for name in DEFINED.__struct_fields__},
            "ladder_id": "other",
        }
    )
    view.apply(changed, "LADDERS", 99)
    assert view.events[EVENT] is not event
    assert view.events[EVENT].cash_e6 == -750_000


def test_the_screen_and_the_lines_show_the_same_figures() -> None:
    view, _ = view_of(snapshot(bid=(7_000, 500), ask=(9_000, 500)), fill(1, LOW, "bid", 7_500))
    console = Console(width=140)
    with console.capture() as captured:
        console.print(draw(view, NOW_NS, "broker restarted 1×"))
    shown = captured.get()
    line = next(plain_lines(view, NOW_NS))
    for words in ("-$0.05", "T−05:00"):
        assert words in line
        assert words in shown
    assert "broker restarted 1×" in shown


def test_figures_as_people_read_them() -> None:
    assert [dollars(n) for n in (0, -50_000, 1_234_567_890, 17_472, None)] == [
        "$0.00",
        "-$0.05",
        "+$1,234.56789",
        "+$0.017472",
        "–",
    ]
    assert [contracts(n) for n in (100, -250, 1)] == ["1", "-2.50", "0.01"]
    assert time_left(NOW_NS, TARGET_NS) == "T−05:00"
    assert time_left(TARGET_NS + 3 * NS_PER_S, TARGET_NS) == "T+3 s"


def test_a_small_terminal_shows_services_and_all_ladders() -> None:
    view, _ = view_of(snapshot(bid=(7_000, 500), ask=(9_000, 500)), fill(1, LOW, "bid", 7_500))
    other = replace(DEFINED, event_ticker="KXNASDAQ100U-26OCT02H1200", id="m-other")
    view.apply(other, "LADDERS", 50)
    for width, height in ((80, 24), (120, 40), (180, 50)):
        console = Console(width=width, height=height)
        with console.capture() as captured:
            console.print(draw(view, NOW_NS, "", width=width, height=height))
        lines = captured.get().splitlines()
        assert len(lines) < height
        assert max(len(line) for line in lines) <= width
        for words in ("○ reporting", EVENT, "KXNASDAQ100U-26OCT02H1200"):
            assert words in captured.get()


def test_the_ladder_is_shown_next_to_the_level() -> None:
    tickers = tuple(f"{EVENT}-T{6500 + 10 * place}" for place in range(60))
    floors_e4 = tuple(65_000_000 + 100_000 * place for place in range(60))
    view, _ = view_of()
    columns = {"tickers": tickers, "floors_e4": floors_e4, "caps_e4": (None,) * 60}
    wide = replace(DEFINED, ladder_id="wide", strike_types=("greater",) * 60, **columns)
    view.apply(wide, "LADDERS", 50)
    # All is decided: every rung's fair value is as far from a half as every other's.
    decided = tuple(1.0 if floor_e4 < 68_050_000 else 0.0 for floor_e4 in floors_e4)
    view.apply(replace(FAIR, probabilities=decided), "LADDERS", 51)
    tick = m.IndexTick(
        **{k: v for k, v in envelope(60).items() if k not in ("event_ticker", "series_ticker")},
        symbol="I:SPX",
        level_e4=68_050_000,
        bar_start_ns=NOW_NS - NS_PER_S,
        bar_end_ns=NOW_NS,
        recv_ns=NOW_NS,
        provenance="synthetic",
    )
    view.apply(tick, "TICKS", 52)
    console = Console(width=80)
    with console.capture() as captured:
        console.print(draw(view, NOW_NS, "", width=80, height=24))
    assert "> 6,800" in captured.get()
    assert "> 6,500" not in captured.get()
