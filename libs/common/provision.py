"""Create what the topology says: streams, durables, buckets. The one-shot step before services.

`python -m libs.common.provision --url nats://… --password-file FILE`. Running it again changes
nothing; a setting that differs is updated; what the server can't change in place is named.
"""

import argparse
import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import Any

import nats.errors
from nats.aio.client import Client

from libs.common.bus import BusError, BusMismatch, BusUnavailable
from libs.common.jetstream import (
    CODE_CONSUMER_NOT_FOUND,
    CODE_STREAM_NOT_FOUND,
    JETSTREAM_API,
    Config,
    bucket_config,
    differences,
    durable_config,
    stream_config,
)
from libs.common.nats_connection import connect_client
from libs.common.topology import BUCKETS, DURABLES, STREAMS, Service

REQUEST_TIMEOUT_S = 10.0
_log = logging.getLogger(__name__)


async def provision(url: str, password: str, *, replicas: int = 1) -> list[str]:
    """Make the server's streams, durables and buckets equal the topology; say what was changed.

    Raise BusUnavailable without a server or the right password, BusMismatch for what exists
    in a form that cannot be changed in place.
    """
    client = await connect_client(url, Service.PROVISION, password)
    try:
        changes: list[str] = []
        configs = [stream_config(stream, replicas) for stream in STREAMS]
        configs += [bucket_config(bucket, replicas) for bucket in BUCKETS]
        for config in configs:
            changes += await _ensure_stream(client, config)
        for durable in DURABLES:
            changes += await _ensure_durable(client, durable.stream, durable_config(durable))
        return changes
    finally:
        await client.close()


async def _ensure_stream(client: Client, config: Config) -> list[str]:
    name = config["name"]
    found = await _ask(client, f"STREAM.INFO.{name}", {})
    if _error_code(found) == CODE_STREAM_NOT_FOUND:
        await _demand(client, f"STREAM.CREATE.{name}", config)
        return [f"stream {name}: created"]
    _refuse_error(found, f"stream {name}")
    changed = differences(f"stream {name}", config, found["config"])
    if changed:
        await _demand(client, f"STREAM.UPDATE.{name}", config | _fixed(config, found["config"]))
        await _demand_equal(client, f"STREAM.INFO.{name}", f"stream {name}", config)
    return changed


def _fixed(config: Config, found: Config) -> Config:
    """Keep what a server refuses to change, so that the rest can be; the check names it after."""
    kept = {"persist_mode": found.get("persist_mode", "default")}
    return kept if found.get("persist_mode") != config.get("persist_mode") else {}


async def _ensure_durable(client: Client, stream: str, config: Config) -> list[str]:
    name = config["durable_name"]
    place = f"{stream}.{name}"
    found = await _ask(client, f"CONSUMER.INFO.{place}", {})
    if _error_code(found) == CODE_CONSUMER_NOT_FOUND:
        body = {"stream_name": stream, "config": config, "action": "create"}
        await _demand(client, f"CONSUMER.DURABLE.CREATE.{place}", body)
        return [f"durable {name}: created"]
    _refuse_error(found, f"durable {name}")
    changed = differences(f"durable {name}", config, found["config"])
    if changed:
        body = {"stream_name": stream, "config": config, "action": "update"}
        await _demand(client, f"CONSUMER.DURABLE.CREATE.{place}", body)
        await _demand_equal(client, f"CONSUMER.INFO.{place}", f"durable {name}", config)
    return changed


async def _demand_equal(client: Client, subject: str, what: str, config: Config) -> None:
    found = await _ask(client, subject, {})
    _refuse_error(found, what)
    left = differences(what, config, found["config"])
    if left:
        raise BusMismatch(
            f"provision: cannot change in place: {'; '.join(left)}; back up, remove it, run again"
        )


async def _demand(client: Client, subject: str, body: Config) -> None:
    _refuse_error(await _ask(client, subject, body), subject)


async def _ask(client: Client, subject: str, body: Config) -> dict[str, Any]:
    try:
        answer = await client.request(
            f"{JETSTREAM_API}.{subject}", json.dumps(body).encode(), timeout=REQUEST_TIMEOUT_S
        )
    except (nats.errors.TimeoutError, nats.errors.NoRespondersError) as error:
        raise BusUnavailable(
            f"provision: expected JetStream to answer {subject}, got {type(error).__name__};"
            " is JetStream on, and is this the user 'provision'?"
        ) from error
    found: dict[str, Any] = json.loads(answer.data)
    return found


def _error_code(answer: dict[str, Any]) -> int | None:
    code: int | None = answer.get("error", {}).get("err_code")
    return code


def _refuse_error(answer: dict[str, Any], what: str) -> None:
    if "error" in answer:
        error = answer["error"]
        raise BusMismatch(
            f"provision: {what}: the server refused: {error.get('description')}"
            f" ({error.get('err_code')})"
        )


def main(arguments: list[str] | None = None) -> int:
    """Provision a server; return the exit status."""
    parser = argparse.ArgumentParser(prog="provision", description=__doc__)
    parser.add_argument("--url", default="nats://127.0.0.1:4222")
    parser.add_argument("--password-file", type=Path, required=True)
    parser.add_argument("--replicas", type=int, default=1, choices=(1, 3, 5))
    options = parser.parse_args(arguments)
    try:
        password = options.password_file.read_text().strip()
        changes = asyncio.run(provision(options.url, password, replicas=options.replicas))
    except (BusError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("".join(f"{change}\n" for change in changes or ["nothing to change"]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
