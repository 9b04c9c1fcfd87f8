import msgspec
import pytest

from libs.common.effects import Publish, Received
from libs.common.messages import GateResult, OrderIntent, OrderUpdate
from services.broker import events as e
from services.broker.policy import Policy
from tests.services.broker.rig import EVENT, TARGET_NS, A, B, Rig, S, quote, verdict

GO = (quote(A, "bid", 4_500, 500), quote(B, "ask", 6_000, 300))
RESTING = {(A, "bid"): (4_500, 500), (B, "ask"): (6_000, 300)}


@pytest.fixture
def rig():
    return Rig()


def quoting():
    """Return a rig whose two quotes rest."""
    rig = Rig()
    rig.verdict(*GO)
    rig.answer_all()
    assert rig.resting() == RESTING
    return rig


def kinds(effects):
    return [type(effect).__name__ for effect in effects if not isinstance(effect, e.Alert)]


class TestPlacing:
    def test_an_intent_comes_before_each_write(self, rig):
        effects = rig.verdict(*GO)
        assert kinds(effects)[:4] == ["Publish", "SubmitOrder", "Publish", "SubmitOrder"]
        published = [one for one in effects if isinstance(one, Publish)]
        assert all(one.fenced and isinstance(one.message, OrderIntent) for one in published)

    def test_it_expires_at_the_exchange_two_seconds_before_the_target(self, rig):
        rig.verdict(*GO)
        assert {write.expiration_ns for write in rig.writes} == {TARGET_NS - 2 * S}

    def test_the_life_of_an_order_is_published(self, rig):
        rig.verdict(GO[0])
        rig.answer_all()
        rig.fill("X1", 200)
        rig.fill("X1", 300)
        updates = [one for one in rig.log if isinstance(one, OrderUpdate)]
        assert [(one.previous_state, one.state, one.filled_count_e2) for one in updates] == [
            ("submitted", "resting", 0),
            ("resting", "partially_filled", 200),
            ("partially_filled", "filled", 500),
        ]

    def test_the_same_verdict_again_changes_nothing(self):
        rig = quoting()
        assert rig.deliver_verdict(rig.last_verdict) == []
        assert rig.writes == []

    def test_an_older_verdict_is_ignored(self):
        rig = quoting()
        old = rig.last_verdict
        rig.advance(2)
        rig.verdict()
        rig.answer_all()
        assert rig.resting() == {}
        rig.deliver_verdict(old)
        assert rig.writes == []

    def test_a_no_go_is_obeyed_though_its_clock_is_behind(self):
        """Two clocks, or one that was set back on the way: stopping needs no proof of time."""
        rig = quoting()
        no = GateResult(gate="window", ok=False)
        late = verdict(99, rig.now_ns - 60 * S, (), decision="NO-GO", gates=(no,))
        received = Received(now_ns=rig.now_ns, message=late, stream="VERDICTS", sequence=2)
        rig.send(received)
        rig.answer_all()
        assert rig.resting() == {}
        rig.send(received)
        assert rig.writes == []

    def test_client_order_ids_are_the_same_after_a_replay_and_never_repeat(self):
        first, second = quoting(), quoting()
        assert first.exchange.placed_ids == second.exchange.placed_ids
        first.advance(2)
        first.verdict(quote(A, "bid", 4_700, 500))
        first.settle_down(5)
        placed = first.exchange.placed_ids
        assert len(placed) == len(set(placed)) == 3

    @pytest.mark.parametrize("code", ["invalid_order", "insufficient_balance", "invalid_price"])
    def test_a_refused_quote_waits_for_the_next_verdict(self, rig, code):
        rig.verdict(GO[0])
        submit = rig.writes.pop()
        rig.send(e.WriteStarted(now_ns=rig.now_ns, client_order_id=submit.client_order_id))
        rig.send(
            e.OrderAnswer(
                now_ns=rig.now_ns,
                call="place",
                client_order_id=submit.client_order_id,
                outcome="refused",
                code=code,
            )
        )
        assert set(rig.states().values()) == {"rejected"}
        rig.advance(10)
        assert rig.writes == []
        rig.verdict(GO[0])
        assert len(rig.writes) == 1

    def test_what_was_not_sent_is_tried_again_but_not_for_ever(self, rig):
        rig.verdict(GO[0])
        tried = set()
        for _ in range(10):
            for write in rig.writes:
                tried.add(write.client_order_id)
            if rig.writes:
                rig.answer("not_sent")
            rig.advance(0.6)
        assert len(tried) == Policy().tries_per_quote

    def test_nothing_is_placed_that_could_not_rest_a_second(self, rig):
        rig.advance((TARGET_NS - rig.now_ns) / S - 2.5)
        rig.verdict(*GO)
        assert rig.writes == []


