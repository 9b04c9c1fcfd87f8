"""Calibration artifacts: what is written loads; what was changed by hand does not."""

import json
from pathlib import Path

import pytest

from services.pricer.artifacts import load_calibration
from services.pricer.calibration import CalibrationError, encode_calibration
from tests.services.pricer.builders import calibration

CONFIGS = Path(__file__).resolve().parents[3] / "configs" / "calibration"


def test_what_is_written_loads(tmp_path):
    path = tmp_path / "INXU.json"
    path.write_bytes(encode_calibration(calibration()))
    assert load_calibration(path, "INXU") == calibration()


def test_the_id_names_family_and_content():
    assert calibration().calibration_id.startswith("INXU-")
    assert calibration().calibration_id != calibration(sigma_15=11.0).calibration_id


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"pit_bias": 0.5}, "sha256"),
        ({"sha256": ""}, "found none"),
        ({"schema": "index_hourly.9"}, "index_hourly.1"),
        ({"more": 1}, "unknown field"),
        ({"sigma_points": [0.0] + [-1.0] * 20}, "above 0"),
        ({"samples": [1]}, "equal lengths"),
        ({"kappa_event": 3.0}, "kappa"),
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
    with pytest.raises(CalibrationError, match="expected an index_hourly"):
        load_calibration(path, "INXU")


def test_a_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(CalibrationError, match="fit_index_baseline"):
        load_calibration(tmp_path / "none.json", "INXU")


def test_another_family_or_symbol_is_refused(tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(encode_calibration(calibration()))
    with pytest.raises(CalibrationError, match="expected family NASDAQ100U"):
        load_calibration(path, "NASDAQ100U")
    path.write_bytes(encode_calibration(calibration(symbol="I:NDX")))
    with pytest.raises(CalibrationError, match="expected symbol I:SPX"):
        load_calibration(path, "INXU")


@pytest.mark.parametrize(
    ("family", "lowest", "highest"), [("INXU", 4.0, 12.0), ("NASDAQ100U", 20.0, 60.0)]
)
def test_the_shipped_calibrations_load_and_are_plausible(family, lowest, highest):
    """The band is around the earlier real fit's σ(15 min): 9.0 SPX and 42 NDX points."""
    found = load_calibration(CONFIGS / f"{family}.json", family)
    assert lowest < found.sigma_points[15] < highest
    assert found.samples[15] > 100
    assert "2024-08-05" not in found.window_days
