"""The shipped policy is the specification's; loosening it takes a change here as well."""

from pathlib import Path

import pytest

from libs.common.config import ConfigError, load_config
from libs.common.policy_files import policy_files
from libs.common.topology import Service
from libs.domain.windows import WindowRules
from services.risk.config import RiskConfig
from services.risk.policy import GatePolicy, RiskPolicy, SizingPolicy

SHIPPED = policy_files(Service.RISK)
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
    gates = load_config([*SHIPPED, plumbing], RiskConfig).policy.gates
    assert gates == GatePolicy(
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


def test_the_windows_are_those_of_the_specification(plumbing):
    """domain.md §3, window and freeze."""
    assert load_config([*SHIPPED, plumbing], RiskConfig).policy.index_ops == WindowRules(
        cancel_buffer_s=2.0,
        hourly_lead_s=15 * 60,
        close_lead_s=10 * 60,
        cpi_freeze="06:00",
        cpi_opens="06:00",
        cpi_close_lead_s=10 * 60,
        claims_freeze="18:00",
        claims_opens="06:00",
        claims_closes="08:25",
        teny_freeze="13:30",
        teny_opens="14:30",
        teny_closes="15:25",
        weather_open_s=45 * 60,
    )


def test_the_sizes_are_those_of_the_specification(plumbing):
    sizing = load_config([*SHIPPED, plumbing], RiskConfig).policy.sizing
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
    assert load_config([*SHIPPED, plumbing], RiskConfig).policy == RiskPolicy()


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("policy: {index_ops: {cancel_buffer_s: 1.0}}", "policy.index_ops.cancel_buffer_s"),
        ("policy: {index_ops: {hourly_lead_s: 3601}}", "hourly_lead_s.*overlap"),
        ("policy: {index_ops: {hourly_lead_s: 2}}", "hourly_lead_s.*nothing could be quoted"),
        ("policy: {index_ops: {weather_open_s: 21601}}", "weather_open_s.*overlap"),
        ("policy: {index_ops: {teny_opens: '15:30'}}", "teny_opens.*before 15:25"),
        ("policy: {index_ops: {teny_freeze: '14:30'}}", "teny_freeze.*before 14:30"),
        ("policy: {index_ops: {claims_closes: '08:31'}}", "claims_closes.*before 08:30"),
        ("policy: {index_ops: {cpi_opens: '6 am'}}", "cpi_opens.*HH:MM"),
        ("policy: {index_ops: {cpi_opens: '06:00Z'}}", "cpi_opens.*HH:MM"),
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
        load_config([*SHIPPED, plumbing, over], RiskConfig)
    assert "\n" not in str(caught.value)
