"""The real services as simulated processes: their apps and the real runner, nothing between."""

import re
import tempfile
import traceback
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from libs.common.bus import BusError
from libs.common.runner import Fatal, Runner
from libs.common.topology import DAY_S, Service
from libs.kalshi.signing import KEY_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER
from services.broker.app import BrokerApp
from services.broker.config import BrokerConfig
from services.broker.policy import Policy
from services.risk.app import RiskApp
from services.risk.config import RiskConfig
from tests.sim.bus import Link, SimBus
from tests.sim.loop import Process, SimClock
from tests.sim.venue import SimSession, SimTransport

EXPECTED_END = re.compile(
    r"PublishUnknown|PublishRefused|FenceRefused|BusUnavailable|RevisionMismatch|lease|Lease"
    r"|no answer from NATS|given up"
)
"""Why a process may end: NATS or another broker. Anything else is a mistake of its own."""
BACKOFF_S = (0.1, 1.0)
RENEWAL_SHARE = 0.25


def _key_file():
    path = Path(tempfile.mkdtemp(prefix="sim-")) / "key.pem"
    path.touch(mode=0o600)
    key = ed25519.Ed25519PrivateKey.generate()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return str(path)


KEY_FILE = _key_file()


class SimSigner:
    """Names the time of signing; that signatures hold is tested elsewhere."""

    key_id = "sim"

    def sign(self, timestamp_ms, method, path):
        del method, path
        return {KEY_HEADER: "sim", TIMESTAMP_HEADER: str(timestamp_ms), SIGNATURE_HEADER: "sim"}


class NoServer:
    """Stands for the gRPC server, which needs a socket."""

    async def set_serving(self, serving):
        del serving


class Quiet:
    """A log that nobody reads, but for its errors: those are failures of the run."""

    def __init__(self, failures):
        self._failures = failures

    def error(self, event, exc_info=None, **fields):
        if event == "drain took too long":
            return  # the exchange or NATS is out of reach
        text = "".join(traceback.format_exception(exc_info)) if exc_info else ""
        self._failures.append(f"{event} {fields} {text}")

    def warning(self, event, **fields):
        pass

    info = debug = warning


class SimRunner(Runner):
    """The real runner without its two servers."""

    def __init__(self, app, bus, clock, config, failures):
        super().__init__(app, bus, clock, config)
        self.context.log = Quiet(failures)

    async def run(self):
        try:
            await self._until_stopped(self._live(NoServer()))
        finally:
            await self._drain()
            await self.context.cancel_all()
            await self.context.bus.close()


class SimBroker(BrokerApp):
    """The real broker on the simulated internet."""

    def __init__(self, config, world, process):
        super().__init__(config)
        self._signer = SimSigner()
        self._world = world
        self._process = process
        self.session_type = type("Session", (SimSession,), {"world": world})

    def make_transport(self):
        return SimTransport(self._world, self._process, self.config.answer_timeout_s)


class Life:
    """One place in which a service runs: started, killed, started again."""

    service: Service

    def __init__(self, world, name):
        self.world = world
        self.name = name
        self.starts = 0
        self.process = None
        self.link = self.bus = self.app = self.runner = None
        self.failures = []
        self.retired = False
        self.dice = world.dice

    def start(self):
        """Start the process and keep starting it again whenever it ends."""
        if self.retired:
            return
        self.starts += 1
        self.process = Process(f"{self.name}-{self.starts}")
        self.link = Link(self.world, self.dice)
        coroutine = self._live(self.process)
        self.world.loop.start_in(self.process, coroutine, self.process.name)

    def died(self):
        """Start again after the supervisor's wait."""
        self.world.loop.outside(BACKOFF_S[0] + self.dice.random() * BACKOFF_S[1], self.start)

    async def _live(self, process):
        world = self.world
        clock = SimClock(world.loop, world.start_ns, process)
        self.bus = SimBus(world, process, self.service, self.link)
        self.app = self.make_app(process)
        self.runner = SimRunner(self.app, self.bus, clock, self.app_config, self.failures)
        try:
            await self.runner.run()
        except (Fatal, BusError) as end:
            text = f"{type(end).__name__} {end}"
            if not EXPECTED_END.search(text):
                self.failures.append(text)
            world.count_fault(f"end of {self.service}")
        process.alive = False
        self.died()

    def heal(self):
        """End every trouble of this place."""
        self.process.offset_ns = 0
        if self.process.stopped:
            self.world.loop.wake(self.process)
        self.reconnect()

    def reconnect(self):
        """Give the process its connection back."""
        self.link.restore()
        if self.bus is not None and self.process.alive:
            self.bus.resume()


SIMULATED = {
    "nats_url": "simulated",
    "nats_password_file": "",
    "admin_token_file": "",
    "log_level": "error",
}


class BrokerLife(Life):
    """A broker's place."""

    service = Service.BROKER

    def make_app(self, process):
        self.app_config = BrokerConfig(
            service="broker",
            **SIMULATED,
            exchange_rest_url="http://127.0.0.1:1/trade-api/v2",
            exchange_ws_url="ws://127.0.0.1:1/trade-api/ws/v2",
            key_id="sim",
            key_file=KEY_FILE,
            instance=self.name,
            heartbeat_s=5.0,
            epoch_renewal_s=min(RENEWAL_SHARE * self.world.epoch_age_s, DAY_S),
            policy=Policy(settle_after_s=1.0, settle_every_s=2.0),
        )
        return SimBroker(self.app_config, self.world, process)

    @property
    def acts(self):
        """Tell whether this broker is the one that acts now."""
        alive = self.process.alive and not self.process.stopped
        return alive and self.app is not None and self.app.core.phase == "live"

    async def operate(self, what):
        """Engage or release the kill switch as an operator does through this process."""
        switch, world = self.app.switch, self.world

        async def act():
            with suppress(BusError, TimeoutError):
                await getattr(switch, what)("simulation", "operator")

        await_done = world.loop.create_future()
        task = world.loop.start_in(self.process, act(), what)
        task.add_done_callback(lambda _: await_done.done() or await_done.set_result(None))
        world.loop.outside(3.0, lambda: await_done.done() or await_done.set_result(None))
        await await_done


class RiskLife(Life):
    """Risk's place."""

    service = Service.RISK

    def make_app(self, process):
        del process
        self.app_config = RiskConfig(
            mode="sim",
            service="risk",
            **SIMULATED,
            instance=self.name,
            policy=self.world.risk_policy,
        )
        return RiskApp(self.app_config)