class TestRequoting:
    def amended(self, *quotes):
        rig = quoting()
        rig.advance(2)
        rig.verdict(*quotes)
        return rig

    def test_a_smaller_size_is_an_amend(self):
        rig = self.amended(quote(A, "bid", 4_500, 200), GO[1])
        assert kinds(rig.writes) == ["AmendOrder"]
        rig.answer_all()
        assert rig.resting() == RESTING | {(A, "bid"): (4_500, 200)}

    def test_a_price_away_from_the_market_is_an_amend(self):
        rig = self.amended(quote(A, "bid", 4_300, 500), quote(B, "ask", 6_200, 300))
        assert kinds(rig.writes) == ["AmendOrder", "AmendOrder"]
        rig.answer_all()
        assert rig.resting() == {(A, "bid"): (4_300, 500), (B, "ask"): (6_200, 300)}

    def test_a_price_towards_the_market_is_never_amended_since_an_amend_can_take(self):
        rig = self.amended(quote(A, "bid", 4_600, 500), quote(B, "ask", 5_900, 300))
        assert kinds(rig.writes) == ["CancelOrders"]
        rig.answer_all()
        assert rig.resting() == {(A, "bid"): (4_600, 500), (B, "ask"): (5_900, 300)}

    def test_a_refused_amend_ends_in_a_cancel_and_a_new_order(self):
        rig = self.amended(quote(A, "bid", 4_300, 500), GO[1])
        amend = rig.writes.pop()
        rig.send(
            e.OrderAnswer(
                now_ns=rig.now_ns,
                call="amend",
                client_order_id=amend.client_order_id,
                outcome="refused",
                code="invalid_price",
            )
        )
        assert kinds(rig.writes) == ["CancelOrders"]
        rig.answer_all()
        assert rig.resting() == RESTING | {(A, "bid"): (4_300, 500)}

    def test_a_changed_mind_waits_for_the_write_in_flight(self):
        rig = self.amended(quote(A, "bid", 4_300, 500), GO[1])
        rig.advance(1)
        rig.verdict(quote(A, "bid", 4_200, 500), GO[1])
        assert len(rig.writes) == 1
        rig.answer_all()
        assert rig.resting() == RESTING | {(A, "bid"): (4_200, 500)}

    def test_what_is_not_wanted_any_more_is_cancelled(self):
        rig = self.amended(GO[1])
        rig.answer_all()
        assert rig.resting() == {(B, "ask"): (6_000, 300)}

    def test_own_orders_never_meet(self):
        rig = self.amended(quote(A, "ask", 4_400, 500))
        rig.answer_all()
        assert rig.resting() == {(A, "ask"): (4_400, 500)}
        cancel = [one for one in rig.log if isinstance(one, OrderIntent)][2]
        assert cancel.action == "cancel"


