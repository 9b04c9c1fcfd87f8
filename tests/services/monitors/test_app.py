"""monitors as a service: recovery, the kill switch's bucket, messages and metrics."""

import asyncio
import math
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import yaml

from libs.common.bus import Bus, BusUnavailable, KeyValue
from libs.common.clock import ManualClock
from libs.common.config import ConfigError, load_config, load_part
from libs.common.freshness import FreshnessPolicy
from libs.common.memory_bus import MemoryHub
from libs.common.messages import (
    KillSwitch,
    Message,
    MonitorResult,
    OrderUpdate,
    decode,
    derived_id,
    encode,
)
from libs.common.policy_files import CONFIGS, policy_files
from libs.common.runner import Runner
from libs.common.topology import KILL_SWITCH_KEY, Service, subject_of
from services.monitors.app import MonitorsApp, read_kill_switch
from services.monitors.config import MonitorsConfig
from services.monitors.policy import MonitorsPolicy
from tests.services.monitors.watching import NOW, S, freshness, order, status

FILES = policy_files(Service.MONITORS)


def config(directory: Path) -> MonitorsConfig:
    secret = directory / "secret"
    secret.write_text("a-token-for-tests")
    return MonitorsConfig(
        policy=MonitorsPolicy(freshness=freshness()),
        service="monitors",
        nats_url="nats://127.0.0.1:1",
        nats_password_file=str(secret),
        admin_token_file=str(secret),
    )


class Rig:
    """Monitors under its runner on a hub of its own."""

    def __init__(self, directory: Path) -> None:
        self.clock = ManualClock(NOW)
        self.hub = MemoryHub(self.clock.now_ns)
        self.directory = directory
        self.count = 0

    def store(self, message: Message) -> None:
        self.count += 1
        self.hub.append(subject_of(message), encode(message), derived_id("m", self.count), None)

    async def start(self) -> None:
        settings = config(self.directory)
        self.app = MonitorsApp(settings)
        self.bus = self.hub.bus(Service.MONITORS)
        self.runner = Runner(self.app, self.bus, self.clock, settings)
        self.task = asyncio.create_task(self.runner.run())

    async def results(self, name: str, count: int) -> list[MonitorResult]:
        """Return a monitor's results once there are so many, time passing meanwhile."""
        async with asyncio.timeout(10):
            while True:
                assert not self.task.done(), self.task.exception()
                stored = self.hub.log("STATUS").after(0)
                messages = [decode(one.data) for one in stored]
                found = [m for m in messages if isinstance(m, MonitorResult) and m.monitor == name]
                if len(found) >= count:
                    return found
                await self.clock.advance_to(self.clock.now_ns() + S)

    def metric(self, name: str, monitor: str) -> float | None:
        registry = self.runner.context.metrics.registry
        labels = {"monitor": monitor, "scope": "all"}
        return registry.get_sample_value(f"alpha_{name}", labels)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.runner.stop()
    await asyncio.gather(rig.task, return_exceptions=True)


async def test_an_order_that_was_unknown_before_the_start_alerts(rig: Rig) -> None:
    rig.store(order("unknown"))
    await rig.start()
    (first, *_) = await rig.results("unknown_orders", 1)
    assert (first.state, first.value) == ("ALERT", 1.0)
    assert rig.metric("monitor_state", "unknown_orders") == 1
    assert rig.metric("monitor_value", "unknown_orders") == 1.0
    late = order("cancelled")
    assert isinstance(late, OrderUpdate)
    rig.store(late)
    assert [r.state for r in await rig.results("unknown_orders", 2)] == ["ALERT", "OK"]


async def test_without_data_the_metrics_say_so(rig: Rig) -> None:
    await rig.start()
    assert (await rig.results("exchange", 1))[0].state == "NO_DATA"
    assert rig.metric("monitor_state", "exchange") == 2
    value = rig.metric("monitor_value", "exchange")
    assert value is not None
    assert math.isnan(value)
    rig.store(status(at_ns=NOW))
    assert [r.state for r in await rig.results("exchange", 2)] == ["NO_DATA", "OK"]
    assert rig.metric("monitor_state", "exchange") == 0


async def test_the_kill_switch_is_read_from_its_bucket(rig: Rig) -> None:
    await rig.start()
    results = await rig.results("kill_switch", 2)
    assert [r.state for r in results] == ["NO_DATA", "ALERT"]
    assert results[-1].evidence == "never set, counts as engaged"
    released = KillSwitch(engaged=False, reason="start", by="operator", at_ns=NOW)
    broker = rig.hub.bus(Service.BROKER)
    await broker.put("control", KILL_SWITCH_KEY, msgspec.json.encode(released), revision=0)
    results = await rig.results("kill_switch", 3)
    assert (results[-1].state, results[-1].evidence) == ("OK", "released by operator: start")


