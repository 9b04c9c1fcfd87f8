"""The shipped policy is the specification's; loosening it takes a change here as well."""

from pathlib import Path

import pytest

from libs.common.config import ConfigError, load_config
from services.risk.config import RiskConfig
from services.risk.policy import GatePolicy, RiskPolicy, SizingPolicy

SHIPPED = Path(__file__).resolve().parents[3] / "configs" / "risk.yaml"
PLUMBING = """
service: risk
nats_url: nats://127.0.0.1:4222
nats_password_file: password
admin_token_file: token
"""


@pytest.fixture
def plumbing(tmp_path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(PLUMBING)
    return path


def test_the_gates_are_those_of_the_specification(plumbing):
    """domain.md §1 and §3, and issue 2."""
    gates = load_config([SHIPPED, plumbing], RiskConfig).policy.gates
    assert gates == GatePolicy(
        cancel_buffer_s=2.0,
        level_age_s_max=2.0,
        level_age_last_minute_s_max=0.7,
        level_period_s=1.0,
        books_age_s_max=2.0,
        skew_s_max=1.5,
        clock_sample_age_s_max=120.0,
        kill_switch_age_s_max=5.0,
        heartbeat_age_s_max=300.0,
        exchange_status_age_s_max=60.0,
        verdict_ttl_s_max=10.0,
    )


def test_the_sizes_are_those_of_the_specification(plumbing):
    sizing = load_config([SHIPPED, plumbing], RiskConfig).policy.sizing
    assert sizing == SizingPolicy(
        bankroll_e6=10_000_000_000,
        kelly_fraction_max=0.25,
        kelly_uncertainty=0.0,
        kelly_imbalance=0.0,
        pal_e6={"INXU": 1_000_000_000, "NASDAQ100U": 1_000_000_000},
        lot_e2=100,
        pilot_count_max_e2=100,
        pilot_rungs_max=2,
        pilot_position_max_e2=1_000,
    )


def test_what_is_shipped_is_also_the_default(plumbing):
    assert load_config([SHIPPED, plumbing], RiskConfig).policy == RiskPolicy()


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("policy: {gates: {cancel_buffer_s: 1.0}}", "cancel_buffer_s"),
        ("policy: {gates: {level_age_s_max: -1.0}}", "level_age_s_max"),
        ("policy: {gates: {skew: 1.0}}", "skew"),
        ("policy: {sizing: {pal_e6: {INXU: -1}}}", "pal_e6"),
        ("policy: {sizing: {kelly_fraction_max: 2.0}}", "kelly_fraction_max"),
        ("kill_switch_every_s: 4.0", "kill_switch_every_s"),
    ],
)
def test_a_loose_or_unknown_value_is_refused_by_name(tmp_path, plumbing, text, key):
    over = tmp_path / "over.yaml"
    over.write_text(text)
    with pytest.raises(ConfigError, match=key) as caught:
        load_config([SHIPPED, plumbing, over], RiskConfig)
    assert "\n" not in str(caught.value)
