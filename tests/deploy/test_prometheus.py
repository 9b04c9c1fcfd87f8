"""Rules and routes: every monitor and alert is there, has its three cases, and a way out."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.alerting import alertmanager_config, scrape_targets
from cli.run_directory import RunDirectory
from libs.common.config import ConfigError
from libs.common.metrics import Metrics
from services.monitors.core import MonitorsCore
from services.monitors.policy import MonitorsPolicy

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
ROUTES = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"
SEVERITIES = {"page", "warning", "info"}


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def rules() -> list[dict[str, Any]]:
    files = read(PROMETHEUS / "prometheus.yml")["rule_files"]
    groups = [group for name in files for group in read(PROMETHEUS / name)["groups"]]
    return [rule for group in groups for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}


def run(program: str, *words: str) -> str:
    """Run a program of Prometheus's; skip where it is not installed."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not on PATH (a Debian package)")
    done = subprocess.run(
        [program, *words], capture_output=True, text=True, check=False, cwd=PROMETHEUS, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_rules_pass_their_tests() -> None:
    run("promtool", "test", "rules", "tests.yml")


def test_rules_and_scrape_configuration_are_valid() -> None:
    files = read(PROMETHEUS / "prometheus.yml")["rule_files"]
    run("promtool", "check", "rules", "--lint-fatal", *files)
    run("promtool", "check", "config", "--syntax-only", "prometheus.yml")


def test_the_routes_are_valid() -> None:
    run("amtool", "check-config", str(ROUTES))


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (["severity=page"], "page"),
        (["severity=warning"], "look"),
        (["severity=info"], "note"),
        ([], "look"),
    ],
)
def test_severity_says_who_hears_of_it(labels: list[str], receiver: str) -> None:
    words = ("config", "routes", "test", f"--config.file={ROUTES}", "alertname=X", *labels)
    assert run("amtool", *words).strip() == receiver


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_does_not_fire_fires_and_resolves(name: str) -> None:
    """In that order, within one time-line of its own."""
    (case,) = [case for case in read(PROMETHEUS / "tests.yml")["tests"] if case["name"] == name]
    expected = [bool(asked["exp_samples"]) for asked in case["promql_expr_test"]]
    assert expected == [False, True, False]
    assert all(f'alertname="{name}"' in asked["expr"] for asked in case["promql_expr_test"])


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_how_grave_it_is_and_what_to_do(name: str) -> None:
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in SEVERITIES
    assert rule["labels"]["layer"] in {"bus", "service", "monitor"}
    notes = rule["annotations"]
    assert set(notes) == {"summary", "remedy", "runbook"}
    assert all("\n" not in text for text in notes.values())
    page, anchor = notes["runbook"].split("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(), re.MULTILINE)
    assert anchor in {heading.lower().replace(" ", "-") for heading in headings}


def test_every_monitor_has_an_alert_and_every_alert_of_one_has_a_monitor() -> None:
    names = {monitor.name for monitor in MonitorsCore(MonitorsPolicy()).monitors}
    asked = {
        match[1]
        for rule in ALERTS.values()
        if (match := re.match(r'alpha:monitor_alert:value\{monitor="(\w+)"\}', rule["expr"]))
    }
    assert asked == names


def test_rules_ask_for_metrics_that_exist() -> None:
    known = {"up"} | {rule["record"] for rule in rules() if "record" in rule}
    for family in Metrics().registry.collect():
        ends = ("", "_total", "_bucket", "_sum", "_count")
        known |= {family.name + end for end in ends}
    asked = {
        name for rule in rules() for name in re.findall(r"\balpha[_:][\w:]+|\bup\b", rule["expr"])
    }
    assert asked <= known


def test_inhibitions_name_alerts_that_exist() -> None:
    text = ROUTES.read_text()
    named = {
        name for group in re.findall(r'alertname!?=~?"([^"]+)"', text) for name in group.split("|")
    }
    assert named <= set(ALERTS)


def test_without_nats_what_concerns_orders_is_still_heard() -> None:
    (rule,) = [
        one for one in read(ROUTES)["inhibit_rules"] if "NatsDown" in one["source_matchers"][0]
    ]
    kept = set(re.findall(r"\w+", rule["target_matchers"][1].split('"')[1]))
    assert {"UnknownOrders", "RestingAfterCancel", "BooksDiffer", "Drawdown"} <= kept
    assert "FeedStale" not in kept


def test_a_run_scrapes_its_own_ports(tmp_path: Path) -> None:
    targets = scrape_targets({"feeds": 9001, "broker": 9002, "broker-2": 9003})
    assert [target["labels"] for target in targets] == [
        {"service": "feeds", "instance": "feeds"},
        {"service": "broker", "instance": "broker"},
        {"service": "broker", "instance": "broker-2"},
    ]
    assert targets[0]["targets"] == ["127.0.0.1:9001"]


def test_a_run_has_the_receivers_whose_secrets_it_was_given(tmp_path: Path) -> None:
    config = alertmanager_config(tmp_path, RunDirectory.create(tmp_path / "run"))
    assert [set(one) for one in config["receivers"]] == [{"name"}] * 3
    (tmp_path / "webhook.url").write_text("http://127.0.0.1:1/x\n")
    (tmp_path / "slack.url").write_text("https://slack.invalid/x\n")
    (tmp_path / "pagerduty.key").write_text("k\n")
    (tmp_path / "smtp.password").write_text("p\n")
    (tmp_path / "email.json").write_text(
        '{"to": "a@b.invalid", "from": "c@d.invalid", "smarthost": "m:25", "username": "u"}'
    )
    config = alertmanager_config(tmp_path, RunDirectory.create(tmp_path / "run"))
    page = next(one for one in config["receivers"] if one["name"] == "page")
    assert page["webhook_configs"][0]["url"] == "http://127.0.0.1:1/x"
    assert page["pagerduty_configs"][0]["routing_key_file"] == str(tmp_path / "pagerduty.key")
    assert page["email_configs"][0]["to"] == "a@b.invalid"
    assert config["global"]["slack_api_url_file"] == str(tmp_path / "slack.url")
    made = tmp_path / "alertmanager.yml"
    made.write_text(yaml.safe_dump(config))
    run("amtool", "check-config", str(made))


def test_an_email_file_that_lacks_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "email.json").write_text('{"to": "a@b.invalid"}')
    with pytest.raises(ConfigError, match="expected the keys"):
        alertmanager_config(tmp_path, RunDirectory.create(tmp_path / "run"))


def test_no_receiver_holds_a_secret_itself() -> None:
    text = ROUTES.read_text()
    for name in ("slack_api_url", "smtp_auth_password", "routing_key", "credentials"):
        assert not re.search(rf"\b{name}:", text), f"{name} belongs into a file"
