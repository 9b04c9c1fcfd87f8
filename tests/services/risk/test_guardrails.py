"""The shipped policy is the specification's; loosening it takes a change here as well."""

from pathlib import Path

import pytest
import yaml

from libs.common.config import ConfigError, config_hash, load_config
from libs.common.policy_files import CONFIGS, policy_files
from libs.common.topology import Service
from libs.domain.macro_days import MacroEvent
from libs.domain.windows import WindowRules
from services.monitors.policy import GateLimits, LossBudgets
from services.risk.config import RiskConfig
from services.risk.policy import GatePolicy, QualityGates, RiskPolicy
from services.risk.sizing.policy import (
    CorrelationPolicy,
    KellyPolicy,
    PalPolicy,
    PilotPolicy,
    PortfolioPolicy,
    RegimePolicy,
    SizeLadderPolicy,
    SizingPolicy,
    Stage,
)

SHIPPED = policy_files(Service.RISK)
SIMULATED_FEES = {
    "KXINXU": ("e5692fcf4c138449", "80978ccdfb45f35b"),
    "KXNASDAQ100U": ("5cba673301a98ce2", "f4d3f02d2d769137"),
}
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
        calibration_age_days_max=14.0,
        ledger_age_s_max=2 * 3_600.0,
        monitors_age_s_max=2 * 3_600.0,
        panic_monitors_min=3,
        panic_within_s=30 * 60.0,
        panic_ignores=("kill_switch", "panic", "calendar_ends"),
        override_s_max=7 * 86_400.0,
        fee_rules=SIMULATED_FEES,
        fee_rules_age_s_max=3_600.0,
    )