class TestFills:
    def test_a_filled_quote_is_not_placed_again_by_its_verdict(self):
        rig = quoting()
        rig.fill("X1", 500)
        rig.advance(30)
        assert rig.writes == []
        assert rig.resting() == {(B, "ask"): (6_000, 300)}

    def test_news_after_the_clock_was_set_back_is_not_from_the_future(self):
        rig = quoting()
        rig.now_ns -= 300 * S
        before = len(rig.log)
        rig.fill("X1", 200)
        assert {message.ts_pub_ns for message in rig.log[before:]} == {rig.now_ns}

    def test_a_partly_filled_quote_keeps_its_rest(self):
        rig = quoting()
        rig.fill("X1", 200)
        rig.advance(5)
        assert rig.writes == []

    def test_a_verdict_too_fresh_to_know_a_fill_does_not_double_it(self):
        rig = quoting()
        rig.fill("X1", 500)
        rig.advance(0.5)
        rig.verdict(*GO)
        assert rig.writes == []

    def test_a_verdict_that_knows_the_fill_allows_anew(self):
        rig = quoting()
        rig.fill("X1", 200)
        rig.advance(2)
        rig.verdict(*GO)
        rig.answer_all()
        assert rig.resting() == RESTING
        assert rig.exchange.orders["X1"].total_e2 == 700

    def test_a_fill_that_the_answer_overtakes_is_booked_once(self, rig):
        rig.verdict(GO[0])
        submit = rig.writes[0]
        rig.answer()
        trade = rig.fill("X1", 100)
        for _ in range(3):
            rig.tell(trade, by_socket=False)
        assert [(one.count_e2, one.client_order_id) for one in rig.fills()] == [
            (100, submit.client_order_id)
        ]

    def test_a_fill_before_its_order_is_known_waits_for_it(self, rig):
        rig.verdict(GO[0])
        rig.answer("lost")
        rig.tell(rig.exchange.fill("X1", 100), by_socket=False)
        assert rig.fills() == []
        rig.settle_down(5)
        assert [one.client_order_id for one in rig.fills()] == rig.exchange.placed_ids

    def test_a_fill_of_nobody_is_booked_all_the_same(self, rig):
        rig.exchange.place("stranger", A, "bid", 4_000, 100, TARGET_NS)
        rig.tell(rig.exchange.fill("X1", 100))
        rig.settle_down(10)
        assert [one.count_e2 for one in rig.fills()] == [100]
        assert "foreign_fill" in rig.alerts


