"""Which fault strikes what: the faults in force, their matches, and what was injected. Pure.

The same seed, faults and sequence of requests, frames and times give the same decisions.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from lab.exchange.faults import (
    FAULTS_MAX,
    AcceptThenTimeout,
    Answer,
    ClockOffset,
    Delay,
    DelayFrame,
    Disconnect,
    Drop,
    DuplicateFrame,
    DuplicateRequest,
    Fault,
    FrameFacts,
    Gap,
    Garbage,
    Halt,
    OnFrame,
    OnRequest,
    OnState,
    Pause,
    RequestFacts,
    Silence,
    StaleRead,
    TerminalError,
    TickGrid,
    When,
    like,
)
from lab.exchange.model import NS_PER_S, Structure

NS_PER_MS = 1_000_000
AtOnce = Garbage | TerminalError | Disconnect | Silence
"""Kinds that with `at_s` need no frame: they strike every matching connection at that moment."""


class Entry(Struct, kw_only=True, eq=False):
    """One fault in force, with its counts."""

    number: int
    fault: Fault
    since_ns: int
    matched: int = 0
    injected: int = 0
    done: bool = False
    gaps: dict[int, int] = {}

    def in_window(self, at_ns: int) -> bool:
        """Say whether its time is now."""
        when = self.fault.when
        passed_ns = at_ns - self.since_ns
        if passed_ns < round(when.from_s * NS_PER_S):
            return False
        return when.until_s is None or passed_ns < round(when.until_s * NS_PER_S)


class RequestPlan(Struct, kw_only=True):
    """What happens to one request; all at once where several faults struck it."""

    delay_ns: int = 0
    drop: bool = False
    twice: DuplicateRequest | None = None
    answer: Answer | None = None
    answer_delay_ns: int = 0
    lost: AcceptThenTimeout | None = None
    stale_ns: int = 0


class FramePlan(Struct, kw_only=True):
    """What happens to one frame; `hold_until_ns` keeps it back or, with `lost`, eats it."""

    delay_ns: int = 0
    twice: bool = False
    lost: bool = False
    hold_until_ns: int = 0
    garbage: tuple[str, int] | None = None
    terminal_code: int | None = None
    disconnect: Disconnect | None = None


class FaultBook:
    """The faults in force and the record of what they did."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._numbers = 0
        self.entries: dict[int, Entry] = {}
        self.injected: Counter[str] = Counter()
        self._silences: dict[tuple[int, int], int] = {}
        self._requests: list[Entry] = []
        self._frames: list[Entry] = []
        self._states: list[Entry] = []
        self.reads_stale_ns = 0
        """For how long cancels must be remembered, 0 when nobody asks."""

    # What is in force

    def add(self, fault: Fault, at_ns: int) -> int:
        """Put a fault in force from now on; return its number. Raises ValueError when full."""
        if len(self.entries) >= FAULTS_MAX:
            raise ValueError(f"faults: expected at most {FAULTS_MAX} in force; delete some first")
        self._numbers += 1
        self.entries[self._numbers] = Entry(
            number=self._numbers, fault=fault, since_ns=at_ns, gaps={}
        )
        self._sort()
        return self._numbers

    def remove(self, number: int) -> bool:
        """Lift one fault; say whether it was there. What it injected stays counted."""
        found = self.entries.pop(number, None)
        self._silences = {key: end for key, end in self._silences.items() if key[0] != number}
        self._sort()
        return found is not None

    def clear(self) -> None:
        """Lift all faults."""
        for number in list(self.entries):
            self.remove(number)

    def forget(self, connection: int) -> None:
        """Drop what was kept for a connection that is over."""
        self._silences = {key: end for key, end in self._silences.items() if key[1] != connection}
        for entry in self._frames:
            entry.gaps.pop(connection, None)

    def _sort(self) -> None:
        self._requests = [e for e in self.entries.values() if isinstance(e.fault, OnRequest)]
        self._frames = [e for e in self.entries.values() if isinstance(e.fault, OnFrame)]
        self._states = [e for e in self.entries.values() if isinstance(e.fault, OnState)]
        spans_ms = [e.fault.ms for e in self._requests if isinstance(e.fault, StaleRead)]
        self.reads_stale_ns = max(spans_ms, default=0) * NS_PER_MS

    @property
    def watches_requests(self) -> bool:
        """Say whether requests have to be shown to it at all."""
        return bool(self._requests)

    @property
    def watches_frames(self) -> bool:
        """Say whether frames have to be shown to it at all."""
        return bool(self._frames)

    @property
    def wants_markets(self) -> bool:
        """Say whether the markets that a request names matter."""
        return any(entry.fault.where.markets for entry in self._requests)  # type: ignore[union-attr]

    # Decisions

    def on_request(
        self, facts: RequestFacts, at_ns: int, cancel_age_ns: int | None = None
    ) -> RequestPlan | None:
        """Decide about one request; `cancel_age_ns` is that of the newest cancel it shows."""
        plan: RequestPlan | None = None
        for entry in self._requests:
            fault = entry.fault
            assert isinstance(fault, OnRequest), fault
            if isinstance(fault, StaleRead) and not _is_stale(facts, fault, cancel_age_ns):
                continue
            if fault.where.matches(facts) and self._strikes(entry, fault.when, at_ns):
                plan = plan or RequestPlan()
                _add_to_request(plan, fault)
        return plan

    def on_frame(self, facts: FrameFacts, at_ns: int) -> FramePlan | None:
        """Decide about one frame."""
        plan: FramePlan | None = None
        for entry in self._frames:
            fault = entry.fault
            assert isinstance(fault, OnFrame), fault
            if not fault.where.matches(facts):
                continue
            if facts.sid is None and isinstance(fault, Gap | DuplicateFrame | TerminalError):
                continue
            running = self._continues(entry, facts.connection, at_ns)
            if running is None:
                if _is_timed(fault) or not self._strikes(entry, fault.when, at_ns):
                    continue
                running = self._begins(entry, facts.connection, at_ns)
            plan = plan or FramePlan()
            _add_to_frame(plan, running, fault, self._draw(entry))
        return plan

    def due(self, at_ns: int) -> list[Entry]:
        """Return the timed faults on connections whose moment has come; each only once."""
        due = [
            entry
            for entry in self._frames
            if _is_timed(entry.fault) and not entry.done and _moment_ns(entry) <= at_ns
        ]
        for entry in due:
            entry.done = True
        return due

    def next_moment_ns(self, at_ns: int) -> int | None:
        """Return when `due` or the states have to be asked next, None when never."""
        moments = [
            _moment_ns(entry) for entry in self._frames if _is_timed(entry.fault) and not entry.done
        ]
        for entry in self._states:
            edges = (entry.fault.when.from_s, entry.fault.when.until_s)
            moments += [
                entry.since_ns + round(edge * NS_PER_S) for edge in edges if edge is not None
            ]
        return min((moment for moment in moments if moment > at_ns), default=None)

    def strike_connection(self, entry: Entry, connection: int, at_ns: int) -> FramePlan:
        """Count a timed fault on one connection and return what happens there."""
        assert isinstance(entry.fault, AtOnce), entry.fault
        entry.matched += 1
        self.count(entry)
        plan = FramePlan()
        _add_to_frame(plan, self._begins(entry, connection, at_ns), entry.fault, self._draw(entry))
        return plan

    def stops(self, at_ns: int) -> tuple[bool, bool]:
        """Return whether trading and whether the whole exchange stands still now."""
        what = {
            entry.fault.what
            for entry in self._states
            if isinstance(entry.fault, Pause) and self._is_on(entry, at_ns)
        }
        return bool(what), "exchange" in what

    def halted(self, at_ns: int, tickers: Iterable[str]) -> set[str]:
        """Return those of the markets that stand still now."""
        on = [e for e in self._states if isinstance(e.fault, Halt) and self._is_on(e, at_ns)]
        return {
            ticker
            for ticker in tickers
            for entry in on
            if isinstance(entry.fault, Halt) and like((ticker,), entry.fault.markets)
        }

    def tick_grids(self, at_ns: int, tickers: Iterable[str]) -> dict[str, Structure]:
        """Return the markets that have another tick grid now, with the newest for each."""
        on = [e for e in self._states if isinstance(e.fault, TickGrid) and self._is_on(e, at_ns)]
        return {
            ticker: entry.fault.structure
            for ticker in tickers
            for entry in on
            if isinstance(entry.fault, TickGrid) and like((ticker,), entry.fault.markets)
        }

    def clock_offset_ns(self, at_ns: int, *, checked: bool) -> int:
        """Return how far `Date` is off now, or with `checked` the clock that judges requests."""
        if not self._states:
            return 0
        return sum(
            round(entry.fault.s * NS_PER_S)
            for entry in self._states
            if isinstance(entry.fault, ClockOffset)
            and (entry.fault.checked or not checked)
            and self._is_on(entry, at_ns)
        )

    def is_silent(self, connection: int, at_ns: int) -> bool:
        """Say whether a silence of the whole connection lasts, which eats heartbeats too."""
        return any(
            end_ns > at_ns and self._is_whole(number)
            for (number, of), end_ns in self._silences.items()
            if of == connection
        )

    def count(self, entry: Entry) -> None:
        """Count one injection."""
        entry.injected += 1
        self.injected[_kind(entry.fault)] += 1

    def record(self) -> list[dict[str, Any]]:
        """Return the faults in force with their counts."""
        return [
            {
                "number": entry.number,
                "since_ns": entry.since_ns,
                "matched": entry.matched,
                "injected": entry.injected,
                **msgspec.to_builtins(entry.fault),
            }
            for entry in self.entries.values()
        ]

    # Inside

    def _strikes(self, entry: Entry, when: When, at_ns: int) -> bool:
        if entry.done or at_ns < _moment_ns(entry) or not entry.in_window(at_ns):
            return False
        entry.matched += 1
        if when.nth and entry.matched not in when.nth:
            return False
        if when.every is not None and entry.matched % when.every:
            return False
        if when.probability is not None and self._draw(entry) >= when.probability * 2**64:
            return False
        self.count(entry)
        entry.done = when.at_s is not None or entry.injected == when.count
        return True

    def _draw(self, entry: Entry) -> int:
        text = f"{self._seed}/fault/{entry.number}/{entry.matched}"
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")

    def _is_on(self, entry: Entry, at_ns: int) -> bool:
        on = entry.in_window(at_ns)
        if on and not entry.injected:
            entry.matched += 1
            self.count(entry)
        return on

    def _is_whole(self, number: int) -> bool:
        fault = self.entries[number].fault
        return isinstance(fault, OnFrame) and fault.where.whole_connection

    def _begins(self, entry: Entry, connection: int, at_ns: int) -> int:
        """Start what lasts longer than one frame; return its end, or 0."""
        fault = entry.fault
        if isinstance(fault, Gap):
            entry.gaps[connection] = fault.frames - 1
        if isinstance(fault, Silence):
            end_ns = at_ns + round(fault.s * NS_PER_S)
            self._silences[entry.number, connection] = end_ns
            return end_ns
        return 0

    def _continues(self, entry: Entry, connection: int, at_ns: int) -> int | None:
        """Return the end of a gap or silence that already lasts on a connection, else None."""
        if isinstance(entry.fault, Gap):
            left = entry.gaps.get(connection, 0)
            entry.gaps[connection] = max(0, left - 1)
            return 0 if left else None
        if isinstance(entry.fault, Silence):
            end_ns = self._silences.get((entry.number, connection), 0)
            return end_ns if end_ns > at_ns else None
        return None


