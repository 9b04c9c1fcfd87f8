"""Time fitting and scoring on a year of hourly levels and 50 sessions of minutes of both indices.

    python tests/bench/bench_calibration.py [--json OUT]

Prints JSON. Aims (issue 4): calibration ≤ 10 s from files to artifact, scoring ≤ 20 s, memory
≤ 500 MB. The data are simulated. The rivals are the two baselines, fitted and scored on the same.
"""

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path

from msgspec.structs import replace

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from lab.index.calibrate import calibrate, write  # noqa: E402
from lab.index.history import load  # noqa: E402
from lab.index.score import report, walk_forward  # noqa: E402
from services.pricer.models.contract import IndexModel  # noqa: E402
from services.pricer.models.registry import DEFAULT, MODELS  # noqa: E402
from tests.bench.command import parser_of, show  # noqa: E402
from tests.lab.index.walks import sessions_from, walk, write_bars, write_levels  # noqa: E402

YEAR, MINUTE_SESSIONS = 250, 50


def make_data(folder: Path) -> list[Path]:
    """Write a year of levels and, for its last 50 sessions, minute bars of both indices."""
    days = sessions_from(date(2025, 1, 2), YEAR)
    paths = []
    for seed, name in enumerate(("SPX", "NDX")):
        whole = walk(days, seed=seed, symbol=f"I:{name}", day_log_sigma=0.4)
        paths.append(write_levels(whole, folder, f"{name}.csv"))
        late = whole.minute_ns > days[-MINUTE_SESSIONS].open_ns
        minutes = replace(
            whole,
            minute_ns=whole.minute_ns[late],
            minutes=whole.minutes[late],
            opens=whole.opens[late],
        )
        paths.append(write_bars(minutes, folder, f"I_{name}.parquet"))
    return paths


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that it takes."""
    begin = time.monotonic()
    work()
    return round(time.monotonic() - begin, 2)


def fit_and_write(model: IndexModel, paths: list[Path], out: Path) -> None:
    """Read, fit and write, as `alpha calibrate` does."""
    write(calibrate(model, paths, 1)[0], out)


def measure(folder: Path) -> dict[str, object]:
    """Return the timings and the highest memory of this process."""
    paths = make_data(folder)
    found: dict[str, object] = {}
    for name, model in MODELS.items():
        found[f"calibrate_{name}_s"] = timed(partial(fit_and_write, model, paths, folder / name))
    history = load(paths).history
    # One fit of each model, and every minute before every target of the last 50 days.
    found["score_all_models_s"] = timed(
        lambda: report(walk_forward(MODELS, history, 1, YEAR - MINUTE_SESSIONS, YEAR))
    )
    found["memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1_024
    found |= {
        "model": DEFAULT,
        "aim_calibrate_s": 10.0,
        "aim_score_s": 20.0,
        "aim_memory_mb": 500,
    }
    return found


def main() -> int:
    """Measure, print and write; return the exit code."""
    parser = parser_of(__doc__)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder))
    return show("calibration", found, options.json)


if __name__ == "__main__":
    raise SystemExit(main())
