"""A TCP proxy that loses what it is told to lose, and cuts connections."""

import asyncio
import contextlib
from collections.abc import AsyncIterator


class CuttingProxy:
    """Stand between clients and a server; `deaf` loses requests, `mute` loses answers."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self.deaf = False
        self.mute = False
        self.port = 0
        self._links: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Heal, and end all connections: what was on its way is lost."""
        self.deaf = self.mute = False
        for link in self._links:
            link.transport.abort()
        self._links.clear()

    async def run(self) -> asyncio.Server:
        listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = listener.sockets[0].getsockname()[1]
        return listener

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        there, back = await asyncio.open_connection("127.0.0.1", self._server_port)
        self._links |= {writer, back}

        async def pump(
            source: asyncio.StreamReader, sink: asyncio.StreamWriter, fault: str
        ) -> None:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                while data := await source.read(65_536):
                    if not getattr(self, fault):
                        sink.write(data)
                        await sink.drain()
            sink.transport.abort()

        await asyncio.gather(pump(reader, back, "deaf"), pump(there, writer, "mute"))

    async def close(self) -> None:
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def cutting_proxy(server_port: int) -> AsyncIterator[CuttingProxy]:
    """Run a proxy for the time of a test."""
    proxy = CuttingProxy(server_port)
    listener = await proxy.run()
    try:
        yield proxy
    finally:
        listener.close()
        await proxy.close()
