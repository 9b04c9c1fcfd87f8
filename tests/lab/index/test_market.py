"""The model against the market: errors by arithmetic on settled rungs, and what does not count."""

import json

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from cli.main import app
from lab.index.market import forecasts_of, report
from services.reporting.ledger import Ledger
from tests.lab.fills.orders import fair
from tests.services.pricer.builders import MINUTE, TARGET, S, definition, tick
from tests.services.reporting.making import Streams

AT = TARGET - 10 * MINUTE
MARKET = (0.9, 0.7, 0.4, 0.2, 0.1)


def view(now_ns=AT, probability=0.5, market=MARKET):
    """A fair ladder of .98, .84, p, .16, .02 with what the market says."""
    return replace(fair(now_ns, probability), market=market)


def scored(*messages):
    rows = [(message, "X", number) for number, message in enumerate(messages, 1)]
    return forecasts_of("run", rows)


def test_the_error_is_the_sum_over_rungs_of_the_square():
    """At 5225 the thresholds 5200, 5210 and 5220 pay; 5230 and 5240 don't."""
    (found,), problems = scored(definition(), view(), tick(TARGET, 5225.0))
    model = 0.02**2 + 0.16**2 + 0.5**2 + 0.16**2 + 0.02**2
    market = 0.1**2 + 0.3**2 + 0.6**2 + 0.2**2 + 0.1**2
    assert found.model_error == pytest.approx(model)
    assert found.market_error == pytest.approx(market)
    assert (found.minutes, found.event) == (10, "run KXINXU-24AUG05H1200")
    assert not problems


def test_one_forecast_a_minute_the_first_of_it():
    found, _ = scored(
        definition(), view(AT), view(AT + 20 * S, 0.9), view(AT + MINUTE), tick(TARGET, 5225.0)
    )
    assert [row.minutes for row in found] == [10, 9]
    assert found[0].model_error == found[1].model_error


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        ((definition(), view(market=()), tick(TARGET)), "without a view of the market"),
        ((definition(), view()), "without a level"),
        ((definition(), view(), tick(TARGET - 2 * MINUTE)), "without a level"),
        ((definition(), view(), tick(TARGET + S)), "without a level"),
        ((definition(kind="heap"), view(), tick(TARGET)), "refused"),
    ],
)
def test_what_can_not_be_judged_is_counted(messages, problem):
    found, problems = scored(*messages)
    assert found == []
    assert any(problem in what for what in problems)


def test_gains_are_over_whole_events():
    """A model twice as good as the market everywhere: half the error, whatever is drawn."""
    (row,), _ = scored(definition(), view(), tick(TARGET, 5225.0))
    rows = [
        replace(row, event=f"e{number}", minutes=minutes, model_error=1.0, market_error=2.0)
        for number in range(4)
        for minutes in (1, 2, 20)
    ]
    found = report(rows)["results"]
    pooled = [one for one in found if one["horizon_min"] == "1-15"]
    assert {one["series"] for one in pooled} == {"KXINXU", "all"}
    assert all(one["n"] == 8 and one["n_events"] == 4 for one in pooled)
    assert all(one["gain_vs_market"] == 0.5 for one in found)
    assert all(one["gain_ci95"] == (0.5, 0.5) for one in found)
    assert report(rows[:6])["results"][0]["gain_ci95"] is None
    assert report([])["results"] == []


def test_from_a_run_to_a_file(tmp_path):
    streams = Streams()
    streams.add(definition(), view(), tick(TARGET, 5225.0))
    ledger = Ledger(str(tmp_path / "ledger"))
    ledger.insert(streams.rows())
    ledger.close()
    out = tmp_path / "market.json"
    shown = CliRunner().invoke(
        app, ["score", "market", "--ledger", str(tmp_path), "--json", str(out)]
    )
    assert shown.exit_code == 0
    assert "KXINXU: 1 forecasts of 1 events" in shown.output
    assert json.loads(out.read_text())["forecasts"] == 1
