"""WebSocket commands of one connection: subscribe, unsubscribe, update, list."""

from collections.abc import Callable
from typing import Any

import msgspec

from lab.exchange.feed import (
    CHANNELS,
    INDEX_CHANNELS,
    SILENT_CHANNELS,
    WITHOUT_MARKETS,
    Feed,
    Subscription,
)
from lab.exchange.limits import Bucket

Json = dict[str, Any]

MARKETS_MAX = 500_000
"""Market subscriptions of one connection, over all its channels."""
COMMANDS_PER_S = 100
COMMANDS_BURST = 1_000
SHARDS_MAX = 100

_MESSAGES = {
    1: "Unable to process message",
    2: "Params required",
    3: "Channels required",
    4: "Subscription IDs required",
    5: "Unknown command",
    7: "Unknown subscription ID",
    8: "Unknown channel name",
    10: "Channel error",
    11: "Invalid parameter",
    12: "Exactly one subscription ID is required",
    13: "Unsupported action",
    14: "Market Ticker required",
    15: "Action required",
    19: "shard_factor must be > 0",
    20: "shard_factor is required when shard_key is set",
    21: "shard_key must be >= 0 and < shard_factor",
    22: "shard_factor must be <= 100",
    24: "Index IDs required",
    25: "Subscription buffer overflow",
    26: "Subscription market limit exceeded",
    27: "Too many requests",
    28: "Underlying tickers required",
}
_MARKET_ACTIONS = ("add_markets", "delete_markets", "get_snapshot")
_INDEX_ACTIONS = ("subscribe_indices", "unsubscribe_indices", "indexlist")
_PYTH_ACTIONS = ("subscribe_underlyings", "unsubscribe_underlyings", "underlying_list")


