"""Real Prometheus and Alertmanager over gauges that the test sets: arrival, end, inhibition."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from cli.alerting import alertmanager_config, find_programs, prometheus_config, web_config
from cli.run_directory import RunDirectory, free_ports
from libs.common.metrics import Metrics, MetricsServer
from tests.deploy.webhook import MISSING, Webhook, asked, let_nobody_in
from tests.e2e.rig import until

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not on PATH (Debian packages): {MISSING}")
FAST = "1s"


class Rig:
    """Two services' metrics, what scrapes them, and who is told."""

    def __init__(self, root: Path) -> None:
        run = RunDirectory.create(root / "run")
        token = run.token("admin.token").read_text()
        self.metrics = {name: Metrics() for name in ("feeds", "monitors")}
        self.servers = [MetricsServer(one, "127.0.0.1", 0, token) for one in self.metrics.values()]
        ports = dict(zip(self.metrics, (server.port for server in self.servers), strict=True))
        self.webhook = Webhook()
        (root / "webhook.url").write_text(self.webhook.url)
        prometheus, alertmanager = free_ports(2)
        self.alertmanager = f"http://127.0.0.1:{alertmanager}"
        plan: Any = SimpleNamespace(run=run, addresses=SimpleNamespace(metrics=ports))
        scrape = prometheus_config(plan, alertmanager)
        scrape["global"] = {
            "scrape_interval": FAST,
            "scrape_timeout": FAST,
            "evaluation_interval": FAST,
        }
        routes = alertmanager_config(root, run)
        for route in (routes["route"], *routes["route"]["routes"]):
            route |= {"group_wait": FAST, "group_interval": FAST}
        programs = find_programs()
        guard = f"--web.config.file={web_config(run)}"
        self.secrets = run.secrets
        self.prometheus = f"http://127.0.0.1:{prometheus}"
        self.processes = [
            subprocess.Popen(
                [
                    programs["alertmanager"],
                    guard,
                    f"--config.file={self._write(root / 'routes.yml', routes)}",
                    f"--storage.path={root / 'alertmanager'}",
                    f"--web.listen-address=127.0.0.1:{alertmanager}",
                    "--cluster.listen-address=",
                    "--log.level=error",
                ]
            ),
            subprocess.Popen(
                [
                    programs["prometheus"],
                    guard,
                    f"--config.file={self._write(root / 'scrape.yml', scrape)}",
                    f"--storage.tsdb.path={root / 'prometheus'}",
                    f"--web.listen-address=127.0.0.1:{prometheus}",
                    "--log.level=error",
                ]
            ),
        ]

    def _write(self, path: Path, values: dict[str, Any]) -> Path:
        path.write_text(yaml.safe_dump(values))
        return path

    def connected(self, yes: bool) -> None:
        for one in self.metrics.values():
            one.bus_connected.set(yes)

    def monitor(self, name: str, scope: str, state: int) -> None:
        self.metrics["monitors"].monitor_state.labels(name, scope).set(state)
        self.metrics["monitors"].monitor_value.labels(name, scope).set(7)

    def states(self) -> dict[str, str]:
        """Return each alert that Alertmanager has, active or suppressed."""
        try:
            alerts = asked(f"{self.alertmanager}/api/v2/alerts", self.secrets)
        except OSError:
            return {}
        return {one["labels"]["alertname"]: one["status"]["state"] for one in alerts}

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        for server in self.servers:
            server.close()
        self.webhook.close()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    one = Rig(tmp_path)
    yield one
    one.close()


def test_an_alert_arrives_ends_and_without_nats_only_orders_are_heard(rig: Rig) -> None:
    rig.connected(True)
    rig.monitor("freshness", "index.ws", 1)
    _, alert = rig.webhook.wait(0, "firing", alertname="FeedStale", scope="index.ws")
    assert alert["labels"]["severity"] == "page"
    assert alert["labels"]["service"] == "monitors"
    assert alert["annotations"]["summary"] == "Feed index.ws is stale, unwell or silent"
    rig.monitor("freshness", "index.ws", 0)
    rig.webhook.wait(0, "resolved", alertname="FeedStale", scope="index.ws")

    rig.connected(False)
    rig.webhook.wait(0, "firing", alertname="NatsDown")
    rig.monitor("exchange", "all", 1)
    rig.monitor("unknown_orders", "all", 1)
    rig.webhook.wait(0, "firing", alertname="UnknownOrders")
    muted = {"ExchangeClosed": "suppressed", "UnknownOrders": "active", "NatsDown": "active"}
    until(lambda: muted.items() <= rig.states().items(), f"{muted}", 30)
    assert ("firing", "ExchangeClosed") not in rig.webhook.said()
    let_nobody_in(rig.prometheus)
    let_nobody_in(rig.alertmanager)
