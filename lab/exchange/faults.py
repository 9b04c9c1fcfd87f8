"""The faults that the exchange shows on demand: what each is, whom it strikes and when.

A fault is one mapping with `fault` (its kind), the fields of the kind, `where` (a selector: all
given parts must match, an empty one matches all) and `when` (a trigger). Seconds count in the
exchange's time from the moment the fault was handed over: its start for a scenario file, the
call for the admin endpoint.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from msgspec import Struct

from lab.exchange.model import Structure
from libs.common.config import ConfigError, load_list, read_as

FAULTS_MAX = 256
NAMES_MAX = 1_000
SECONDS_MAX = 1_000_000.0
MS_MAX = 600_000
FRAMES_MAX = 100_000
HANDSHAKE = "WebSocketHandshake"
"""The operation name of a WebSocket handshake."""


def _within(value: str, wanted: tuple[str, ...]) -> bool:
    return not wanted or value in wanted


def like(values: tuple[str, ...], patterns: tuple[str, ...]) -> bool:
    """Say whether one of the values is like one of the patterns, or there are none."""
    return not patterns or any(
        fnmatchcase(value, pattern) for value in values for pattern in patterns
    )


def _check_names(where: "RequestWhere | FrameWhere") -> None:
    for name in where.__struct_fields__:
        values = getattr(where, name)
        if len(values) > NAMES_MAX or not all(values):
            raise ValueError(f"{name}: expected at most {NAMES_MAX} words, none empty")


def _check_window(from_s: float, until_s: float | None) -> None:
    _check_range("from_s", from_s, 0, SECONDS_MAX)
    if until_s is not None:
        _check_range("until_s", until_s, 0, SECONDS_MAX)
        if until_s <= from_s:
            raise ValueError(f"until_s: expected more than from_s {from_s:g}, given {until_s:g}")


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name}: expected {low:g} to {high:g}, given {value:g}")


class _Part(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    pass


class RequestWhere(_Part, frozen=True):
    """Which requests. `paths` (below /trade-api/v2) and `markets` may hold `*`."""

    operations: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    markets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_names(self)
        if unknown := [name for name in self.methods if not name.isupper()]:
            raise ValueError(f"methods: expected upper-case words, given {unknown[0]!r}")

    def matches(self, facts: "RequestFacts") -> bool:
        """Say whether a request is one of these."""
        return (
            _within(facts.operation, self.operations)
            and _within(facts.method, self.methods)
            and like((facts.path,), self.paths)
            and _within(facts.key_id, self.keys)
            and _within(facts.account, self.accounts)
            and like(facts.markets, self.markets)
        )


class FrameWhere(_Part, frozen=True):
    """Which WebSocket frames. `types` are those of the wire; `markets` may hold `*`."""

    channels: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    markets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_names(self)

    def matches(self, facts: "FrameFacts") -> bool:
        """Say whether a frame is one of these."""
        return (
            _within(facts.channel, self.channels)
            and _within(facts.type, self.types)
            and _within(facts.key_id, self.keys)
            and _within(facts.account, self.accounts)
            and like((facts.market,), self.markets)
        )

    @property
    def whole_connection(self) -> bool:
        """Say whether every frame of a connection is one of these."""
        return not (self.channels or self.types or self.markets)


class When(_Part, frozen=True):
    """When a fault strikes: at every match unless something is given, and then if all hold.

    `at_s` is once, at that moment. `nth` are running numbers of matches from 1, counted between
    `from_s` and `until_s`; `probability` is drawn from the seed; `count` is how often at most.
    """

    at_s: float | None = None
    from_s: float = 0.0
    until_s: float | None = None
    nth: tuple[int, ...] = ()
    every: int | None = None
    probability: float | None = None
    count: int | None = None

    def __post_init__(self) -> None:
        _check_window(self.from_s, self.until_s)
        if self.at_s is not None:
            _check_range("at_s", self.at_s, 0, SECONDS_MAX)
            others = (self.from_s, self.until_s, self.nth, self.every, self.probability, self.count)
            if any(others):
                raise ValueError("at_s: expected nothing else beside it, it is once")
        if len(self.nth) > NAMES_MAX or any(number < 1 for number in self.nth):
            raise ValueError(f"nth: expected at most {NAMES_MAX} numbers from 1")
        if self.every is not None:
            _check_range("every", self.every, 1, 10**9)
        if self.probability is not None:
            _check_range("probability", self.probability, 0, 1)
        if self.count is not None:
            _check_range("count", self.count, 1, 10**9)


class Window(_Part, frozen=True):
    """While a state lasts."""

    from_s: float = 0.0
    until_s: float | None = None

    def __post_init__(self) -> None:
        _check_window(self.from_s, self.until_s)


class _OnRequest(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="fault"):
    where: RequestWhere = RequestWhere()
    when: When = When()


class Delay(_OnRequest, frozen=True, tag="delay"):
    """Wait before the request is handled, or before its answer leaves."""

    ms: int
    part: Literal["request", "answer"] = "request"

    def __post_init__(self) -> None:
        _check_range("ms", self.ms, 1, MS_MAX)


class Drop(_OnRequest, frozen=True, tag="drop"):
    """Cut the connection; the request is never handled."""


class AcceptThenTimeout(_OnRequest, frozen=True, tag="accept_then_timeout"):
    """Carry the request out and never answer; the connection is cut after `hold_s`."""

    hold_s: float = 30.0

    def __post_init__(self) -> None:
        _check_range("hold_s", self.hold_s, 0, MS_MAX / 1000)


class DuplicateRequest(_OnRequest, frozen=True, tag="duplicate_request"):
    """Handle the request twice, as if the network had repeated it, and show one of the answers."""

    shown: Literal["first", "second"] = "second"


class Answer(_OnRequest, frozen=True, tag="answer"):
    """Answer with an error; `carried_out` says whether the request was handled all the same."""

    status: Literal[409, 429, 500, 503]
    carried_out: bool = False


class StaleRead(_OnRequest, frozen=True, tag="stale_read"):
    """Show an order as resting in GetOrder and GetOrders for `ms` after its cancel."""

    ms: int = 360

    def __post_init__(self) -> None:
        _check_range("ms", self.ms, 1, MS_MAX)


class _OnFrame(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="fault"):
    where: FrameWhere = FrameWhere()
    when: When = When()

    def __post_init__(self) -> None:
        if self.when.at_s is not None and self.where.types:
            raise ValueError("when.at_s: expected no where.types beside it, it waits for no frame")


class DelayFrame(_OnFrame, frozen=True, tag="delay_frame"):
    """Send a frame, and what comes after it on its connection, later."""

    ms: int

    def __post_init__(self) -> None:
        _OnFrame.__post_init__(self)
        _check_range("ms", self.ms, 1, MS_MAX)


class DuplicateFrame(_OnFrame, frozen=True, tag="duplicate_frame"):
    """Send a frame of a subscription twice, with the same `seq`."""


class Gap(_OnFrame, frozen=True, tag="gap"):
    """Lose this and the next matching frames of its connection while `seq` counts on."""

    frames: int = 1

    def __post_init__(self) -> None:
        _OnFrame.__post_init__(self)
        _check_range("frames", self.frames, 1, FRAMES_MAX)


class Silence(_OnFrame, frozen=True, tag="silence"):
    """Send no matching frame on that connection for `s`; they come `late`, or are `lost`.

    Without channels, types and markets it is the whole connection, heartbeats included.
    """

    s: float
    then: Literal["late", "lost"] = "late"

    def __post_init__(self) -> None:
        _OnFrame.__post_init__(self)
        _check_range("s", self.s, 0.001, SECONDS_MAX)


class Garbage(_OnFrame, frozen=True, tag="garbage"):
    """Send a frame that no client understands before the matching one."""

    what: Literal["any", "not_json", "truncated", "binary", "wrong_types", "unknown_type"] = "any"


class TerminalError(_OnFrame, frozen=True, tag="terminal_error"):
    """End the frame's subscription with error 10 or 25; the client has to subscribe again."""

    code: Literal[10, 25]


