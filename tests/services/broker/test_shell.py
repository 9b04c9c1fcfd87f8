"""The whole broker against the exchange simulator: real sockets, real signatures, no NATS."""

import asyncio
from collections import Counter
from urllib.parse import urlsplit

import grpc
import msgspec
import pytest

from libs.common.bus import FenceRefused
from libs.common.messages import BrokerEpoch, ExchangeSettlement, KillSwitch
from libs.common.topology import KILL_SWITCH_KEY, ORDERS_EPOCH, SIGN_WEBSOCKET, Service
from libs.kalshi.signing import WEBSOCKET_PATH
from libs.kalshi.transport import AiohttpTransport
from proto import broker_pb2 as pb
from proto import broker_pb2_grpc
from services.broker.app import BrokerApp
from services.broker.epoch import Epoch
from tests.services.broker.rig import A, B, quote
from tests.services.broker.stack import stack, until

GO = (quote(A, "bid", 4_500, 500), quote(B, "ask", 6_000, 300))
RESTING = {(A, "bid"): (4_500, 500), (B, "ask"): (6_000, 300)}


@pytest.fixture
async def running(tmp_path):
    async with stack(tmp_path) as one:
        yield one


async def quoting(running):
    await running.start_broker()
    running.give(*GO)
    await until(lambda: running.resting() == RESTING, "both quotes at rest")


async def test_a_verdict_becomes_orders_and_a_no_go_takes_them_away(running):
    await quoting(running)
    await until(lambda: set(running.states().values()) == {"resting"}, "news of both")
    assert len(running.intents("place")) == 2
    running.give()
    await until(lambda: running.resting() == {}, "nothing at rest")
    await until(lambda: set(running.states().values()) == {"cancelled"}, "news of it")
    await running.stop_broker()


async def test_a_fill_is_published_once_though_it_comes_by_socket_and_by_rest(running):
    await quoting(running)
    running.trade(A, "ask", 4_500, 200)
    await until(lambda: running.fills(), "the fill")
    for _ in range(3):
        await running.app._watch.read_account()
    (fill,) = running.fills()
    assert (fill.side, fill.price_e4, fill.count_e2, fill.is_taker) == ("bid", 4_500, 200, False)
    assert fill.client_order_id == running.intents("place")[0].client_order_id
    assert running.resting() == RESTING | {(A, "bid"): (4_500, 300)}
    await running.stop_broker()
    assert running.resting() == {}, "SIGTERM cancels"


class Counting:
    """A transport that counts what is read."""

    def __init__(self):
        self._inner = AiohttpTransport()
        self.reads = Counter()

    async def send(self, method, url, headers, body):
        if method == "GET":
            self.reads[urlsplit(url).path.rpartition("/")[2]] += 1
        return await self._inner.send(method, url, headers, body)

    async def close(self):
        await self._inner.close()


async def test_the_balance_is_read_once_at_the_start(running):
    """Some tiers may read it once a second; all else is read again once the socket is open."""
    transport = Counting()

    class App(BrokerApp):
        def make_transport(self):
            return transport

    running.make_app = App
    running.changes = {"poll_s": 60.0}
    await running.start_broker()
    await until(lambda: transport.reads["positions"] >= 2, "the read after the subscription")
    assert transport.reads["balance"] == 1


async def test_a_price_step_away_is_an_amend(running):
    await quoting(running)
    await until(lambda: set(running.states().values()) == {"resting"}, "news of both")
    running.give(quote(A, "bid", 4_300, 500), GO[1])
    await until(lambda: running.resting()[A, "bid"] == (4_300, 500), "the amend")
    assert len(running.intents("amend")) == 1


async def test_a_quote_that_would_take_is_refused_and_not_repeated(running):
    await running.start_broker()
    running.trade(A, "ask", 4_000, 100)
    running.give(GO[0])
    await until(lambda: set(running.states().values()) == {"rejected"}, "the refusal")
    await running.app._watch.read_account()
    assert len(running.intents("place")) == 1
    assert running.fills() == []


async def test_a_restart_keeps_the_books_and_cancels_what_nobody_wants(running):
    await quoting(running)
    running.trade(A, "ask", 4_500, 200)
    await until(lambda: running.fills(), "the fill")
    await running.crash_broker()
    running.trade(B, "bid", 6_000, 100)  # while nobody listens
    await running.start_broker(release=False)
    await until(lambda: len(running.fills()) == 2, "the missed fill")
    assert running.app.core.state.positions == {A: 200, B: -100}
    assert running.resting() == {(A, "bid"): (4_500, 300), (B, "ask"): (6_000, 200)}
    assert len(running.intents("place")) == 2, "the standing verdict places nothing twice"
    await running.stop_broker()
    assert running.resting() == {}


