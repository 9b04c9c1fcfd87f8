"""The broker as a process: the only holder of keys, and the only one who asks the exchange."""

import asyncio
import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace

from libs.common.admin import AddServicer
from libs.common.config import ConfigError
from libs.common.effects import Effect
from libs.common.hosts import is_outside
from libs.common.messages import Cause, ExchangeSession, KillSwitch, envelope
from libs.common.runner import AppBase, Context, Fatal
from libs.common.topology import SIGN_WEBSOCKET, Service
from libs.domain.families import UnknownFamilyError, family_of_series
from libs.domain.tickers import series_of_event
from libs.domain.windows import roll
from libs.kalshi.errors import KalshiError
from libs.kalshi.rate import TokenBucket
from libs.kalshi.rest import KalshiClient
from libs.kalshi.signing import WEBSOCKET_METHOD, WEBSOCKET_PATH
from libs.kalshi.transport import AiohttpTransport, ReadOnlyTransport, Timeouts, Transport
from libs.kalshi.ws_session import StreamSession
from services.broker import events as e
from services.broker import recovery
from services.broker.admin import BrokerAdmin
from services.broker.config import BrokerConfig
from services.broker.core import BrokerCore
from services.broker.epoch import Epoch
from services.broker.exchange import Exchange
from services.broker.killswitch import KillSwitchKeeper
from services.broker.lease import Holder, Lease, LeaseLost
from services.broker.modes import Situation, missing
from services.broker.policy import to_ns
from services.broker.readiness import ReadinessKeeper
from services.broker.signing import KeyFileError, load_signer
from services.broker.watch import AccountWatch
from services.broker.writer import Writer

GAUGES_EVERY_S = 0.5
SESSION_EVERY_S = 5.0
DRAIN_CHECK_S = 0.02
ROLL_CHECK_S = 0.5
SIGN_REQUEST_BYTES_MAX = 1_000
SIGNATURES_PER_S = 5
"""A handshake is signed at each reconnection, with back-off; more is a fault of the asker's."""


