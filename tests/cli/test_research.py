"""`alpha calibrate` and `alpha score` from files to files, and what they refuse in one line."""

import json
from datetime import date
from io import StringIO
from xml.etree import ElementTree

import pytest
from rich.console import Console
from typer.testing import CliRunner

from cli.main import app
from cli.research import show
from libs.common.config import ConfigError
from services.pricer.artifacts import load_calibration
from tests.lab.index.walks import sessions_from, walk, write_bars, write_levels

SESSIONS = sessions_from(date(2025, 3, 3), 9)


@pytest.fixture
def data(tmp_path):
    for name, sessions in (("train", SESSIONS[:5]), ("test", SESSIONS[5:])):
        (tmp_path / name).mkdir()
        row = walk(sessions, seed=1)
        write_bars(row, tmp_path / name)
        write_levels(row, tmp_path / name)
    return tmp_path


def run(*words) -> str:
    found = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.output


@pytest.mark.parametrize("model", ["index", "runbook", "random-walk"])
def test_calibrate_writes_an_artifact_that_loads(data, model):
    out = data / "new" / "x.json"
    bars, levels = data / "train", data / "train" / "levels.csv"
    shown = run(
        "calibrate", "index", "--bars", bars, "--levels", levels, "--model", model,
        "--exclude", SESSIONS[0].day, "--out", out,
    )  # fmt: skip
    found = load_calibration(out, "INXU")
    assert found.model == model
    assert found.counts["I:SPX minutes"] == 4 * 390
    assert str(SESSIONS[0].day) not in found.minute_days
    assert found.sha256[:12] in shown
    assert "not estimated:" in shown


def test_score_writes_rows_and_plots(data):
    out, plots = data / "score.json", data / "plots"
    parts = [f"{data / name},{data / name / 'levels.csv'}" for name in ("train", "test")]
    shown = run(
        "score", "index", "--train", parts[0], "--test", parts[1], "--json", out, "--plots", plots,
    )  # fmt: skip
    report = json.loads(out.read_text())
    assert {row["model"] for row in report["results"]} == {"index", "runbook", "random-walk"}
    assert report["days"] == [str(session.day) for session in SESSIONS[5:]]
    assert report["data"]["test"]["files"] == ["I_SPX_walk.parquet", "levels.csv"]
    assert "random-walk" in shown
    drawn = sorted(plots.iterdir())
    assert {path.name for path in drawn} >= {"INXU_crps.svg", "INX_coverage.svg"}
    for path in drawn:
        assert ElementTree.fromstring(path.read_text()).tag.endswith("svg")


def test_score_says_on_the_screen_what_it_left_out_and_what_it_knew(data):
    """A fifth of the bars stamped at night, training data later than the days scored."""
    bars = write_bars(walk(SESSIONS[5:6], seed=9), data / "test", "I_SPX_night.parquet", 12 * 60)
    parts = [f"{data / name},{data / name / 'levels.csv'}" for name in ("test", "train")]
    words = ("score", "index", "--train", parts[0], "--test", parts[1], "--json")
    shown = " ".join(run(*words, data / "score.json").split())
    assert bars.exists()
    assert "bars outside of a session 390" in shown
    assert "test, 2 files: nothing left out" in shown
    assert "before training data end: scored with hindsight 5" in shown
    assert "of 35 levels on 5 days" in shown


def test_no_number_is_cut_on_a_screen_of_80_columns():
    """Names and numbers of the widest family, with all of their intervals."""
    row = {
        "model": "index", "family": "NASDAQ100U", "horizon_min": "1-15", "n": 2256, "n_days": 162,
        "crps": 16.058, "coverage_80": 0.795,
        "crps_gain_vs_random_walk": -0.151, "crps_gain_ci95": [-0.243, 0.466],
        "log_gain_vs_random_walk": 0.182, "log_gain_ci95": [-0.192, 0.887],
        "crps_gain_vs_runbook": 0.254, "crps_gain_ci95_runbook": [-0.188, 0.221],
        "log_gain_vs_runbook": 0.529, "log_gain_ci95_runbook": [-0.247, 1.157],
    }  # fmt: skip
    report = {"model": "index", "pooled": [row], "days": ["2025-03-03"], "data": {}}
    text = StringIO()
    show(report | {"questions": 2256, "levels": 1932, "problems": {}}, Console(file=text, width=80))
    shown = text.getvalue()
    assert "…" not in shown
    whole = ("NASDAQ100U", "1-15", "2256", "162", "16.058", "random-walk", "(-24.3%,", "+46.6%)")
    for word in (*whole, "(-0.247,", "+1.157)"):
        assert word in shown.split()