class TestStops:
    def test_everything_goes_two_seconds_before_the_target(self):
        rig = quoting()
        rig.exchange.expires = False  # as if the exchange's belt failed
        while rig.now_ns < TARGET_NS - 3 * S:  # verdicts keep coming
            rig.advance(min(20, (TARGET_NS - rig.now_ns) / S - 3))
            rig.verdict(*GO)
            rig.answer_all()
        assert rig.resting() == RESTING
        rig.advance((TARGET_NS - rig.now_ns) / S - 2)
        rig.answer_all()
        assert rig.resting() == {}

    def test_a_clock_that_was_set_back_voids_what_it_allowed(self):
        """Else the verdict would stand until the clock has come to its end once more."""
        rig = quoting()
        rig.now_ns -= 300 * S
        rig.send(e.PositionsRead(now_ns=rig.now_ns, started_ns=rig.now_ns, positions=()))
        rig.answer_all()
        assert rig.resting() == {}
        assert "clock_set_back" in rig.alerts

    def test_an_expired_verdict_cancels(self):
        rig = quoting()
        rig.advance(60)
        assert kinds(rig.writes) == ["CancelOrders"]
        rig.answer_all()
        assert rig.resting() == {}

    def test_a_no_go_cancels(self):
        rig = quoting()
        rig.advance(1)
        rig.verdict(decision="NO-GO", gates=(GateResult(gate="window", ok=False),))
        rig.answer_all()
        assert rig.resting() == {}

    def test_an_operator_cancels_until_the_next_verdict(self):
        rig = quoting()
        rig.send(e.CancelAllAsked(now_ns=rig.now_ns, event_ticker=EVENT, reason="test"))
        rig.answer_all()
        assert rig.resting() == {}
        rig.advance(1)
        assert rig.writes == []
        rig.verdict(*GO)
        rig.answer_all()
        assert rig.resting() == RESTING

    def test_drain_cancels_and_places_nothing_more(self):
        rig = quoting()
        rig.send(e.DrainAsked(now_ns=rig.now_ns, reason="SIGTERM"))
        rig.answer_all()
        assert rig.resting() == {}
        rig.advance(1)
        rig.verdict(*GO)
        assert rig.writes == []

    def engage(self, rig, engaged=True):
        rig.send(e.KillSwitchChanged(now_ns=rig.now_ns, engaged=engaged, reason="r", by="me"))

    def test_the_kill_switch_sweeps_the_account_and_confirms_by_reading(self):
        """reliability.md 9, at the core."""
        rig = quoting()
        rig.exchange.place("stranger", A, "bid", 4_000, 100, TARGET_NS)
        self.engage(rig)
        assert kinds(rig.writes) == ["CancelEverything"]
        assert len(rig.intents("cancel")) == 2
        rig.answer_all()
        assert rig.exchange.resting() == []
        while rig.reads:
            rig.read()
        assert set(rig.states().values()) == {"cancelled"}
        rig.advance(1)
        rig.verdict(*GO)
        assert rig.writes == []
        self.engage(rig, engaged=False)
        assert kinds(rig.writes) == ["SubmitOrder", "SubmitOrder"]

    def test_an_order_on_its_way_when_the_switch_falls_is_cancelled_on_arrival(self, rig):
        rig.verdict(GO[0])
        self.engage(rig)
        rig.answer(index=1)  # the sweep comes first, the order lands after it
        rig.answer()
        assert rig.resting() == {(A, "bid"): (4_500, 500)}
        assert kinds(rig.writes) == ["CancelOrders"]
        rig.answer_all()
        assert rig.resting() == {}

    def test_a_lost_sweep_is_followed_by_single_cancels(self):
        rig = quoting()
        self.engage(rig)
        rig.answer("not_sent")
        rig.settle_down(3)
        assert rig.resting() == {}

    def test_it_starts_engaged(self):
        rig = quoting()
        rig.core.killed = False
        fresh = type(rig.core)(Policy(), live_only=True)
        assert fresh.killed


