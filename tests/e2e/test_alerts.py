"""From a dead feed to a webhook, through real Prometheus and Alertmanager, and back."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.deploy.webhook import MISSING, Webhook, asked, let_nobody_in
from tests.e2e.rig import PYTHON, ROOT, Home, Run, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(bool(MISSING), reason=f"not on PATH (Debian packages): {MISSING}"),
]
SERIES_MAX = 2_500


@pytest.fixture
def webhook(home: Home) -> Iterator[Webhook]:
    one = Webhook()
    secrets = home.root / "alerting"
    secrets.mkdir(parents=True)
    (secrets / "webhook.url").write_text(one.url)
    yield one
    one.close()


def all_scraped(url: str, secrets: Path, count: int) -> bool:
    targets = asked(url + "/api/v1/targets", secrets)["data"]["activeTargets"]
    return sum(target["health"] == "up" for target in targets) == count


def test_a_killed_feed_reaches_the_webhook_and_resolves(home: Home, webhook: Webhook) -> None:
    shown = home.alpha("up", "--date", "2026-10-02", "--speed", "1", "--with-prometheus")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    run = Run(home.root / "up")
    state = until(run.state, "a state file")
    prometheus = state["alerting"]["prometheus"]
    secrets = run.root / "secrets"
    until(lambda: all_scraped(prometheus, secrets, 6), "six targets that are scraped")
    for url in state["alerting"].values():
        let_nobody_in(url)
    labels_stay_few(prometheus, secrets)
    until(lambda: feed_is_ok(home), "a fresh index")

    words = killed(run, "index")
    killed_s = time.monotonic()
    fired_s, alert = webhook.wait(killed_s, "firing", alertname="FeedStale", scope="index.ws")
    assert alert["annotations"]["runbook"] == "docs/runbook.md#feedstale"
    assert alert["labels"]["severity"] == "page"

    with started_again(home, words):
        back_s = time.monotonic()
        resolved_s, _ = webhook.wait(back_s, "resolved", alertname="FeedStale", scope="index.ws")
        tell("feed killed", fired_s, "feed back", resolved_s)
        a_service_that_hangs_is_down(run, webhook)
        a_clock_that_is_off_is_told(home, run, webhook)
    assert home.alpha("down").returncode == 0
    assert home.nothing_runs(5)


def killed(run: Run, name: str) -> list[str]:
    """Kill a simulator, which nobody starts again; return how it was started."""
    process = psutil.Process(run.row(name)["pid"])
    words = process.cmdline()
    process.kill()
    return words


@contextlib.contextmanager
def started_again(home: Home, words: list[str]) -> Iterator[None]:
    """Run a simulator as it was started the first time."""
    process = subprocess.Popen(
        [PYTHON, *words[1:]],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=home.environment(),
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


def tell(cause: str, fired_s: float, end: str, resolved_s: float) -> None:
    """Print the figures; they are for people."""
    sys.stdout.write(f"\n{cause} → webhook {fired_s:.1f} s; {end} → resolved {resolved_s:.1f} s\n")


def feed_is_ok(home: Home) -> bool:
    rows = json.loads(home.alpha("freshness", "--json").stdout)
    return {row["feed"]: row.get("state") for row in rows}["index.ws"] == "OK"


def labels_stay_few(prometheus: str, secrets: Path) -> None:
    """No ticker is a label, and all services together have a bounded number of series."""
    found = asked(prometheus + '/api/v1/series?match[]={__name__=~"alpha_.*"}', secrets)["data"]
    sys.stdout.write(
        f"\n{len(found)} series of {len({one['__name__'] for one in found})} metrics\n"
    )
    assert 200 < len(found) < SERIES_MAX
    texts = {text for series in found for text in series.values()}
    assert not [text for text in texts if text.startswith("KX")]


def a_service_that_hangs_is_down(run: Run, webhook: Webhook) -> None:
    pricer = psutil.Process(run.row("pricer")["pid"])
    pricer.suspend()
    hung_s = time.monotonic()
    try:
        fired_s, _ = webhook.wait(hung_s, "firing", alertname="ServiceDown", service="pricer")
    finally:
        pricer.resume()
    back_s = time.monotonic()
    resolved_s, _ = webhook.wait(back_s, "resolved", alertname="ServiceDown", service="pricer")
    tell("pricer hung", fired_s, "pricer goes on", resolved_s)


def a_clock_that_is_off_is_told(home: Home, run: Run, webhook: Webhook) -> None:
    """The exchange's clock and ours are five minutes apart: scenario 8 wants it told in 60 s."""
    words = killed(run, "exchange")
    told_exchange(run, faults=[{"fault": "clock_offset", "s": 300.0}])
    with started_again(home, words):
        off_s = time.monotonic()
        fired_s, alert = webhook.wait(off_s, "firing", alertname="ClockSkew")
        assert alert["labels"]["severity"] == "page"
    told_exchange(run, faults=[])
    with started_again(home, words):
        back_s = time.monotonic()
        resolved_s, _ = webhook.wait(back_s, "resolved", alertname="ClockSkew")
        tell("clock off by 300 s", fired_s, "clock right", resolved_s)


def told_exchange(run: Run, faults: list[dict[str, Any]]) -> None:
    """Let the exchange's next life have these faults, and a log of its own."""
    config = run.root / "etc" / "exchange.yaml"
    values = json.loads(config.read_text())
    truth = f"{values['exchange']['truth_path']}.next"
    values["exchange"] |= {"faults": faults, "truth_path": truth}
    config.write_text(json.dumps(values))
