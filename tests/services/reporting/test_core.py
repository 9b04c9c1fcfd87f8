"""Settlement: which level, which side pays, when it is final, what a restart repeats."""

from typing import Any

import pytest

from libs.common import messages as m
from libs.common.effects import Effect, Publish, Received, SetTimer, TimerFired
from services.reporting.core import NO_LEVEL, ReportingCore, SettlementPolicy
from services.reporting.events import Inserted, Recovered
from tests.services.reporting.making import (
    EVENT,
    RUNGS,
    TARGET_NS,
    S,
    fill,
    intent,
    ladder,
    paid,
    tick,
)

ONE = intent("c1", 0, "bid", 4_500, 100, "v1")
TWO = intent("c2", 1, "ask", 3_000, 200, "v1")


class Session:
    """A core and the sequences that it has been told."""

    def __init__(self, *, recovered: bool = True) -> None:
        self.core = ReportingCore("reporting", SettlementPolicy(grace_s=30, level_age_max_s=300))
        self.sequences: dict[str, int] = {}
        if recovered:
            self.core.handle(Recovered(now_ns=TARGET_NS - 900 * S))

    def tell(self, *messages: m.Message, now_ns: int) -> list[Effect]:
        """Return the effects of one durable batch."""
        effects: list[Effect] = []
        for message in messages:
            stream = type(message).__name__
            self.sequences[stream] = self.sequences.get(stream, 0) + 1
            effects += self.core.handle(
                Received(
                    now_ns=now_ns, message=message, stream=stream, sequence=self.sequences[stream]
                )
            )
        return effects + self.core.handle(
            Inserted(now_ns=now_ns, watermarks=dict(self.sequences), rows=1, news=1)
        )


def settled(effects: list[Effect]) -> dict[str, m.Settlement]:
    published = [effect.message for effect in effects if isinstance(effect, Publish)]
    return {each.ticker: each for each in published if isinstance(each, m.Settlement)}


def test_a_bid_that_settles_yes_gains_a_dollar_less_its_price() -> None:
    session = Session()
    session.tell(ladder(), ONE, fill(ONE, "t1", 100), now_ns=TARGET_NS - 300 * S)
    effects = session.tell(tick(TARGET_NS, 51_500_000), now_ns=TARGET_NS + S)
    made = settled(effects)[RUNGS[0]]
    assert (made.result, made.fallback, made.level_ns) == ("yes", "", TARGET_NS)
    assert (made.position_e2, made.cost_e6, made.fee_e6) == (100, 450_000, 0)
    assert made.pnl_e6 == 550_000  # 1.00 - 0.45


@pytest.mark.parametrize(("level_e4", "pnl_e6"), [(51_599_900, 596_325), (51_600_000, -1_403_675)])
def test_an_ask_keeps_its_price_or_pays_the_dollar(level_e4: int, pnl_e6: int) -> None:
    # Sold 2.00 at .30 for +0.60, fee .003675; yes costs 2.00: 0.60 - 2.00 - .003675.
    session = Session()
    sold = fill(TWO, "t1", 200, fee_e6=3_675)
    session.tell(ladder(), TWO, sold, now_ns=TARGET_NS - 300 * S)
    made = settled(session.tell(tick(TARGET_NS, level_e4), now_ns=TARGET_NS + S))[RUNGS[1]]
    assert made.pnl_e6 == pnl_e6
    assert made.position_e2 == -200


def test_on_before_golden_case() -> None:
    # domain.md §8: bars ending 11:58 = 4989, 11:59 = 4991, 12:01 = 4995 settle at 4991.
    session = Session()
    session.tell(ladder(), ONE, now_ns=TARGET_NS - 300 * S)
    bars = [(-120, 49_890_000), (-60, 49_910_000), (60, 49_950_000)]
    ticks = [tick(TARGET_NS + at * S, level, long_ns=60 * S) for at, level in bars]
    made = settled(session.tell(*ticks, now_ns=TARGET_NS + 61 * S))[RUNGS[0]]
    assert (made.level_e4, made.fallback) == (49_910_000, "on_before")
    assert made.level_ns == TARGET_NS - 60 * S