class TestUnknown:
    """reliability.md 13, at the core: nothing is guessed, nothing is sent twice."""

    @pytest.mark.parametrize("outcome", ["lost", "dropped"])
    def test_no_write_for_a_market_with_an_unknown_order(self, rig, outcome):
        rig.verdict(GO[0])
        rig.answer(outcome)
        assert set(rig.states().values()) == {"unknown"}
        rig.advance(0.5)
        rig.verdict(quote(A, "bid", 4_400, 300), quote(A, "ask", 5_500, 100), GO[1])
        assert [write.ticker for write in rig.writes] == [B]

    def test_an_order_that_landed_is_found(self, rig):
        rig.verdict(GO[0])
        rig.answer("lost")
        rig.settle_down(5)
        assert rig.exchange.placed_ids == [rig.core.state.by_order_id["X1"]]
        assert set(rig.states().values()) == {"resting"}

    def test_an_order_that_never_landed_needs_two_reads_and_time(self, rig):
        rig.verdict(GO[0])
        rig.answer("dropped")
        rig.read()
        assert set(rig.states().values()) == {"unknown"}
        rig.advance(1)
        rig.read()
        assert set(rig.states().values()) == {"unknown"}
        rig.advance(2)
        rig.read()
        assert set(rig.states().values()) == {"rejected"}

    def test_failed_reads_prove_nothing(self, rig):
        rig.verdict(GO[0])
        rig.answer("dropped")
        for _ in range(30):
            rig.advance(1)
            if rig.reads:
                rig.read(complete=False)
        assert set(rig.states().values()) == {"unknown"}

    def test_a_409_says_that_our_own_request_landed(self, rig):
        rig.verdict(GO[0])
        submit = rig.writes.pop()
        rig.perform(submit)
        rig.send(e.WriteStarted(now_ns=rig.now_ns, client_order_id=submit.client_order_id))
        rig.send(
            e.OrderAnswer(
                now_ns=rig.now_ns,
                call="place",
                client_order_id=submit.client_order_id,
                outcome="refused",
                code="order_already_exists",
            )
        )
        assert set(rig.states().values()) == {"unknown"}
        rig.settle_down(5)
        assert set(rig.states().values()) == {"resting"}

    def test_a_404_on_cancel_hides_a_fill(self):
        rig = quoting()
        trade = rig.fill("X1", 500, tell=False)
        rig.advance(2)
        rig.verdict(GO[1])
        rig.answer_all()
        assert rig.states()[trade.client_order_id] == "unknown"
        rig.settle_down(3)
        assert rig.states()[trade.client_order_id] == "filled"
        assert [one.trade_id for one in rig.fills()] == [trade.trade_id]

    def test_a_stale_read_after_a_lost_cancel_is_not_believed(self):
        rig = quoting()
        rig.advance(2)
        rig.verdict(GO[1])
        rig.answer("lost")
        rig.advance(0.2)
        rig.read(age_ns=300_000_000)  # still shows it at rest
        assert "unknown" in rig.states().values()
        assert rig.writes == []
        rig.settle_down(3)
        assert sorted(rig.states().values()) == ["cancelled", "resting"]

    def test_a_lost_amend_is_read_back(self):
        rig = quoting()
        rig.advance(2)
        rig.verdict(quote(A, "bid", 4_300, 200), GO[1])
        rig.answer("lost")
        rig.settle_down(5)
        assert rig.resting() == RESTING | {(A, "bid"): (4_300, 200)}
        assert sorted(rig.states().values()) == ["resting", "resting"]

    def test_an_order_missing_from_the_list_is_looked_up(self):
        rig = quoting()
        rig.advance(5)
        rig.exchange.cancel("X1")  # by someone else, and no frame came
        rig.poll()
        assert "unknown" in rig.states().values()
        rig.read()
        assert sorted(rig.states().values()) == ["cancelled", "resting"]
        rig.advance(1)
        assert rig.writes == [], "what the exchange took away waits for the next verdict"

    def test_an_order_of_a_stranger_is_cancelled(self, rig):
        rig.verdict(GO[0])
        rig.answer_all()
        rig.advance(5)
        rig.exchange.place("stranger", A, "bid", 4_000, 100, TARGET_NS)
        rig.poll()
        assert "foreign_order" in rig.alerts
        rig.answer_all()
        assert rig.resting() == {(A, "bid"): (4_500, 500)}


class TestRefusedVerdicts:
    @pytest.mark.parametrize(
        "changes",
        [
            {"provenance": "synthetic"},
            {"provenance": "replay"},
            {"series_ticker": "KXNASDAQ100U"},
            {"target_ns": TARGET_NS + 3_600 * S},
            {"quotes": (GO[0], quote(A, "bid", 4_400, 100))},
            {"quotes": (quote(A, "bid", 5_000, 100), quote(A, "ask", 5_000, 100))},
            {"quotes": (quote(A, "bid", 0, 100),)},
            {"quotes": (quote(A, "bid", 4_000, 0),)},
            {"quotes": (quote(A, "bid", 4_000, 100_001),)},
            {"quotes": (quote("KXINXU-26OCT30H1200-T6799.9999", "bid", 4_000, 100),)},
        ],
    )
    def test_nothing_rests_under_a_verdict_that_can_not_be_right(self, changes):
        rig = quoting()
        rig.advance(2)
        if "quotes" in changes:
            rig.verdict(*changes["quotes"])
        else:
            rig.verdict(*GO, **changes)
        assert "verdict_refused" in rig.alerts
        if "series_ticker" not in changes:
            rig.answer_all()
        assert kinds(rig.writes) in ([], ["CancelOrders"])
        assert not any(isinstance(write, e.SubmitOrder) for write in rig.writes)

    def test_an_event_of_a_series_that_nobody_knows_is_refused(self):
        rig = Rig()
        event_ticker = "KXNOVEL-26OCT30H1300"
        changes = {"event_ticker": event_ticker, "series_ticker": "KXNOVEL"}
        rig.verdict(quote(f"{event_ticker}-T6799.9999", "bid", 4_000, 100), **changes)
        assert "verdict_refused" in rig.alerts
        assert rig.writes == []

    def test_a_laboratory_takes_synthetic_inputs(self):
        rig = Rig(live_only=False)
        rig.verdict(*GO, provenance="synthetic")
        rig.answer_all()
        assert rig.resting() == RESTING


