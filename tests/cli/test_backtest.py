"""`alpha backtest index`: what can't be used is named in one line."""

import json
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from cli.main import app
from libs.common.config import ConfigError
from tests.lab.backtest.making import NOON, write_bars


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--from", "20240918"), "--from: expected YYYY-MM-DD, given '20240918'"),
        (
            ("--from", "2024-09-18", "--to", "2024-04-19"),
            "--from is after --to: 2024-09-18 and 2024-04-19",
        ),
        (("--from", "5 August"), "--from: expected YYYY-MM-DD, given '5 August'"),
        (("--to", "2024-08-04"), "expected at least one window to trade, found none"),
        (("--calibration", "no.json"), "expected a calibration, found"),
        (("--bars", "nowhere"), "expected a folder or file of minute bars, found nothing there"),
        (("--walk-forward", "bars"), "nothing to fit on before it"),
        (("--walk-forward", "bars", "--calibration", "x"), "expected it or --walk-forward"),
        (("--family", "INY"), "--family: expected INXU, NASDAQ100U, INX, NASDAQ100, given 'INY'"),
        (("--family", "inx"), "it covers no whole window of INX"),
        (("--out", "bars"), "--out: expected a new or empty folder"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path, monkeypatch, words, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bars").mkdir()
    write_bars(tmp_path / "bars", NOON - timedelta(minutes=15), 15)
    given = ["backtest", "index", "--bars", "bars", *words]
    with pytest.raises(ConfigError) as error:
        CliRunner().invoke(app, given, catch_exceptions=False)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_window_is_traded_captured_and_replayed(tmp_path):
    write_bars(tmp_path, NOON - timedelta(minutes=15), 15)
    out, capture = tmp_path / "out", tmp_path / "feeds.cap"
    shown = run("backtest", "index", "--bars", tmp_path, "--out", out, "--capture", capture)
    assert shown.exit_code == 0
    values = json.loads(shown.stdout)
    assert values["agree"] is True
    assert values["exchange"] == values["ledger"]
    assert [day["day"] for day in values["pnl"]["days"]] == ["2024-08-05"]
    assert values["pnl"]["ci95_day_dollars"] is None  # of one day
    assert values["pnl"]["beats_no_trade"] is None
    assert "1/1 2024-08-05" in shown.stderr
    assert sorted(path.name for path in out.iterdir()) == ["ledger", "reports", "resting.parquet"]
    again = json.loads(run("replay", capture).stdout)
    assert again["kind"] == "feeds"
    assert again["inputs"] >= values["input_events"]


def run(*words):
    given = [*(str(word) for word in words), "--json"]
    return CliRunner().invoke(app, given, catch_exceptions=False)


def test_help_says_what_it_trades_and_the_exit_codes():
    shown = CliRunner().invoke(app, ["backtest", "index", "--help"])
    assert shown.exit_code == 0
    for word in ("settlement", "Exit code", "--from", "--json", "--seed"):
        assert word in shown.output
