"""Brokers as processes of their own, on a real NATS and the exchange simulator."""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import grpc
import yaml

from libs.common.messages import OrderUpdate, decode, encode
from libs.common.topology import Service, subject_of
from proto import broker_pb2 as pb
from proto import broker_pb2_grpc
from tests.services.broker.rig import verdict
from tests.services.broker.stack import stack

ROOT = Path(__file__).resolve().parents[3]


class Processes:
    """Broker processes on one NATS and one exchange."""

    def __init__(self, running, nats, ports):
        self.running = running
        self.nats = nats
        self.ports = ports
        self.alive = []
        self.risk = None
        self.changes = {}

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
            "policy": {"verdict_age_s_max": 60.0},
            "clock": {
                "rate": clock.rate,
                "wall_anchor_ns": clock.wall_anchor_ns,
                "virtual_anchor_ns": clock.virtual_anchor_ns,
            },
        }
        own = directory / f"broker-{number}.yaml"
        own.write_text(yaml.safe_dump(values | self.changes))
        said = (directory / f"broker-{number}.log").open("a")  # a pipe that nobody reads fills up
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
            stderr=said,
        )
        said.close()
        self.alive.append(process)
        return process

    def said(self, number=0):
        """Return all that the processes of that number wrote to their logs."""
        return (self.running.directory / f"broker-{number}.log").read_text()

    async def ask(self, method, request, number=0):
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.ports[number]}") as channel:
            stub = broker_pb2_grpc.BrokerAdminStub(channel)
            metadata = (("authorization", "Bearer a-token-for-tests"),)
            return await getattr(stub, method)(request, metadata=metadata, timeout=30)

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
async def processes(directory, nats, ports, **exchange_changes):
    async with stack(directory, before_target_s=800.0, **exchange_changes) as running:
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
                process.wait()


async def left(process, seconds):
    """Wait for a process to end; return its exit code."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(None, lambda: process.wait(timeout=seconds))
