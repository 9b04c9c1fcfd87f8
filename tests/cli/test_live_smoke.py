"""`alpha live-smoke` against a simulated exchange that records all that reaches it."""

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from libs.common.clock import ScaledClock
from tests.cli.test_command import alpha
from tests.exchange_rig import RecordedExchange, recorded_exchange

NAMES = [
    "exchange status",
    "exchange schedule",
    "auth",
    "account limits",
    "balance",
    "outstanding orders",
    "event KXINXU",
    "event KXNASDAQ100U",
    "clock",
    "websocket",
]


async def smoke(exchange: RecordedExchange, *more: str) -> subprocess.CompletedProcess[str]:
    words = ["live-smoke", *exchange.words, *more]
    return await asyncio.to_thread(alpha, exchange.run.root, *words)


def checks(shown: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    return {row["check"]: row for row in json.loads(shown.stdout)["checks"]}


async def test_all_well_and_nothing_but_reads(tmp_path: Path) -> None:
    async with recorded_exchange(tmp_path / "run") as exchange:
        resting = exchange.rest(2)
        before = exchange.run.truth_log.read_bytes()
        shown = await smoke(exchange, "--json")
        assert shown.returncode == 0, shown.stdout + shown.stderr
        result = json.loads(shown.stdout)
        assert result["well"] is True
        found = checks(shown)
        assert sorted(found) == sorted(NAMES)
        assert {row["state"] for row in found.values()} == {"ok"}
        assert found["outstanding orders"]["found"].startswith("2 rest: bid KXINXU-")
        # Each order holds back one contract at one cent.
        assert found["balance"]["found"] == "$9,999.98"
        assert "5 of 5 markets active" in found["event KXNASDAQ100U"]["found"]
        # All that arrived, by a recorder in front of the exchange: reads, and one WebSocket.
        asked = exchange.requests
        assert {method for method, _ in asked} == {"GET"}
        assert len(asked) == len(NAMES) - 1  # the clock comes with the others' answers
        assert [path for _, path in asked].count("/trade-api/ws/v2") == 1
        assert exchange.run.truth_log.read_bytes() == before
        assert exchange.resting() == resting
        shown = await smoke(exchange)
        assert shown.returncode == 0, shown.stdout
        assert "all well" in shown.stdout
        assert all(name in shown.stdout for name in NAMES)
        key = exchange.key_file.read_text().splitlines()[3]
        assert key not in shown.stdout + shown.stderr


async def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    async with recorded_exchange(tmp_path / "run") as exchange:
        exchange.server.engine.set_pause(
            exchange_active=True,
            trading_active=False,
            now_ns=exchange.server.engine.state.now_ns,
        )
        shown = await smoke(exchange, "--json")
        assert shown.returncode == 1
        failed = {name for name, row in checks(shown).items() if row["state"] == "failed"}
        assert failed == {"exchange status"}
        words = ["--json", "--key-id", "00000000-0000-4000-8000-00000000ffff"]
        shown = await smoke(exchange, *words)
        failed = {name for name, row in checks(shown).items() if row["state"] == "failed"}
        private = {"auth", "account limits", "balance", "outstanding orders", "websocket"}
        assert failed >= private
        assert shown.returncode == 1
        assert "does not know this key id" in checks(shown)["exchange status"]["found"]
        assert checks(shown)["balance"]["found"] == "as exchange status"


@pytest.mark.parametrize("behind_s", [4, 90])
async def test_a_clock_that_is_off(tmp_path: Path, behind_s: int) -> None:
    """The exchange's time is behind ours: within what it accepts or not, all is signed at its own
    time, the socket's handshake too, and only the clock is wrong.
    """
    behind = ScaledClock(0, -behind_s * 1_000_000_000, 1.0)
    async with recorded_exchange(tmp_path / "run", behind) as exchange:
        shown = await smoke(exchange, "--json")
    assert shown.returncode == 1
    found = checks(shown)
    assert {name for name, row in found.items() if row["state"] == "failed"} == {"clock"}
    assert "expected within 1.5 s" in found["clock"]["found"]


async def test_nobody_there(tmp_path: Path) -> None:
    async with recorded_exchange(tmp_path / "run") as exchange:
        words = exchange.words
    shown = await asyncio.to_thread(alpha, tmp_path, "live-smoke", *words)
    assert shown.returncode == 1
    assert "NOT all well" in shown.stdout
    assert shown.stdout.count("no connection") == 1, "told once"
    assert "Traceback" not in shown.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Missing option"),
        (["--key-id", "id", "--key-file", "k"], "expected --env prod, --env demo, or"),
        (["--key-id", "id", "--key-file", "k", "--env", "test"], "expected prod or demo"),
        (
            ["--key-id", "id", "--key-file", "k", "--env", "demo", "--ws-url", "ws://a"],
            "--env: expected it alone",
        ),
        (
            [
                *("--key-id", "id", "--key-file", "k"),
                *("--rest-url", "http://kalshi.example/trade-api/v2", "--ws-url", "wss://a/b"),
            ],
            "--rest-url: expected https://",
        ),
        (
            [
                *("--key-id", "id", "--key-file", "k"),
                *("--rest-url", "https://a", "--ws-url", "wss://a/trade-api/ws/v2"),
            ],
            "--rest-url: expected it to end with the path /trade-api/v2",
        ),
        (["--key-id", "id", "--key-file", "none.pem", "--env", "demo"], "found none"),
    ],
)
def test_wrong_arguments(tmp_path: Path, words: list[str], said: str) -> None:
    shown = alpha(tmp_path, "live-smoke", *words)
    assert shown.returncode == 2
    assert said in shown.stderr
    assert "Traceback" not in shown.stderr
