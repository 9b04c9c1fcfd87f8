"""What goes wrong: phases of a few seconds drawn from the seed, with calm between."""

from tests.sim.actors import TARGET_NS, TICKERS, S
from tests.sim.points import BROKER_POINTS, RISK_POINTS
from tests.sim.services import BrokerLife, RiskLife

LAST_TROUBLE_S = 4.0
"""Trouble may last until so long after the target."""


async def trouble(world, dice):
    """Make phases of trouble until the time for healing has come."""
    end_ns = TARGET_NS + round(dice.choice((-12, -6, -3, -1, 1, LAST_TROUBLE_S)) * S)
    chosen = dice.sample(PHASES, 3)
    while world.true_ns() < end_ns:
        phase = dice.choice((*chosen, calm))
        lasts_s = dice.choice((1.0, 2.0, 4.0, 7.0))
        lasts_s = min(lasts_s, max(0.1, (end_ns - world.true_ns()) / S))
        await phase(world, dice, lasts_s)


async def calm(world, dice, lasts_s):
    del dice
    await world.sleep(lasts_s)


async def killed(world, dice, lasts_s):
    """SIGKILL at one or two points, when they are passed for the n-th time."""
    for _ in range(dice.choice((1, 1, 2))):
        points = BROKER_POINTS if dice.random() < 0.85 else RISK_POINTS
        world.deaths[dice.choice(world.points or points)] = dice.choice((0, 0, 0, 1, 2))
    await world.sleep(lasts_s)


async def killed_at_any_time(world, dice, lasts_s):
    life = dice.choice(world.lives)
    await world.sleep(lasts_s * dice.random())
    if life.process.alive:
        world.kill(life.process, "any time")
    await world.sleep(lasts_s / 2)


async def storm(world, dice, lasts_s):
    """The exchange answers badly, late, or not at all."""
    world.wire.rate = dice.choice((0.1, 0.3, 0.7))
    world.wire.faults = dice.sample(world.wire.FAULTS, dice.choice((2, 5, len(world.wire.FAULTS))))
    await world.sleep(lasts_s)
    world.wire.rate = 0.0


async def stale_reads(world, dice, lasts_s):
    world.wire.stale_rate = dice.choice((0.3, 1.0))
    world.count_fault("stale reads")
    await world.sleep(lasts_s)
    world.wire.stale_rate = 0.0


async def exchange_unreachable(world, dice, lasts_s):
    """No request comes through and all sockets are cut."""
    del dice
    world.count_fault("exchange unreachable")
    world.wire.is_down = True
    for socket in list(world.venue.connections):
        socket.cut()
    await world.sleep(lasts_s)
    world.wire.is_down = False


async def bad_socket(world, dice, lasts_s):
    """Frames are lost, doubled, cut in half; the socket falls silent, errs, or is cut."""
    world.frame_faults = {
        fault: dice.choice((0.0, 0.2, 0.8)) for fault in ("gap", "twice", "garbage")
    }
    what = dice.choice(("", "cut", "silence", "error 10", "error 25", "cuts"))
    if what:
        world.count_fault(f"socket {what}")
    if what == "silence":
        world.silent_until_s = world.loop.time() + lasts_s
    for _ in range(4 if what == "cuts" else 1):
        for socket in list(world.venue.connections):
            if what in ("cut", "cuts"):
                socket.cut()
            elif what.startswith("error"):
                socket.say_error(int(what.split()[1]))
        await world.sleep(lasts_s / 4)
    await world.sleep(lasts_s / 2)
    world.frame_faults = {}


async def slow_bus(world, dice, lasts_s):
    life = dice.choice(world.lives)
    life.link.slow_s = dice.choice((0.05, 0.3))
    world.count_fault("slow NATS")
    await world.sleep(lasts_s)
    life.link.slow_s = 0.0


