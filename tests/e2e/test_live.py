"""`alpha up --mode`: what each mode needs, and how far live goes where there is no network."""

import asyncio
import time
from pathlib import Path

import msgspec
import pytest

from cli.keys import write_exchange_key, write_operator_key
from cli.outside import Outside
from cli.processes import write_nats
from cli.run_directory import RunDirectory
from libs.common.messages import OrderIntent, OrderUpdate, decode
from libs.common.nats_bus import NatsBus
from libs.common.nats_server import start_nats_server
from libs.common.provision import provision
from libs.common.readiness import BUCKET, Readiness, readiness_key
from libs.common.topology import Service
from libs.domain.families import HOURLY_SERIES
from tests.e2e.rig import Home, Run, until
from tests.e2e.test_standby import healths
from tests.e2e.test_up import as_json

pytestmark = pytest.mark.timeout(400)
KEY_ID = "00000000-0000-4000-8000-000000000001"
URLS = {
    "--rest-url": "https://exchange.invalid/trade-api/v2",
    "--ws-url": "wss://exchange.invalid/trade-api/ws/v2",
    "--index-url": "wss://index.invalid/indices",
}
HOUR_NS = 3_600_000_000_000


class Keys:
    """The files that a person would have."""

    def __init__(self, root: Path) -> None:
        run = RunDirectory.create(root)
        self.exchange = run.secrets / "kalshi.pem"
        write_exchange_key(run, KEY_ID, self.exchange)
        self.index = run.write_secret("massive.key", "the-index-key")
        self.operator = root / "operator.pub"
        self.operator.write_text(write_operator_key(run.secrets / "operator.pem"))

    def words(self, **changes: str) -> list[str]:
        """Return all that live needs but readiness; names that resolve nowhere (RFC 6761)."""
        given = {
            **URLS,
            "--key-id": KEY_ID,
            "--key-file": str(self.exchange),
            "--index-key-file": str(self.index),
            **changes,
        }
        pairs = [word for pair in given.items() for word in pair]
        return ["up", "--mode", "live", "--i-understand-the-risks", *pairs]


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path / "keys")


def refused(home: Home, *words: str) -> list[str]:
    """Return what is missing, by its first word; nothing was started or made."""
    shown = home.alpha(*words)
    assert shown.returncode == 2, shown.stdout + shown.stderr
    assert home.nothing_runs(1)
    assert not list(home.root.glob("*"))
    return [line.strip().partition(":")[0] for line in shown.stderr.splitlines()[1:]]


def test_all_that_is_missing_is_named_in_one_answer(home: Home, keys: Keys) -> None:
    everything = ["exchange", "exchange key", "index key", "readiness", "consent"]
    assert refused(home, "up", "--mode", "live") == everything
    assert refused(home, *keys.words()) == ["readiness"]
    here = {"--rest-url": "http://127.0.0.1:9/trade-api/v2", "--ws-url": "ws://127.0.0.1:9/ws"}
    assert refused(home, *keys.words(**here)) == ["exchange", "readiness"]
    here = {"--index-url": "ws://127.0.0.1:9/indices"}
    assert refused(home, *keys.words(**here)) == ["inputs", "readiness"]
    private = {"--operator-key": str(keys.index)}
    assert refused(home, *keys.words(**private)) == ["--operator-key", "readiness"]
    keys.exchange.chmod(0o640)
    keys.index.unlink()
    assert refused(home, *keys.words()) == ["exchange key", "index key", "readiness"]
    shown = home.alpha("up", "--mode", "dry", "--env", "demo")
    assert "--key-file" in shown.stderr
    assert "readiness" not in shown.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--mode", "paper"], "paper is not built yet"),
        (["--mode", "real"], "--mode: expected sim, dry or live"),
        (["--env", "prod"], "--mode: expected dry or live"),
        (["--i-understand-the-risks"], "--mode: expected dry or live"),
    ],
)
def test_wrong_modes(home: Home, words: list[str], said: str) -> None:
    shown = home.alpha("up", *words)
    assert (shown.returncode, said in shown.stderr) == (2, True), shown.stderr