def test_the_quality_is_that_of_the_specification(plumbing):
    """domain.md §3, quality, sequential EV, EV honesty."""
    assert load_config([*SHIPPED, plumbing], RiskConfig).policy.quality_gates == QualityGates(
        crps_advantage_min={
            "default": 0.01,
            "CPI": 0.02,
            "CLAIMS": 0.015,
            "TENY": 0.01,
            "WEATHER": 0.005,
        },
        brier_advantage_min={
            "default": 0.0,
            "CPI": 0.0,
            "CLAIMS": -0.001,
            "TENY": -0.001,
            "WEATHER": -0.002,
        },
        non_monotone_max=0,
        negative_ev_max=0,
        tz_max=0,
        par_vs_dgs10_bps_max=5.0,
        cusum_h_bps=10.0,
        cusum_k_bps=1.0,
        cusum_trades_min=12,
        catastrophe_bps=50.0,
        ev_gap_e6_max=100_000,
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


def dollars(amount: int) -> int:
    return amount * 1_000_000


def test_the_sizes_are_those_of_the_specification(plumbing):
    """domain.md §3, Sizing; stages B to D, the factor VaR limit, ages are ours."""
    assert load_config([*SHIPPED, plumbing], RiskConfig).policy.sizing == SizingPolicy(
        kelly=KellyPolicy(
            bankroll_e6=dollars(10_000), fraction_max=0.25, uncertainty=0.0, imbalance=0.0
        ),
        pal=PalPolicy(
            family_e6={
                "INXU": dollars(1_000),
                "NASDAQ100U": dollars(1_000),
                "INX": dollars(1_200),
                "NASDAQ100": dollars(1_200),
                "CPI": dollars(3_000),
            },
            strikes_e6={},
        ),
        portfolio=PortfolioPolicy(
            factor_var_max_e6=dollars(3_200),
            factor_vols={"INFLATION": 1.2, "RATES": 1.0, "EMPLOYMENT": 0.9, "WEATHER": 1.1},
            factor_betas={
                "CPI": {"INFLATION": 1.1, "RATES": 0.2},
                "TENY": {"RATES": 1.2},
                "CLAIMS": {"EMPLOYMENT": 0.8, "INFLATION": 0.3},
                "WEATHER": {"WEATHER": 1.0},
            },
            groups={"INXU": "SPX", "INX": "SPX", "NASDAQ100U": "NDX", "NASDAQ100": "NDX"},
            group_loss_max_e6={"SPX": dollars(7_500), "NDX": dollars(7_500)},
            loss_day_max_e6=dollars(2_000),
            loss_week_max_e6=dollars(6_000),
        ),
        correlation=CorrelationPolicy(
            z=2.05,
            rho=0.82,
            portfolio_var_max_e6=dollars(3_200),
            family_var_max_e6=dollars(2_200),
            tilt_max_e6=dollars(1_400),
        ),
        regimes=RegimePolicy(multipliers={MacroEvent.FOMC: 0.5, MacroEvent.CPI: 0.8}),
        size_ladder=SizeLadderPolicy(
            stage="A",
            family_stage={},
            stages={
                "A": Stage(count_max_e2=100, rungs_max=1),
                "B": Stage(count_max_e2=200, rungs_max=2),
                "C": Stage(count_max_e2=1_000, rungs_max=4),
                "D": Stage(count_max_e2=10_000, rungs_max=8),
            },
        ),
        pilot=PilotPolicy(active=True, count_max_e2=100, rungs_max=2, position_max_e2=1_000),
        lot_e2=100,
        pmf_age_s_max=10.0,
        reservation_grace_s=5.0,
    )


def test_what_is_shipped_is_also_the_default(plumbing):
    shipped = load_config([*SHIPPED, plumbing], RiskConfig).policy
    assert shipped.freshness.feeds  # tests/services/monitors pins the table
    ours = RiskPolicy(gates=GatePolicy(fee_rules=SIMULATED_FEES), freshness=shipped.freshness)
    assert shipped == ours


def test_every_policy_file_is_in_the_hash_of_a_verdict(plumbing, tmp_path):
    shipped = load_config([*SHIPPED, plumbing], RiskConfig).policy
    over = tmp_path / "over.yaml"
    for text in (
        "policy: {gates: {skew_s_max: 1.4}}",
        "policy: {index_ops: {hourly_lead_s: 899}}",
        "policy: {quality_gates: {cusum_k_bps: 0.9}}",
        "policy: {freshness: {report_s: 14.0}}",
        "policy: {sizing: {pilot: {rungs_max: 1}}}",
    ):
        over.write_text(text)
        other = load_config([*SHIPPED, plumbing, over], RiskConfig).policy
        assert config_hash(other) != config_hash(shipped)


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
        ("policy: {sizing: {pal: {family_e6: {INXU: -1}}}}", "family_e6"),
        ("policy: {sizing: {pal: {family_e6: {ABC: 1}}}}", "family_e6.*ABC"),
        ("policy: {sizing: {pal: {family_e6: {TNEY: 1000000}}}}", "family_e6.*'TENY'.*alias"),
        ("policy: {quality_gates: {crps_advantage_min: {TNEY: 1.0}}}", "crps.*'TENY'.*alias"),
        ("policy: {freshness: {feeds: {clock: {families: [TNEY]}}}}", "of clock: .*'TENY'"),
        ("policy: {sizing: {pal: {strikes_e6: {TENY: {'4.1': 1}}}}}", "strikes_e6.*TENY"),
        ("policy: {sizing: {kelly: {fraction_max: 2.0}}}", "fraction_max"),
        ("policy: {sizing: {kelly: {bankroll_e6: 0}}}", "bankroll_e6"),
        ("policy: {sizing: {portfolio: {factor_betas: {CPI: {OIL: 1.0}}}}}", "factor_betas.*OIL"),
        ("policy: {sizing: {portfolio: {groups: {CPI: MACRO}}}}", "groups.*MACRO"),
        ("policy: {sizing: {portfolio: {loss_week_max_e6: 1}}}", "loss_week_max_e6"),
        ("policy: {sizing: {correlation: {rho: 1.5}}}", "rho"),
        ("policy: {sizing: {correlation: {z: 0.0}}}", "z"),
        ("policy: {sizing: {regimes: {multipliers: {FOMC: 2.0}}}}", "multipliers"),
        ("policy: {sizing: {regimes: {multipliers: {JOBS: 0.5}}}}", "multipliers"),
        ("policy: {sizing: {size_ladder: {stage: E}}}", "stage"),
        (
            "policy: {sizing: {size_ladder: {stages: {A: {count_max_e2: 50, rungs_max: 1}}}}}",
            "stages.A.*one lot",
        ),
        (
            "policy: {sizing: {size_ladder: {stages: {C: {count_max_e2: 100, rungs_max: 1}}}}}",
            "stages.*each",
        ),
        ("policy: {sizing: {pilot: {count_max_e2: 99}}}", "pilot.*one lot"),
        ("policy: {sizing: {pal: {family_e6: {INXU: 999999}}}}", "pal.family_e6.INXU.*a lot"),
        ("policy: {sizing: {correlation: {tilt_max_e6: 1}}}", "correlation.tilt_max_e6.*a lot"),
        ("policy: {sizing: {lot_e2: 0}}", "lot_e2"),
        # Below what one contract may cost a limit is a slip of units; zero says "nothing".
        ("policy: {sizing: {pal: {family_e6: {INXU: 1000}}}}", "pal.family_e6.INXU.*a lot"),
        (
            "policy: {sizing: {pal: {strikes_e6: {CPI: {'.2': 0, '.3': 2500}}}}}",
            "pal.strikes_e6.CPI.*a lot",
        ),
        ("policy: {sizing: {pal: {strikes_e6: {CPI: {'.3': 3000000001}}}}}", "CPI's 3000000000"),
        ("policy: {sizing: {portfolio: {loss_day_max_e6: 2000}}}", "loss_day_max_e6.*a lot"),
        ("policy: {sizing: {portfolio: {group_loss_max_e6: {SPX: 7500}}}}", "SPX.*a lot"),
        ("policy: {sizing: {portfolio: {factor_vols: {RATES: .nan}}}}", "factor_vols.*finite"),
        ("policy: {sizing: {correlation: {tilt_max_e6: 1400}}}", "tilt_max_e6.*a lot"),
        (
            "policy: {sizing: {correlation: {portfolio_var_max_e6: 2100000000}}}",
            "family_var_max_e6.*at most portfolio_var_max_e6",
        ),
        ("policy: {sizing: {pilot: {count_max_e2: 1100}}}", "count_max_e2.*at most position_max"),
        ("policy: {sizing: {pilot: {rungs_max: 0}}}", "rungs_max.*1 or more"),
        ("policy: {gates: {level_age_s_max: .inf}}", "level_age_s_max.*finite"),
        ("policy: {gates: {skew_s_max: .nan}}", "skew_s_max.*finite"),
        ("policy: {quality_gates: {cusum_trades_min: 0}}", "cusum_trades_min.*1 or more"),
        ("policy: {freshness: {feeds: {index.ws: {window_s: 20.0}}}}", "at most stale_s"),
        ("policy: {freshness: {feeds: {index.ws: {last_minute_s: 3.0}}}}", "at most window_s"),
        ("policy: {gates: {panic_monitors_min: 0}}", "panic_monitors_min"),
        ("policy: {gates: {override_s_max: 604801.0}}", "override_s_max"),
        ("policy: {gates: {fee_rules: {KXNOVEL: [x]}}}", "policy.gates.fee_rules.*KXNOVEL"),
        ("policy: {quality_gates: {crps_advantage_min: {NOVEL: 1.0}}}", "crps.*NOVEL"),
        ("policy: {quality_gates: {catastrophe_bps: 9.0}}", "catastrophe_bps.*cusum_h_bps"),
        ("policy: {quality_gates: {ev_gap_e6_max: -1}}", "ev_gap_e6_max"),
        ("operator_key: abc", "operator_key.*64 hex digits"),
        ("mode: real", "mode"),
        ("kill_switch_every_s: 4.0", "kill_switch_every_s"),
    ],
)
def test_a_loose_or_unknown_value_is_refused_by_name(tmp_path, plumbing, text, key):
    over = tmp_path / "over.yaml"
    over.write_text(text)
    with pytest.raises(ConfigError, match=key) as caught:
        load_config([*SHIPPED, plumbing, over], RiskConfig)
    assert "\n" not in str(caught.value)


