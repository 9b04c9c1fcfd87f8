"""The index simulator as a process: it says where it is, serves, and ends when told to."""

import asyncio
import json
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from websockets.asyncio.client import connect

from lab.market.config import PathConfig, build_path
from lab.market.index_app import IndexConfig, serve
from libs.common.clock import ManualClock
from libs.common.config import ConfigError
from tests.lab.market.times import NOON_NS
from tests.shared_data import shared_file

ROOT = Path(__file__).resolve().parents[3]
KEY = "a-key-for-tests"


def key_file(tmp_path: Path) -> str:
    path = tmp_path / "massive.key"
    path.write_text(KEY + "\n")
    return str(path)


@asynccontextmanager
async def started(tmp_path: Path, **config: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    file = tmp_path / "index.yaml"
    file.write_text(yaml.safe_dump(config))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "lab.market", "--config", str(file)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_it_serves_and_sigterm_ends_it_cleanly(tmp_path: Path) -> None:
    clock = {"rate": 50.0, "wall_anchor_ns": time.time_ns(), "virtual_anchor_ns": NOON_NS}
    async with started(tmp_path, api_key_file=key_file(tmp_path), clock=clock) as process:
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        found = re.fullmatch(r"index simulator ready at (ws://\S+/indices): (.*)\n", line)
        assert found is not None
        assert found[2] == "I:SPX synthetic, seed 1; I:NDX synthetic, seed 1"
        async with connect(found[1]) as client:
            assert json.loads(await client.recv())[0]["status"] == "connected"
            await client.send(json.dumps({"action": "auth", "params": KEY}))
            assert json.loads(await client.recv())[0]["status"] == "auth_success"
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(10):
                out, err = await process.communicate()
        assert (process.returncode, out, err) == (0, b"", b"")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"colour": "red"}, "colour"),
        ({"api_key_file": "not-there"}, "not-there"),
        ({"path": {"bars": ["I_SPX_none.parquet"]}}, "I_SPX_none.parquet: expected"),
        ({"faults": ["flood@+5s"]}, "flood@+5s"),
    ],
)
async def test_bad_configuration_ends_with_one_line(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    config = {"api_key_file": key_file(tmp_path), **change}
    async with started(tmp_path, **config) as process:
        async with asyncio.timeout(20):
            out, err = await process.communicate()
    assert process.returncode == 2
    assert out == b""
    assert said in err.decode()
    assert err.count(b"\n") == 1


async def test_a_busy_port_is_one_line(tmp_path: Path) -> None:
    server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with started(tmp_path, api_key_file=key_file(tmp_path), port=port) as process:
        async with asyncio.timeout(20):
            _, err = await process.communicate()
        assert process.returncode == 2
        assert b"expected a free address" in err
        assert err.count(b"\n") == 1
    server.close()
    await server.wait_closed()


async def test_serving_inside_another_program(tmp_path: Path) -> None:
    stop = asyncio.Event()
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        stop.set()

    config = IndexConfig(api_key_file=key_file(tmp_path))
    await serve(config, ManualClock(NOON_NS), stop, say)
    assert said[0].startswith("index simulator ready at ws://127.0.0.1:")
    with pytest.raises(ConfigError, match="api_key_file"):
        await serve(IndexConfig(api_key_file=str(tmp_path / "none")), ManualClock(NOON_NS))


def test_one_real_file_brings_its_sibling() -> None:
    file = shared_file("index/windows/I_SPX_2024-08-05_noon.parquet")
    origins = build_path(PathConfig(bars=(str(file),))).origins()
    assert origins == {
        "I:SPX": "bars I_SPX_2024-08-05_noon.parquet, bridged by second",
        "I:NDX": "bars I_NDX_2024-08-05_noon.parquet, bridged by second",
    }


def test_impossible_base_levels_are_refused() -> None:
    with pytest.raises(ValueError, match="base level of I:SPX"):
        PathConfig(base_levels_e4={"I:SPX": 0})
