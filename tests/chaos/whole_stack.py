"""Scenario 7 on the whole system, as `alpha demo` runs it: the market-data socket goes wrong."""

import asyncio
import time
from collections import Counter

import yaml

from cli.broker_admin import release_kill_switch
from cli.plan import ACCOUNT, choose_window, make_plan, window_clock
from cli.run_directory import RunDirectory
from cli.stack import Stack
from lab.exchange.books import AccountBooks, read_books, read_requests
from lab.simulated import at_speed
from libs.common.bus import BusError
from libs.common.messages import (
    BadMessage,
    LadderDefined,
    LadderSnapshot,
    Verdict,
    decode,
)
from libs.common.nats_bus import NatsBus
from libs.common.topology import Service
from tests.chaos.checks import check_requests
from tests.services.broker.rig import S
from tests.sim.checks import Record, check_record
from tests.sim.truth import Violation

STREAMS = ("LADDERS", "VERDICTS", "ORDERS", "FILLS")
SPEED = 2.0
LEAD_S = 12.0
TRADES_S = 75.0
SLACK_NS = S
"""What risk was told so short before its verdict may have been under way still."""
BOOKS = {"channels": ["orderbook_delta"]}
FAULTS = [
    {"fault": "gap", "frames": 50, "where": BOOKS, "when": {"at_s": 40}},
    {"fault": "garbage", "where": BOOKS, "when": {"at_s": 55}},
    {"fault": "terminal_error", "code": 10, "where": BOOKS, "when": {"at_s": 65}},
    {"fault": "terminal_error", "code": 25, "where": BOOKS, "when": {"at_s": 75}},
    {"fault": "silence", "s": 30, "then": "lost", "where": BOOKS, "when": {"at_s": 85}},
    *({"fault": "disconnect", "when": {"at_s": 125 + 2 * turn}} for turn in range(5)),
    {"fault": "gap", "frames": 50, "where": BOOKS, "when": {"at_s": 145}},
]
"""Seconds of the exchange's time from its start."""


async def bad_books(directory, dice, result):
    """7: gaps of 50 deltas, 30 s of silence, garbage, terminal errors, a storm of reconnects."""
    window = choose_window(seed=dice.randrange(1_000), bars=(), day=None, hour=None)
    run = RunDirectory.create(directory / "run")
    clock = window_clock(window, SPEED, LEAD_S, time.time_ns())
    plan = make_plan(run, window, clock, at_speed(SPEED))
    config = run.configs / "exchange.yaml"
    values = yaml.safe_load(config.read_text())
    values["exchange"]["faults"] = FAULTS
    config.write_text(yaml.safe_dump(values))
    stack = Stack(plan)
    try:
        await stack.start()
        await release_kill_switch(run, plan.addresses.admin, "chaos")
        await asyncio.sleep(TRADES_S)
        await stack.supervisor.stop(["broker"])
        await asyncio.sleep(1.0)
        logs = await _read(run, plan)
    finally:
        await stack.stop()
    books = read_books(run.truth_log).get(ACCOUNT, AccountBooks(account=ACCOUNT))
    result["orders"], result["fills"] = len(books.orders), len(books.fills)
    result["faults"] = Counter({f"frames: {one['fault']}": 1 for one in FAULTS})
    result["faults"]["frames: gap"], result["faults"]["frames: disconnect"] = 2, 5
    _check_books(logs)
    filled = Counter(
        (one["trade_id"], one["order_id"], one["count_e2"], one["fee_e6"]) for one in books.fills
    )
    check_record(
        Record(
            orders=logs["ORDERS"],
            fills=logs["FILLS"],
            held=list(books.orders.values()),
            filled=filled,
            due=Counter(),
            positions=books.positions_e2,
        )
    )
    check_requests(read_requests(run.truth_log), logs["ORDERS"], logs["VERDICTS"], [])
    if left := [one for one in books.orders.values() if one.ended_ns is None]:
        raise Violation(f"I9 rests after the end: {left[0]}")
    return max(stale_spans(logs["LADDERS"]), default=0.0) / SPEED


async def _read(run, plan):
    password = run.token(f"nats-{Service.REPORTING}.password").read_text()
    bus = await NatsBus.connect(plan.addresses.nats_url, Service.REPORTING, password)
    try:
        return {
            name: await _stream(bus, name) for name in ("LADDERS", "VERDICTS", "ORDERS", "FILLS")
        }
    finally:
        await bus.close()


async def _stream(bus, name):
    found, after = [], 0
    while batch := await bus.read(name, after, 1_000):
        for stored in batch:
            try:
                found.append(decode(stored.data))
            except BadMessage as error:
                raise BusError(f"{name} {stored.sequence}: {error}") from error
        after = batch[-1].sequence
    return found


def _told(ladders):
    """Yield (when, event, stale tickers) of each snapshot."""
    tickers = {}
    for message in ladders:
        if isinstance(message, LadderDefined):
            tickers[message.ladder_id] = message.tickers
        elif isinstance(message, LadderSnapshot) and message.ladder_id in tickers:
            names = tickers[message.ladder_id]
            yield message.ts_pub_ns, message.event_ticker, {names[rung] for rung in message.stale}


def _check_books(logs):
    """I4: no GO holds a quote in a market that was told to be stale; and some were."""
    told = {}
    for at_ns, event, stale in _told(logs["LADDERS"]):
        told.setdefault(event, []).append((at_ns, stale))
    if not any(stale for snapshots in told.values() for _, stale in snapshots):
        raise Violation("I4 no book was ever marked stale: the faults did not strike")
    for verdict in logs["VERDICTS"]:
        if not isinstance(verdict, Verdict) or not verdict.quotes:
            continue
        known = [one for one in told.get(verdict.event_ticker, ()) if one[0] < verdict.ts_pub_ns]
        if not known or known[-1][0] > verdict.ts_pub_ns - SLACK_NS:
            # One that came within the slack clears or condemns together with the one before it.
            known = known[-2:]
            stale = set.intersection(*(one[1] for one in known)) if known else set()
        else:
            stale = known[-1][1]
        if bad := [one.ticker for one in verdict.quotes if one.ticker in stale]:
            raise Violation(f"I4 {verdict.id} approves quotes in stale {bad}")


def stale_spans(ladders):
    """Return for how long, in the run's seconds, each event had a stale book at a stretch."""
    spans, since = [], {}
    for at_ns, event, stale in _told(ladders):
        if stale:
            since.setdefault(event, at_ns)
        elif event in since:
            spans.append((at_ns - since.pop(event)) / S)
    return spans