async def cut_from_bus(world, dice, lasts_s):
    """The connection to NATS breaks, or only the server's answers are lost."""
    life = dice.choice(world.lives)
    if dice.random() < 0.5:
        life.link.is_mute = True
        world.count_fault("NATS mute")
    else:
        life.link.cut()
        world.count_fault("NATS cut")
    await world.sleep(lasts_s * dice.choice((0.1, 1.0, 2.0)))
    life.reconnect()


async def stalled_bus(world, dice, lasts_s):
    """Messages arrive after their publisher gave up: ghosts."""
    life = dice.choice(world.lives)
    life.link.stalled_until_s = world.loop.time() + dice.choice((3.0, 9.0, 11.0, 12.5))
    world.count_fault("NATS stalled")
    await world.sleep(lasts_s)


async def stopped(world, dice, lasts_s):
    """SIGSTOP, perhaps for longer than the lease lives, with or without a standby."""
    life = dice.choice(world.lives)
    process = life.process
    process.stopped = True
    world.count_fault("SIGSTOP")
    await world.sleep(lasts_s * dice.choice((0.3, 1.0, 2.0)))
    if process.alive:
        world.loop.wake(process)


async def standby(world, dice, lasts_s):
    """A second broker waits; the first one is stopped for three lease TTLs and wakes."""
    brokers = [life for life in world.lives if isinstance(life, BrokerLife)]
    if len(brokers) < 2:
        second = BrokerLife(world, "broker-2")
        world.lives.append(second)
        second.start()
        await world.sleep(lasts_s / 2)
    process = dice.choice(brokers).process
    world.count_fault("SIGSTOP with a standby")
    if world.seed % 2 and (leader := world.leader()) is not None:
        # Between the word that its intent is stored and the request: the worst moment of all.
        process = leader.process
        world.stop_point = "intent.place.acked"
        for _ in range(40):
            await world.sleep(0.05)
            if process.stopped:
                break
    process.stopped = True
    await world.sleep(dice.choice((3.0, 13.0)))
    if process.alive:
        world.loop.wake(process)


async def kill_switch(world, dice, lasts_s):
    broker = world.leader()
    if broker is None:
        return
    world.count_fault("kill switch")
    await broker.operate("engage")
    await world.sleep(lasts_s / 2)
    for _ in range(40):
        if (broker := world.leader()) is not None:
            await broker.operate("release")
            return
        await world.sleep(0.25)
    del dice


async def clock_step(world, dice, lasts_s):
    """The clock of one process is set wrong, and right again."""
    process = dice.choice(world.lives).process
    process.offset_ns = round(dice.choice((-300, -20, -2, -0.4, 0.4, 2, 20, 300)) * S)
    world.count_fault("clock step")
    await world.sleep(lasts_s)
    process.offset_ns = 0


async def gaps(world, dice, lasts_s):
    """Books of some rungs have a gap, or nothing is heard of any."""
    if dice.random() < 0.3:
        world.outside.quiet = True
        world.count_fault("market data silent")
    else:
        rungs = range(len(TICKERS))
        world.outside.stale = tuple(sorted(dice.sample(rungs, dice.choice((1, 2, 3)))))
        world.count_fault("book gap")
    await world.sleep(lasts_s)
    world.outside.quiet, world.outside.stale = False, ()


async def paused(world, dice, lasts_s):
    """The exchange stops trading or altogether."""
    world.venue.engine.set_pause(
        exchange_active=dice.choice((True, False)), trading_active=False, now_ns=world.true_ns()
    )
    world.count_fault("exchange paused")
    await world.sleep(lasts_s / 2)
    world.venue.engine.set_pause(exchange_active=True, trading_active=True, now_ns=world.true_ns())


PHASES = (
    killed,
    killed,
    killed,
    killed_at_any_time,
    storm,
    storm,
    stale_reads,
    exchange_unreachable,
    bad_socket,
    bad_socket,
    slow_bus,
    cut_from_bus,
    stalled_bus,
    stopped,
    standby,
    kill_switch,
    clock_step,
    gaps,
    paused,
)
__all__ = ["PHASES", "RiskLife", "trouble"]