class Disconnect(_OnFrame, frozen=True, tag="disconnect"):
    """End the connection with a close code, or cut it without a word."""

    code: int | None = None

    def __post_init__(self) -> None:
        _OnFrame.__post_init__(self)
        if self.code is not None:
            _check_range("code", self.code, 1000, 4999)


class _OnState(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="fault"):
    when: Window = Window()


class Pause(_OnState, frozen=True, tag="pause"):
    """Stop trading, or the whole exchange, while it lasts."""

    what: Literal["trading", "exchange"] = "trading"


class Halt(_OnState, frozen=True, tag="halt"):
    """Stop trading in some markets; when it ends they resume, which cancels what rests there."""

    markets: tuple[str, ...]


class TickGrid(_OnState, frozen=True, tag="tick_grid"):
    """Give some markets another tick grid, and at its end the old one again."""

    markets: tuple[str, ...]
    structure: Structure


class ClockOffset(_OnState, frozen=True, tag="clock_offset"):
    """Show a `Date` that is off by `s`; `checked` judges signed timestamps by it as well."""

    s: float
    checked: bool = False

    def __post_init__(self) -> None:
        _check_range("s", self.s, -SECONDS_MAX, SECONDS_MAX)


OnRequest = Delay | Drop | AcceptThenTimeout | DuplicateRequest | Answer | StaleRead
OnFrame = DelayFrame | DuplicateFrame | Gap | Silence | Garbage | TerminalError | Disconnect
OnState = Pause | Halt | TickGrid | ClockOffset
Fault = OnRequest | OnFrame | OnState
KINDS: tuple[str, ...] = tuple(
    kind.__struct_config__.tag
    for kind in (*OnRequest.__args__, *OnFrame.__args__, *OnState.__args__)
)


