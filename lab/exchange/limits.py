"""Rate limits: two token buckets an account by tier, costs by endpoint (kalshi-api.md 2.6)."""

from typing import Any, Literal

from msgspec import Struct

from lab.exchange.config import Tier
from lab.exchange.model import NS_PER_S

DEFAULT_COST = 10
CANCEL_COST = 2
BucketName = Literal["read", "write", "balance"]


class TierLimits(Struct, frozen=True):
    """Tokens per second and capacity of each bucket; a balance read costs one of its own."""

    read: tuple[int, int]
    write: tuple[int, int]
    balance: tuple[int, int] = (5, 5)


TIERS: dict[Tier, TierLimits] = {
    "basic": TierLimits((200, 600), (100, 100), (1, 1)),
    "advanced": TierLimits((300, 900), (300, 900), (1, 1)),
    "expert": TierLimits((600, 600), (600, 1_800)),
    "premier": TierLimits((1_200, 1_200), (1_200, 3_600)),
    "paragon": TierLimits((2_400, 2_400), (2_400, 7_200)),
    "prime": TierLimits((4_800, 4_800), (4_800, 14_400)),
    "prestige": TierLimits((12_000, 12_000), (9_600, 28_800)),
}

ENDPOINT_COSTS: tuple[tuple[str, str, int], ...] = (
    ("DELETE", "/trade-api/v2/portfolio/events/orders", CANCEL_COST),
    ("DELETE", "/trade-api/v2/portfolio/events/orders/:order_id", CANCEL_COST),
    ("DELETE", "/trade-api/v2/portfolio/events/orders/batched", CANCEL_COST),
    ("GET", "/trade-api/v2/portfolio/orders/:order_id", CANCEL_COST),
)


class Bucket:
    """A token bucket in the exchange's time, refilled continuously."""

    __slots__ = ("_at_ns", "_capacity", "_rate", "_tokens_e9")

    def __init__(self, rate: float, capacity: float) -> None:
        self._rate = rate
        self._capacity = capacity
        self._tokens_e9 = capacity * NS_PER_S
        self._at_ns = 0

    def take(self, cost: int, now_ns: int) -> bool:
        """Take the cost whole or not at all; a refusal costs nothing."""
        if now_ns > self._at_ns:
            filled_e9 = self._tokens_e9 + (now_ns - self._at_ns) * self._rate
            self._tokens_e9 = min(self._capacity * NS_PER_S, filled_e9)
            self._at_ns = now_ns
        if self._tokens_e9 < cost * NS_PER_S:
            return False
        self._tokens_e9 -= cost * NS_PER_S
        return True


class Limits:
    """The buckets of every account, and of every address that reads without a key."""

    ADDRESSES_MAX = 10_000

    def __init__(self, tier: Tier, public_reads_per_s: float) -> None:
        self._tier = tier
        self._public_rate = public_reads_per_s
        self._buckets: dict[tuple[BucketName, str], Bucket] = {}
        self._public: dict[str, Bucket] = {}

    def take(self, name: BucketName, account: str, cost: int, now_ns: int) -> bool:
        """Charge a bucket of an account: the cost whole or nothing."""
        bucket = self._buckets.get((name, account))
        if bucket is None:
            rate, capacity = getattr(TIERS[self._tier], name)
            bucket = self._buckets[name, account] = Bucket(rate, capacity)
        return bucket.take(cost, now_ns)

    def take_public(self, address: str, now_ns: int) -> bool:
        """Charge one request of an address without a key; the oldest address is forgotten."""
        if address not in self._public and len(self._public) >= self.ADDRESSES_MAX:
            del self._public[next(iter(self._public))]
        bucket = self._public.get(address)
        if bucket is None:
            rate = self._public_rate
            bucket = self._public[address] = Bucket(rate, 5 * rate)
        return bucket.take(1, now_ns)

    def account_object(self) -> dict[str, Any]:
        """Return the answer of `/account/limits`."""
        tier = TIERS[self._tier]
        return {
            "usage_tier": self._tier,
            "read": _limit_object(tier.read),
            "write": _limit_object(tier.write),
            "grants": [],
        }


def _limit_object(limit: tuple[int, int]) -> dict[str, int]:
    rate, capacity = limit
    return {"refill_rate": rate, "bucket_capacity": capacity}


def costs_object() -> dict[str, Any]:
    """Return the answer of `/account/endpoint_costs`."""
    return {
        "default_cost": DEFAULT_COST,
        "endpoint_costs": [
            {"method": method, "path": path, "cost": cost} for method, path, cost in ENDPOINT_COSTS
        ],
    }