def places_of(key: str) -> list[str]:
    """Return the policy files that hold a key, at whatever depth."""

    def holds(value) -> bool:
        return isinstance(value, dict) and (key in value or any(map(holds, value.values())))

    return [path.name for path in CONFIGS.glob("*.yaml") if holds(yaml.safe_load(path.read_text()))]


def test_all_services_leave_the_market_by_one_key():
    assert places_of("cancel_buffer_s") == ["index_ops.yaml"]
    for service in (Service.PRICER, Service.RISK, Service.BROKER, Service.MONITORS):
        assert "index_ops.yaml" in {path.name for path in policy_files(service)}, service


def test_what_risk_stops_at_and_monitors_alert_on_has_one_place():
    """And both read it: a key that only one of them knew would end the other's start."""
    shared = yaml.safe_load((CONFIGS / "limits.yaml").read_text())["policy"]
    gates, portfolio = shared["gates"], shared["sizing"]["portfolio"]
    for key in (*gates, *portfolio):
        assert places_of(key) == ["limits.yaml"], key
    for service in (Service.RISK, Service.MONITORS):
        assert "limits.yaml" in {path.name for path in policy_files(service)}
    assert set(gates) == set(GateLimits.__struct_fields__)
    assert set(portfolio) == set(LossBudgets.__struct_fields__)
    assert "panic" in gates["panic_ignores"], "what shows the latch must not hold it"


def test_the_last_minute_is_no_laxer_than_the_rest():
    with pytest.raises(ValueError, match=r"^level_age_last_minute_s_max: .*\(2\), got 3"):
        GatePolicy(level_age_last_minute_s_max=3.0)
