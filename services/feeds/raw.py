"""Keep what came in as it came: one dated file of JSON lines per source."""

import asyncio
from pathlib import Path
from typing import BinaryIO

import msgspec

from libs.common.clock import Clock
from libs.common.logs import Logger
from libs.domain.eastern import utc_text

FLUSH_EVERY_S = 1.0
BUFFER_MAX_BYTES = 16_000_000
_encode = msgspec.json.Encoder().encode


class RawLog:
    """Append lines of `{"recv_ns": …, "raw": "…"}`; a full disk costs the copy, not the feed."""

    def __init__(
        self, directory: Path, feed: str, clock: Clock, log: Logger, bytes_max: int
    ) -> None:
        self._directory = directory
        self._feed = feed
        self._clock = clock
        self._log = log
        self._left = bytes_max
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._day = ""
        self._file: BinaryIO | None = None
        self.lost_count = 0

    def add(self, raw: str | bytes, recv_ns: int) -> None:
        """Remember one frame or answer; it is on disk within a second."""
        text = raw if isinstance(raw, str) else raw.decode("utf-8", "backslashreplace")
        line = _encode({"recv_ns": recv_ns, "raw": text}) + b"\n"
        if self._buffered + len(line) > min(BUFFER_MAX_BYTES, self._left):
            self.lost_count += 1
            return
        self._buffer.append(line)
        self._buffered += len(line)

    async def run(self) -> None:
        """Write what was added, every second, until cancelled; then the rest."""
        try:
            while True:
                await asyncio.sleep(FLUSH_EVERY_S)
                self._flush()
        finally:
            self._flush()
            if self._file is not None:
                self._file.close()

    def _flush(self) -> None:
        if not self._buffer:
            return
        lines, self._buffer = self._buffer, []
        size, self._buffered = self._buffered, 0
        try:
            file = self._today()
            file.write(b"".join(lines))
            file.flush()
            self._left -= size
        except OSError as error:
            self.lost_count += len(lines)
            self._log.error("raw copy lost", feed=self._feed, lines=len(lines), why=str(error))

    def _today(self) -> BinaryIO:
        day = utc_text(self._clock.now_ns())[:10]
        if self._file is None or day != self._day:
            if self._file is not None:
                self._file.close()
            self._directory.mkdir(parents=True, exist_ok=True)
            self._file = (self._directory / f"{self._feed}-{day}.jsonl").open("ab")
            self._day = day
        return self._file