async def test_what_ended_beyond_the_historical_cutoff_while_we_were_down_is_found(tmp_path):
    """kalshi-api.md §2.4: a restart must read both."""
    async with stack(tmp_path, rate=20.0, history_kept_s=2.0) as running:
        await quoting(running)
        await until(lambda: set(running.states().values()) == {"resting"}, "news of both")
        await running.crash_broker()
        running.trade(A, "ask", 4_500, 500)
        await running.clock.sleep(40)
        await running.start_broker(release=False)
        assert [one.count_e2 for one in running.fills()] == [500]
        filled = running.intents("place")[0].client_order_id
        assert running.states()[filled] == "filled"
        await running.stop_broker()


@pytest.mark.parametrize("arrived", [True, False])
async def test_a_crash_between_intent_and_answer(tmp_path, arrived):
    """reliability.md 1: a second life finds out what became of the request."""
    async with stack(tmp_path, rate=5.0) as running:
        await crash_between_intent_and_answer(running, arrived)


async def crash_between_intent_and_answer(running, arrived):
    await running.start_broker()
    created = running.app.exchange.client.create_order
    gone = asyncio.Event()

    async def create_and_never_answer(order):
        if arrived:
            await created(order)
        gone.set()
        await asyncio.Event().wait()

    running.app.exchange.client.create_order = create_and_never_answer
    running.give(GO[0])
    await gone.wait()
    await running.crash_broker()
    await running.start_broker(release=False)
    ends = {"resting"} if arrived else {"rejected"}
    await until(lambda: set(running.states().values()) == ends, f"{ends}")
    assert len(running.resting()) == (1 if arrived else 0)
    assert len(running.intents("place")) == 1


async def test_the_deadline_and_the_payout(tmp_path):
    async with stack(tmp_path, before_target_s=12.0, rate=4.0) as running:
        await running.start_broker()
        running.give(*GO)
        await until(lambda: running.resting() == RESTING, "both quotes at rest")
        running.trade(A, "ask", 4_500, 200)
        await until(lambda: running.resting() == {}, "nothing at rest")
        assert running.clock.now_ns() < running.app.core.state.events[GO_EVENT].target_ns
        paid = await until(lambda: running.log("FILLS", ExchangeSettlement), "the payout", 15)
        assert [(one.ticker, one.result, one.yes_count_e2) for one in paid] == [(A, "yes", 200)]
        ended = {"cancelled", "expired"}
        await until(lambda: set(running.states().values()) <= ended, "news of both")


GO_EVENT = "KXINXU-26OCT30H1100"


class TestKillSwitch:
    async def call(self, running, method, request, token="a-token-for-tests"):
        port = await until(lambda: running.admin_port(), "the admin port")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = broker_pb2_grpc.BrokerAdminStub(channel)
            metadata = (("authorization", f"Bearer {token}"),)
            return await getattr(stub, method)(request, metadata=metadata, timeout=20)

    @pytest.fixture
    async def running(self, tmp_path, unused_port):
        async with stack(tmp_path) as one:
            one.changes = {"admin_port": unused_port}
            one.admin_port = lambda: unused_port
            yield one

    async def test_it_is_confirmed_survives_a_restart_and_is_released_by_word_only(self, running):
        await quoting(running)
        asked = pb.KillSwitchRequest(reason="test", by="me")
        reply = await self.call(running, "EngageKillSwitch", asked)
        assert (reply.confirmed_zero, reply.resting, reply.unknown) == (True, 0, 0)
        assert running.resting() == {}
        running.give(*GO)
        await running.crash_broker()
        await running.start_broker(release=False)
        state = await self.call(running, "GetState", pb.GetStateRequest())
        assert (state.kill_switch_engaged, state.kill_switch_reason) == (True, "test")
        assert running.resting() == {}
        await self.call(running, "ReleaseKillSwitch", asked)
        await until(lambda: running.resting() == RESTING, "both quotes at rest again")

    async def test_a_first_start_is_engaged(self, running):
        await running.start_broker(release=False)
        running.give(*GO)
        state = await self.call(running, "GetState", pb.GetStateRequest())
        assert state.kill_switch_engaged
        assert state.kill_switch_reason == "never released"
        assert running.intents("place") == []

    async def test_somebody_else_s_engagement_is_seen(self, running):
        await quoting(running)
        bus = running.hub.bus(Service.BROKER)
        known = await bus.get("control", KILL_SWITCH_KEY)
        engaged = KillSwitch(engaged=True, reason="r", by="standby", at_ns=1)
        data = msgspec.json.encode(engaged)
        await bus.put("control", KILL_SWITCH_KEY, data, revision=known.revision)
        await until(lambda: running.resting() == {}, "nothing at rest")

    async def test_what_can_not_be_read_is_on(self, running):
        await quoting(running)
        bus = running.hub.bus(Service.BROKER)
        known = await bus.get("control", KILL_SWITCH_KEY)
        await bus.put("control", KILL_SWITCH_KEY, b"?", revision=known.revision)
        await until(lambda: running.resting() == {}, "nothing at rest")

    async def test_cancel_all_and_the_list(self, running):
        await quoting(running)
        listed = await self.call(running, "ListOrders", pb.ListOrdersRequest())
        assert {(one.ticker, one.side): one.count_e2 for one in listed.orders} == {
            (A, "bid"): 500,
            (B, "ask"): 300,
        }
        reply = await self.call(running, "CancelAll", pb.CancelAllRequest(event_ticker=GO_EVENT))
        assert reply.confirmed_zero
        assert running.resting() == {}

    async def test_bad_requests_are_refused(self, running):
        await running.start_broker()
        for method, request, code in [
            ("EngageKillSwitch", pb.KillSwitchRequest(), grpc.StatusCode.INVALID_ARGUMENT),
            ("CancelAll", pb.CancelAllRequest(event_ticker="?"), grpc.StatusCode.NOT_FOUND),
        ]:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await self.call(running, method, request)
            assert refused.value.code() == code
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await self.call(running, "GetState", pb.GetStateRequest(), token="wrong")
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


