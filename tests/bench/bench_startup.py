"""Time `alpha up` to all READY and weigh every process, in a folder of its own.

    python tests/bench/bench_startup.py [--json OUT] [--settle 10]

Aims (issue 2): READY within 10 s, a service within 120 MB, reporting within 700 MB.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.bench.command import parser_of, show  # noqa: E402

ALPHA = Path(sys.executable).parent / "alpha"


def alpha(home: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command on a run folder of this benchmark alone."""
    environment = {**os.environ, "ALPHA_HOME": home}
    return subprocess.run(
        [str(ALPHA), *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def measure(settle_s: float) -> dict[str, object]:
    """Return seconds to READY and megabytes by process after `settle_s` of trading at 10×."""
    with tempfile.TemporaryDirectory() as home:
        began = time.monotonic()
        came_up = alpha(home, "up", "--date", "2026-10-02", "--speed", "10", "--release")
        ready_s = time.monotonic() - began
        try:
            if came_up.returncode:
                raise SystemExit(f"alpha up: {came_up.stdout}{came_up.stderr}")
            time.sleep(settle_s)
            rows = json.loads(alpha(home, "status", "--json").stdout)["processes"]
        finally:
            began = time.monotonic()
            alpha(home, "down")
            down_s = time.monotonic() - began
    return {
        "ready_s": round(ready_s, 2),
        "ready_s_max": 10.0,
        "down_s": round(down_s, 2),
        "memory_mb": {row["name"]: round(row["memory_mb"] or 0, 1) for row in rows},
        "memory_mb_max": {"service": 120, "reporting": 700},
    }


def main() -> int:
    """Measure, print and write; return the exit code."""
    parser = parser_of(__doc__)
    parser.add_argument("--settle", type=float, default=15.0)
    options = parser.parse_args()
    return show("startup", measure(options.settle), options.json)


if __name__ == "__main__":
    raise SystemExit(main())
