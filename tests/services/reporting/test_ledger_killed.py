"""A process that is killed in the middle of its inserts leaves whole batches, no holes."""

import subprocess
import sys
from pathlib import Path

from services.reporting.ledger import Ledger

BATCH = 500
WRITER = f"""
import sys
from services.reporting.ledger import Ledger, LedgerRow
ledger = Ledger(sys.argv[1])
for batch in range(1_000):
    first = batch * {BATCH} + 1
    ledger.insert([
        LedgerRow("FILLS", seq, "fills.a.b", "bad", "", 1, 1, "", "x" * 200)
        for seq in range(first, first + {BATCH})
    ])
    print(first + {BATCH} - 1, flush=True)
"""


def test_what_was_said_to_be_durable_is_there_after_a_kill(tmp_path: Path) -> None:
    directory = tmp_path / "ledger"
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(directory)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    try:
        assert writer.stdout is not None
        said = [int(writer.stdout.readline()) for _ in range(8)][-1]
    finally:
        writer.kill()
        writer.wait()
        if writer.stdout is not None:
            writer.stdout.close()
    ledger = Ledger(str(directory))
    try:
        place = ledger.places()["FILLS"]
        assert place.watermark >= said
        assert place.watermark % BATCH == 0
        assert (place.rows, place.missing) == (place.watermark, 0)
    finally:
        ledger.close()
