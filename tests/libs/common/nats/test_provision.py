import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from libs.common.bus import BusMismatch, BusUnavailable
from libs.common.jetstream import stream_config
from libs.common.nats_connection import connect_client
from libs.common.provision import main, provision
from libs.common.topology import BUCKETS, DURABLES, STREAMS, Service, stream_named
from tests.nats_fixture import NatsRig


@pytest.fixture
async def admin(fresh_nats: NatsRig) -> AsyncIterator[Client]:
    client = await connect_client(
        fresh_nats.url, Service.PROVISION, fresh_nats.passwords[Service.PROVISION]
    )
    yield client
    await client.close()


async def ask(client: Client, call: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    data = json.dumps(body).encode() if body is not None else b""
    answer: dict[str, Any] = json.loads(
        (await client.request(f"$JS.API.{call}", data, timeout=5)).data
    )
    assert "error" not in answer, answer
    return answer


async def test_everything_of_the_topology_is_there(fresh_nats: NatsRig, admin: Client) -> None:
    names = (await ask(admin, "STREAM.NAMES"))["streams"]
    assert sorted(names) == sorted(
        [stream.name for stream in STREAMS] + [f"KV_{bucket.name}" for bucket in BUCKETS]
    )
    for stream in STREAMS:
        config = (await ask(admin, f"STREAM.INFO.{stream.name}"))["config"]
        assert config["allow_direct"]
        assert config["deny_delete"]
        assert config["discard"] == ("new" if stream.refuse_when_full else "old")
        assert (config.get("persist_mode") == "async") is not stream.durable_writes
        assert config["duplicate_window"] == stream.duplicate_window_s * 10**9
    for durable in DURABLES:
        info = await ask(admin, f"CONSUMER.INFO.{durable.stream}.{durable.name}")
        assert info["config"]["max_deliver"] == -1
        assert info["config"]["ack_policy"] == ("all" if durable.conflated else "explicit")


async def test_provisioning_again_changes_nothing(fresh_nats: NatsRig) -> None:
    assert await provision(fresh_nats.url, fresh_nats.passwords[Service.PROVISION]) == []


async def test_a_setting_that_differs_is_put_right(fresh_nats: NatsRig, admin: Client) -> None:
    config = stream_config(stream_named("ORDERS")) | {"max_age": 10**13}
    await ask(admin, "STREAM.UPDATE.ORDERS", config)
    risk = await fresh_nats.connect(Service.RISK)
    with pytest.raises(
        BusMismatch, match=r"stream ORDERS max_age: expected .* found 10000000000000"
    ):
        await risk.verify()
    changes = await provision(fresh_nats.url, fresh_nats.passwords[Service.PROVISION])
    assert len(changes) == 1
    assert changes[0].startswith("stream ORDERS max_age")
    await risk.verify()
    await risk.close()


async def test_a_durable_that_is_gone_is_named_and_made_again(
    fresh_nats: NatsRig, admin: Client
) -> None:
    await ask(admin, "CONSUMER.DELETE.ORDERS.risk-ORDERS")
    risk = await fresh_nats.connect(Service.RISK)
    with pytest.raises(BusMismatch, match="durable risk-ORDERS: consumer not found"):
        await risk.verify()
    changes = await provision(fresh_nats.url, fresh_nats.passwords[Service.PROVISION])
    assert changes == ["durable risk-ORDERS: created"]
    await risk.verify()
    await risk.close()


async def test_what_cannot_be_changed_in_place_is_named(fresh_nats: NatsRig, admin: Client) -> None:
    config = stream_config(stream_named("TICKS"))
    del config["persist_mode"]
    await ask(admin, "STREAM.DELETE.TICKS")
    await ask(admin, "STREAM.CREATE.TICKS", config)
    with pytest.raises(BusMismatch, match="persist_mode: expected 'async'"):
        await provision(fresh_nats.url, fresh_nats.passwords[Service.PROVISION])


async def test_messages_cannot_be_deleted_even_by_provision(
    fresh_nats: NatsRig, admin: Client
) -> None:
    broker = await fresh_nats.connect(Service.BROKER)
    await broker.publish("orders.a.b", b"x", message_id="1")
    answer = await admin.request("$JS.API.STREAM.MSG.DELETE.ORDERS", b'{"seq": 1}', timeout=5)
    assert "not permitted" in json.loads(answer.data)["error"]["description"]
    await broker.close()


async def test_a_wrong_password_is_told(nats: NatsRig) -> None:
    with pytest.raises(BusUnavailable, match="'provision'"):
        await provision(nats.url, "wrong")


def test_the_command_says_what_it_did(
    nats: NatsRig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    password = tmp_path / "password"
    password.write_text(nats.passwords[Service.PROVISION] + "\n")
    arguments = ["--url", nats.url, "--password-file", str(password)]
    assert main(arguments) == 0
    assert capsys.readouterr().out == "nothing to change\n"
    assert main(["--url", nats.url, "--password-file", str(tmp_path / "none")]) == 1
    assert "none" in capsys.readouterr().err
