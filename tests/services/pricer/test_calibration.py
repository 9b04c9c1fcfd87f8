"""Calibration artifacts: what is written loads; what was changed by hand does not."""

import json
from pathlib import Path

import numpy as np
import pytest

from services.pricer.artifacts import load_calibration
from services.pricer.calibration import DAY_NS, CalibrationError, encode_calibration
from services.pricer.models.contract import IndexInputs, target_of
from services.pricer.models.registry import MODELS
from services.pricer.models.session import BINS
from tests.services.pricer.builders import MINUTE, OPEN, S, calibration, mixture

CONFIGS = Path(__file__).resolve().parents[3] / "configs" / "calibration"


def test_what_is_written_loads(tmp_path):
    path = tmp_path / "INXU.json"
    path.write_bytes(encode_calibration(calibration()))
    assert load_calibration(path, "INXU") == calibration()


def test_the_id_names_family_and_content():
    assert calibration().id_for("INX").startswith("INX-")
    assert calibration().id_for("INX") != calibration(sigma_15=11.0).id_for("INX")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"window_end": "2024-08-03"}, "sha256"),
        ({"sha256": ""}, "found none"),
        ({"schema": "index.9"}, "index.2"),
        ({"more": 1}, "unknown field"),
        ({"symbols": {}}, "one model"),
        ({"symbols": {"I:SPX": {"type": "crystal-ball"}}}, "crystal-ball"),
    ],
)
def test_a_changed_file_is_refused_in_one_line(tmp_path, change, complaint):
    path = tmp_path / "INXU.json"
    content = json.loads(encode_calibration(calibration())) | change
    path.write_text(json.dumps(content))
    with pytest.raises(CalibrationError, match=complaint) as caught:
        load_calibration(path, "INXU")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"null"])
def test_other_bytes_are_refused(tmp_path, content):
    path = tmp_path / "INXU.json"
    path.write_bytes(content)
    with pytest.raises(CalibrationError, match=r"expected index\.2"):
        load_calibration(path, "INXU")


def test_a_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(CalibrationError, match="alpha calibrate index"):
        load_calibration(tmp_path / "none.json", "INXU")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"sigma_points": (0.0, *([-1.0] * 20))}, "above 0"),
        ({"sigma_points": (0.0, float("nan"), *([1.0] * 19))}, "finite"),
        ({"samples": (1,)}, "equal lengths"),
        ({"residual_floor_points": 0.0}, "residual_floor"),
        ({"kappa_event": 3.0}, "kappa"),
    ],
)
def test_a_table_that_describes_nothing_is_refused(changes, complaint):
    with pytest.raises(CalibrationError, match=complaint):
        calibration(**changes)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"bin_sigmas": (0.0,) * len(BINS)}, "bin_sigmas"),
        ({"bin_sigmas": (1e-4,)}, "bin_sigmas"),
        ({"bin_sigmas": (float("inf"),) * len(BINS)}, "finite"),
        ({"log_sigma": 0.0}, "log_sigma"),
        ({"memory_minutes": -1.0}, "memory_minutes"),
        ({"tail_degrees": 2.0}, "tail_degrees"),
        ({"kappa_fomc": 0.9}, "kappa_fomc"),
    ],
)
def test_a_mixture_that_describes_nothing_is_refused(changes, complaint):
    with pytest.raises(CalibrationError, match=complaint):
        mixture(**changes)


def test_a_calibration_of_another_index_is_refused(tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(encode_calibration(calibration(symbol="I:NDX")))
    with pytest.raises(CalibrationError, match="INX needs symbol I:SPX, found I:NDX"):
        load_calibration(path, "INX")
    assert load_calibration(path, "NASDAQ100U").model == "runbook"


def test_age_counts_from_the_newest_data():
    found = calibration(artifact={"data_end_ns": OPEN, "fitted_ns": OPEN + 30 * DAY_NS})
    assert found.age_days(OPEN + 14 * DAY_NS) == 14.0
    assert found.age_days(OPEN - DAY_NS) == -1.0


@pytest.mark.parametrize("family", ["INXU", "INX", "NASDAQ100U", "NASDAQ100"])
@pytest.mark.parametrize("name", ["index", "runbook"])
def test_the_shipped_calibrations_load_and_are_plausible(name, family):
    """The earlier real fit's σ of the quarter before noon is 9.0 SPX and 37 NDX points.

    It saw another year, so the band is wide. The middle half of a normal is 1.349 σ.
    """
    found = load_calibration(CONFIGS / f"{name}.json", family)
    assert found.model == name
    assert "2024-08-05" not in found.minute_days
    target = target_of(family.rstrip("U") + "U", 1_762_189_200 * S)
    level, lowest, highest = (6800, 4.0, 12.0) if "INX" in family else (25_000, 20.0, 60.0)
    inputs = IndexInputs(level_e4=level * 10_000, target=target)
    forecast = MODELS[name].distribution(inputs, found, target.at_ns - 15 * MINUTE)
    quarters = forecast.quantile(np.array([0.25, 0.75]))
    assert lowest < np.diff(quarters)[0] / 1.349 < highest