def test_results_go_to_stdout_alone_where_asked(data):
    train, out = data / "train", data / "x.json"
    found = CliRunner().invoke(
        app, ["score", "index", "--walk-forward", str(train), "--first-days", "4", "--json", "-"]
    )
    assert json.loads(found.stdout)["days"] == [str(SESSIONS[4].day)]
    assert "random-walk" in found.stderr
    shown = json.loads(run("calibrate", "index", "--bars", train, "--out", out, "--json"))
    assert shown["sha256"] == load_calibration(out, "INXU").sha256
    assert shown["counts"]["I:SPX minutes"] == 5 * 390


def test_a_day_to_hold_out_that_is_not_there_is_refused(data):
    """A slip of a digit would fit on the day that was to be held out."""
    words = ("calibrate", "index", "--bars", data / "train", "--out", data / "x.json", "--exclude")
    for day, complaint in [
        ("2025-03-08", "--exclude: expected days of the data, found none of 2025-03-08"),
        ("20250303", "--exclude: expected YYYY-MM-DD"),
    ]:
        with pytest.raises(ConfigError, match=complaint):
            run(*words, day)
    assert not (data / "x.json").exists()


def test_walk_forward_over_one_data_set(data):
    out = data / "score.json"
    run(
        "score", "index", "--walk-forward", data / "train", "--first-days", 3, "--refit-days", 1,
        "--model", "random-walk", "--json", out,
    )  # fmt: skip
    report = json.loads(out.read_text())
    assert len(report["folds"]) == 2
    assert {row["model"] for row in report["results"]} == {"runbook", "random-walk"}


def test_what_the_data_do_not_allow_is_one_line(data):
    same = data / "train"
    for words, complaint in [
        (("score", "index", "--train", same, "--test", same), "not in the training set"),
        (("score", "index", "--train", data / "none", "--test", same), "nothing there"),
        (("calibrate", "index", "--levels", same / "levels.csv", "--model", "runbook"), "minute"),
    ]:
        place = ("--json",) if words[0] == "score" else ("--out",)
        with pytest.raises(ConfigError, match=complaint) as caught:
            run(*words, *place, data / "out.json")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "words",
    [
        ("score", "index", "--json", "x.json"),
        ("score", "index", "--json", "x.json", "--train", "a", "--test", "b", "--model", "magic"),
        ("calibrate", "index", "--out", "x.json"),
    ],
)
def test_wrong_arguments_are_a_matter_of_usage(words):
    assert CliRunner().invoke(app, list(words)).exit_code == 2


def test_results_go_into_a_folder_that_is_made(data):
    out = data / "new" / "score.json"
    same = data / "train"
    run("score", "index", "--walk-forward", same, "--first-days", 4, "--json", out)
    assert json.loads(out.read_text())["results"]


@pytest.mark.parametrize(
    "words",
    [
        ("calibrate", "index", "--bars", "none", "--out"),
        ("score", "index", "--walk-forward", "none", "--json"),
        ("fit", "fills", "--ledger", "none", "--out"),
        ("score", "fills", "--ledger", "none", "--json"),
        ("score", "market", "--ledger", "none", "--json"),
    ],
)
@pytest.mark.parametrize("place", ["folder", "file/x.json"])
def test_a_place_that_cannot_be_written_is_refused_before_the_work(words, place, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match=words[-1]) as caught:
        run(*words, tmp_path / place)
    assert "\n" not in str(caught.value)
