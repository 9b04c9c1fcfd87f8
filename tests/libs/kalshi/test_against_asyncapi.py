"""Every frame that we read and every command that we send, against the official document."""

from typing import Any

import msgspec
import pytest

from libs.kalshi.wire import frames as wire
from libs.kalshi.ws import BOOKS, SEQUENCED, KalshiStream
from libs.kalshi.ws_events import BadFrame, Command, Gap, Snapshot, StreamEvent, UnknownFrame
from tests.bench.bench_frames import deltas, snapshots
from tests.lab.exchange.schemas import asyncapi, check_pointer
from tests.libs.kalshi.spec_samples import MODES, sample

CHANNELS = {
    "orderbook_delta": ("orderbookSnapshotPayload", "orderbookDeltaPayload"),
    "ticker": ("tickerPayload",),
    "trade": ("tradePayload",),
    "fill": ("fillPayload",),
    "user_orders": ("userOrderPayload",),
    "market_positions": ("marketPositionPayload",),
    "market_lifecycle_v2": (
        "marketLifecycleV2Payload",
        "marketMetadataUpdatedPayload",
        "eventLifecyclePayload",
        "eventFeeUpdatePayload",
    ),
    "order_group_updates": ("orderGroupUpdatesPayload",),
}
ANSWERS = (
    "subscribedResponsePayload",
    "unsubscribedResponsePayload",
    "okResponsePayload",
    "listSubscriptionsResponsePayload",
    "errorResponsePayload",
)
FRAMES = [(channel, name) for channel, names in CHANNELS.items() for name in names]


def payload(name: str, mode: str) -> dict[str, Any]:
    schema = asyncapi()["components"]["schemas"][name]
    frame: dict[str, Any] = sample(asyncapi(), schema, mode)
    return frame


def subscribed_to(channel: str, ticker: str) -> KalshiStream:
    stream = KalshiStream()
    stream.want(channel, [ticker] if channel == BOOKS else (), now_ns=0)
    stream.on_connected(0)
    answer = {"type": "subscribed", "id": 1, "msg": {"channel": channel, "sid": 1}}
    stream.on_text(msgspec.json.encode(answer), 0)
    return stream


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("channel", "name"), FRAMES)
def test_a_declared_frame_is_read(channel: str, name: str, mode: str) -> None:
    frame = payload(name, mode)
    ticker = frame["msg"].get("market_ticker", "T")
    stream = subscribed_to(channel, ticker)
    frame["sid"] = 1
    if name == "orderbookDeltaPayload":
        first = payload("orderbookSnapshotPayload", mode) | {"sid": 1, "seq": 1}
        stream.on_text(msgspec.json.encode(first), 0)
    assert ("seq" in frame) == (channel in SEQUENCED)
    if "seq" in frame:
        frame["seq"] = 2 if name == "orderbookDeltaPayload" else 1
    (event,) = stream.on_text(msgspec.json.encode(frame) + b"\n", 0)
    assert not isinstance(event, BadFrame | UnknownFrame | Gap)
    assert stream.dropped_count == 0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ANSWERS)
def test_a_declared_answer_is_read(name: str, mode: str) -> None:
    stream = subscribed_to("fill", "T")
    events = stream.on_text(msgspec.json.encode(payload(name, mode)), 0)
    assert not any(isinstance(event, BadFrame | UnknownFrame) for event in events)


def test_an_omitted_side_is_empty() -> None:
    frame = payload("orderbookSnapshotPayload", "required") | {"sid": 1, "seq": 1}
    assert not {"yes_dollars_fp", "no_dollars_fp"} & frame["msg"].keys()
    stream = subscribed_to(BOOKS, frame["msg"]["market_ticker"])
    (event,) = stream.on_text(msgspec.json.encode(frame), 0)
    assert isinstance(event, Snapshot)
    assert (event.bids, event.asks) == ((), ())


def document_examples() -> list[dict[str, Any]]:
    messages = asyncapi()["components"]["messages"].values()
    examples = [one["payload"] for message in messages for one in message.get("examples", ())]
    return [one for one in examples if isinstance(one, dict) and one.get("type")]


def test_the_documents_own_examples_are_read() -> None:
    known = [one for one in document_examples() if one["type"] in wire.KNOWN_TYPES]
    assert {one["type"] for one in known} == wire.KNOWN_TYPES
    for example in known:
        wire.decode_frame(msgspec.json.encode(example))


def test_frames_of_channels_that_nobody_wants_are_counted_and_passed_over() -> None:
    stream = subscribed_to("fill", "T")
    for example in document_examples():
        if example["type"] not in wire.KNOWN_TYPES:
            example["sid"] = 9
            assert stream.on_text(msgspec.json.encode(example), 0) == [
                UnknownFrame(example["type"])
            ]


def commands(events: list[StreamEvent]) -> list[dict[str, Any]]:
    return [msgspec.json.decode(one.text) for one in events if isinstance(one, Command)]


@pytest.mark.parametrize("channel", CHANNELS)
def test_what_we_send_is_declared(channel: str) -> None:
    stream = KalshiStream()
    filtered = channel not in ("market_lifecycle_v2", "order_group_updates")
    stream.want(channel, ["T"] if filtered else (), now_ns=0)
    sent = commands(stream.on_connected(0))
    answer = {"type": "subscribed", "id": 1, "msg": {"channel": channel, "sid": 1}}
    stream.on_text(msgspec.json.encode(answer), 0)
    if filtered:
        sent += commands(stream.want(channel, ["U"], now_ns=0))
        sent += commands(stream.drop(channel, ["T"]))
    sent += commands(stream.on_tick(3_600_000_000_000))
    sent += commands([stream.probe()])
    names = {
        "subscribe": "subscribeCommandPayload",
        "update_subscription": "updateSubscriptionCommandPayload",
        "list_subscriptions": "listSubscriptionsCommandPayload",
    }
    assert {one["cmd"] for one in sent} <= set(names)
    for one in sent:
        check_pointer("asyncapi", f"/components/schemas/{names[one['cmd']]}", one)
        properties = asyncapi()["components"]["schemas"][names[one["cmd"]]]["properties"]
        declared = properties.get("params", {}).get("properties", {})
        assert one.get("params", {}).keys() <= declared.keys()
    if channel == BOOKS:
        assert sent[0]["params"]["use_yes_price"] is True
        assert "get_snapshot" in {one.get("params", {}).get("action") for one in sent}


def test_the_benchmarks_tape_looks_like_the_exchanges() -> None:
    for text in [*snapshots(), *deltas(200)]:
        frame = msgspec.json.decode(text)
        check_pointer("asyncapi", f"/components/schemas/{_name(frame['type'])}", frame)
        assert text.endswith("}\n")
        assert {"clock", "market_id"} <= frame["msg"].keys()


def _name(kind: str) -> str:
    return {"orderbook_snapshot": FRAMES[0][1], "orderbook_delta": FRAMES[1][1]}[kind]
