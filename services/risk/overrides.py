"""Which overrides are in force: signed by the operator, within their time, each counted once. Pure.

Accepted ones are on the status stream, a subject each, for longer than any of them may last: a
restart knows them again, so one that was used can't be used twice.
"""

from collections import Counter
from collections.abc import Collection, Iterator

from libs.common.messages import FeeRules, Override
from libs.common.overrides import override_bytes
from services.risk.refusals import Refusal, explained, unpublished, unusable
from services.risk.signatures import is_signed, public_key

KEPT_MAX = 1_000
FUTURE_NS = 5_000_000_000


class Overrides:
    """Accept or refuse an override; tell which are in force."""

    def __init__(self, operator_key: str, lifetime_ns_max: int, stages: Collection[str]) -> None:
        self._key = public_key(operator_key) if operator_key else None
        self._key_text = operator_key
        self._lifetime_ns_max = lifetime_ns_max
        self._stages = stages
        self._accepted: dict[str, Override] = {}
        self.refused: Counter[str] = Counter()

    def offer(
        self, override: Override, now_ns: int, known: FeeRules | None = None
    ) -> tuple[Refusal, str]:
        """Accept an operator's override; return why it is refused, in a word and explained, "" and
        "" when it is in force. `known` is what is published of the fees of its series.
        """
        refusal: Refusal = "replayed" if override.nonce in self._accepted else ""
        refusal = refusal or self._refusal(override, now_ns)
        if not refusal and unpublished(override, known):
            refusal = "unpublished"
        explanation = explained(
            refusal,
            override,
            now_ns,
            operator_key=self._key_text,
            lifetime_ns_max=self._lifetime_ns_max,
            known=known,
            stages=self._stages,
        )
        return self._counted(refusal, override), explanation

    def read_back(self, override: Override, now_ns: int) -> Refusal:
        """Accept one of the status stream again: known ones and past ones are no news."""
        if override.nonce in self._accepted or now_ns >= override.expires_ns:
            return ""
        return self._counted(self._refusal(override, now_ns), override)

    def _counted(self, refusal: Refusal, override: Override) -> Refusal:
        if refusal:
            self.refused[refusal] += 1
        else:
            self._accepted[override.nonce] = override
        return refusal

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
        if unusable(override, self._stages):
            return "unusable"
        self._forget(now_ns)
        return "full" if len(self._accepted) >= KEPT_MAX else ""

    def _forget(self, now_ns: int) -> None:
        """Let go of what has expired: offered again it would be refused for that."""
        past = [nonce for nonce, one in self._accepted.items() if now_ns >= one.expires_ns]
        for nonce in past:
            del self._accepted[nonce]
