"""Read what a run recorded: its ledger, message by message in the order of publication."""

from collections.abc import Iterator, Mapping
from heapq import merge
from pathlib import Path

from libs.common import messages as m
from libs.common.messages import BadMessage, Message, decode
from services.reporting.ledger import Ledger, LedgerError

PAGE_ROWS = 2_000

Recorded = tuple[Message, str, int]
"""A message with its stream and its sequence there."""


class LedgerUnreadable(ValueError):
    """A ledger that can't be read; one line."""


def ledger_directory(path: Path) -> Path:
    """Return the ledger's directory of a run, given as the run's or the ledger's own.

    Raises LedgerUnreadable when there is none.
    """
    directory = path / "ledger" if (path / "ledger").is_dir() else path
    if not (directory / "data").is_dir():
        raise LedgerUnreadable(f"{path}: expected a run's directory or its ledger, found none")
    return directory


def recorded(path: Path, wanted: Mapping[str, tuple[type[Message], ...]]) -> Iterator[Recorded]:
    """Yield the messages of the wanted kinds by stream, in the order of publication.

    Raises LedgerUnreadable: nothing there, in use by a run that is up, or no ledger.
    """
    directory = ledger_directory(path)
    try:
        ledger = Ledger(str(directory))
        try:
            yield from merge(
                *(_stored(ledger, stream, kinds) for stream, kinds in wanted.items()),
                key=lambda row: (row[0].ts_pub_ns, row[1], row[2]),
            )
        finally:
            ledger.close()
    except (LedgerError, BadMessage) as error:
        raise LedgerUnreadable(f"{path}: {error}") from None


def _stored(ledger: Ledger, stream: str, kinds: tuple[type[Message], ...]) -> Iterator[Recorded]:
    """Yield a stream's messages of these kinds, page by page."""
    tags = ", ".join(f"'{m.tag_of(kind)}'" for kind in kinds)
    after = 0
    while True:
        page = ledger.query(
            f"SELECT seq, payload FROM messages FINAL WHERE stream = '{stream}' "  # noqa: S608
            f"AND type IN ({tags}) AND seq > {after} ORDER BY seq LIMIT {PAGE_ROWS}"
        )
        for sequence, payload in page.rows:
            after = int(sequence)
            yield decode(str(payload).encode()), stream, after
        if len(page.rows) < PAGE_ROWS:
            return
