"""Prometheus and Alertmanager beside a run: `alpha up --with-prometheus` (docs/alerting.md).

Both are what is checked in under `deploy/`, pointed at the run's ports and secrets, and ask for the
run's own password. Of the receivers those stay whose secret is in the folder `alerting` beside the
runs.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import bcrypt
import yaml
from msgspec.structs import replace

from cli.processes import ROOT, Plan
from cli.run_directory import RunDirectory, free_ports, home
from cli.supervisor import ProcessSpec
from libs.common.config import ConfigError, read_secret

PROGRAMS = {
    "prometheus": ("prometheus",),
    "alertmanager": ("prometheus-alertmanager", "alertmanager"),
}
DEPLOY = ROOT / "deploy"
USER = "alpha"
LOGIN_FILE = "alerting.password"
"""The secret of a run with which both let people, and Prometheus Alertmanager, in."""
_KEPT_DAYS = 7


def find_programs() -> dict[str, str]:
    """Return where both programs are; raise ConfigError when one is missing."""
    found = {
        name: next(filter(None, map(shutil.which, names)), None) for name, names in PROGRAMS.items()
    }
    if missing := [PROGRAMS[name][0] for name, path in found.items() if path is None]:
        raise ConfigError(
            f"--with-prometheus: expected {' and '.join(missing)} on PATH, found none; "
            "they are Debian packages of those names"
        )
    return {name: path for name, path in found.items() if path is not None}


def with_alerting(plan: Plan) -> Plan:
    """Return the plan with both processes, which start once all services are READY."""
    programs = find_programs()
    run, (prometheus, alertmanager) = plan.run, free_ports(2)
    config = run.write_config("prometheus", prometheus_config(plan, alertmanager))
    routes = run.write_secret(
        "alertmanager.yml", yaml.safe_dump(alertmanager_config(home().resolve() / "alerting", run))
    )
    guard = f"--web.config.file={web_config(run)}"
    words = {
        "prometheus": (
            guard,
            f"--config.file={config}",
            f"--storage.tsdb.path={run.root / 'prometheus'}",
            f"--storage.tsdb.retention.time={_KEPT_DAYS}d",
            f"--web.listen-address=127.0.0.1:{prometheus}",
            "--log.level=warn",
        ),
        "alertmanager": (
            guard,
            f"--config.file={routes}",
            f"--storage.path={run.root / 'alertmanager'}",
            f"--web.listen-address=127.0.0.1:{alertmanager}",
            "--cluster.listen-address=",
            "--log.level=warn",
        ),
    }
    processes = tuple(
        ProcessSpec(
            name=name,
            arguments=(programs[name], *words[name]),
            log_file=run.logs / f"{name}.log",
        )
        for name in ("alertmanager", "prometheus")
    )
    urls = {
        "prometheus": f"http://127.0.0.1:{prometheus}",
        "alertmanager": f"http://127.0.0.1:{alertmanager}",
    }
    return replace(plan, alerting=processes, alerting_urls=urls)


def web_config(run: RunDirectory) -> Path:
    """Write what makes either program ask for the run's password, and return where it is."""
    password = read_secret(run.token(LOGIN_FILE), LOGIN_FILE)
    hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(rounds=10)).decode()
    return run.write_secret("web.yml", yaml.safe_dump({"basic_auth_users": {USER: hashed}}))


def prometheus_config(plan: Plan, alertmanager_port: int) -> dict[str, Any]:
    """Return the checked-in scrape configuration with a run's ports, rules and token."""
    folder = DEPLOY / "prometheus"
    config: dict[str, Any] = yaml.safe_load((folder / "prometheus.yml").read_text("utf-8"))
    config["rule_files"] = [str(folder / name) for name in config["rule_files"]]
    (alertmanager,) = config["alerting"]["alertmanagers"]
    alertmanager["basic_auth"]["password_file"] = str(plan.run.token(LOGIN_FILE))
    alertmanager["static_configs"] = [{"targets": [f"127.0.0.1:{alertmanager_port}"]}]
    (scrape,) = config["scrape_configs"]
    scrape["authorization"] = {"credentials_file": str(plan.run.token("admin.token"))}
    del scrape["file_sd_configs"]
    scrape["static_configs"] = scrape_targets(plan.addresses.metrics)
    return config


def scrape_targets(ports: dict[str, int]) -> list[dict[str, Any]]:
    """Return one target a process; of two brokers both are the service `broker`."""
    return [
        {
            "targets": [f"127.0.0.1:{port}"],
            "labels": {"service": name.split("-")[0], "instance": name},
        }
        for name, port in ports.items()
    ]


def alertmanager_config(secrets: Path, run: RunDirectory) -> dict[str, Any]:
    """Return the checked-in routes with those receivers whose secrets are in a folder.

    `webhook.url`, `webhook.token`, `slack.url` and `pagerduty.key` hold one line; `email.json` has
    to, from, smarthost and username, `smtp.password` its password. Raises ConfigError for what is
    there and can't be used.
    """
    text = (DEPLOY / "alertmanager" / "alertmanager.yml").read_text("utf-8")
    config: dict[str, Any] = yaml.safe_load(text)
    given = {
        "webhook_configs": (secrets / "webhook.url").exists(),
        "slack_configs": (secrets / "slack.url").exists(),
        "pagerduty_configs": (secrets / "pagerduty.key").exists(),
        "email_configs": (secrets / "email.json").exists(),
    }
    config["global"] = _global(config["global"], secrets, given, run)
    for receiver in config["receivers"]:
        for kind in [kind for kind in receiver if kind != "name"]:
            if not given[kind]:
                del receiver[kind]
        for one in receiver.get("webhook_configs", ()):
            # Alertmanager before 0.26 takes no file for it, and shows it: the token has its own.
            one["url"] = read_secret(secrets / "webhook.url", "webhook.url")
            one.pop("http_config", None)  # receivers share what their routes have in common
            if (token := secrets / "webhook.token").exists():
                one["http_config"] = {"authorization": {"credentials_file": str(token)}}
        for one in receiver.get("pagerduty_configs", ()):
            one["routing_key_file"] = str(secrets / "pagerduty.key")
        for one in receiver.get("email_configs", ()):
            one["to"] = _email(secrets)["to"]
    return config


def _global(
    known: dict[str, Any], secrets: Path, given: dict[str, bool], run: RunDirectory
) -> dict[str, Any]:
    values = {"resolve_timeout": known["resolve_timeout"]}
    if given["slack_configs"]:
        values["slack_api_url_file"] = str(secrets / "slack.url")
    if given["email_configs"]:
        email = _email(secrets)
        # Alertmanager sends a newline at the file's end along, and no server knows that password.
        password = read_secret(secrets / "smtp.password", "smtp.password")
        values |= {
            "smtp_from": email["from"],
            "smtp_smarthost": email["smarthost"],
            "smtp_auth_username": email["username"],
            "smtp_auth_password_file": str(run.write_secret("smtp.password", password)),
        }
    return values


def _email(secrets: Path) -> dict[str, str]:
    path = secrets / "email.json"
    expected = {"to", "from", "smarthost", "username"}
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: expected JSON, found: {error}") from None
    if not isinstance(values, dict) or set(values) != expected:
        raise ConfigError(f"{path}: expected the keys {', '.join(sorted(expected))}")
    return {name: str(value) for name, value in values.items()}
