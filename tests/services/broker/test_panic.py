"""Stop without a broker: the switch in KV, everything cancelled, read back; each failure told."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from libs.common.kill_switch import KillSwitchUnreadable, read_kill_switch
from libs.common.topology import Service
from tests.exchange_rig import RecordedExchange, recorded_exchange
from tests.nats_fixture import NatsRig

ROOT = Path(__file__).resolve().parents[3]
CANCEL_ALL = ("DELETE", "/trade-api/v2/portfolio/events/orders")
READ = ("GET", "/trade-api/v2/portfolio/orders")


async def panic(
    exchange: RecordedExchange, nats: NatsRig, **changes: object
) -> subprocess.CompletedProcess[str]:
    """Run the one shot with a broker's configuration."""
    own = exchange.broker_config(nats, **changes)
    policy = ROOT / "configs" / "broker.yaml"
    words = ["--config", str(policy), "--config", str(own), "--reason", "a test", "--by", "me"]
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "services.broker.panic", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


async def stored_switch(nats: NatsRig) -> tuple[bool, str, str]:
    bus = await nats.connect(Service.RISK)
    try:
        state = await read_kill_switch(bus, 5.0)
    finally:
        await bus.close()
    return state.engaged, state.reason, state.by


async def test_it_engages_cancels_and_reads_back(tmp_path: Path, nats: NatsRig) -> None:
    with pytest.raises(KillSwitchUnreadable, match="never set"):
        await stored_switch(nats)
    async with recorded_exchange(tmp_path / "run") as exchange:
        exchange.rest(5)
        exchange.rest(3, account="somebody else")
        shown = await panic(exchange, nats)
        assert shown.returncode == 0, shown.stderr
        result = json.loads(shown.stdout)
        assert (result["engaged"], result["confirmed_zero"], result["resting"]) == (True, True, 0)
        assert exchange.resting() == []
        assert len(exchange.server.engine.resting("somebody else")) == 3
        # The cancel, then reads; the last of them more than the exchange's read lag later.
        asked = exchange.requests
        assert asked[0] == CANCEL_ALL
        assert set(asked[1:]) == {READ}
        assert result["elapsed_ms"] > 1_000
        assert await stored_switch(nats) == (True, "a test", "me")


async def test_without_nats_it_cancels_all_the_same(tmp_path: Path, nats: NatsRig) -> None:
    async with recorded_exchange(tmp_path / "run") as exchange:
        exchange.rest(2)
        shown = await panic(exchange, nats, nats_url="nats://127.0.0.1:9")
        assert shown.returncode == 1
        result = json.loads(shown.stdout)
        assert (result["engaged"], result["confirmed_zero"]) == (False, True)
        assert "the kill switch is NOT stored" in result["detail"]
        assert exchange.resting() == []


async def test_an_exchange_that_does_not_answer_is_not_taken_for_zero(
    tmp_path: Path, nats: NatsRig
) -> None:
    async with recorded_exchange(tmp_path / "run") as exchange:
        exchange.rest(1)
        nowhere = "http://127.0.0.1:9/trade-api/v2"
        shown = await panic(exchange, nats, exchange_rest_url=nowhere, confirm_s=2.0)
        assert shown.returncode == 1
        result = json.loads(shown.stdout)
        assert (result["engaged"], result["confirmed_zero"]) == (True, False)
        assert result["resting"] is None
        assert "not known what rests" in result["detail"]
        assert len(exchange.resting()) == 1


async def test_a_broker_that_sends_nothing_has_nothing_to_cancel(
    tmp_path: Path, nats: NatsRig
) -> None:
    async with recorded_exchange(tmp_path / "run") as exchange:
        somebody_s = exchange.rest(1)
        shown = await panic(exchange, nats, mode="dry", confirm_s=2.0)
        result = json.loads(shown.stdout)
        assert (result["engaged"], result["confirmed_zero"], result["resting"]) == (True, False, 1)
        assert exchange.resting() == somebody_s
        assert set(exchange.requests) == {READ}


async def test_a_key_that_others_can_read_is_refused(tmp_path: Path, nats: NatsRig) -> None:
    async with recorded_exchange(tmp_path / "run") as exchange:
        exchange.key_file.chmod(0o644)
        shown = await panic(exchange, nats)
        assert (shown.returncode, exchange.requests) == (2, [])
        assert "0644" in shown.stderr