class CommandError(Exception):
    """A refused command: the code that the error frame carries."""

    def __init__(self, code: int, detail: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail


class Commands:
    """Run the commands of one connection; `reply` sends a frame without numbering it."""

    def __init__(
        self,
        feed: Feed,
        account: str,
        reply: Callable[[Json], None],
        send: Callable[[Subscription, Json], None],
        now_ns: Callable[[], int],
    ) -> None:
        self._feed = feed
        self._account = account
        self._reply = reply
        self._send = send
        self._now_ns = now_ns
        self._sids = 0
        self._rates: dict[int, Bucket] = {}
        self.subscriptions: dict[int, Subscription] = {}

    def run(self, text: str | bytes) -> None:
        """Run one command frame; whatever is wrong with it becomes an error frame."""
        command_id: int | None = None
        try:
            command = _decode(text)
            command_id = _command_id(command)
            self._dispatch(command, command_id)
        except CommandError as error:
            self._reply(error_frame(error.code, command_id, error.detail))

    def close(self) -> None:
        """Drop every subscription."""
        for subscription in self.subscriptions.values():
            self._feed.remove(subscription)
        self.subscriptions.clear()

    def drop(self, subscription: Subscription) -> bool:
        """End one subscription from our side; say whether it was there."""
        if self.subscriptions.pop(subscription.sid, None) is None:
            return False
        self._feed.remove(subscription)
        return True

    def _dispatch(self, command: Json, command_id: int | None) -> None:
        name = command.get("cmd")
        if name == "list_subscriptions":
            listed = [{"channel": s.channel, "sid": s.sid} for s in self.subscriptions.values()]
            self._reply(_with_id({"type": "ok"}, command_id) | {"msg": listed})
            return
        runners = {
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
            "update_subscription": self._update,
        }
        runner = runners.get(name) if isinstance(name, str) else None
        if runner is None:
            raise CommandError(5)
        params = command.get("params")
        if not isinstance(params, dict):
            raise CommandError(2)
        runner(params, command_id)

    def _subscribe(self, params: Json, command_id: int | None) -> None:
        channels = params.get("channels")
        if not isinstance(channels, list) or not channels:
            raise CommandError(3)
        for channel in channels:
            if not isinstance(channel, str) or channel not in CHANNELS | SILENT_CHANNELS:
                raise CommandError(8)
        if "communications" in channels:
            _check_shards(params)
        use_yes_price = _flag(params, "use_yes_price")
        skip_ack = _flag(params, "skip_ticker_ack")
        send_snapshot = _flag(params, "send_initial_snapshot")
        for channel in dict.fromkeys(channels):
            tickers = self._markets(params, channel)
            if channel == "orderbook_delta" and tickers is None:
                raise CommandError(14)
            self._check_room(tickers)
            known = next((s for s in self.subscriptions.values() if s.channel == channel), None)
            if known is not None:
                added = _extend(known, tickers)
                self._acknowledge(known, command_id)
            else:
                known = self._open(channel, tickers, use_yes_price, skip_ack)
                known.by_id = channel == "ticker" and (
                    "market_id" in params or "market_ids" in params
                )
                message = {"channel": channel, "sid": known.sid}
                self._reply(_with_id({"type": "subscribed"}, command_id) | {"msg": message})
                added = sorted(tickers or ())
            self._introduce(known, added, send_snapshot)

    def _open(
        self, channel: str, tickers: set[str] | None, use_yes_price: bool, skip_ack: bool
    ) -> Subscription:
        self._sids += 1
        subscription = Subscription(
            sid=self._sids,
            channel=channel,
            account=self._account,
            tickers=None if channel in WITHOUT_MARKETS else tickers,
            use_yes_price=use_yes_price,
            skip_ticker_ack=skip_ack,
            send=self._send,
        )
        self.subscriptions[subscription.sid] = subscription
        self._feed.add(subscription)
        return subscription

    def _introduce(self, subscription: Subscription, tickers: list[str], snapshot: bool) -> None:
        markets = self._feed.engine.state.markets
        for ticker in tickers:
            if ticker not in markets:
                continue
            if subscription.channel == "orderbook_delta":
                self._feed.snapshot(subscription, ticker)
            elif subscription.channel == "ticker" and snapshot:
                self._feed.ticker_now(subscription, ticker, self._now_ns())

    def _unsubscribe(self, params: Json, command_id: int | None) -> None:
        sids = params.get("sids")
        if not isinstance(sids, list) or not sids:
            raise CommandError(4)
        chosen = [self._subscription(sid) for sid in sids]
        for subscription in dict.fromkeys(chosen):
            del self.subscriptions[subscription.sid]
            self._feed.remove(subscription)
            subscription.seq += 1
            frame = _with_id({"type": "unsubscribed"}, command_id)
            self._reply(frame | {"sid": subscription.sid, "seq": subscription.seq})

    def _update(self, params: Json, command_id: int | None) -> None:
        sids = params["sids"] if "sids" in params else [params.get("sid")]
        both = "sid" in params and "sids" in params
        if both or not isinstance(sids, list) or len(sids) != 1 or sids[0] is None:
            raise CommandError(12)
        subscription = self._subscription(sids[0])
        rate = self._rates.setdefault(subscription.sid, Bucket(COMMANDS_PER_S, COMMANDS_BURST))
        if not rate.take(1, self._now_ns()):
            raise CommandError(27)
        action = params.get("action")
        if action is None:
            raise CommandError(15)
        if subscription.channel in INDEX_CHANNELS:
            self._update_names(subscription, params, action, command_id)
            return
        if action not in _MARKET_ACTIONS:
            raise CommandError(13)
        tickers = self._markets(params, subscription.channel)
        if tickers is None:
            raise CommandError(14)
        if action == "get_snapshot":
            self._get_snapshot(subscription, tickers, command_id)
        elif action == "delete_markets":
            if subscription.tickers is not None:
                subscription.tickers -= tickers
            self._acknowledge(subscription, command_id)
        else:
            self._check_room(tickers)
            added = _extend(subscription, tickers)
            self._acknowledge(subscription, command_id)
            self._introduce(subscription, added, _flag(params, "send_initial_snapshot"))

    def _update_names(
        self, subscription: Subscription, params: Json, action: object, command_id: int | None
    ) -> None:
        """Keep the filter of an index channel, on which nothing ever comes here."""
        is_pyth = subscription.channel == "pyth_value"
        actions, name = (
            (_PYTH_ACTIONS, "underlying_tickers") if is_pyth else (_INDEX_ACTIONS, "index_ids")
        )
        if action not in actions:
            raise CommandError(13)
        if action == actions[2]:
            kind = f"{subscription.channel}_{'underlying_list' if is_pyth else 'indexlist'}"
            self._reply_numbered(kind, subscription, {name: []}, command_id)
            return
        given = params.get(name)
        if not isinstance(given, list) or not given or not all(isinstance(n, str) for n in given):
            raise CommandError(28 if is_pyth else 24)
        if action == actions[0]:
            subscription.names.update(given)
        else:
            subscription.names.difference_update(given)
        self._reply_numbered("ok", subscription, {name: sorted(subscription.names)}, command_id)

    def _reply_numbered(
        self, kind: str, subscription: Subscription, message: Json, command_id: int | None
    ) -> None:
        subscription.seq += 1
        frame = _with_id({"type": kind}, command_id)
        self._reply(frame | {"sid": subscription.sid, "seq": subscription.seq, "msg": message})

    def _check_room(self, tickers: set[str] | None) -> None:
        held = sum(len(each.tickers or ()) for each in self.subscriptions.values())
        if held + len(tickers or ()) > MARKETS_MAX:
            raise CommandError(26)

    def _get_snapshot(
        self, subscription: Subscription, tickers: set[str], command_id: int | None
    ) -> None:
        if subscription.channel != "orderbook_delta":
            raise CommandError(13)
        for ticker in sorted(tickers & self._feed.engine.state.markets.keys()):
            self._feed.snapshot(subscription, ticker, command_id)

    def _acknowledge(self, subscription: Subscription, command_id: int | None) -> None:
        tickers = sorted(subscription.tickers or ())
        message: Json = {"market_tickers": tickers}
        if subscription.skip_ticker_ack:
            message = {}
        elif subscription.by_id:
            markets = self._feed.engine.state.markets
            known = [markets[ticker] for ticker in tickers if ticker in markets]
            message = {"market_ids": [market.spec.market_id for market in known]}
        subscription.frame("ok", message, command_id)

    def _subscription(self, sid: object) -> Subscription:
        if type(sid) is not int:
            raise CommandError(11)
        subscription = self.subscriptions.get(sid)
        if subscription is None:
            raise CommandError(7)
        return subscription

    def _markets(self, params: Json, channel: str) -> set[str] | None:
        one, many = params.get("market_ticker"), params.get("market_tickers")
        if one is not None and many is not None:
            raise CommandError(11, "market_ticker excludes market_tickers")
        if channel == "ticker" and one is None and many is None:
            return self._markets_by_id(params)
        if one is not None:
            many = [one]
        if many is None:
            return None
        if not isinstance(many, list) or not all(isinstance(ticker, str) for ticker in many):
            raise CommandError(11, "market_tickers")
        return set(many) or None

    def _markets_by_id(self, params: Json) -> set[str] | None:
        one, many = params.get("market_id"), params.get("market_ids")
        if one is not None and many is not None:
            raise CommandError(11, "market_id excludes market_ids")
        wanted = many if one is None else [one]
        if wanted is None:
            return None
        if not isinstance(wanted, list) or not all(isinstance(each, str) for each in wanted):
            raise CommandError(11, "market_ids")
        ids, markets = set(wanted), self._feed.engine.state.markets.values()
        return {market.spec.ticker for market in markets if market.spec.market_id in ids}


def error_frame(code: int, command_id: int | None = None, detail: str = "") -> Json:
    """Return an error frame with the exchange's words for the code."""
    text = f"{_MESSAGES[code]}: {detail}" if detail else _MESSAGES[code]
    return _with_id({"type": "error"}, command_id) | {"msg": {"code": code, "msg": text}}


def _extend(subscription: Subscription, tickers: set[str] | None) -> list[str]:
    if subscription.tickers is None:
        return []
    if tickers is None:
        subscription.tickers = None
        return []
    added = tickers - subscription.tickers
    subscription.tickers |= added
    return sorted(added)


def _decode(text: str | bytes) -> Json:
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise CommandError(1) from None
    if not isinstance(value, dict):
        raise CommandError(1)
    return value


def _command_id(command: Json) -> int | None:
    value = command.get("id")
    if value is None:
        return None
    if type(value) is not int or not 0 <= value < 2**63:
        raise CommandError(11, "id")
    return value or None  # the exchange treats 0 as if there was none


def _check_shards(params: Json) -> None:
    factor, key = params.get("shard_factor"), params.get("shard_key")
    for value in (factor, key):
        if value is not None and type(value) is not int:
            raise CommandError(11, "shard")
    if factor is None:
        if key is not None:
            raise CommandError(20)
        return
    if factor < 1:
        raise CommandError(19)
    if factor > SHARDS_MAX:
        raise CommandError(22)
    if key is not None and not 0 <= key < factor:
        raise CommandError(21)


def _flag(params: Json, name: str) -> bool:
    value = params.get(name)
    if value is not None and type(value) is not bool:
        raise CommandError(11, name)
    return bool(value)


def _with_id(frame: Json, command_id: int | None) -> Json:
    return frame if command_id is None else {**frame, "id": command_id}
