"""Which window a run trades, what it writes, and what it refuses."""

import json
import stat
from datetime import date
from pathlib import Path

import pytest

from cli.plan import choose_window, make_plan, parse_day, window_clock
from cli.run_directory import RunDirectory
from libs.common.clock import NS_PER_S
from libs.common.config import ConfigError
from libs.common.topology import SERVICES
from libs.domain.eastern import eastern_ns
from tests.shared_data import shared_file


def test_noon_of_a_trading_day() -> None:
    window = choose_window(seed=1, bars=(), day=date(2025, 11, 3), hour=None)
    # domain.md §8: noon of 2025-11-03 is 17:00 UTC; ops metadata: 1762189200.
    assert window.target_ns == 1_762_189_200 * NS_PER_S
    assert window.target_ns - window.start_ns == 900 * NS_PER_S


def test_an_hour_of_choice() -> None:
    window = choose_window(seed=1, bars=(), day=date(2025, 11, 3), hour=15)
    assert window.target_ns == eastern_ns(date(2025, 11, 3), 15)


@pytest.mark.parametrize(
    ("day", "hour", "said"),
    [
        (date(2025, 1, 9), None, "has no hourly event"),  # closed for a day of mourning
        (date(2025, 11, 28), 15, "2025-11-28 13:00"),  # closes at 13:00: says what there is
        (date(2025, 11, 1), None, "has no hourly event"),  # a Saturday
    ],
)
def test_a_window_that_is_not_there(day: date, hour: int | None, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        choose_window(seed=1, bars=(), day=day, hour=hour)


def test_real_bars_choose_their_own_window() -> None:
    file = shared_file("index/windows/I_SPX_2024-08-05_noon.parquet")
    window = choose_window(seed=1, bars=(file,), day=None, hour=None)
    assert window.target_ns == eastern_ns(date(2024, 8, 5), 12)
    assert all("bars" in origin for origin in window.origins.values())


def test_bars_of_another_day_are_refused() -> None:
    file = shared_file("index/windows/I_SPX_2024-08-05_noon.parquet")
    with pytest.raises(ConfigError, match="expected one that ends"):
        choose_window(seed=1, bars=(file,), day=date(2024, 8, 6), hour=None)


def test_the_clock_starts_before_the_window() -> None:
    window = choose_window(seed=1, bars=(), day=date(2025, 11, 3), hour=None)
    clock = window_clock(window, 10.0, 9.0, wall_ns=1_000 * NS_PER_S)
    assert (clock.wall_anchor_ns, clock.virtual_anchor_ns) == (1_009 * NS_PER_S, window.start_ns)


@pytest.mark.parametrize(
    "text", ["", "2025-13-01", "tomorrow", "2025-11-03T12:00", "20251103", "2025-W45-1"]
)
def test_a_day_that_is_none(text: str) -> None:
    with pytest.raises(ConfigError, match="expected YYYY-MM-DD"):
        parse_day(text)


def test_a_plan_keeps_its_secrets_in_one_room(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run")
    window = choose_window(seed=1, bars=(), day=date(2025, 11, 3), hour=None)
    plan = make_plan(run, window, window_clock(window, 10.0, 9.0, 0), {})
    assert [spec.name for spec in plan.services] == [str(service) for service in SERVICES]
    secrets = {path.read_text() for path in run.secrets.iterdir()}
    assert secrets
    modes = {stat.S_IMODE(path.stat().st_mode) for path in run.secrets.iterdir()}
    assert modes == {0o600}
    shown = "".join(path.read_text() for path in run.configs.iterdir())
    shown += " ".join(word for spec in plan.services for word in spec.arguments)
    assert not [secret for secret in secrets if secret in shown]
    users = {
        service: json.loads((run.configs / f"{service}.yaml").read_text()) for service in SERVICES
    }
    holders = [service for service, config in users.items() if "exchange-key" in str(config)]
    assert holders == ["broker"]


def test_each_of_two_brokers_has_a_name_and_ports_of_its_own(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run")
    window = choose_window(seed=1, bars=(), day=date(2025, 11, 3), hour=None)
    plan = make_plan(run, window, window_clock(window, 10.0, 9.0, 0), {}, brokers=2)
    names = [spec.name for spec in plan.services]
    assert sorted(names) == sorted([*map(str, SERVICES), "broker-2"])
    first, second = (
        json.loads((run.configs / f"{name}.yaml").read_text()) for name in ("broker", "broker-2")
    )
    differ = {name for name in first | second if first.get(name) != second.get(name)}
    assert differ == {"admin_port", "metrics_port", "instance"}
    ports = [*plan.addresses.admin.values(), *plan.addresses.metrics.values()]
    assert len(set(ports)) == 2 * 7


def test_an_override_leaves_the_other_keys_beside_it(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run")
    window = choose_window(seed=1, bars=(), day=date(2025, 11, 3), hour=None)
    clock = window_clock(window, 10.0, 9.0, 0)
    make_plan(run, window, clock, {})
    before = json.loads((run.configs / "pricer.yaml").read_text())["policy"]
    assert before
    make_plan(run, window, clock, {"pricer": {"policy": {"min_rest_s": 0.5}}})
    policy = json.loads((run.configs / "pricer.yaml").read_text())["policy"]
    assert policy == before | {"min_rest_s": 0.5}


def test_a_run_directory_that_can_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="expected to write in"):
        RunDirectory.create(tmp_path / "file" / "run")