def _kind(fault: Fault) -> str:
    tag = fault.__struct_config__.tag
    assert isinstance(tag, str), fault
    return tag


def _is_timed(fault: Fault) -> bool:
    return isinstance(fault, AtOnce) and fault.when.at_s is not None


def _moment_ns(entry: Entry) -> int:
    assert not isinstance(entry.fault, OnState), entry.fault
    return entry.since_ns + round((entry.fault.when.at_s or 0) * NS_PER_S)


def _is_stale(facts: RequestFacts, fault: StaleRead, cancel_age_ns: int | None) -> bool:
    return (
        facts.operation in ("GetOrder", "GetOrders")
        and cancel_age_ns is not None
        and cancel_age_ns < fault.ms * NS_PER_MS
    )


def _add_to_request(plan: RequestPlan, fault: OnRequest) -> None:
    match fault:
        case Delay(part="request"):
            plan.delay_ns += fault.ms * NS_PER_MS
        case Delay():
            plan.answer_delay_ns += fault.ms * NS_PER_MS
        case Drop():
            plan.drop = True
        case AcceptThenTimeout():
            plan.lost = fault
        case DuplicateRequest():
            plan.twice = fault
        case Answer():
            plan.answer = fault
        case StaleRead():
            plan.stale_ns = max(plan.stale_ns, fault.ms * NS_PER_MS)


def _add_to_frame(plan: FramePlan, until_ns: int, fault: OnFrame, draw: int) -> None:
    match fault:
        case DelayFrame():
            plan.delay_ns += fault.ms * NS_PER_MS
        case DuplicateFrame():
            plan.twice = True
        case Gap():
            plan.lost = True
        case Silence(then="lost"):
            plan.lost = True
        case Silence():
            plan.hold_until_ns = max(plan.hold_until_ns, until_ns)
        case Garbage():
            plan.garbage = (fault.what, draw)
        case TerminalError():
            plan.terminal_code = fault.code
        case Disconnect():
            plan.disconnect = fault