class OneValue:
    """A bucket with one answer, or none."""

    def __init__(self, answer: KeyValue | Exception | None) -> None:
        self.answer = answer

    async def get(self, bucket: str, key: str) -> KeyValue | None:
        assert (bucket, key) == ("control", KILL_SWITCH_KEY)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    "answer",
    [
        None,
        KeyValue(b"", 1),
        KeyValue(b"{}", 1),
        KeyValue(b'{"engaged":false}', 1),
        KeyValue(b"\xff", 1),
        KeyValue(b"[" * 100_000, 1),
        KeyValue(b'{"type":"kill_switch.1","engaged":"no","reason":"","by":"","at_ns":0}', 1),
        BusUnavailable("gone"),
        TimeoutError("slow"),
    ],
)
async def test_what_cannot_be_read_counts_as_engaged(answer) -> None:
    bus: Bus = OneValue(answer)  # type: ignore[assignment]
    engaged, detail = await read_kill_switch(bus)
    assert engaged
    assert "counts as engaged" in detail


def test_the_policy_file_holds_the_defaults(tmp_path: Path) -> None:
    run = tmp_path / "run.yaml"
    run.write_text("service: monitors\nnats_url: n\nnats_password_file: p\nadmin_token_file: a\n")
    loaded = load_config([*FILES, run], MonitorsConfig)
    assert loaded.policy == MonitorsPolicy(freshness=freshness())
    text = "".join(file.read_text() for file in FILES)
    assert all(f"  {name}:" in text for name in loaded.policy.__struct_fields__)


def test_the_numbers_are_the_specification_s() -> None:
    policy = load_part(FILES[0], "policy", MonitorsPolicy)
    gates, budgets = policy.gates, policy.sizing.portfolio
    assert gates.heartbeat_age_s_max == 300  # domain.md §3
    assert (gates.panic_monitors_min, gates.panic_within_s) == (3, 30 * 60)  # §3
    assert (budgets.loss_day_max_e6, budgets.loss_week_max_e6) == (2_000 * 10**6, 6_000 * 10**6)
    assert (gates.exchange_status_age_s_max, gates.skew_s_max) == (60, 1.5)  # §1
    assert (policy.disconnects_per_hour, policy.disconnects_window_s) == (1, 6 * 3600)  # §5
    assert (policy.ev_gap_bps, policy.ev_gap_t, policy.ev_gap_count_min) == (-5, -2, 5)
    assert (policy.fill_gap_pp, policy.fill_gap_contracts_min) == (-10, 100)
    assert (policy.auth_errors, policy.sigma_ratio, policy.model_drift_ratio) == (3, 1.25, 1.1)
    assert (policy.replay_gap_usd, policy.dead_letters_max) == (0.15, 0)


def test_the_freshness_table_is_the_specification_s() -> None:
    day_s = 86_400
    found = {
        feed: (rule.stale_s, rule.window_s, rule.last_minute_s, rule.business_days)
        for feed, rule in freshness().feeds.items()
    }
    assert found == {  # domain.md §1
        "index.ws": (15, 2, 0.7, None),
        "index.minutes": (30, 20, None, None),
        "kalshi.ladders": (2, None, None, None),
        "kalshi.status": (60, None, None, None),
        "clock": (60, None, None, None),
        "bls_cpi.latest_release": (35 * day_s, None, None, None),
        "cleveland_nowcast.monthly": (35 * day_s, None, None, None),
        "dol_claims.latest_report": (8 * day_s, None, None, None),
        "treasury_10y.daily": (None, None, None, 3),
        "aaa_gas.daily": (2 * day_s, None, None, None),
        "nws_daily_climate": (2 * day_s, None, None, None),
        "nws_forecast": (2 * day_s, None, None, None),
    }


def test_the_freshness_table_and_risk_s_gates_agree() -> None:
    gates = yaml.safe_load((CONFIGS / "risk.yaml").read_text())["policy"]["gates"]
    table = freshness()
    index = table.feeds["index.ws"]
    assert index.window_s == gates["level_age_s_max"]
    assert index.last_minute_s == gates["level_age_last_minute_s_max"]
    assert table.level_period_s == gates["level_period_s"]
    assert table.feeds["kalshi.ladders"].stale_s == gates["books_age_s_max"]
    limits = yaml.safe_load((CONFIGS / "limits.yaml").read_text())["policy"]["gates"]
    assert table.feeds["kalshi.status"].stale_s == limits["exchange_status_age_s_max"]


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("{source: x}", "expected one of the two"),
        ("{source: x, stale_s: 2, business_days: 3}", "expected one of the two"),
        ("{source: x, stale_s: -1}", "above 0"),
        ("{source: x, stale_s: 2, families: [NOPE]}", "families of x: .*NOPE"),
        ("{source: x, stale_s: 2, stale: 3}", "stale"),
    ],
)
def test_a_freshness_rule_that_contradicts_itself_is_refused(tmp_path, rule, why) -> None:
    file = tmp_path / "freshness.yaml"
    file.write_text(
        "policy: {freshness: {report_s: 1, window_lead_s: 1, level_period_s: 1, feeds: {x: "
        + rule
        + "}}}\n"
    )
    with pytest.raises(ConfigError, match=why):
        load_part(file, "policy.freshness", FreshnessPolicy)


def test_a_poll_slower_than_its_limit_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(
        "service: monitors\nnats_url: n\nnats_password_file: p\nadmin_token_file: a\n"
        "kill_switch_poll_s: 20\n"
    )
    with pytest.raises(ConfigError, match="kill_switch_poll_s"):
        load_config([*FILES, file], MonitorsConfig)
