"""`alpha export` from a run's own streams, its server down: started for a moment, and stopped."""

import asyncio
import json

import pytest
from typer.testing import CliRunner

from cli.errors import OperatingError
from cli.main import app
from cli.processes import write_nats
from cli.run_directory import RunDirectory
from lab.capture.format import CaptureReader
from libs.common.config import ConfigError
from libs.common.messages import encode
from libs.common.nats_bus import NatsBus
from libs.common.nats_server import start_nats_server
from libs.common.provision import provision
from libs.common.topology import Service, subject_of
from tests.lab.capture.messages import DAY_NS, S, tick

TICKS = [tick(DAY_NS + second * S) for second in range(5)]


async def fill(run, url):
    secret = {name: run.token(f"nats-{name}.password").read_text() for name in Service}
    await provision(url, secret[Service.PROVISION])
    bus = await NatsBus.connect(url, Service.FEEDS, secret[Service.FEEDS])
    for one in TICKS:
        await bus.publish(subject_of(one), encode(one), message_id=one.id)
    await bus.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = RunDirectory.create(tmp_path_factory.mktemp("run"))
    server = start_nats_server(write_nats(run, 0), run.configs)
    try:
        asyncio.run(fill(run, server.url))
    finally:
        server.stop()
    return run


def export(run, out, *words):
    given = ["export", "--run", run.root, "--day", "2024-08-05", "--out", out, *words]
    return CliRunner().invoke(app, [str(word) for word in given], catch_exceptions=False)


def test_a_stopped_runs_day_becomes_a_capture(run, tmp_path):
    out = tmp_path / "day.cap"
    shown = export(run, out, "--json")
    assert shown.exit_code == 0
    values = json.loads(shown.output)
    assert values["records"] == {"TICKS": 5}
    assert values["bytes"] == out.stat().st_size
    with CaptureReader(out) as reader:
        assert [one.data for one in reader.read()] == [encode(one) for one in TICKS]


@pytest.mark.parametrize(
    ("words", "error", "told"),
    [
        (("--stream", "NOWHERE"), ConfigError, "--stream: expected TICKS, LADDERS"),
        (("--day", "2024-08-06"), OperatingError, "found 2024-08-05"),
        (("--day", "today"), ConfigError, "expected YYYY-MM-DD"),
        (("--run", "none"), ConfigError, "--run: expected a run's folder"),
    ],
)
def test_what_cannot_be_exported_is_named(run, tmp_path, words, error, told):
    with pytest.raises(error, match=told) as raised:
        export(run, tmp_path / "x.cap", *words)
    assert "\n" not in str(raised.value)


def test_a_file_is_never_written_over(run, tmp_path):
    out = tmp_path / "there.cap"
    out.write_text("mine")
    with pytest.raises(ConfigError, match="expected a new file"):
        export(run, out)
    assert out.read_text() == "mine"
