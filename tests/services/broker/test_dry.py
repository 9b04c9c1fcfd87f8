"""Mode dry: what would be sent is recorded, and nothing is sent."""

from lab.exchange.model import NewOrder
from libs.common.messages import OrderUpdate
from tests.services.broker.rig import A, B, quote
from tests.services.broker.stack import KEY_ID, stack, until

GO = (quote(A, "bid", 4_500, 500), quote(B, "ask", 6_000, 300))


async def test_it_records_and_sends_nothing(tmp_path):
    async with stack(tmp_path / "run") as running:
        running.changes = {"mode": "dry"}
        before = (tmp_path / "run" / "truth.jsonl").read_bytes()
        await running.start_broker()
        first = running.give(*GO)
        await until(lambda: len(running.log("ORDERS", OrderUpdate)) == 2, "two records")
        wanted = {(one.ticker, one.side, one.price_e4, one.count_e2) for one in GO}
        placed = running.intents("place")
        assert {(one.ticker, one.side, one.price_e4, one.count_e2) for one in placed} == wanted
        assert {one.verdict_id for one in placed} == {first.id}
        updates = running.log("ORDERS", OrderUpdate)
        assert {(one.state, one.reason) for one in updates} == {("rejected", "place not_sent dry")}
        assert "DRY, nothing is sent" in running.app.detail()
        # Each verdict is recorded once, however often it is looked at.
        running.give(*GO)
        await until(lambda: len(running.log("ORDERS", OrderUpdate)) == 4, "two more records")
        await running.app.switch.engage("test", "test")
        await running.stop_broker()
        assert len(running.intents("place")) == 4
        # Not one write reached the exchange: its own log is as it was.
        assert (tmp_path / "run" / "truth.jsonl").read_bytes() == before
        assert running.server.engine.resting(KEY_ID) == []


async def test_it_leaves_alone_what_others_rest_on_the_account(tmp_path):
    async with stack(tmp_path / "run") as running:
        order = NewOrder(ticker=A, side="bid", price_e4=100, count_e2=100)
        running.server.engine.place(KEY_ID, order, running.clock.now_ns())
        running.changes = {"mode": "dry"}
        await running.start_broker()
        running.give(*GO)
        await until(lambda: running.intents("place"), "a record")
        await running.app.switch.engage("test", "test")
        await running.stop_broker()
        assert running.resting() == {(A, "bid"): (100, 100)}
