"""What verdicts allowed and may still become orders: reserved from the moment a verdict is given.

The broker keeps one order per market and side and lets fills since the verdict use its allowance
up, so an allowance is a *reach*: the position (in the side's direction) up to which it may fill.
"""

from collections.abc import Iterator

from msgspec import Struct

from libs.common.messages import OrderIntent, Side, Verdict

Key = tuple[str, Side]
ENTRIES_MAX = 256
"""Allowances remembered per market and side; beyond it the oldest two become their worst."""


class Allowance(Struct, frozen=True, gc=False):
    """Fills at a price up to a reach, until `ends_ns`; `given_ns` is when its verdict was given."""

    price_e4: int
    reach_e2: int
    given_ns: int
    ends_ns: int


def directed_e2(side: Side, position_e2: int) -> int:
    """Return a position as seen from a side: what a bid adds to, or an ask."""
    return position_e2 if side == "bid" else -position_e2


class Reservations:
    """The allowances of all events that have not ended."""

    def __init__(self, grace_ns: int) -> None:
        self._grace_ns = grace_ns
        self._events: dict[str, dict[Key, list[Allowance]]] = {}
        self._given: dict[str, dict[str, tuple[int, int]]] = {}
        self._versions: dict[str, int] = {}
        self._due_ns: dict[str, int] = {}
        """Nothing of an event ends before."""

    def version(self, event_ticker: str) -> int:
        """Return a number that changes whenever more or less is reserved for an event."""
        return self._versions.get(event_ticker, 0)

    def events(self) -> Iterator[str]:
        """Yield the events for which something is reserved."""
        yield from self._events

    def give(self, verdict: Verdict) -> None:
        """Reserve what a verdict allows; a NO-GO allows nothing and takes nothing back."""
        if not verdict.quotes:
            return
        event_ticker = verdict.event_ticker
        ends_ns = verdict.expires_at_ns + self._grace_ns
        given = self._given.setdefault(event_ticker, {})
        given[verdict.id] = verdict.ts_pub_ns, ends_ns
        self._due_ns[event_ticker] = min(ends_ns, self._due_ns.get(event_ticker, ends_ns))
        keys = self._events.setdefault(event_ticker, {})
        given_ns = verdict.ts_pub_ns
        for quote in verdict.quotes:
            price_e4 = quote.price_e4
            reach_e2 = directed_e2(quote.side, quote.position_e2 or 0) + quote.count_e2
            fresh = Allowance(price_e4, reach_e2, given_ns, ends_ns)
            key: Key = (quote.ticker, quote.side)
            known = keys.get(key, [])
            same = [one for one in known if one.price_e4 == price_e4 and one.reach_e2 == reach_e2]
            if len(known) == 1 and same:
                known[0] = fresh  # renewed, as most are: nothing more is at risk than before
                continue
            kept = [one for one in known if one.price_e4 != price_e4 or one.reach_e2 > reach_e2]
            if not same or len(kept) + 1 != len(known):
                self._touch(event_ticker)
            if len(kept) >= ENTRIES_MAX:
                kept = [_merged(quote.side, kept[0], kept[1]), *kept[2:]]
            keys[key] = [*kept, fresh]

    def acted(self, intent: OrderIntent) -> None:
        """Release what older verdicts allowed: the broker places for this one now.

        Its intents are in one stream in the order in which they were made, so whatever it did
        for an older verdict is an order by now.
        """
        known = self._given.get(intent.event_ticker, {}).get(intent.verdict_id)
        keys = self._events.get(intent.event_ticker)
        if intent.action != "place" or known is None or keys is None:
            return
        given_ns = known[0]
        for key, entries in list(keys.items()):
            if len(entries) == 1 and entries[0].given_ns >= given_ns:
                continue
            kept = [one for one in entries if one.given_ns >= given_ns]
            if len(kept) != len(entries):
                self._keep(intent.event_ticker, key, kept)
        given = self._given[intent.event_ticker]
        if len(given) > 1:
            self._given[intent.event_ticker] = {k: v for k, v in given.items() if v[0] >= given_ns}

    def of(self, event_ticker: str, now_ns: int) -> dict[Key, list[Allowance]]:
        """Return what is reserved for an event now, ended allowances released."""
        keys = self._events.get(event_ticker)
        if keys is None:
            return {}
        if now_ns < self._due_ns[event_ticker]:
            return keys
        for key, entries in list(keys.items()):
            kept = [one for one in entries if one.ends_ns > now_ns]
            if len(kept) != len(entries):
                self._keep(event_ticker, key, kept)
        given = {k: v for k, v in self._given[event_ticker].items() if v[1] > now_ns}
        if keys or given:
            self._given[event_ticker] = given
            ends_ns = [one.ends_ns for entries in keys.values() for one in entries]
            self._due_ns[event_ticker] = min(ends_ns + [end_ns for _, end_ns in given.values()])
        else:
            del self._events[event_ticker], self._given[event_ticker], self._due_ns[event_ticker]
        return keys

    def next_end_ns(self, event_ticker: str) -> int:
        """Return when the next allowance of an event ends, 0 if there is none."""
        keys = self._events.get(event_ticker, {})
        return min((one.ends_ns for entries in keys.values() for one in entries), default=0)

    def _keep(self, event_ticker: str, key: Key, kept: list[Allowance]) -> None:
        self._touch(event_ticker)
        if kept:
            self._events[event_ticker][key] = kept
        else:
            del self._events[event_ticker][key]

    def _touch(self, event_ticker: str) -> None:
        self._versions[event_ticker] = self._versions.get(event_ticker, 0) + 1


def _merged(side: Side, one: Allowance, other: Allowance) -> Allowance:
    """Return one allowance that is worth at least as much as two."""
    dearer = max if side == "bid" else min
    return Allowance(
        dearer(one.price_e4, other.price_e4),
        max(one.reach_e2, other.reach_e2),
        max(one.given_ns, other.given_ns),
        max(one.ends_ns, other.ends_ns),
    )
