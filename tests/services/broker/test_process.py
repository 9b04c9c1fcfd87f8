"""The broker as a process on a real NATS: SIGKILL, SIGTERM, SIGSTOP, bad configuration."""

import asyncio
import signal
import subprocess
import sys

import pytest
import yaml

from libs.common.messages import BrokerEpoch, Fill, OrderIntent
from tests.services.broker.processes import ROOT, left, processes
from tests.services.broker.rig import A, B, S, quote
from tests.services.broker.stack import until

GO = (quote(A, "bid", 4_500, 500), quote(B, "ask", 6_000, 300))
RESTING = {(A, "bid"): (4_500, 500), (B, "ask"): (6_000, 300)}


async def test_sigkill_then_restart_then_sigterm(tmp_path, fresh_nats, unused_port):
    async with processes(tmp_path / "run", fresh_nats, [unused_port]) as brokers:
        running = brokers.running
        first = brokers.start()
        await brokers.ready()
        await brokers.release()
        await brokers.give(*GO)
        await until(lambda: running.resting() == RESTING, "both quotes at rest")
        first.send_signal(signal.SIGKILL)
        await left(first, 5)
        running.trade(A, "ask", 4_500, 200)
        second = brokers.start()
        state = await brokers.ready()
        assert state.epoch == 2
        assert not state.kill_switch_engaged
        assert [one.count_e2 for one in await brokers.log("FILLS", Fill)] == [200]
        assert running.resting() == RESTING | {(A, "bid"): (4_500, 300)}
        second.send_signal(signal.SIGTERM)
        assert await left(second, 20) == 0, brokers.said()
        assert running.resting() == {}
        assert set((await brokers.states()).values()) == {"cancelled"}
        places = [one for one in await brokers.log("ORDERS", OrderIntent) if one.action == "place"]
        assert len(places) == 2
        assert "PRIVATE KEY" not in brokers.said()


async def test_a_broker_outlives_what_orders_keeps(tmp_path, fresh_nats, unused_port):
    """Its epoch is the fence of its writes: it must not age out under it."""
    async with processes(tmp_path / "run", fresh_nats, [unused_port]) as brokers:
        brokers.changes = {"epoch_renewal_s": 0.3}
        running = brokers.running
        brokers.start()
        await brokers.ready()
        await brokers.release()
        await fresh_nats.change_stream("ORDERS", max_age=2 * S, duplicate_window=S)
        (first, *_) = await brokers.log("ORDERS", BrokerEpoch)
        while first in await brokers.log("ORDERS", BrokerEpoch):
            await asyncio.sleep(0.1)
        await brokers.give(*GO)
        await until(lambda: running.resting() == RESTING, "both quotes at rest")
        assert {one.epoch for one in await brokers.log("ORDERS", BrokerEpoch)} == {first.epoch}


@pytest.mark.slow
async def test_a_standby_takes_over_from_a_stopped_broker(tmp_path, fresh_nats, two_ports):
    """reliability.md 2: takeover within TTL + 5 s, the old one's writes refused, it exits."""
    async with processes(tmp_path / "run", fresh_nats, two_ports) as brokers:
        running = brokers.running
        first = brokers.start(0)
        await brokers.ready(0)
        await brokers.release()
        await brokers.give(*GO)
        await until(lambda: running.resting() == RESTING, "both quotes at rest")
        brokers.start(1)
        first.send_signal(signal.SIGSTOP)
        loop = asyncio.get_running_loop()
        stopped_s = loop.time()
        state = await brokers.ready(1)
        assert state.epoch == 2
        assert loop.time() - stopped_s < 10 + 5
        first.send_signal(signal.SIGCONT)
        assert await left(first, 20) == 3, brokers.said()
        assert len(await brokers.log("ORDERS", OrderIntent)) == 2
        assert running.resting() == RESTING


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("key_file", "/nonexistent.pem", "key_file: /nonexistent.pem: expected a private key"),
        (
            "policy",
            {"index_ops": {"cancel_buffer_s": 1.0}},
            "policy.index_ops.cancel_buffer_s': expected 2.0 or more",
        ),
    ],
)
def test_bad_configuration_is_one_line(tmp_path, key, value, expected):
    values = {
        "service": "broker",
        "nats_url": "nats://127.0.0.1:1",
        "nats_password_file": "none",
        "admin_token_file": "none",
        "exchange_rest_url": "http://127.0.0.1:1/trade-api/v2",
        "exchange_ws_url": "ws://127.0.0.1:1/trade-api/ws/v2",
        "key_id": "id",
        "key_file": "/nonexistent.pem",
    }
    config = tmp_path / "broker.yaml"
    config.write_text(yaml.safe_dump(values | {key: value}))
    ended = subprocess.run(
        [sys.executable, "-m", "services.broker", "--config", str(config)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert ended.returncode == 2
    assert len(ended.stderr.strip().splitlines()) == 1
    assert expected in ended.stderr