FLOOR_E4, CAP_E4 = 51_500_000, 51_600_000  # 5150.00 and 5160.00, on the grid of 0.01


@pytest.mark.parametrize(
    ("strike_type", "level_e4", "result"),
    [
        ("greater", 51_500_000, "no"),  # strictly above the floor
        ("greater", 51_500_100, "yes"),
        ("greater", 51_500_049, "no"),  # reported as 5150.00
        ("greater", 51_500_050, "yes"),  # reported as 5150.01
        ("greater_or_equal", 51_500_000, "yes"),
        ("greater_or_equal", 51_499_900, "no"),
        ("less", 51_600_000, "no"),  # strictly below the cap
        ("less", 51_599_900, "yes"),
        ("less_or_equal", 51_600_000, "yes"),
        ("less_or_equal", 51_600_100, "no"),
        ("between", 51_500_000, "yes"),  # both ends pay
        ("between", 51_600_000, "yes"),
        ("between", 51_499_900, "no"),
        ("between", 51_600_100, "no"),
    ],
)
def test_result_by_strike_type(strike_type: str, level_e4: int, result: str) -> None:
    session = Session()
    floor_e4 = None if strike_type.startswith("less") else FLOOR_E4
    cap_e4 = None if strike_type.startswith("greater") else CAP_E4
    session.tell(ladder(strike_type, floor_e4, cap_e4), ONE, now_ns=TARGET_NS - 300 * S)
    made = settled(session.tell(tick(TARGET_NS, level_e4), now_ns=TARGET_NS + S))
    assert made[RUNGS[0]].result == result


def test_nothing_settles_before_a_print_at_or_past_the_target() -> None:
    session = Session()
    session.tell(ladder(), ONE, fill(ONE, "t1", 100), now_ns=TARGET_NS - 300 * S)
    early = session.tell(tick(TARGET_NS - S, 51_500_000), now_ns=TARGET_NS + 5 * S)
    assert settled(early) == {}
    assert session.core.unsettled == {EVENT: "waits_for_print"}
    made = settled(session.tell(tick(TARGET_NS + S, 51_400_000), now_ns=TARGET_NS + 6 * S))
    assert (made[RUNGS[0]].level_e4, made[RUNGS[0]].fallback) == (51_500_000, "on_before")
    assert session.core.unsettled == {}


def test_grace_ends_the_wait() -> None:
    session = Session()
    effects = session.tell(ladder(), ONE, now_ns=TARGET_NS - 300 * S)
    timers = [effect for effect in effects if isinstance(effect, SetTimer)]
    assert [timer.at_ns for timer in timers] == [TARGET_NS + 30 * S]
    session.tell(tick(TARGET_NS - 2 * S, 51_500_000), now_ns=TARGET_NS - S)
    fired = TimerFired(now_ns=timers[0].at_ns, key=timers[0].key, at_ns=timers[0].at_ns)
    made = settled(session.core.handle(fired))
    assert made[RUNGS[0]].level_ns == TARGET_NS - 2 * S


def test_an_old_level_settles_nothing() -> None:
    session = Session()
    session.tell(ladder(), ONE, tick(TARGET_NS - 301 * S, 51_500_000), now_ns=TARGET_NS - 300 * S)
    late = session.tell(tick(TARGET_NS + 60 * S, 51_500_000), now_ns=TARGET_NS + 61 * S)
    assert settled(late) == {}
    assert session.core.unsettled == {EVENT: NO_LEVEL}


def test_a_late_fill_and_a_finer_print_correct_the_settlement() -> None:
    session = Session()
    session.tell(ladder(), ONE, now_ns=TARGET_NS - 300 * S)
    session.tell(tick(TARGET_NS - S, 51_400_000), now_ns=TARGET_NS)
    first = settled(session.tell(tick(TARGET_NS + S, 51_400_000), now_ns=TARGET_NS + 2 * S))
    assert (first[RUNGS[0]].result, first[RUNGS[0]].pnl_e6) == ("no", 0)
    second = settled(session.tell(fill(ONE, "t1", 100), now_ns=TARGET_NS + 3 * S))
    assert (second[RUNGS[0]].result, second[RUNGS[0]].pnl_e6) == ("no", -450_000)
    third = settled(session.tell(tick(TARGET_NS, 51_500_000), now_ns=TARGET_NS + 4 * S))
    assert (third[RUNGS[0]].result, third[RUNGS[0]].fallback) == ("yes", "")
    assert third[RUNGS[0]].pnl_e6 == 550_000
    assert len({first[RUNGS[0]].id, second[RUNGS[0]].id, third[RUNGS[0]].id}) == 3