async def test_only_the_one_handshake_is_signed(running):
    await running.start_broker()
    good = msgspec.json.encode({"path": WEBSOCKET_PATH})
    headers = msgspec.json.decode(await running.feeds.request(SIGN_WEBSOCKET, good, 2.0))
    assert set(headers) == {
        "KALSHI-ACCESS-KEY",
        "KALSHI-ACCESS-TIMESTAMP",
        "KALSHI-ACCESS-SIGNATURE",
    }
    for bad in (
        b"",
        b"[]",
        b'{"path": "/trade-api/v2/portfolio/events/orders"}',
        b'{"path": "/trade-api/ws/v2", "method": "POST"}',
        b'{"path": 7}',
        b"\xff" * 2_000,
    ):
        answer = msgspec.json.decode(await running.feeds.request(SIGN_WEBSOCKET, bad, 2.0))
        assert set(answer) == {"error"}


async def test_no_more_signatures_than_reconnections_need(running):
    await running.start_broker()
    good = msgspec.json.encode({"path": WEBSOCKET_PATH})
    asked = [running.feeds.request(SIGN_WEBSOCKET, good, 5.0) for _ in range(50)]
    answers = [msgspec.json.decode(one) for one in await asyncio.gather(*asked)]
    refused = [one for one in answers if set(one) == {"error"}]
    assert 5 <= len(answers) - len(refused) < 25
    assert "at most 5" in refused[0]["error"]


class Usurper:
    """Stands for the broker that another process is."""

    fence = None


async def usurp(context):
    """Take the epoch as another broker does; return it."""
    epoch = Epoch(context, Usurper(), "primary", "usurper")
    await epoch.take()
    return epoch


async def test_a_deposed_broker_stops_and_touches_nothing(running):
    """reliability.md 2, in one process: the fence refuses its writes."""
    await quoting(running)
    context = running.runner.context
    await usurp(context)
    running.give(quote(A, "bid", 4_300, 500))
    ended = await running.ended()
    assert "FenceRefused" in str(ended)
    assert running.resting() == RESTING, "what rests is the new broker's to decide"
    amends = [one.action for one in running.log("ORDERS", type(running.intents("place")[0]))]
    assert amends == ["place", "place"]


async def test_two_brokers_never_hold_one_epoch(running):
    await quoting(running)
    context = running.runner.context
    fence = running.app.fence
    await usurp(context)
    assert running.app.fence == fence
    with pytest.raises(FenceRefused):
        await context.publish(running.intents("place")[0], fenced=True)


async def test_garbage_on_the_fence_keeps_no_broker_from_starting(running):
    await quoting(running)
    context = running.runner.context
    (first,) = running.log("ORDERS", BrokerEpoch)
    moved = await context.bus.publish(ORDERS_EPOCH, b"garbage", message_id="garbage")
    successor = Epoch(context, taking := Usurper(), "primary", "successor")
    await successor.take()
    assert successor.number == first.epoch + 1
    assert taking.fence > moved


async def test_an_epoch_that_was_said_again_and_not_acknowledged_is_still_ours(running):
    """A broker that ends at that moment has to cancel what rests: nobody else will."""
    await quoting(running)
    epoch, fence = running.app.epoch, running.app.fence

    async def stuck():
        await epoch._say(fence)
        await asyncio.Event().wait()

    moving = asyncio.create_task(running.runner.context.move_fence(stuck))
    await until(lambda: len(running.log("ORDERS", BrokerEpoch)) == 2, "said again")
    assert not await epoch.is_over(1.0)
    await running.stop_broker()
    assert running.resting() == {}
    moving.cancel()


async def test_a_deposed_broker_can_not_say_its_epoch_again(running):
    await quoting(running)
    usurper = await usurp(running.runner.context)
    with pytest.raises(FenceRefused):
        await running.app.epoch.keep(0.0)
    assert [one.epoch for one in running.log("ORDERS", BrokerEpoch)] == [1, usurper.number]
    assert await running.app.epoch.is_over(1.0)


async def test_an_epoch_is_never_given_twice_while_the_log_knows_it(running):
    """Its own message has aged out; the intents under it have not."""
    await quoting(running)
    log = running.hub.log("ORDERS")
    log.kept = type(log.kept)(one for one in log.kept if one.stored.subject != ORDERS_EPOCH)
    del log.last_of_subject[ORDERS_EPOCH]
    assert (await usurp(running.runner.context)).number == 2
