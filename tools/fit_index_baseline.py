"""Fit the hourly baseline's calibrations from Parquet files of real minute bars.

    python tools/fit_index_baseline.py --bars DIR [--bars DIR ...] [--exclude 2024-08-05]

Writes configs/calibration/<family>.json for each hourly index family. Bars after the close are
left out. Exclude the day that a demonstration trades, so that it is not in its own calibration.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from lab.market.bars import BarsError, MinuteBars, read_bars  # noqa: E402
from libs.domain.eastern import NS_PER_MINUTE, eastern_datetime  # noqa: E402
from libs.domain.families import FAMILIES, Cadence  # noqa: E402
from libs.domain.money import LEVEL_ONE_E4  # noqa: E402
from services.pricer.calibration import encode_calibration  # noqa: E402
from services.pricer.models.index_hourly import MinuteSeries, fit  # noqa: E402

OPEN_MINUTE = 9 * 60 + 30
CLOSE_MINUTE = 16 * 60
RUNBOOK_KAPPA = 1.65
"""The event multiplier of the runbook's own fit; a handful of days is too few to fit one."""


def session_minutes(bars: MinuteBars) -> MinuteSeries:
    """Return when each bar's close was known and its level, for bars of the cash session."""
    keep = []
    for index, start_ns in enumerate(bars.start_ns):
        local = eastern_datetime(int(start_ns))
        if OPEN_MINUTE <= local.hour * 60 + local.minute < CLOSE_MINUTE:
            keep.append(index)
    return MinuteSeries(
        bars.start_ns[keep] + NS_PER_MINUTE,
        bars.close_e4[keep].astype(np.float64) / LEVEL_ONE_E4,
    )


def main() -> int:
    """Fit and write; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--bars", type=Path, action="append", required=True, metavar="DIR")
    parser.add_argument("--exclude", action="append", default=[], metavar="YYYY-MM-DD")
    parser.add_argument("--out", type=Path, default=ROOT / "configs" / "calibration")
    options = parser.parse_args()
    for family in (row for row in FAMILIES if row.cadence is Cadence.HOURLY):
        assert family.index_symbol is not None
        pattern = f"{family.index_symbol.replace(':', '_')}_*.parquet"
        files = sorted(path for folder in options.bars for path in folder.glob(pattern))
        files = [path for path in files if not any(day in path.name for day in options.exclude)]
        try:
            history = [session_minutes(read_bars(path, family.index_symbol)) for path in files]
            found = fit(
                history,
                family=family.name,
                symbol=family.index_symbol,
                fitted_ns=time.time_ns(),
                kappa_event=RUNBOOK_KAPPA,
            )
        except (BarsError, ValueError) as error:
            print(f"{family.name}: {error}", file=sys.stderr)
            return 2
        target = options.out / f"{family.name}.json"
        target.write_bytes(encode_calibration(found))
        print(f"{target.name}: {len(files)} files, sigma(15) {found.sigma_points[15]:.2f} points")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