def test_the_finer_of_two_bars_that_end_at_the_target_is_used() -> None:
    session = Session()
    session.tell(ladder(), ONE, now_ns=TARGET_NS - 300 * S)
    minute = tick(TARGET_NS, 51_000_000, long_ns=60 * S)
    made = settled(session.tell(minute, tick(TARGET_NS, 52_000_000), now_ns=TARGET_NS + S))
    assert made[RUNGS[0]].level_e4 == 52_000_000


def test_repeats_change_nothing() -> None:
    session = Session()
    once = fill(ONE, "t1", 100)
    session.tell(ladder(), ONE, once, now_ns=TARGET_NS - 300 * S)
    session.tell(once, now_ns=TARGET_NS - 299 * S)
    made = settled(session.tell(tick(TARGET_NS, 51_500_000), now_ns=TARGET_NS + S))
    assert made[RUNGS[0]].position_e2 == 100
    assert settled(session.tell(tick(TARGET_NS, 51_500_000), now_ns=TARGET_NS + 2 * S)) == {}


def history() -> list[m.Message]:
    return [ladder(), ONE, fill(ONE, "t1", 100), tick(TARGET_NS, 51_500_000)]


def test_recovery_publishes_nothing_and_then_only_what_is_missing() -> None:
    session = Session(recovered=False)
    now_ns = TARGET_NS + 3_600 * S
    assert session.tell(*history(), now_ns=now_ns) == []
    made = settled(list(session.core.handle(Recovered(now_ns=now_ns))))
    assert made[RUNGS[0]].pnl_e6 == 550_000

    again = Session(recovered=False)
    again.tell(*history(), made[RUNGS[0]], now_ns=now_ns)
    assert settled(list(again.core.handle(Recovered(now_ns=now_ns)))) == {}


def test_settlement_ids_do_not_depend_on_when_or_why() -> None:
    live = Session()
    live.tell(*history()[:-1], now_ns=TARGET_NS - 300 * S)
    first = settled(live.tell(history()[-1], now_ns=TARGET_NS + S))
    restarted = Session(recovered=False)
    restarted.tell(*history(), now_ns=TARGET_NS + 900 * S)
    second = settled(list(restarted.core.handle(Recovered(now_ns=TARGET_NS + 900 * S))))
    assert first[RUNGS[0]].id == second[RUNGS[0]].id


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        (("yes", 100, 0, 1_000_000), ""),
        (("no", 100, 0, 0), "result: ours yes, exchange no; revenue: ours 1.000000"),
        (("yes", 200, 0, 2_000_000), "position: ours 1.00, exchange 2.00"),
        (("yes", 100, 0, 999_999), "revenue: ours 1.000000, exchange 0.999999"),
    ],
)
def test_differences_from_the_exchange_are_named(theirs: Any, words: str) -> None:
    session = Session()
    session.tell(ladder(), ONE, fill(ONE, "t1", 100), now_ns=TARGET_NS - 300 * S)
    session.tell(tick(TARGET_NS, 51_500_000), paid(0, *theirs), now_ns=TARGET_NS + 90 * S)
    found = session.core.differences()
    if words:
        assert words in found[RUNGS[0]]
    else:
        assert found == {}


def test_ledger_status_at_most_once_a_second_and_only_for_news() -> None:
    session = Session()

    def statuses(now_ns: int, news: int) -> int:
        event = Inserted(now_ns=now_ns, watermarks={"TICKS": 1}, rows=1, news=news)
        return len(session.core.handle(event))

    now_ns = TARGET_NS
    assert statuses(now_ns, 1) == 1
    assert statuses(now_ns + S // 2, 1) == 0
    assert statuses(now_ns + S, 1) == 1
    assert statuses(now_ns + 3 * S, 0) == 0