def empty_read(rig):
    """Return a read of the event's orders, begun now, that shows none."""
    return e.OrdersRead(
        now_ns=rig.now_ns, event_ticker=EVENT, started_ns=rig.now_ns, complete=True, orders=()
    )


class TestAClockThatIsSet:
    def test_a_lost_order_is_resolved_soon_after_the_clock_was_set_back(self):
        rig = Rig()
        rig.now_ns += 300 * S  # ahead of the exchange's
        rig.verdict(*GO)
        for _ in GO:
            rig.answer("dropped")
        rig.now_ns -= 300 * S
        rig.settle_down(20)
        assert set(rig.states().values()) == {"rejected"}

    @pytest.mark.parametrize("by_s", [2, 300])
    def test_a_step_forward_does_not_make_one_moment_into_two(self, by_s):
        """A request is lost and may still land; reads 1.3 and 1.8 s later miss it, and between
        them the clock steps. By the clock they are far apart and late enough.
        """
        rig = Rig()
        rig.verdict(GO[0])
        rig.answer("dropped")
        rig.now_ns += round(1.3 * S)
        rig.send(empty_read(rig))
        rig.now_ns += round(0.5 * S) + by_s * S
        rig.send(e.ClockSet(now_ns=rig.now_ns, by_ns=by_s * S))
        assert "clock_set_forward" in rig.alerts
        rig.send(empty_read(rig))
        assert set(rig.states().values()) == {"unknown"}
        rig.now_ns += 2 * S
        rig.send(empty_read(rig))
        assert set(rig.states().values()) == {"rejected"}

    def test_a_read_under_way_while_the_clock_is_set_back_says_nothing(self):
        rig = quoting()
        rig.send(
            e.OrdersRead(
                now_ns=rig.now_ns - 300 * S,
                event_ticker="",
                started_ns=rig.now_ns,
                complete=True,
                orders=(),
            )
        )
        assert set(rig.states().values()) == {"resting"}


def test_what_another_broker_sent_under_our_id_is_unknown_to_us():
    """We were stopped after an intent; who deposed us sent the same order, and it is filled."""
    rig = Rig()
    rig.verdict(GO[0])
    submit = rig.writes.pop()
    rig.perform(submit)
    rig.fill("X1", 200)
    assert set(rig.states().values()) == {"unknown"}
    (reply,) = rig.replies(submit, None, "not_sent")
    rig.send(reply)
    assert set(rig.states().values()) == {"unknown"}


def test_a_verdict_is_not_filled_twice_by_a_broker_whose_clock_is_behind_risk_s():
    rig = Rig()
    rig.verdict(GO[0], ts_pub_ns=rig.now_ns + 3 * S, expires_at_ns=rig.now_ns + 60 * S)
    rig.answer_all()
    rig.advance(0.5)
    rig.fill("X1", 500)
    rig.answer_all()
    assert rig.resting() == {}


def test_fills_that_risk_had_not_seen_when_it_sized_a_quote_use_it_up():
    """Risk was cut off from FILLS for seconds; its verdict says what it took us to hold."""
    rig = quoting()
    rig.fill("X1", 500)
    rig.advance(10)
    sized = msgspec.structs.replace(GO[0], position_e2=0)
    rig.verdict(sized)
    rig.answer_all()
    assert (A, "bid") not in rig.resting()
    rig.advance(1)
    rig.verdict(msgspec.structs.replace(GO[0], position_e2=300))
    rig.answer_all()
    assert rig.resting()[A, "bid"] == (4_500, 300)