async def store_readiness(run: RunDirectory) -> None:
    """Leave a GO for both series, as reporting will, in the store of a run before."""
    server = start_nats_server(write_nats(run, 0), run.configs)
    try:
        password = run.token(f"nats-{Service.PROVISION}.password").read_text()
        await provision(server.url, password)
        password = run.token(f"nats-{Service.REPORTING}.password").read_text()
        bus = await NatsBus.connect(server.url, Service.REPORTING, password)
        for series in HOURLY_SERIES:
            go = Readiness(series_ticker=series, go=True, expires_ns=time.time_ns() + HOUR_NS)
            await bus.put(BUCKET, readiness_key(series), msgspec.json.encode(go), revision=0)
        await bus.close()
    finally:
        server.stop()


async def test_live_up_to_the_first_connection(
    home: Home, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All is there, and no name resolves: it says so, is never READY, and goes down in order."""
    monkeypatch.setenv("ALPHA_HOME", str(home.root))
    outside = Outside(
        rest_url=URLS["--rest-url"],
        ws_url=URLS["--ws-url"],
        index_url=URLS["--index-url"],
        key_id=KEY_ID,
        key_file=str(keys.exchange),
        index_key_file=str(keys.index),
    )
    run = RunDirectory.create(outside.run_root)
    await store_readiness(run)
    words = keys.words(**{"--operator-key": str(keys.operator)})
    starting = home.start(*words, "--brokers", "2")
    logs = run.logs.glob

    def told() -> bool:
        return any("exchange unread, not READY" in log.read_text() for log in logs("broker*.log"))

    until(told, "the leader's word")
    found = await asyncio.to_thread(healths, home)
    assert sorted(found.values()) == ["NOT_SERVING", "STANDBY"]
    assert as_json(home, "status", code=1)["well"] is False
    assert keys.operator.read_text() in (run.configs / "risk.yaml").read_text()
    # No broker serves, and the one shot can't reach the exchange either: told, not hidden.
    answer = as_json(home, "kill-switch", "on", code=1)
    assert (answer["engaged"], answer["confirmed_zero"], answer["resting"]) == (True, False, None)
    shown = home.alpha("down")
    assert shown.returncode == 0, shown.stdout
    assert starting.wait() != 0
    assert home.nothing_runs(5)
    for path in run.logs.iterdir():
        text = path.read_text()
        assert "Traceback" not in text, path.name
        assert "the-index-key" not in text, path.name
    assert not [log for log in logs("broker*.log") if '"state": "READY"' in log.read_text()]


async def test_dry_records_and_sends_nothing(home: Home) -> None:
    words = ("--mode", "dry", "--date", "2026-10-02", "--speed", "5", "--release")
    shown = home.alpha("up", *words)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    run = Run(home.root / "up")
    password = (run.root / "secrets" / f"nats-{Service.CONSOLE}.password").read_text()
    state = until(run.state, "a state file")
    bus = await NatsBus.connect(state["nats_url"], Service.CONSOLE, password)
    try:
        deadline_s = time.monotonic() + 90
        found: list[object] = []
        while sum(isinstance(one, OrderUpdate) for one in found) < 4:
            assert time.monotonic() < deadline_s, "expected four records of what would be sent"
            await asyncio.sleep(0.2)
            found = [decode(stored.data) for stored in await bus.read("ORDERS", 0)]
    finally:
        await bus.close()
    updates = {one.reason for one in found if isinstance(one, OrderUpdate)}
    assert updates == {"place not_sent dry"}
    assert {one.action for one in found if isinstance(one, OrderIntent)} == {"place"}
    shown = home.alpha("down")
    assert shown.returncode == 0
    assert run.books().orders == {}
    assert home.nothing_runs(1)
