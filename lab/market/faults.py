"""Faults that the index simulator shows on demand, at set times after its start.

`silence@+120s:5s` sends nothing for five seconds, `garbage@+60s` sends one frame of each bad
kind, `disconnect@+200s` drops every connection. Times are virtual seconds.
"""

import re
from collections.abc import Sequence
from typing import Literal, cast

from msgspec import Struct

from libs.domain.eastern import NS_PER_S as NS_PER_S

FAULTS_MAX = 64
Kind = Literal["silence", "garbage", "disconnect"]
_FORM = re.compile(r"(silence|garbage|disconnect)@\+(\d{1,6})s(?::(\d{1,5})s)?")


class FaultError(ValueError):
    """A fault that cannot be read; the message says what form is expected."""


class Fault(Struct, frozen=True):
    """One fault over [start_ns, end_ns), both counted from the simulator's start."""

    kind: Kind
    start_ns: int
    end_ns: int


def parse_faults(texts: Sequence[str]) -> tuple[Fault, ...]:
    """Read faults in order of time. Raises FaultError."""
    if len(texts) > FAULTS_MAX:
        raise FaultError(f"faults: expected at most {FAULTS_MAX}, found {len(texts)}")
    return tuple(sorted((_parse(text) for text in texts), key=lambda fault: fault.start_ns))


def _parse(text: str) -> Fault:
    match = _FORM.fullmatch(text)
    if match is None:
        form = "silence@+120s:5s, garbage@+60s or disconnect@+200s"
        raise FaultError(f"fault {text!r}: expected a form like {form}")
    kind, start, duration = match.groups()
    if (kind == "silence") != (duration is not None):
        needs = "a duration, as silence@+120s:5s" if kind == "silence" else "no duration"
        raise FaultError(f"fault {text!r}: {kind} takes {needs}")
    start_ns = int(start) * NS_PER_S
    end_ns = start_ns + int(duration or 1) * NS_PER_S
    return Fault(cast(Kind, kind), start_ns, end_ns)


def bad_frames(at_ns: int) -> list[str | bytes]:
    """Return one frame of each kind that a careful client must survive and refuse."""
    end_ms = at_ns // 1_000_000
    start_ms = end_ms - 1_000
    tail = f'"s":{start_ms},"e":{end_ms}}}]'
    later = f'"s":{start_ms + 3_600_000},"e":{end_ms + 3_600_000}}}]'
    head = '[{"ev":"A","sym":"I:SPX","op":6800.0,'
    return [
        head + '"o":6800.0,"c":',  # truncated
        '[{"ev":"ZZ","sym":"I:SPX"}]',  # unknown event
        "not json",
        b"\x00\xff\xfe",
        head + '"o":"x","h":"x","l":"x","c":"x",' + tail,  # wrong types
        head + '"o":-1.0,"h":-1.0,"l":-1.0,"c":-1.0,' + tail,  # out of range
        head + '"o":1.0,"h":1.0,"l":1.0,"c":1.0,' + later,  # an hour in the future
    ]
