"""Policy files explain themselves: every key has a value, a place, and a comment."""

from pathlib import Path

import pytest

from libs.common.explain import explain, unit_of
from libs.common.policy_files import policy_files
from libs.common.topology import SERVICES, Service

TEXT = """\
# What this file is about.
policy:
  gates:
    age_s_max: 2.0        # behind the value
    # In two lines
    # above the key.
    names: ["a # b", c]
    limits:               # of the mapping around
      INXU: 1
      CPI: {x: 2}         # its own
empty: {}   # nothing
"""


def test_a_comment_is_found_where_people_write_it(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(TEXT)
    found = {one.key: (one.value, one.source, one.doc) for one in explain([path])}
    assert found == {
        "policy.gates.age_s_max": (2.0, "policy.yaml:4", "behind the value"),
        "policy.gates.names": (["a # b", "c"], "policy.yaml:7", "In two lines above the key."),
        "policy.gates.limits.INXU": (1, "policy.yaml:9", "of the mapping around"),
        "policy.gates.limits.CPI.x": (2, "policy.yaml:10", "its own"),
        "empty": ({}, "policy.yaml:11", "nothing"),
    }


def test_a_later_file_wins_and_keeps_the_documentation(tmp_path: Path) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("top:\n  a_s: 1  # how long\n")
    second.write_text('{"top": {"a_s": 5}}')
    (one,) = explain([first, second])
    assert (one.value, one.source, one.doc, one.unit) == (5, "second.yaml:1", "how long", "s")


@pytest.mark.parametrize(
    ("key", "unit"),
    [
        ("policy.level_age_s_max", "s"),
        ("loss_day_max_e6", "$0.000001"),
        ("pal.family_e6.CPI", "$0.000001"),
        ("lot_e2", "0.01 contract"),
        ("calibration_age_days_max", "d"),
        ("cusum_h_bps", "bps"),
        ("crps_advantage_min.CPI", ""),
        ("rungs_max", ""),
    ],
)
def test_units_are_read_off_the_name(key: str, unit: str) -> None:
    assert unit_of(key) == unit


@pytest.mark.parametrize("service", SERVICES)
def test_every_key_that_is_shipped_is_documented(service: Service) -> None:
    rows = explain(policy_files(service))
    assert rows
    assert [f"{row.source} {row.key}" for row in rows if not row.doc] == []
