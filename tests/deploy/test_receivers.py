"""Every receiver hears by a real Alertmanager that an alert fires and ends; no secret shows."""

import json
import os
import subprocess
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from cli.alerting import LOGIN_FILE, USER, alertmanager_config, find_programs, web_config
from cli.run_directory import RunDirectory, free_ports
from tests.deploy.receivers import HttpSink, MailSink
from tests.deploy.webhook import MISSING, asked
from tests.e2e.rig import until

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not on PATH (Debian packages): {MISSING}")
SECRETS = {
    "slack.url": "/services/T0/B0/slack-secret",
    "pagerduty.key": "pagerduty-secret",
    "smtp.password": "smtp-secret",
    "webhook.token": "webhook-secret",
}
SLACK, PAGERDUTY, WEBHOOK = SECRETS["slack.url"], "/v2/enqueue", "/hook"
LABELS = {"alertname": "UnknownOrders", "severity": "page", "layer": "monitor", "scope": "all"}
NOTES = {"summary": "Orders whose outcome nobody knows", "remedy": "wait", "runbook": "docs/x#y"}


class Rig:
    """A real Alertmanager with all four receivers, each of them a sink on this machine."""

    def __init__(self, root: Path) -> None:
        self.http, self.mail = HttpSink(), MailSink(root)
        self.secrets = root / "alerting"
        self.secrets.mkdir()
        for name, secret in SECRETS.items():
            text = self.http.url + secret if name == "slack.url" else secret
            (self.secrets / name).write_text(text + "\n")
        (self.secrets / "webhook.url").write_text(self.http.url + WEBHOOK)
        to = {"to": "operator@b.invalid", "from": "alpha@b.invalid", "username": "alpha"}
        (self.secrets / "email.json").write_text(json.dumps(to | {"smarthost": self.mail.address}))
        self.run = RunDirectory.create(root / "run")
        routes = alertmanager_config(self.secrets, self.run)
        routes["global"]["pagerduty_url"] = self.http.url + PAGERDUTY
        for route in (routes["route"], *routes["route"]["routes"]):
            route |= {"group_wait": "1s", "group_interval": "1s"}
        config = root / "routes.yml"
        config.write_text(yaml.safe_dump(routes))
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        self.log = root / "alertmanager.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    find_programs()["alertmanager"],
                    f"--config.file={config}",
                    f"--web.config.file={web_config(self.run)}",
                    f"--storage.path={root / 'alertmanager'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                    "--cluster.listen-address=",
                    "--log.level=debug",
                ],
                stdout=log,
                stderr=log,
                env={**os.environ, "SSL_CERT_FILE": str(self.mail.authority)},
            )

    def tell(self, *, ended: bool) -> bool:
        """Post the alert as Prometheus does; tell whether it was taken."""
        now = datetime.now(UTC)
        times = {"startsAt": (now - timedelta(minutes=1)).isoformat()}
        if ended:
            times["endsAt"] = now.isoformat()
        body = json.dumps([{"labels": LABELS, "annotations": NOTES, **times}]).encode()
        login = f"{USER}:{(self.run.secrets / LOGIN_FILE).read_text()}".encode()
        request = urllib.request.Request(self.url + "/api/v2/alerts", data=body)
        request.add_header("Content-Type", "application/json")
        request.add_header("Authorization", "Basic " + b64encode(login).decode())
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return bool(answer.status == 200)
        except urllib.error.URLError as error:
            if isinstance(error, urllib.error.HTTPError):
                raise
            return False

    def heard(self) -> dict[str, list[str]]:
        """Return for each receiver whether it heard of a beginning or an end, in order."""
        titles = [post.body["attachments"][0]["title"] for post in self.http.of(SLACK)]
        actions = [post.body["event_action"] for post in self.http.of(PAGERDUTY)]
        subjects = [str(mail.message["Subject"]) for mail in self.mail.mails]
        return {
            "slack": [title.partition(":")[0] for title in titles],
            "pagerduty": [
                {"trigger": "firing", "resolve": "resolved"}[action] for action in actions
            ],
            "webhook": [post.body["status"] for post in self.http.of(WEBHOOK)],
            "email": ["firing" if "FIRING" in text else "resolved" for text in subjects],
        }

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.http.close()
        self.mail.close()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    one = Rig(tmp_path)
    yield one
    one.close()


def all_heard(rig: Rig, *statuses: str) -> None:
    """Wait until every receiver heard just these, in order."""
    expected = {name: list(statuses) for name in ("slack", "pagerduty", "webhook", "email")}
    try:
        until(lambda: rig.heard() == expected, f"{statuses} at all receivers", 30)
    except AssertionError as error:
        raise AssertionError(f"{error}: {rig.heard()}\n{rig.log.read_text()}") from None


def test_all_four_hear_of_it_and_of_its_end_and_no_secret_is_shown(rig: Rig) -> None:
    until(lambda: rig.tell(ended=False), "an Alertmanager that takes alerts", 20)
    all_heard(rig, "firing")
    rig.tell(ended=True)
    all_heard(rig, "firing", "resolved")

    said = rig.http.of(SLACK)[0].body
    assert (said["channel"], said["attachments"][0]["title"]) == (
        "#alpha",
        "firing: UnknownOrders all",
    )
    assert "nobody knows. wait (docs/x#y)" in said["attachments"][0]["text"]
    paged, over = rig.http.of(PAGERDUTY)
    assert paged.body["routing_key"] == SECRETS["pagerduty.key"]
    assert paged.body["payload"]["severity"] == "critical"
    assert paged.body["payload"]["summary"] == NOTES["summary"]
    assert paged.body["dedup_key"] == over.body["dedup_key"]
    hooked = rig.http.of(WEBHOOK)[0]
    assert hooked.authorization == f"Bearer {SECRETS['webhook.token']}"
    mail = rig.mail.mails[0]
    assert (mail.login, mail.password) == ("alpha", SECRETS["smtp.password"])
    assert (mail.message["To"], mail.message["From"]) == ("operator@b.invalid", "alpha@b.invalid")

    log = rig.log.read_text()
    assert rig.http.dropped == {SLACK, PAGERDUTY, WEBHOOK}
    assert "EOF" in log, "a receiver that hung up is in the log"
    shown = json.dumps(asked(rig.url + "/api/v2/status", rig.run.secrets))
    assert "slack_api_url_file" in shown
    for secret in (*SECRETS.values(), (rig.run.secrets / LOGIN_FILE).read_text()):
        assert secret not in log
        assert secret not in shown
