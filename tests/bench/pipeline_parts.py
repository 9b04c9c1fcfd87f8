"""The processes that the pipeline benchmark starts beside the real services.

python tests/bench/pipeline_parts.py source|stage|sink|post …
"""

import asyncio
import random
import sys
import time
from email.utils import formatdate
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import msgspec  # noqa: E402
import nats  # noqa: E402
import uvloop  # noqa: E402
from aiohttp import ClientSession, web  # noqa: E402
from websockets.asyncio.client import connect  # noqa: E402
from websockets.asyncio.server import ServerConnection, serve  # noqa: E402
from websockets.http11 import Request, Response  # noqa: E402

from libs.common.clock import ClockSpec  # noqa: E402

POST_EVERY = 25


class Tick(msgspec.Struct):
    """What travels through the null pipeline: about as many bytes as the real messages have."""

    number: int
    padding: str = "x" * 300


async def source(port: str, rate: str, log: str, clock_json: str, symbols: str) -> None:
    """Speak the Massive protocol and send `rate` bars a second; log when each left."""
    clock = msgspec.json.decode(clock_json, type=ClockSpec).build()
    names = symbols.split(",")
    draw = random.Random(1)
    levels = {"I:SPX": 6_800.0, "I:NDX": 25_000.0}
    period_s = 1 / float(rate)

    async def handle(connection: ServerConnection) -> None:
        await connection.send('[{"ev":"status","status":"connected","message":""}]')
        await connection.recv()
        await connection.send('[{"ev":"status","status":"auth_success","message":""}]')
        await connection.recv()
        due = time.perf_counter()
        last_ms = 0
        with Path(log).open("w") as sent:
            for number in range(10_000_000):
                symbol = names[number % len(names)]
                levels[symbol] += draw.gauss(0, 1.5)
                end_ms = max(clock.now_ns() // 1_000_000, last_ms + 1)
                last_ms = end_ms
                bar = {"ev": "A", "sym": symbol, "c": round(levels[symbol], 2)}
                text = msgspec.json.encode([{**bar, "s": end_ms - 1, "e": end_ms}]).decode()
                sent.write(f"{symbol} {end_ms * 1_000_000} {time.time_ns()}\n")
                if number % 100 == 0:
                    sent.flush()
                await connection.send(text)
                due += period_s
                await asyncio.sleep(max(0.0, due - time.perf_counter()))

    def stamp(connection: ServerConnection, request: Request, response: Response) -> None:
        del response.headers["Date"]
        response.headers["Date"] = formatdate(clock.now_ns() / 1e9, usegmt=True)

    async with serve(handle, "127.0.0.1", int(port), process_response=stamp):
        await asyncio.Event().wait()


async def stage(nats_url: str, reads: str, writes: str, ws_url: str = "") -> None:
    """Forward: decode, encode, publish. The first stage reads the source's socket instead."""
    client = await nats.connect(nats_url)
    decode = msgspec.json.Decoder(Tick).decode

    async def forward(message) -> None:
        await client.publish(writes, msgspec.json.encode(decode(message.data)))

    if not ws_url:
        await client.subscribe(reads, cb=forward)
        await asyncio.Event().wait()
    async with connect(ws_url, proxy=None) as socket:
        for _ in range(2):
            await socket.recv()
            await socket.send("{}")
        number = 0
        async for text in socket:
            msgspec.json.decode(text)
            await client.publish(writes, msgspec.json.encode(Tick(number)))
            number += 1


async def post(nats_url: str, reads: str, url: str) -> None:
    """End the null pipeline: post every 25th message over HTTP, as the broker would."""
    client = await nats.connect(nats_url)
    decode = msgspec.json.Decoder(Tick).decode
    async with ClientSession() as session:

        async def send(message) -> None:
            tick = decode(message.data)
            if tick.number % POST_EVERY == 0:
                async with session.post(url, data=message.data) as answer:
                    await answer.read()

        await client.subscribe(reads, cb=send)
        await asyncio.Event().wait()


async def sink(port: str, log: str) -> None:
    """Take the null pipeline's posts and log when each came."""
    decode = msgspec.json.Decoder(Tick).decode
    out = Path(log).open("w")

    async def take(request: web.BaseRequest) -> web.Response:
        tick = decode(await request.read())
        out.write(f"{tick.number} {time.time_ns()}\n")
        out.flush()
        return web.Response(text="{}")

    runner = web.ServerRunner(web.Server(take, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(port)).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    parts: dict[str, Any] = {"source": source, "stage": stage, "post": post, "sink": sink}
    uvloop.run(parts[sys.argv[1]](*sys.argv[2:]))
