"""Bad messages on every stream and socket of a running demo: it trades on and its books agree."""

import json
import urllib.request
from collections import Counter
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from cli.watcher import Watcher
from libs.common.clock import NS_PER_S, ClockSpec
from libs.common.messages import DeadLetter, Message, Verdict
from libs.common.nats_bus import NatsBus
from libs.common.topology import ORDERS_EPOCH, SERVICES, STREAMS, Service
from tests.e2e.bad_input import SECRET, Bad, bad_messages, send
from tests.e2e.conftest import SPEED
from tests.e2e.rig import Home, Run, assert_good_books, until

pytestmark = pytest.mark.timeout(300)
SILENCE_S = 60
FAULTS = ("garbage@+280s", f"silence@+330s:{SILENCE_S}s", "disconnect@+420s")


async def test_a_demo_survives_bad_input(home: Home) -> None:
    words = [word for fault in FAULTS for word in ("--fault", fault)]
    running = home.start("demo", "--speed", SPEED, "--json", *words)
    run = running.run
    assert run.some_rest()
    sent = await bad_messages_are_refused(run)
    silence = until(lambda: silence_in(run), "the index to fall silent and to come back")
    until(lambda: metric(run, "feeds", "alpha_disconnects_total"), "the socket to be dropped")
    assert metric(run, "feeds", "alpha_frames_bad_total")
    assert not {name: run.last_words(name) for name in SERVICES if run.row(name)["restarts"]}
    await a_fence_that_moved_deposes_the_broker(run)
    verdicts = await stored(run, "VERDICTS")
    assert running.wait() == 0, running.said + running.complained

    unread = sent + Counter({("ORDERS", "undecodable"): 1})  # the fence's
    told = {
        f"{stream}: {sum(n for key, n in unread.items() if key[0] == stream)} messages could not"
        " be read"
        for stream in ("ORDERS", "FILLS")
    }
    assert_good_books(running.said, report_says=told)
    quotes_go_in_silence_and_come_back(run, silence, verdicts)
    for path in (run.root / "log").iterdir():
        assert SECRET not in path.read_text(), path.name
        assert "Traceback" not in path.read_text(), path.name
    assert home.nothing_runs(5)


async def bad_messages_are_refused(run: Run) -> Counter[Any]:
    state = until(run.state, "a state file")
    passwords = passwords_of(run)
    sent = await send(state["nats_url"], passwords, bad_messages(run.now_ns()))
    assert {stream for stream, _ in sent} == {stream.name for stream in STREAMS}
    # Reporting reads every message; the others read ORDERS and FILLS one by one.
    until(lambda: refused(run, "reporting") == sent, f"reporting to refuse {sent}")
    one_by_one = Counter({key: count for key, count in sent.items() if key[0] in "ORDERS FILLS"})
    until(
        lambda: {k: v for k, v in refused(run, "risk").items() if k in one_by_one} == one_by_one,
        f"risk to refuse {one_by_one}",
    )
    letters = [one for one in await stored(run, "DEAD") if isinstance(one, DeadLetter)]
    assert {letter.stream for letter in letters} == {stream.name for stream in STREAMS}
    assert [letter for letter in letters if SECRET in letter.payload + letter.reason] == []
    await run.healthy()
    return sent


async def a_fence_that_moved_deposes_the_broker(run: Run) -> None:
    """Anything on the fence's subject is a newer epoch: the broker gives way, and takes over."""
    garbage = [Bad(Service.BROKER, ORDERS_EPOCH, b"garbage", "undecodable")]
    before = run.row("broker")["restarts"]
    await send(until(run.state, "a state file")["nats_url"], passwords_of(run), garbage)
    run.came_back("broker", before)
    await run.healthy()


def silence_in(run: Run) -> tuple[int, int] | None:
    """Return the longest time without an index level, once it is over, from the raw copy."""
    (raw,) = (run.root / "raw").glob("index*")
    frames = [json.loads(line)["raw"] for line in raw.read_text().splitlines(keepends=True)[:-1]]
    levels = [frame for frame in frames if frame.startswith('[{"ev":"A"') and '"e":' in frame]
    ends = sorted({int(text) for text in map(end_ms, levels) if text})
    gaps = [(after - before, before, after) for before, after in pairwise(ends)]
    longest = max((gap for gap in gaps if gap[0] < 600_000), default=(0, 0, 0))
    if longest[0] < SILENCE_S * 900:
        return None
    return longest[1] * 1_000_000, longest[2] * 1_000_000


def end_ms(frame: str) -> int | None:
    """Return the end of an aggregate; None for the garbage that the simulator mixed in."""
    try:
        return int(json.loads(frame)[0]["e"])
    except (ValueError, KeyError):
        return None


def quotes_go_in_silence_and_come_back(
    run: Run, silence: tuple[int, int], verdicts: list[Message]
) -> None:
    began_ns, ended_ns = silence
    books = run.books()
    stale = [
        verdict
        for verdict in verdicts
        if isinstance(verdict, Verdict)
        and began_ns < verdict.ts_pub_ns < ended_ns + NS_PER_S
        and "polygon_ws_stale" in {gate.reason for gate in verdict.gates if not gate.ok}
    ]
    assert {verdict.decision for verdict in stale} == {"NO-GO"}
    assert any(order.accepted_ns < began_ns for order in books.orders.values())
    assert books.resting_at(ended_ns - NS_PER_S) == []
    assert any(order.accepted_ns > ended_ns for order in books.orders.values())


def passwords_of(run: Run) -> dict[str, str]:
    """Return each NATS user's password of the run."""
    folder = run.root / "secrets"
    return {one: (folder / f"nats-{one}.password").read_text().strip() for one in Service}


async def stored(run: Run, stream: str) -> list[Message]:
    """Return the good messages of a stream, read as the operator's screen does."""
    state = until(run.state, "a state file")
    password = passwords_of(run)[Service.CONSOLE]
    bus = await NatsBus.connect(state["nats_url"], Service.CONSOLE, password)
    watcher = Watcher(bus, msgspec.convert(state["clock"], ClockSpec).build())
    try:
        return await watcher.all_of(stream)
    finally:
        await watcher.close()


def refused(run: Run, service: str) -> Counter[Any]:
    """Return how many messages a service refused, by (stream, reason), from its metrics."""
    found: Counter[Any] = Counter()
    for line in metric(run, service, "alpha_messages_bad_total"):
        labels, value = line.removeprefix("alpha_messages_bad_total{").split("} ")
        values = dict(pair.split("=") for pair in labels.split(","))
        found[values["stream"].strip('"'), values["reason"].strip('"')] = int(float(value))
    return found


def metric(run: Run, service: str, name: str) -> list[str]:
    """Return the lines of one metric as a scraper gets them."""
    state = until(run.state, "a state file")
    token = (run.root / "secrets" / "admin.token").read_text().strip()
    request = urllib.request.Request(
        f"http://127.0.0.1:{state['metrics'][service]}/metrics",
        headers={"Authorization": f"Bearer {token}"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return [line for line in lines if line.startswith(name)]
