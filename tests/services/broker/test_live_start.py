"""The broker in mode live, as far as it goes without the outside world: to the first connection."""

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

from libs.common.admin import probe_health
from tests.exchange_rig import RecordedExchange
from tests.nats_fixture import NatsRig

ROOT = Path(__file__).resolve().parents[3]
NOWHERE = {
    "exchange_rest_url": "https://exchange.invalid/trade-api/v2",
    "exchange_ws_url": "wss://exchange.invalid/trade-api/ws/v2",
}


def command(own: Path) -> list[str]:
    policy = ROOT / "configs" / "broker.yaml"
    words = ("-m", "services.broker", "--config", str(policy), "--config", str(own))
    return [sys.executable, *words]


def refused(own: Path) -> str:
    ended = subprocess.run(
        command(own), cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == 2, ended.stderr
    (line,) = ended.stderr.strip().splitlines()
    return line


def test_it_refuses_what_is_missing_all_in_one_line(tmp_path: Path, nats: NatsRig) -> None:
    exchange = RecordedExchange(tmp_path / "run")
    line = refused(exchange.broker_config(nats, mode="live"))
    assert "exchange: expected Kalshi's own addresses, given this machine's" in line
    assert "consent: expected --i-understand-the-risks" in line
    assert "exchange: expected mode dry or live" in refused(exchange.broker_config(nats, **NOWHERE))
    assert "consent" in refused(exchange.broker_config(nats, mode="live", **NOWHERE))


async def test_an_exchange_that_can_not_be_reached(
    tmp_path: Path, nats: NatsRig, unused_port: int
) -> None:
    """RFC 6761: no name below .invalid resolves. It says so, is never READY, and ends cleanly."""
    exchange = RecordedExchange(tmp_path / "run")
    own = exchange.broker_config(
        nats, mode="live", risks_understood=True, admin_port=unused_port, **NOWHERE
    )
    log = tmp_path / "log"
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *command(own), cwd=ROOT, stdout=file, stderr=file
        )
    try:
        for _ in range(600):
            if log.read_text().count("exchange unread, not READY") >= 2:
                break
            assert process.returncode is None, log.read_text()
            await asyncio.sleep(0.1)
        assert await probe_health(f"127.0.0.1:{unused_port}") == "NOT_SERVING"
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            assert await process.wait() == 0, log.read_text()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    text = log.read_text()
    assert "Traceback" not in text
    assert '"state": "READY"' not in text
    unread = [json.loads(line) for line in text.splitlines() if "exchange unread" in line]
    assert "no connection" in unread[0]["why"]
