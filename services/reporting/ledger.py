"""The ledger's database: ClickHouse through one client, embedded chDB or a server by URL.

Only reporting opens the embedded directory. A `Ledger` belongs to the thread that opened it;
`services.reporting.ledger_thread` gives it one of its own.
"""

import fcntl
import functools
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlparse

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, OperationalError
from msgspec import Struct

from services.reporting.schema import COLUMN_TYPES, COLUMNS, TABLE, statements

ROWS_PER_INSERT_MAX = 20_000
_SELECT = re.compile(r"\s*(?:--[^\n]*\n\s*)*(?:SELECT|WITH)\b", re.IGNORECASE)
# `readonly` stops neither: the embedded engine runs a second statement and writes a file for who
# asks, and reads this process's own variables. Refused even inside a literal: no lexer to fool.
_NEVER = re.compile(r";|OUTFILE|PYTHON\s*\(", re.IGNORECASE)

# Without bounds the engine takes 90 % of the machine's memory and keeps it.
_ENGINE_OPTIONS = {
    "max_server_memory_usage": "300000000",
    "mark_cache_size": "8388608",
    "primary_index_cache_size": "8388608",
    "index_mark_cache_size": "1048576",
    "query_condition_cache_size": "1048576",
    "compiled_expression_cache_size": "1048576",
    "max_thread_pool_size": "64",
    "background_pool_size": "1",
    "background_merges_mutations_concurrency_ratio": "1",
}
_WRITER_SETTINGS: dict[str, str | int] = {
    "max_threads": 1,
    "max_insert_threads": 1,
    "max_block_size": 8_192,
    "max_memory_usage": 200_000_000,
    "join_use_nulls": 1,
}


class LedgerError(Exception):
    """Root of what the ledger raises, each one line.

    LedgerError
    ├── LedgerLocked        another process has the embedded directory open
    ├── LedgerUnavailable   no database there now: keep the rows, try again
    ├── LedgerRefused       the database said no to what we sent
    └── LedgerMismatch      the ledger and the streams belong to different runs
    """


class LedgerLocked(LedgerError):
    """Another process has the embedded directory open."""


class LedgerUnavailable(LedgerError):
    """The database does not answer; nothing is known to be written."""


class LedgerRefused(LedgerError):
    """The database refused a statement: a mistake of ours or of who asked."""


class LedgerMismatch(LedgerError):
    """The ledger holds other messages than the streams: it is of another run."""


class LedgerRow(Struct, frozen=True):
    """One stored message: its key (stream, seq), what we index, and its payload as sent."""

    stream: str
    seq: int
    subject: str
    type: str
    id: str
    ts_event_ns: int
    ts_pub_ns: int
    source: str
    payload: str


class StreamPlace(Struct, frozen=True):
    """How much of a stream the ledger holds; `missing` sequences up to the watermark."""

    stream: str
    rows: int
    watermark: int
    missing: int


