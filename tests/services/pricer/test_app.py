"""The pricer's configuration and start: shipped files load, bad ones end in one line."""

from pathlib import Path

import pytest

from libs.common.config import ConfigError, load_config
from services.pricer.app import PricerApp
from services.pricer.config import PricerConfig
from services.pricer.policy import PricerPolicy

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = ROOT / "configs" / "pricer.yaml"
PLUMBING = """
service: pricer
nats_url: nats://127.0.0.1:4222
nats_password_file: password
admin_token_file: token
"""


@pytest.fixture
def plumbing(tmp_path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(PLUMBING)
    return path


def test_the_shipped_policy_is_the_default_and_the_specification(plumbing):
    """domain.md §2: $0.05, two rungs next to the mode, shrink 0.9."""
    policy = load_config([SHIPPED, plumbing], PricerConfig).policy
    assert policy == PricerPolicy()
    assert policy.quotes.ev_min_e6 == 50_000
    assert policy.quotes.rungs_max == 2
    assert not policy.quotes.tails_allowed
    assert policy.quotes.ev_shrink == 0.9


def test_the_shipped_configuration_starts(plumbing):
    app = PricerApp(load_config([SHIPPED, plumbing], PricerConfig))
    assert sorted(app.core.calibrations) == ["INX", "INXU", "NASDAQ100", "NASDAQ100U"]
    assert {found.model for found in app.core.calibrations.values()} == {"index"}
    assert "INXU-" in app.detail()


def test_a_missing_calibration_ends_the_start_in_one_line(tmp_path, plumbing):
    over = tmp_path / "over.yaml"
    over.write_text("calibrations: {INXU: none/INXU.json}")
    config = load_config([plumbing, over], PricerConfig)
    with pytest.raises(ConfigError, match=r"none/INXU\.json") as caught:
        PricerApp(config)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("policy: {quotes: {ev_shrink: 0.0}}", "ev_shrink"),
        ("policy: {quotes: {rungs_max: 0}}", "rungs_max"),
        ("policy: {quotes: {alpha: 0.5}}", "alpha"),
        ("policy: {index_ops: {cancel_buffer_s: 1.0}}", "policy.index_ops.cancel_buffer_s"),
        ("policy: {cancel_buffer_s: 2.0}", "policy.cancel_buffer_s.*unknown"),
        ("calibrations: {TNEY: x.json}", "calibrations.*'TENY'.*alias"),
        ("policy: {renew_lead_s: 9.0}", "renew_lead_s"),
        ("policy: {calibration_age_days_max: 0.0}", "calibration_age_days_max"),
    ],
)
def test_a_wrong_value_is_refused_by_name(tmp_path, plumbing, text, key):
    over = tmp_path / "over.yaml"
    over.write_text(text)
    with pytest.raises(ConfigError, match=key):
        load_config([SHIPPED, plumbing, over], PricerConfig)
