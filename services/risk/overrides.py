"""Which overrides are in force: signed by the operator, within their time, each counted once. Pure.

Accepted ones are on the status stream, a subject each, for longer than any of them may last: a
restart knows them again, so one that was used can't be used twice.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Literal

from libs.common.messages import Override
from libs.common.overrides import override_bytes
from libs.domain.families import UnknownFamilyError, family_of_series
from services.risk.signatures import is_signed, public_key

KEPT_MAX = 1_000
STAGES = ("A", "B", "C", "D")
FUTURE_NS = 5_000_000_000

Refusal = Literal[
    "",
    "no_operator_key",
    "forged",
    "expired",
    "not_yet",
    "too_long",
    "replayed",
    "unusable",
    "full",
]


class Overrides:
    """Accept or refuse an override; tell which are in force."""

    def __init__(self, operator_key: str, lifetime_ns_max: int) -> None:
        self._key = public_key(operator_key) if operator_key else None
        self._lifetime_ns_max = lifetime_ns_max
        self._accepted: dict[str, Override] = {}
        self.refused: Counter[str] = Counter()

    def offer(self, override: Override, now_ns: int) -> Refusal:
        """Accept an operator's override; return why it is refused, "" when it is in force."""
        refusal: Refusal = "replayed" if override.nonce in self._accepted else ""
        refusal = refusal or self._refusal(override, now_ns)
        if refusal:
            self.refused[refusal] += 1
        else:
            self._accepted[override.nonce] = override
        return refusal

    def read_back(self, override: Override, now_ns: int) -> Refusal:
        """Accept one of the status stream again: known ones and past ones are no news."""
        if override.nonce in self._accepted or now_ns >= override.expires_ns:
            return ""
        return self.offer(override, now_ns)

    def in_force(self, kind: str, now_ns: int) -> Iterator[Override]:
        """Yield what is in force of a kind, oldest first."""
        for override in self._accepted.values():
            if override.kind == kind and now_ns < override.expires_ns:
                yield override

    def acknowledged_hashes(self, series_ticker: str, now_ns: int) -> frozenset[str]:
        """Return the fee and rule facts of a series that the operator has acknowledged."""
        return frozenset(
            one.value
            for one in self.in_force("acknowledge_fee_rules", now_ns)
            if one.scope == series_ticker
        )

    def stage(self, series_ticker: str, now_ns: int) -> str | None:
        """Return the size-ladder stage that the newest override sets for a series, None: none."""
        found = [
            one
            for one in self.in_force("size_ladder_stage", now_ns)
            if one.scope in ("", series_ticker)
        ]
        return max(found, key=lambda one: (one.issued_ns, one.nonce)).value if found else None

    def all_in_force(self, now_ns: int) -> list[Override]:
        """Return every override in force, oldest first."""
        return [one for one in self._accepted.values() if now_ns < one.expires_ns]

    def _refusal(self, override: Override, now_ns: int) -> Refusal:
        if self._key is None:
            return "no_operator_key"
        if not is_signed(self._key, override.signature, override_bytes(override)):
            return "forged"
        if now_ns >= override.expires_ns:
            return "expired"
        if override.issued_ns > now_ns + FUTURE_NS:
            return "not_yet"
        if override.expires_ns - override.issued_ns > self._lifetime_ns_max:
            return "too_long"
        if not _is_usable(override):
            return "unusable"
        self._forget(now_ns)
        return "full" if len(self._accepted) >= KEPT_MAX else ""

    def _forget(self, now_ns: int) -> None:
        """Let go of what has expired: offered again it would be refused for that."""
        past = [nonce for nonce, one in self._accepted.items() if now_ns >= one.expires_ns]
        for nonce in past:
            del self._accepted[nonce]


def _is_usable(override: Override) -> bool:
    """Return whether scope and value mean something for this kind."""
    try:
        if override.scope:
            family_of_series(override.scope)
    except UnknownFamilyError:
        return False
    if override.kind == "lift_panic":
        return not override.scope
    if override.kind == "acknowledge_fee_rules":
        return bool(override.scope and override.value)
    return override.value in STAGES
