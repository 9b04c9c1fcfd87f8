"""The live cores in one process and in virtual time: what the runner and the bus do, without them.

Each service is its own `core.py` and nothing else of it. What it publishes is encoded, stored and
handed to the readers that the topology names, a hop later; its timers come back to it; its other
effects go to whoever stands for the outside world.
"""

from collections.abc import Callable, Mapping

from lab.drive.carrier import Carrier
from lab.drive.effects import EffectLog
from lab.drive.schedule import Schedule
from libs.common.bus import Fence
from libs.common.effects import (
    CancelTimer,
    Core,
    Effect,
    Event,
    Publish,
    Received,
    SetTimer,
    TimerFired,
)
from libs.common.messages import Message, encode
from libs.common.topology import ORDERS_EPOCH, SUBJECTS, Service, subject_of

Perform = Callable[[Effect], None]
Watch = Callable[[str, int, str, Message, bytes], None]
"""Told of every stored message: stream, sequence, subject, message, its bytes."""

_STREAM_OF = {kind: subject.stream for subject in SUBJECTS for kind in subject.carries}


class Stage:
    """One service: its core, its timers, and where its effects go."""

    def __init__(self, services: "Services", service: Service, core: Core) -> None:
        self.service = service
        self.core = core
        self.fence: Fence | None = None
        self.perform: Perform = self._nobody
        self._services = services
        self._timers: dict[str, int] = {}
        self._set = 0

    def restart(self, core: Core) -> None:
        """Go on with a new core, as a process that starts again: its timers are gone."""
        self.core = core
        self._timers.clear()

    def dispatch(self, event: Event) -> None:
        """Let the core handle an event and do what it wants, in order."""
        services = self._services
        effects = self.core.handle(event)
        for effect in effects:
            kind = type(effect)
            if kind is Publish:
                services.publish(self, effect)  # type: ignore[arg-type]
                continue
            services.effects.add(self.service, services.schedule.now_ns, effect)
            if kind is SetTimer:
                self._set_timer(effect)  # type: ignore[arg-type]
            elif kind is CancelTimer:
                self._timers.pop(effect.key, None)  # type: ignore[attr-defined]
            else:
                self.perform(effect)

    def _set_timer(self, effect: SetTimer) -> None:
        self._set += 1
        self._timers[effect.key] = self._set
        self._services.schedule.at(effect.at_ns, self._fire, effect.key, effect.at_ns, self._set)

    def _fire(self, key: str, at_ns: int, number: int) -> None:
        if self._timers.get(key) == number:
            del self._timers[key]
            now_ns = self._services.schedule.now_ns
            self.dispatch(TimerFired(now_ns=now_ns, key=key, at_ns=at_ns))

    def _nobody(self, effect: Effect) -> None:
        raise AssertionError(f"{self.service}: no one performs {type(effect).__name__}")


class Services:
    """All driven services, and the messages between them."""

    def __init__(
        self,
        schedule: Schedule,
        carrier: Carrier,
        effects: EffectLog,
        cores: Mapping[Service, Core],
        hop_ns: int,
    ) -> None:
        self.schedule = schedule
        self.effects = effects
        self.watch: Watch | None = None
        self.published = 0
        self._carrier = carrier
        self._last: dict[str, int] = {}
        self._hop_ns = hop_ns
        self._stages = {name: Stage(self, name, core) for name, core in cores.items()}
        self._readers = {
            kind: tuple(
                self._stages[reader]
                for reader in subject.readers
                if reader in self._stages and reader is not Service.REPORTING
            )
            for subject in SUBJECTS
            for kind in subject.carries
        }

    def __getitem__(self, service: Service) -> Stage:
        return self._stages[service]

    def publish(self, writer: Stage, effect: Publish) -> None:
        """Store a service's message and send it on its way to its readers."""
        fence = writer.fence if effect.fenced else None
        assert fence is not None or not effect.fenced, "a fenced message needs an epoch"
        self.say(writer.service, effect.message, effect, fence)

    def say(
        self,
        service: Service,
        message: Message,
        effect: Publish | None = None,
        fence: Fence | None = None,
    ) -> int:
        """Store a message of a service and send it on; return its sequence. Raises BusError."""
        data, subject = encode(message), subject_of(message)
        self.effects.add(service, self.schedule.now_ns, effect or Publish(message=message), data)
        sequence = self._carrier.publish(service, subject, data, message.id, fence)
        stream = _STREAM_OF[type(message)]
        if sequence <= self._last.get(stream, 0):  # said before: the bus dropped the copy
            return sequence
        self._last[stream] = sequence
        self.published += 1
        if self.watch is not None:
            self.watch(stream, sequence, subject, message, data)
        if readers := self._readers[type(message)]:
            at_ns = self.schedule.now_ns + self._hop_ns
            self.schedule.at(at_ns, self._deliver, readers, message, stream, sequence)
        return sequence

    def take_fence(self, service: Service, sequence: int) -> None:
        """Let a service write under the epoch that was stored with that sequence."""
        self._stages[service].fence = Fence(ORDERS_EPOCH, sequence)

    def _deliver(
        self, readers: tuple[Stage, ...], message: Message, stream: str, sequence: int
    ) -> None:
        now_ns, fetch = self.schedule.now_ns, self._carrier.fetch
        for stage in readers:
            given = fetch(stage.service, stream, sequence, message)
            stage.dispatch(Received(now_ns=now_ns, message=given, stream=stream, sequence=sequence))
