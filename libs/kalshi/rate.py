"""Token buckets like the exchange's, so that we stop before it refuses (kalshi-api.md §2.6).

Two buckets, read and write, refill without windows. Time is an argument, so the same code runs
on any clock. Tokens are counted in billionths, which keeps every refill exact.
"""

from libs.kalshi.endpoints import (
    BATCH_CANCEL,
    CANCEL_ALL,
    CANCEL_ORDER,
    CANCELS,
    ORDER,
    Endpoint,
)
from libs.kalshi.wire.portfolio import AccountLimits, Bucket, EndpointCosts

_ONE_TOKEN = 1_000_000_000
NEVER_NS = 2**62

# Until /account/endpoint_costs has been read; openapi 3.34.0's notes say the same.
_COSTS_BEFORE_READING: dict[tuple[str, str], int] = {
    (CANCEL_ORDER.method, CANCEL_ORDER.cost_path): 2,
    (BATCH_CANCEL.method, BATCH_CANCEL.cost_path): 2,
    (CANCEL_ALL.method, CANCEL_ALL.cost_path): 2,
    (ORDER.method, ORDER.cost_path): 2,
}
DEFAULT_COST = 10


class TokenBucket:
    """A bucket of `capacity` tokens, full at first, that refills continuously."""

    def __init__(self, capacity: int, refill_per_s: int, now_ns: int) -> None:
        if capacity <= 0 or refill_per_s <= 0:
            raise ValueError(
                f"bucket: expected positive capacity and refill, got {capacity} and {refill_per_s}"
            )
        self.capacity = capacity
        self.refill_per_s = refill_per_s
        self._level = capacity * _ONE_TOKEN
        self._at_ns = now_ns

    def tokens(self, now_ns: int) -> int:
        """Return the whole tokens at hand."""
        self._refill(now_ns)
        return self._level // _ONE_TOKEN

    def wait_ns(self, cost: int, keep: int, now_ns: int) -> int:
        """Return how long until `cost` can be taken and `keep` left; NEVER_NS if never."""
        self._refill(now_ns)
        if cost + keep > self.capacity:
            return NEVER_NS
        short = (cost + keep) * _ONE_TOKEN - self._level
        return 0 if short <= 0 else -(-short // self.refill_per_s)

    def take(self, cost: int, keep: int, now_ns: int) -> bool:
        """Take `cost` tokens if at least `keep` remain after it; tell whether."""
        if self.wait_ns(cost, keep, now_ns) > 0:
            return False
        self._level -= cost * _ONE_TOKEN
        return True

    def drain(self, now_ns: int) -> None:
        """Empty the bucket: the exchange said 429, so its own count is lower than ours."""
        self._refill(now_ns)
        self._level = 0

    def _refill(self, now_ns: int) -> None:
        # A clock that steps back gives nothing, and must not stop the refill until it catches up:
        # tokens too many cost a 429, tokens too few keep a cancel from going out.
        gained = max(0, now_ns - self._at_ns) * self.refill_per_s
        self._level = min(self.capacity * _ONE_TOKEN, self._level + gained)
        self._at_ns = now_ns


class RateBudget:
    """Our copy of the account's two buckets; creates and amends leave a reserve for cancels."""

    def __init__(
        self,
        limits: AccountLimits,
        costs: EndpointCosts | None,
        cancel_reserve: int,
        now_ns: int,
    ) -> None:
        largest = limits.write.bucket_capacity - self._order_cost(costs)
        if not 0 <= cancel_reserve <= largest:
            raise ValueError(
                f"cancel_reserve: expected 0 to {largest} tokens of a write bucket of"
                f" {limits.write.bucket_capacity}, got {cancel_reserve}"
            )
        self.read = _bucket(limits.read, now_ns)
        self.write = _bucket(limits.write, now_ns)
        self.cancel_reserve = cancel_reserve
        self._default_cost = DEFAULT_COST if costs is None else costs.default_cost
        self._costs = _COSTS_BEFORE_READING
        if costs is not None:
            self._costs = {(one.method, one.path): one.cost for one in costs.endpoint_costs}

    @staticmethod
    def _order_cost(costs: EndpointCosts | None) -> int:
        return DEFAULT_COST if costs is None else costs.default_cost

    def cost(self, endpoint: Endpoint, items: int = 1) -> int:
        """Return the tokens of a call; a batch costs each of its items."""
        if items < 1:
            raise ValueError(f"items: expected 1 or more, got {items}")
        each = self._costs.get((endpoint.method, endpoint.cost_path), self._default_cost)
        return each * items

    def wait_ns(self, endpoint: Endpoint, now_ns: int, items: int = 1) -> int:
        """Return how long until the call fits; NEVER_NS when it is larger than the bucket."""
        return self._bucket_of(endpoint).wait_ns(
            self.cost(endpoint, items), self._keep(endpoint), now_ns
        )

    def take(self, endpoint: Endpoint, now_ns: int, items: int = 1) -> bool:
        """Take the call's tokens, whole or not at all; tell whether."""
        return self._bucket_of(endpoint).take(
            self.cost(endpoint, items), self._keep(endpoint), now_ns
        )

    def refused(self, endpoint: Endpoint, now_ns: int) -> None:
        """Note a 429 of the exchange for this call."""
        self._bucket_of(endpoint).drain(now_ns)

    def batch_max(self, endpoint: Endpoint) -> int:
        """Return how many items of this batch call a full bucket carries."""
        room = self._bucket_of(endpoint).capacity - self._keep(endpoint)
        return room // self.cost(endpoint)

    def _bucket_of(self, endpoint: Endpoint) -> TokenBucket:
        return self.read if endpoint.is_read else self.write

    def _keep(self, endpoint: Endpoint) -> int:
        return 0 if endpoint.is_read or endpoint in CANCELS else self.cancel_reserve


def _bucket(limit: Bucket, now_ns: int) -> TokenBucket:
    return TokenBucket(limit.bucket_capacity, limit.refill_rate, now_ns)


BASIC_LIMITS = AccountLimits(usage_tier="basic", read=Bucket(600, 200), write=Bucket(100, 100))
"""The lowest tier (§2.6), to begin with when /account/limits cannot be read."""
