"""Walk-forward: the pricer of a day knows nothing that had not ended by the day's first bar."""

from datetime import date

import pytest

from lab.backtest.run import NothingToTrade, run_backtest
from lab.backtest.spans import find_spans
from lab.backtest.walk import walk_forward
from lab.drive.config import load_drive
from services.pricer.models.registry import MODELS
from tests.lab.index.walks import sessions_from, walk, write_bars

SESSIONS = sessions_from(date(2025, 3, 3), 4)
FAMILIES = ("INXU", "NASDAQ100U")


@pytest.fixture(scope="module")
def bars(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bars")
    write_bars(walk(SESSIONS, seed=1), folder)
    return folder


def test_each_day_is_fitted_on_what_had_ended_before_it(bars):
    choose = walk_forward(MODELS["index"], [bars], FAMILIES)
    first, *later = find_spans([bars], 1, None, None).spans
    assert "nothing to fit on before it" in choose(first)
    ends = []
    for number, span in enumerate(later, 1):
        found = choose(span)
        assert set(found) == {"INXU"}  # the bars are of the S&P 500 alone
        calibration = found["INXU"]
        assert calibration.data_end_ns <= span.start_ns
        assert calibration.minute_days == tuple(str(one.day) for one in SESSIONS[:number])
        assert choose(span) is found
        ends.append(calibration.data_end_ns)
    assert ends == sorted(set(ends))


def test_days_without_a_calibration_are_left_out_and_named(bars, tmp_path):
    choose = walk_forward(MODELS["index"], [bars], FAMILIES)
    found = find_spans([bars], 1, SESSIONS[0].day, SESSIONS[0].day)
    with pytest.raises(NothingToTrade, match="nothing to fit on before it"):
        run_backtest(found, load_drive("replay"), choose, tmp_path / "run", 1, lambda *_: None)
    assert not (tmp_path / "run").exists()
