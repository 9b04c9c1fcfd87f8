"""The exchange as a process of its own, its time grid, and what bad set-up gets."""

import asyncio
import signal
import socket
import sys
from pathlib import Path

import httpx
import msgspec
import pytest
import yaml

from lab.exchange.auth import KeysError
from lab.exchange.books import read_books
from lab.exchange.config import ExchangeConfig
from lab.exchange.engine import Engine
from lab.exchange.model import NewOrder
from tests.lab.exchange.harness import (
    LADDER,
    MARKET,
    RSA_ID,
    START_NS,
    S,
    running_exchange,
    write_keys,
)

ROOT = Path(__file__).resolve().parents[3]


def config_file(tmp_path: Path, **changes: object) -> Path:
    if not (tmp_path / "keys").exists():
        write_keys(tmp_path / "keys")
    config = {
        "keys_dir": str(tmp_path / "keys"),
        "truth_path": str(tmp_path / "truth.jsonl"),
        "ladders": [msgspec.to_builtins(LADDER)],
        **changes,
    }
    path = tmp_path / "exchange.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


async def start(path: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "lab.exchange", "--config", str(path)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_says_one_ready_line_and_ends_cleanly(
    tmp_path: Path, number: signal.Signals
) -> None:
    process = await start(config_file(tmp_path))
    assert process.stdout is not None
    ready = (await asyncio.wait_for(process.stdout.readline(), 20)).decode()
    url = ready.split()[-1]
    async with httpx.AsyncClient() as http:
        answer = await http.get(f"{url}/exchange/status")
        assert answer.json()["trading_active"] is True
    process.send_signal(number)
    out, err = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, out, err) == (0, b"", b"")
    assert RSA_ID in read_books(tmp_path / "truth.jsonl")


async def test_bad_set_up_gets_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        cases = [
            ({"port": taken.getsockname()[1]}, "choose another port"),
            ({"keys_dir": str(tmp_path / "nowhere")}, "keys: expected a readable directory"),
            ({"colour": "red"}, "colour"),
            ({"tier": "gold"}, "tier"),
            ({"ladders": [{**msgspec.to_builtins(LADDER), "series": "KXNOPE"}]}, "KXNOPE"),
        ]
        for changes, words in cases:
            process = await start(config_file(tmp_path, **changes))
            out, err = await asyncio.wait_for(process.communicate(), 20)
            assert process.returncode == 2, err
            assert out == b""
            assert err.count(b"\n") == 1, err
            assert words in err.decode()
            assert not (tmp_path / "truth.jsonl").exists()


def test_a_key_that_is_none_is_named(tmp_path: Path) -> None:
    from lab.exchange.auth import load_keys

    with pytest.raises(KeysError, match="expected 1 to"):
        load_keys(tmp_path)
    (tmp_path / "abc.pub.pem").write_text("nonsense")
    with pytest.raises(KeysError, match=r"abc\.pub\.pem"):
        load_keys(tmp_path)


def test_unknown_configuration_is_refused() -> None:
    good = {"keys_dir": "k", "truth_path": "t"}
    msgspec.convert(good, ExchangeConfig)
    for bad in ({"port": 70_000}, {"step_ms": 0}, {"nope": 1}, {"skew_past_s": 1.0}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({**good, **bad}, ExchangeConfig)


class CountingFlow:
    """A participant that notes when it is asked, and places one order each time."""

    def __init__(self) -> None:
        self.steps_ns: list[int] = []

    def step(self, engine: Engine, now_ns: int) -> None:
        self.steps_ns.append(now_ns)
        order = NewOrder(ticker=MARKET, side="bid", price_e4=4_000, count_e2=100)
        engine.place("maker", order, now_ns)


async def test_missed_steps_are_done_in_order_on_a_fixed_grid(tmp_path: Path) -> None:
    flow = CountingFlow()
    async with running_exchange(tmp_path, flow=flow, step_ms=500) as exchange:
        await exchange.clock.advance_to(START_NS + 2 * S + 1)
        grid = [START_NS + index * S // 2 for index in range(5)]
        assert flow.steps_ns == grid
        book = (await exchange.call("GET", f"/markets/{MARKET}/orderbook")).json()
        assert book["orderbook_fp"]["yes_dollars"] == [["0.4000", "5.00"]]
