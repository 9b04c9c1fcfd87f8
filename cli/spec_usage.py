"""Which facts of the official specifications our own code rests on."""

import inspect
from collections.abc import Iterator
from types import ModuleType

from msgspec import Struct

from cli.spec_facts import Change, Facts, words_of
from lab.exchange.feed import CHANNELS
from lab.exchange.routes import ROUTES, Access
from libs.kalshi import endpoints
from libs.kalshi.wire import frames, history, market, orders, portfolio

CLIENT, SIMULATOR = "client", "simulator"
_MODULES = (frames, history, market, orders, portfolio)
_COMMANDS = ("subscribe", "unsubscribe", "update_subscription")
_SIMULATED = (
    *_COMMANDS,
    "list_subscriptions",
    "subscribed",
    "unsubscribed",
    "ok",
    "error",
)


class Usage:
    """Tell who uses a fact: the client, the simulator, both, or nobody."""

    def __init__(self, *tables: Facts) -> None:
        """Follow references from our calls and channels through all of the tables."""
        self._tables = tables
        self._names = _wire_names()
        self._calls = {CLIENT: _client_calls(), SIMULATOR: _simulated_calls()}
        self._tags = _frame_tags()
        self._direct: dict[str, set[tuple[str, str]]] = {CLIENT: set(), SIMULATOR: set()}
        named: dict[str, set[str]] = {CLIENT: set(), SIMULATOR: set()}
        sent: set[str] = set()
        for user in (CLIENT, SIMULATOR):
            for subject, part, signature in self._facts():
                if self._begins_with(user, subject, part, signature):
                    self._direct[user].add((subject, part))
                    named[user] |= words_of(signature)
                    if part.partition(".")[0] == "body":
                        sent |= words_of(signature)
        self._reached = {user: self._closure(names) for user, names in named.items()}
        self._sent = self._closure(sent)

    def _facts(self) -> Iterator[tuple[str, str, str]]:
        for table in self._tables:
            for subject, parts in table.items():
                for part, signature in parts.items():
                    yield subject, part, signature

    def _begins_with(self, user: str, subject: str, part: str, signature: str) -> bool:
        """Say whether our code names this call or this message itself."""
        kind, _, name = subject.partition(" ")
        if kind == "operation":
            return any(
                table.get(subject, {}).get("call") in self._calls[user] for table in self._tables
            )
        if kind != "channel" or part == "address":
            return False
        wire_name = signature.partition(" ")[0]
        if user == CLIENT:
            return wire_name in self._tags or wire_name.startswith(_COMMANDS)
        return name in CHANNELS or (name == "root" and wire_name in _SIMULATED)

    def of(self, change: Change) -> tuple[str, ...]:
        """Return who uses the changed fact."""
        return tuple(user for user in (CLIENT, SIMULATOR) if self._uses(user, change))

    def _uses(self, user: str, change: Change) -> bool:
        kind, _, name = change.subject.partition(" ")
        if kind == "error":
            return True
        if kind in ("operation", "channel"):
            direct = self._direct[user]
            whole = kind == "operation" or change.part in ("", "address")
            parts = {part for subject, part in direct if subject == change.subject}
            return bool(parts) if whole else change.part in parts
        if name not in self._reached[user]:
            return False
        if user == SIMULATOR or not change.part:
            return True
        field = change.part.rsplit(".", 1)[-1].rstrip("[]")
        asked_for = name in self._sent and (change.after or "").startswith("required")
        return field in self._names or asked_for

    def _closure(self, names: set[str]) -> set[str]:
        reached: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name in reached:
                continue
            reached.add(name)
            for table in self._tables:
                for signature in table.get(f"schema {name}", {}).values():
                    waiting += words_of(signature)
        return reached


def _client_calls() -> set[str]:
    calls = [each for each in vars(endpoints).values() if isinstance(each, endpoints.Endpoint)]
    return {f"{each.method} {each.template}" for each in calls}


def _simulated_calls() -> set[str]:
    return {f"{route.method} {route.path}" for route in ROUTES if route.access is not Access.GONE}


def _structs(module: ModuleType) -> list[type[Struct]]:
    found = inspect.getmembers(module, inspect.isclass)
    return [each for _, each in found if issubclass(each, Struct) and each is not Struct]


def _wire_names() -> set[str]:
    return {
        name
        for module in _MODULES
        for struct in _structs(module)
        for name in struct.__struct_encode_fields__
    }


def _frame_tags() -> set[str]:
    tags = {struct.__struct_config__.tag for struct in _structs(frames)}
    return {tag for tag in tags if isinstance(tag, str)}
