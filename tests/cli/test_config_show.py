"""`alpha config show`: the policy as the services read it, checked as they check it."""

import json

import pytest
from typer.testing import CliRunner

from cli.config import config_type_of
from cli.main import app
from libs.common.config import ConfigError, load_config
from libs.common.policy_files import policy_files
from libs.common.topology import SERVICES, Service

REQUIRED = """
nats_url: x
nats_password_file: x
admin_token_file: x
"""


@pytest.fixture(autouse=True)
def nothing_is_up(tmp_path, monkeypatch):
    monkeypatch.setenv("ALPHA_HOME", str(tmp_path))


def shown(*words):
    result = CliRunner().invoke(app, ["config", "show", *words], env={"COLUMNS": "250"})
    assert result.exit_code == 0, result.output
    return result.stdout


def test_all_services_with_documentation():
    answer = json.loads(shown("--explain", "--json"))
    assert set(answer) == set(SERVICES)
    risk = {row["key"]: row for row in answer["risk"]["keys"]}
    row = risk["policy.index_ops.hourly_lead_s"]
    assert (row["value"], row["unit"]) == (900, "s")
    assert row["source"].startswith("index_ops.yaml:")
    assert "T-15 min" in row["doc"]
    for part in ("gates", "index_ops", "quality_gates", "sizing.portfolio", "sizing.pilot"):
        assert any(key.startswith(f"policy.{part}.") for key in risk), part


def test_one_service_for_people():
    text = shown("risk", "--explain")
    assert "policy.gates.panic_monitors_min" in text
    assert "within half an hour" in text
    assert "so many distinct monitors" not in shown("risk")


def test_an_unknown_service_is_refused():
    result = CliRunner().invoke(app, ["config", "show", "bank"])
    assert isinstance(result.exception, ConfigError)
    assert "expected one of feeds" in str(result.exception)


CONTRADICTIONS = [
    (Service.RISK, "policy: {sizing: {pilot: {count_max_e2: 50}}}", "pilot.*one lot"),
    (Service.RISK, "policy: {index_ops: {hourly_lead_s: 4000}}", "hourly_lead_s.*overlap"),
    (Service.RISK, "policy: {gates: {fee_rules: {KXABC: [x]}}}", "fee_rules.*KXABC"),
    (Service.RISK, "policy: {gates: {skew_s_max: -1.0}}", "policy.gates.skew_s_max'.*0 or more"),
    (Service.BROKER, "policy: {index_ops: {cancel_buffer_s: 1.0}}", "cancel_buffer_s.*2.0 or"),
    (Service.MONITORS, "policy: {gates: {skew_s_max: -1.0}}", "skew_s_max"),
    (Service.MONITORS, "policy: {gates: {panic_monitors_min: 0}}", "panic_monitors_min.*1 or more"),
    (Service.MONITORS, "policy: {gates: {books_age_s_max: 2.0}}", "books_age_s_max.*unknown"),
    (Service.PRICER, "policy: {index_ops: {cancel_buffer_s: 1.0}}", "cancel_buffer_s.*2.0 or"),
]


@pytest.mark.parametrize(("service", "text", "told"), CONTRADICTIONS)
def test_a_contradiction_is_refused_with_file_key_and_reason(tmp_path, service, text, told):
    over = tmp_path / "over.yaml"
    over.write_text(f"service: {service}\n{REQUIRED}{text}\n")
    with pytest.raises(ConfigError, match=told) as caught:
        load_config([*policy_files(service), over], config_type_of(service), GIVEN.get(service))
    assert str(over) in str(caught.value)
    assert "\n" not in str(caught.value)


GIVEN = {
    Service.BROKER: {
        "exchange_rest_url": "x",
        "exchange_ws_url": "x",
        "key_id": "x",
        "key_file": "x",
    }
}