class QueryLimits(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one read may cost: rows and bytes of its answer, time, memory."""

    rows_max: int = 10_000
    bytes_max: int = 16_000_000
    seconds_max: int = 10
    memory_bytes_max: int = 200_000_000


class Ledger:
    """The open ledger: typed inserts by one handle, read-only queries by another."""

    def __init__(self, target: str, *, limits: QueryLimits | None = None, user: str = "",
                 password: str = "") -> None:  # fmt: skip
        """Open a directory (embedded) or an `http(s)://` URL; raise `LedgerError`."""
        self._lock: IO[str] | None = None
        self._clients: list[Client] = []
        limits = limits or QueryLimits()
        self._answer_bytes_max = limits.bytes_max
        try:
            self._writer = self._connect(target, user, password, _WRITER_SETTINGS)
            for statement in statements():
                self._writer.command(statement)
            self._connect_reader = functools.partial(
                self._connect, target, user, password, _reader_settings(limits)
            )
            self._reader = self._connect_reader()
        except ClickHouseError as error:
            self.close()
            raise _translated(error, f"ledger {target}") from None
        except LedgerError:
            self.close()
            raise

    def _connect(
        self, target: str, user: str, password: str, settings: Mapping[str, str | int]
    ) -> Client:
        if urlparse(target).scheme in ("http", "https"):
            client = clickhouse_connect.get_client(
                dsn=target, username=user or None, password=password, settings=dict(settings)
            )
        else:
            if self._lock is None:
                self._lock = _locked(Path(target))
            client = clickhouse_connect.get_client(
                interface="chdb",
                path=str(Path(target) / "data"),
                chdb_options=_ENGINE_OPTIONS,
                settings=dict(settings),
            )
        self._clients.append(client)
        return client

    def close(self) -> None:
        """Let go of the database and of the directory's lock."""
        while self._clients:
            self._clients.pop().close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def insert(self, rows: Sequence[LedgerRow]) -> None:
        """Write rows as one atomic, fsynced block; the same (stream, seq) again changes nothing."""
        if not rows:
            return
        assert len(rows) <= ROWS_PER_INSERT_MAX, f"{len(rows)} rows in one insert"
        columns = [[getattr(row, field) for row in rows] for field in LedgerRow.__struct_fields__]
        try:
            self._writer.insert(
                TABLE,
                columns,
                column_names=COLUMNS,
                column_type_names=COLUMN_TYPES,
                column_oriented=True,
            )
        except ClickHouseError as error:
            raise _translated(error, f"insert of {len(rows)} rows") from None

    def places(self) -> dict[str, StreamPlace]:
        """Return the place in each stream that has rows; `max(seq)` is the watermark."""
        found = self.query(
            f"SELECT stream, uniqExact(seq), max(seq) FROM {TABLE} GROUP BY stream ORDER BY stream"  # noqa: S608
        )
        return {
            stream: StreamPlace(stream, int(rows), int(last), int(last) - int(rows))
            for stream, rows, last in found.rows
        }

    def query(self, sql: str) -> "Answer":
        """Return the answer to one SELECT; raise `LedgerRefused` for all else."""
        sql = sql.rstrip().removesuffix(";")
        if not _SELECT.match(sql):
            raise LedgerRefused("query: expected one SELECT or WITH, got other SQL")
        if found := _NEVER.search(sql):
            raise LedgerRefused(
                f"query: expected one plain SELECT, got {found[0]!r} in it; leave it out"
            )
        try:
            raw = self._reader.raw_query(sql, fmt="JSONCompact")
        except ClickHouseError as error:
            self._renew_reader()
            raise _translated(error, "query") from None
        if len(raw) > self._answer_bytes_max:
            raise LedgerRefused(
                f"query: expected an answer of at most {self._answer_bytes_max} bytes, "
                f"got {len(raw)}; ask for less"
            )
        try:
            body = json.loads(raw)
        except ValueError:
            raise LedgerRefused("query: expected JSON from the database, got other bytes") from None
        return Answer(tuple(column["name"] for column in body["meta"]), body["data"])

    def _renew_reader(self) -> None:
        # chDB 4.4: what a failed query had begun to say comes before the next one's answer on
        # the same handle. A new handle has nothing left over.
        self._clients.remove(self._reader)
        self._reader.close()
        self._reader = self._connect_reader()


class Answer(Struct, frozen=True):
    """Column names and rows of a query, as JSON values; 64-bit integers stay integers."""

    columns: tuple[str, ...]
    rows: list[list[Any]]

    def records(self) -> list[dict[str, Any]]:
        """Return each row as a mapping from column name to value."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def quote_text(text: str) -> str:
    """Return text as a SQL string literal."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _reader_settings(limits: QueryLimits) -> dict[str, str | int]:
    return {
        "max_threads": 1,
        "max_block_size": 2_048,
        "max_result_rows": limits.rows_max,
        "max_result_bytes": limits.bytes_max,
        "result_overflow_mode": "throw",
        "max_execution_time": limits.seconds_max,
        "max_memory_usage": limits.memory_bytes_max,
        "output_format_json_quote_64bit_integers": 0,
        "output_format_json_quote_denormals": 1,
        "join_use_nulls": 1,
        # One (stream, seq) has one type, so choosing rows before payloads are read is safe.
        "optimize_move_to_prewhere_if_final": 1,
        "readonly": 1,  # last: from here on the handle's settings can't be changed either
    }


def _locked(directory: Path) -> IO[str]:
    """Take the directory's lock: chDB itself takes seconds to say that it is in use."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        handle = (directory / "lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise LedgerUnavailable(
            f"ledger {directory}: expected a writable directory, found: {error.strerror}"
        ) from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.seek(0)
        holder = handle.read(20).strip() or "unknown"
        handle.close()
        raise LedgerLocked(
            f"ledger {directory}: expected to be its only user, found it open in process "
            f"{holder}; ask reporting's gRPC Ledger.Query instead, or stop that process"
        ) from None
    handle.truncate(0)
    handle.write(str(os.getpid()))
    handle.flush()
    return handle


def _translated(error: ClickHouseError, what: str) -> LedgerError:
    text = " ".join(str(error).split())[:400]
    if isinstance(error, OperationalError):
        return LedgerUnavailable(f"{what}: the database does not answer: {text}")
    return LedgerRefused(f"{what}: the database refused: {text}")