class BrokerApp(AppBase):
    """Make what rests at the exchange equal to the newest verdicts."""

    service = Service.BROKER
    session_type = StreamSession
    """What keeps the account's socket; a test puts faults in between."""

    def __init__(self, config: BrokerConfig) -> None:
        self.config = config
        try:
            self._signer = load_signer(config.key_id, Path(config.key_file))
        except KeyFileError as error:
            raise ConfigError(f"key_file: {error}") from None
        if problems := missing(
            Situation(
                mode=config.mode,
                rest_url=config.exchange_rest_url,
                ws_url=config.exchange_ws_url,
                risks_understood=config.risks_understood,
            )
        ):
            raise ConfigError("; ".join(problems))
        policy = config.policy
        if config.mode == "dry":  # each verdict is recorded once, as if nothing rested
            policy = replace(policy, group_limit_e2=0, tries_per_quote=1)
        self.core = BrokerCore(policy, live_only=is_outside(config.exchange_rest_url))
        self._signatures = TokenBucket(SIGNATURES_PER_S, SIGNATURES_PER_S, time.monotonic_ns())
        self._admin = BrokerAdmin(config.confirm_s, config.confirm_every_s)
        self._context: Context | None = None
        self._writer: Writer | None = None
        self._counted: dict[tuple[str, str], int] = {}

    # The life of the service

    async def recover(self, context: Context) -> None:
        """Take lease and epoch, read log and exchange back, resolve every difference."""
        config = self.config
        self._build(context)
        await self.lease.take(context.stand_by)
        context.spawn(self._keep_lease(), "lease")
        context.spawn(self._tell_session(context), "session")
        await self.epoch.take()
        context.spawn(self.epoch.keep(config.epoch_renewal_s), "epoch")
        self._watch.fills_since_ns = await recovery.fold_log(context, self.core)
        self._watch.overlap_ns = to_ns(config.fills_overlap_s)
        context.spawn(self.switch.run(), "kill switch")
        await self.switch.read()
        context.dispatch(e.EpochTaken(now_ns=context.now_ns(), epoch=self.epoch.number))
        await recovery.reconcile(
            context, self.core, self.exchange, self._watch, config.read_retry_s
        )
        await recovery.standing_verdicts(context)
        context.dispatch(e.RecoveryDone(now_ns=context.now_ns()))
        await context.bus.serve(SIGN_WEBSOCKET, self._sign_websocket)
        self._admin.attach(self)

    def _build(self, context: Context) -> None:
        config = self.config
        self._context = context
        client = KalshiClient(
            config.exchange_rest_url, self.make_transport(), context.clock, self._signer
        )
        self.exchange = Exchange(
            client,
            context.clock,
            context.metrics,
            context.log,
            cancel_reserve_tokens=config.cancel_reserve_tokens,
            token_wait_s=config.token_wait_s,
        )
        self.switch = KillSwitchKeeper(
            context.bus,
            context.clock,
            self._switch_changed,
            every_s=config.kill_switch_every_s,
            age_s_max=config.kill_switch_age_s_max,
            read_s_max=config.kill_switch_read_s_max,
        )
        self.readiness = ReadinessKeeper(
            context.bus,
            context.clock,
            every_s=config.readiness_every_s,
            read_s_max=config.kill_switch_read_s_max,
        )
        self.lease = Lease(
            context.bus,
            context.log,
            _holder(config),
            ttl_s=config.lease_ttl_s,
            every_s=config.lease_every_s,
        )
        self.epoch = Epoch(
            context, self, config.account, config.instance or f"broker-{os.getpid()}"
        )
        self._watch = AccountWatch(
            context,
            self.exchange,
            self._signer,
            config.exchange_ws_url,
            poll_s=config.poll_s,
            session_type=self.session_type,
        )
        self._writer = Writer(
            context,
            self.exchange,
            self.switch,
            self.lease,
            urgent_wait_s=config.urgent_wait_s,
            fills_since=lambda: self._watch.fills_since_ns,
            withheld=self._withheld,
        )

    def make_transport(self) -> Transport:
        """Return what carries the requests; a test puts faults in between.

        In mode dry it lets nothing but reads out, whatever is asked for.
        """
        config = self.config
        transport = AiohttpTransport(
            Timeouts(
                connect_s=config.connect_timeout_s,
                total_s=config.answer_timeout_s,
                leave_s=config.leave_timeout_s,
            )
        )
        return ReadOnlyTransport(transport) if config.mode == "dry" else transport

    def _withheld(self, ticker: str) -> str:
        """Return why the mode lets nothing be placed in a market, "" if it does."""
        if self.config.mode == "live":
            return self.readiness.problem(series_of_event(ticker))
        return "dry" if self.config.mode == "dry" else ""

    async def run(self, context: Context) -> None:
        """Watch the account until cancelled."""
        await asyncio.gather(
            self._watch.run_socket(),
            self._watch.run_poller(),
            self._show_gauges(context),
            _tell_rolls(context),
            self.readiness.run(),
        )

    def perform(self, effect: Effect, after: Sequence[asyncio.Future[int]]) -> None:
        assert self._writer is not None, "nothing is asked for before recovery"
        self._writer.perform(effect, after)

    async def drain(self, context: Context) -> None:
        """Cancel all that rests, see it confirmed, close the connections.

        A broker that another one has deposed leaves the account alone: it is the other's.
        """
        writer = self._writer
        if writer is None:
            return
        try:
            if self.config.mode == "dry":
                context.log.info("dry: nothing of ours rests, nothing is cancelled")
            elif self.fence is not None and not await self._is_deposed(context, writer):
                await self._cancel_and_confirm(context, writer)
        finally:
            await self.exchange.client.close()

    async def _cancel_and_confirm(self, context: Context, writer: Writer) -> None:
        """Cancel order by order first; half of the time on, or if the core is past working,
        cancel the account. Ends when the exchange shows nothing at rest and no write is under
        way that could still come to rest, or when time is up.
        """
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self.config.drain_s
        sweep_s = until_s - self.config.drain_s / 2
        writer.draining = True
        reason = "lost_lease" if self._lease_lost else "stopping"
        context.dispatch(e.DrainAsked(now_ns=context.now_ns(), reason=reason))
        resting, flying = -1, True
        while (resting != 0 or flying) and (now_s := loop.time()) < until_s:
            await asyncio.sleep(DRAIN_CHECK_S)
            flying = any(order.in_flight for order in self.core.state.open_orders())
            if now_s >= sweep_s or (resting > 0 and not flying and self.core.draining == ""):
                await self.exchange.cancel_everything(lambda: "")
                sweep_s = now_s + 1.0
            elif flying:
                continue
            resting = await self._count_resting(context)
        context.log.info("drained", resting=resting, open=len(self.core.state.open_orders()))

    async def _count_resting(self, context: Context) -> int:
        try:
            return len(await self.exchange.resting_orders())
        except KalshiError as error:
            context.log.warning("drain: exchange unread", why=str(error))
            return -1

    async def _is_deposed(self, context: Context, writer: Writer) -> bool:
        ended = context.fatal.exception() if context.fatal.done() else None
        fenced = ended is not None and "FenceRefused" in str(ended)
        told = writer.deposed or fenced or self._lease_taken
        if not told and not await self.epoch.is_over(self.config.kill_switch_read_s_max):
            return False
        context.log.warning("deposed: nothing is cancelled, the account is another broker's")
        return True

    # Lease and kill switch

    _lease_lost = _lease_taken = False

    async def _keep_lease(self) -> None:
        try:
            await self.lease.keep(self._lease_doubtful)
        except LeaseLost as lost:
            self._lease_lost = True
            self._lease_taken = "another broker" in str(lost)
            raise Fatal(str(lost)) from None

    def _lease_doubtful(self, why: str) -> None:
        assert self._context is not None, "the lease is kept after the start"
        self._context.log.warning("lease in doubt", why=why)

    def _switch_changed(self, state: KillSwitch) -> None:
        assert self._context is not None, "the switch is read after the start"
        self._context.log.warning(
            "kill switch", engaged=state.engaged, reason=state.reason, by=state.by
        )
        self._context.metrics.kill_switch_engaged.set(state.engaged)
        now_ns = self._context.now_ns()
        self._context.dispatch(
            e.KillSwitchChanged(
                now_ns=now_ns, engaged=state.engaged, reason=state.reason, by=state.by
            )
        )

    # What others ask

    def admin_services(self) -> Sequence[AddServicer]:
        return (self._admin.add_to,)

    def dispatch(self, event: e.CancelAllAsked | e.GroupResetAsked) -> object:
        """Hand an operator's wish to the core."""
        assert self._context is not None, "operators are heard after recovery"
        return self._context.dispatch(event)

    def now_ns(self) -> int:
        """Return the present time of the run's clock."""
        assert self._context is not None, "operators are heard after recovery"
        return self._context.now_ns()

    async def _sign_websocket(self, request: bytes) -> bytes:
        """Sign `GET /trade-api/ws/v2` at the exchange's present time, and nothing else."""
        try:
            asked = msgspec.json.decode(request[:SIGN_REQUEST_BYTES_MAX], type=dict[str, str])
        except (msgspec.DecodeError, UnicodeDecodeError):
            asked = {}
        if asked != {"path": WEBSOCKET_PATH}:
            text = f'expected {{"path": "{WEBSOCKET_PATH}"}}, the one path that is signed here'
            return msgspec.json.encode({"error": text})
        if not self._signatures.take(1, 0, time.monotonic_ns()):
            text = f"expected at most {SIGNATURES_PER_S} requests a second; ask again shortly"
            return msgspec.json.encode({"error": text})
        signing_ms = self.exchange.client.signing_ms
        return msgspec.json.encode(self._signer.sign(signing_ms, WEBSOCKET_METHOD, WEBSOCKET_PATH))

    # What it shows

    def clock_set(self, by_ns: int) -> e.ClockSet:
        return e.ClockSet(now_ns=self.now_ns(), by_ns=by_ns)

    def detail(self) -> str:
        state = self.core.state
        open_orders = state.open_orders()
        unknown = sum(order.state == "unknown" for order in open_orders)
        held = {ticker: count for ticker, count in state.positions.items() if count}
        gross_e2 = sum(map(abs, held.values()))
        stop = "killed" if self.core.killed else self.core.draining or "trading"
        if stopped := sum(event.group_triggered_ns > 0 for event in state.events.values()):
            stop += f", {stopped} events stopped by their order group"
        dry = "DRY, nothing is sent: " if self.config.mode == "dry" else ""
        return (
            f"{dry}{self.core.phase} {stop}; open {len(open_orders)}, unknown {unknown},"
            f" fills {len(state.fills)}, markets held {len(held)}, contracts held"
            f" {gross_e2 / 100:.2f}"
        )

    async def _show_gauges(self, context: Context) -> None:
        metrics = context.metrics
        while True:
            open_orders = self.core.state.open_orders()
            unknown = sum(order.state == "unknown" for order in open_orders)
            metrics.unknown_orders.set(unknown)
            metrics.resting_orders.set(
                sum(order.state in ("resting", "partially_filled") for order in open_orders)
            )
            for kind, count in self.core.differences.items():
                metrics.book_differences.labels(kind).set(count)
            for state, count in self.core.reached.items():
                metrics.orders_total.labels(state).inc(self._new("orders", state, count))
            for series, count in self.core.booked.items():
                metrics.fills_total.labels(_family(series)).inc(self._new("fills", series, count))
            await asyncio.sleep(GAUGES_EVERY_S)

    async def _tell_session(self, context: Context) -> None:
        """Say how our calls fare, while recovering too: a refused key keeps us from READY."""
        while True:
            now_ns = context.now_ns()
            context.publish(
                ExchangeSession(
                    **envelope(Cause.first("session", str(now_ns), now_ns), self.service),
                    auth_errors=self.exchange.auth_errors,
                    accepted_ns=self.exchange.accepted_ns,
                )
            )
            await context.clock.sleep(SESSION_EVERY_S)

    def _new(self, what: str, label: str, count: int) -> int:
        """Return by how much a running count grew since it was last asked for."""
        before = self._counted.get((what, label), 0)
        self._counted[what, label] = count
        return count - before


async def _tell_rolls(context: Context) -> None:
    """Log each time that the next hour's event becomes the live one (domain.md §4)."""
    active_ns: int | None = None
    while True:
        step = roll(context.now_ns(), active_ns)
        active_ns = step.active_ns
        if step.line is not None:
            context.log.info(step.line)
        await context.clock.sleep(ROLL_CHECK_S)


def _holder(config: BrokerConfig) -> Holder:
    """Name this broker. A process that opened the same admin port is our dead predecessor."""
    place = config.instance
    if not place and config.admin_port:
        place = f"{socket.gethostname()}:{config.admin_port}"
    instance = f"{socket.gethostname()}:{os.getpid()}"
    return Holder(place=place or instance, instance=instance)


def _family(series_ticker: str) -> str:
    try:
        return family_of_series(series_ticker).name
    except UnknownFamilyError:
        return "other"