class RequestFacts(Struct, frozen=True, kw_only=True):
    """What is known of a request before it is handled; `path` is below the prefix."""

    operation: str
    method: str
    path: str
    key_id: str
    account: str
    markets: tuple[str, ...] = ()


class FrameFacts(Struct, frozen=True, kw_only=True):
    """What is known of a frame before it is sent; answers to commands have no `sid`."""

    connection: int
    key_id: str
    account: str
    sid: int | None
    channel: str
    type: str
    market: str


def load_scenario(path: Path, operations: Sequence[str]) -> tuple[Fault, ...]:
    """Read the list of faults in a YAML file; raise ConfigError."""
    return read_faults(load_list(path), str(path), operations)


def read_faults(items: list[object], where: str, operations: Sequence[str]) -> tuple[Fault, ...]:
    """Turn mappings into faults; raise ConfigError with place, key, expected and given."""
    if len(items) > FAULTS_MAX:
        raise ConfigError(f"{where}: expected at most {FAULTS_MAX} faults, given {len(items)}")
    for index, item in enumerate(items):
        kind = item.get("fault") if isinstance(item, dict) else None
        if isinstance(item, dict) and kind not in KINDS:
            raise ConfigError(
                f"{where}: key '[{index}].fault': expected one of {', '.join(KINDS)},"
                f" given {kind!r}"
            )
    faults = tuple(read_as(items, list[Fault], where))
    check_operations(faults, where, operations)
    return faults


def check_operations(faults: Sequence[Fault], where: str, operations: Sequence[str]) -> None:
    """Raise ConfigError when a fault waits for an operation that does not exist."""
    for index, fault in enumerate(faults):
        if not isinstance(fault, OnRequest):
            continue
        for name in fault.where.operations:
            if name not in operations:
                raise ConfigError(
                    f"{where}: key '[{index}].where.operations': expected some of"
                    f" {', '.join(sorted(operations))}, given {name!r}"
                )
