"""Rate limits against the table of kalshi-api.md section 2.6."""

from pathlib import Path

import pytest

from lab.exchange.config import Tier
from lab.exchange.limits import Limits
from tests.lab.exchange.harness import ORDERS, S, order_body, running_exchange

# tier, read/s, write/s, seconds of capacity for reads and writes
TABLE: list[tuple[Tier, int, int, int, int]] = [
    ("basic", 200, 100, 3, 1),
    ("advanced", 300, 300, 3, 3),
    ("expert", 600, 600, 1, 3),
    ("premier", 1_200, 1_200, 1, 3),
    ("paragon", 2_400, 2_400, 1, 3),
    ("prime", 4_800, 4_800, 1, 3),
    ("prestige", 12_000, 9_600, 1, 3),
]


@pytest.mark.parametrize(("tier", "reads", "writes", "read_s", "write_s"), TABLE)
def test_tiers(tier: Tier, reads: int, writes: int, read_s: int, write_s: int) -> None:
    limits = Limits(tier, 4.0)
    shown = limits.account_object()
    assert shown["usage_tier"] == tier
    assert shown["read"] == {"refill_rate": reads, "bucket_capacity": reads * read_s}
    assert shown["write"] == {"refill_rate": writes, "bucket_capacity": writes * write_s}
    now_ns = 10**18
    assert not limits.take("write", "a", writes * write_s + 1, now_ns)
    assert limits.take("write", "a", writes * write_s, now_ns)
    assert not limits.take("write", "a", 1, now_ns)
    assert limits.take("read", "a", reads * read_s, now_ns), "reads have a bucket of their own"
    assert limits.take("write", "b", 1, now_ns), "so has every account"
    assert not limits.take("write", "a", writes, now_ns + S - 1_000)
    assert limits.take("write", "a", writes, now_ns + S)
    # an hour fills it to its capacity and no further
    assert not limits.take("write", "a", writes * write_s + 1, now_ns + 3600 * S)


@pytest.mark.parametrize(("tier", "a_second"), [("basic", 1), ("advanced", 1), ("expert", 5)])
async def test_balance_reads_have_a_bucket_without_burst(
    tmp_path: Path, tier: Tier, a_second: int
) -> None:
    async with running_exchange(tmp_path, tier=tier) as exchange:
        for _ in range(2):
            codes = [
                (await exchange.call("GET", "/portfolio/balance")).status_code
                for _ in range(a_second + 1)
            ]
            assert codes == [200] * a_second + [429]
            await exchange.clock.advance_to(exchange.clock.now_ns() + S)
        assert (await exchange.call("GET", "/portfolio/orders")).status_code == 200


async def test_cancels_cost_a_fifth_of_creates(tmp_path: Path) -> None:
    async with running_exchange(tmp_path, tier="basic") as exchange:
        ids = [
            (await exchange.call("POST", ORDERS, order_body(price="0.0100"))).json()["order_id"]
            for _ in range(9)
        ]
        assert (await exchange.call("POST", f"{ORDERS}/{ids[0]}/amend", {})).status_code == 400
        for order_id in ids[:5]:
            assert (await exchange.call("DELETE", f"{ORDERS}/{order_id}")).status_code == 429
        await exchange.clock.advance_to(exchange.clock.now_ns() + S // 10)
        for order_id in ids[:5]:
            assert (await exchange.call("DELETE", f"{ORDERS}/{order_id}")).status_code == 200
        assert (await exchange.call("DELETE", f"{ORDERS}/{ids[5]}")).status_code == 429
