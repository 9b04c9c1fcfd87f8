"""The figures of configs/broker.yaml, pinned: whoever loosens one has to say so here."""

from pathlib import Path

import msgspec
import pytest
import yaml

from libs.common.config import ConfigError, load_config
from libs.common.hosts import is_outside
from services.broker.config import BrokerConfig
from services.broker.policy import Policy

FILE = Path(__file__).resolve().parents[3] / "configs" / "broker.yaml"


def test_the_file_says_what_the_specification_says():
    policy = msgspec.convert(yaml.safe_load(FILE.read_text())["policy"], Policy)
    assert policy.stale_read_s >= 0.36
    assert policy.absence_reads >= 2
    assert policy.absence_apart_s >= 1.0
    assert policy.max_order_count_e2 <= 100_000
    assert policy.max_open_orders <= 200


def test_the_file_holds_the_defaults():
    values = yaml.safe_load(FILE.read_text())
    assert msgspec.convert(values.pop("policy"), Policy) == Policy()
    defaults = dict(
        zip(
            BrokerConfig.__struct_fields__[-len(BrokerConfig.__struct_defaults__) :],
            BrokerConfig.__struct_defaults__,
            strict=True,
        )
    )
    assert {name: defaults[name] for name in values} == values


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("exchange_rest_urls", "x", "exchange_rest_urls.*unknown"),
        ("key_id", " ", "key 'key_id': expected the id"),
        (
            "policy",
            {"index_ops": {"cancel_buffer_s": 1.0}},
            "key 'policy.index_ops.cancel_buffer_s': expected 2.0 or more",
        ),
        ("policy", {"cancel_buffer_s": 2.0}, "key 'policy.cancel_buffer_s'.*unknown"),
        ("policy", {"absence_reads": 1}, "key 'policy.absence_reads': expected 2 or more"),
        ("policy", {"retry_s": 0}, "key 'policy.retry_s': expected above 0"),
        ("policy", {"max_order_count_e2": 99}, "key 'policy.max_order_count_e2'.*one contract"),
        ("lease_every_s", 9.0, "key 'lease_every_s': expected at most a third"),
        ("kill_switch_every_s", 9.0, "key 'kill_switch_every_s': expected at most half"),
        ("answer_timeout_s", 0, "key 'answer_timeout_s': expected above 0"),
    ],
)
def test_a_value_that_can_not_be_is_refused(tmp_path, key, value, expected):
    values = {
        "service": "broker",
        "nats_url": "nats://127.0.0.1:1",
        "nats_password_file": "none",
        "admin_token_file": "none",
        "exchange_rest_url": "http://127.0.0.1:1/trade-api/v2",
        "exchange_ws_url": "ws://127.0.0.1:1/trade-api/ws/v2",
        "key_id": "id",
        "key_file": "none",
    }
    file = tmp_path / "own.yaml"
    file.write_text(yaml.safe_dump(values))
    load_config([FILE, file], BrokerConfig)
    file.write_text(yaml.safe_dump(values | {key: value}))
    with pytest.raises(ConfigError, match=expected):
        load_config([FILE, file], BrokerConfig)


@pytest.mark.parametrize(
    ("url", "live"),
    [
        ("http://127.0.0.1:8080/trade-api/v2", False),
        ("http://localhost:8080/trade-api/v2", False),
        ("ws://[::1]:8080/trade-api/ws/v2", False),
        ("https://external-api.kalshi.com/trade-api/v2", True),
        ("https://external-api.demo.kalshi.co/trade-api/v2", True),
        ("http://127.0.0.1.example.com/trade-api/v2", True),
        ("http://localhost.example.com/", True),
        ("http://10.0.0.1/", True),
        ("", True),
    ],
)
def test_only_this_machine_is_a_laboratory(url, live):
    assert is_outside(url) is live
