"""The broker as a process on a real NATS: SIGKILL, SIGTERM, SIGSTOP, bad configuration."""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import grpc
import pytest
import yaml

from libs.common.messages import Fill, OrderIntent, OrderUpdate, decode, encode
from libs.common.topology import Service, subject_of
from proto import broker_pb2 as pb
from proto import broker_pb2_grpc
from tests.services.broker.rig import A, B, quote, verdict
from tests.services.broker.stack import stack, until

ROOT = Path(__file__).resolve().parents[3]
GO = (quote(A, "bid", 4_500, 500), quote(B, "ask", 6_000, 300))
RESTING = {(A, "bid"): (4_500, 500), (B, "ask"): (6_000, 300)}


class Processes:
    """Broker processes on one NATS and one exchange."""

    def __init__(self, running, nats, ports):
        self.running = running
        self.nats = nats
        self.ports = ports
        self.alive = []
        self.risk = None

    def start(self, number=0):
        directory = self.running.directory
        password = directory / "password"
        password.write_text(self.nats.passwords[Service.BROKER])
        clock = self.running.clock
        values = {
            "service": "broker",
            "nats_url": self.nats.url,
            "nats_password_file": str(password),
            "admin_token_file": str(directory / "token"),
            "exchange_rest_url": self.running.config().exchange_rest_url,
            "exchange_ws_url": self.running.config().exchange_ws_url,
            "key_id": self.running.config().key_id,
            "key_file": str(directory / "broker.pem"),
            "admin_port": self.ports[number],
            "clock": {
                "rate": clock.rate,
                "wall_anchor_ns": clock.wall_anchor_ns,
                "virtual_anchor_ns": clock.virtual_anchor_ns,
            },
        }
        own = directory / f"broker-{number}.yaml"
        own.write_text(yaml.safe_dump(values))
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "services.broker",
                "--config",
                str(ROOT / "configs" / "broker.yaml"),
                "--config",
                str(own),
            ],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.alive.append(process)
        return process

    async def ask(self, method, request, number=0):
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.ports[number]}") as channel:
            stub = broker_pb2_grpc.BrokerAdminStub(channel)
            metadata = (("authorization", "Bearer a-token-for-tests"),)
            return await getattr(stub, method)(request, metadata=metadata, timeout=20)

    async def ready(self, number=0):
        for _ in range(300):
            with suppress(grpc.aio.AioRpcError):
                state = await self.ask("GetState", pb.GetStateRequest(), number)
                if state.accepting_verdicts:
                    return state
            await asyncio.sleep(0.1)
        raise AssertionError(f"broker {number} did not become READY")

    async def release(self):
        await self.ask("ReleaseKillSwitch", pb.KillSwitchRequest(reason="test", by="test"))

    async def give(self, *quotes):
        number = next(self.running.numbers)
        message = verdict(number, self.running.clock.now_ns(), quotes, provenance="synthetic")
        await self.risk.publish(subject_of(message), encode(message), message_id=message.id)

    async def log(self, stream, kind):
        monitors = await self.nats.connect(Service.REPORTING)
        try:
            stored = await monitors.read(stream, 0)
        finally:
            await monitors.close()
        return [one for one in (decode(item.data) for item in stored) if isinstance(one, kind)]

    async def states(self):
        updates = await self.log("ORDERS", OrderUpdate)
        return {one.client_order_id: one.state for one in updates}


@asynccontextmanager
async def processes(directory, nats, ports):
    async with stack(directory, before_target_s=800.0) as running:
        all_of_them = Processes(running, nats, ports)
        all_of_them.risk = await nats.connect(Service.RISK)
        try:
            yield all_of_them
        finally:
            await all_of_them.risk.close()
            for process in all_of_them.alive:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGCONT)
                process.kill()
                process.communicate()


async def left(process, seconds):
    """Wait for a process to end; return its exit code and what it said."""
    loop = asyncio.get_running_loop()
    _, said = await loop.run_in_executor(None, lambda: process.communicate(timeout=seconds))
    return process.returncode, said


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
        code, said = await left(second, 20)
        assert code == 0, said
        assert running.resting() == {}
        assert set((await brokers.states()).values()) == {"cancelled"}
        places = [one for one in await brokers.log("ORDERS", OrderIntent) if one.action == "place"]
        assert len(places) == 2
        assert "PRIVATE KEY" not in said


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
        code, said = await left(first, 20)
        assert code == 3, said
        assert len(await brokers.log("ORDERS", OrderIntent)) == 2
        assert running.resting() == RESTING


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("key_file", "/nonexistent.pem", "key_file: /nonexistent.pem: expected a private key"),
        ("policy", {"cancel_buffer_s": 1.0}, "cancel_buffer_s: expected 2.0 or more"),
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
