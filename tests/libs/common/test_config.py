"""What a wrong configuration gets: one line with the file, the key, what was expected and given."""

from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct, field

from libs.common.clock import ClockSpec
from libs.common.config import (
    MAX_CONFIG_BYTES,
    ConfigError,
    ServiceConfig,
    config_hash,
    load_config,
    read_secret,
)

BASE = """
service: feeds
nats_url: nats://127.0.0.1:4222
nats_password_file: run/feeds.password
admin_token_file: run/admin.token
"""


class Limits(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    loss_e6: int = 5
    factor: float = 1.0


class Example(ServiceConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    series: tuple[str, ...] = ()
    limits: Limits = Limits()
    windows: tuple[Limits, ...] = ()
    by_side: dict[Literal["bid", "ask"], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.limits.factor > 10:
            raise ValueError(f"limits.factor: expected at most 10, given {self.limits.factor}")


def written(directory: Path, text: str, name: str = "feeds.yaml") -> Path:
    path = directory / name
    path.write_text(text, encoding="utf-8")
    return path


def refusal(*paths: Path) -> str:
    with pytest.raises(ConfigError) as refused:
        load_config(paths, Example)
    text = str(refused.value)
    assert "\n" not in text
    return text


def test_a_good_file_gives_typed_values(tmp_path: Path) -> None:
    config = load_config([written(tmp_path, BASE + "series: [KXINXU]\n")], Example)
    assert (config.service, config.series, config.heartbeat_s) == ("feeds", ("KXINXU",), 5.0)
    with pytest.raises(AttributeError):
        config.service = "risk"  # type: ignore[misc]


def test_a_later_file_wins_key_by_key(tmp_path: Path) -> None:
    first = written(tmp_path, BASE + "limits: {loss_e6: 7, factor: 2.0}\nseries: [A]\n")
    second = written(tmp_path, "limits: {factor: 3.0}\nseries: [B, C]\n", "run.yaml")
    config = load_config([first, second], Example)
    assert (config.limits, config.series) == (Limits(loss_e6=7, factor=3.0), ("B", "C"))


@pytest.mark.parametrize(
    ("addition", "expected"),
    [
        ("portt: 5\n", ["key 'portt'", "unknown", "known: admin_port", "limits"]),
        ("limits: {lossy: 5}\n", ["key 'limits.lossy'", "unknown"]),
        ("admin_port: much\n", ["key 'admin_port'", "expected int, got str", "given 'much'"]),
        ("heartbeat_s: [5]\n", ["key 'heartbeat_s'", "expected float", "given [5]"]),
        ("admin_port: true\n", ["key 'admin_port'", "expected int", "given True"]),
        ("admin_port: 1.5\n", ["key 'admin_port'", "expected int", "given 1.5"]),
        ("limits: {loss_e6: five}\n", ["key 'limits.loss_e6'", "expected int", "given 'five'"]),
        ("series: [A, 5]\n", ["series", "expected str", "given 5"]),
        ("windows: [{}, {factor: x}]\n", ["windows[1].factor", "expected float", "given 'x'"]),
        ("series: KXINXU\n", ["key 'series'", "expected array", "given 'KXINXU'"]),
        ("limits: {factor: 11}\n", ["key 'limits.factor': expected at most 10, given 11"]),
        ("clock: {rate: 10}\n", ["both anchors"]),
        ("clock: {rate: 0}\n", ["clock", "expected 0.01 to 10000, got 0"]),
        ("limits: {factor: .nan}\n", ["key 'limits.factor': expected a finite number"]),
        ("windows: [{factor: 1.0}]\nheartbeat_s: .inf\n", ["key 'heartbeat_s'", "finite"]),
        ("heartbeat_s: -1\n", ["key 'heartbeat_s': expected 0 or more, given -1"]),
        ("limits: {loss_e6: -1}\n", ["key 'limits.loss_e6': expected 0 or more, given -1"]),
        ("by_side: {both: 1}\n", ["key 'by_side'", "invalid enum value 'both'"]),
        ("clock: {speed: 1}\n", ["key 'clock.speed'", "unknown"]),
    ],
)
def test_a_wrong_key_is_named_with_what_was_expected_and_given(
    tmp_path: Path, addition: str, expected: list[str]
) -> None:
    path = written(tmp_path, BASE + addition)
    text = refusal(path)
    for part in (str(path), *expected):
        assert part in text


def test_the_file_that_gave_the_wrong_key_is_named(tmp_path: Path) -> None:
    first = written(tmp_path, BASE + "admin_port: wrong\n")
    second = written(tmp_path, "series: [A]\n", "run.yaml")
    assert str(first) in refusal(first, second)
    third = written(tmp_path, "admin_port: also wrong\n", "last.yaml")
    assert str(third) in refusal(first, second, third)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, BASE.replace("nats_url", "#"))
    assert "key 'nats_url': expected a value, found none" in refusal(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [1\n", "expected YAML"),
        ("a: b: c\n", "expected YAML"),
        ("- a\n- b\n", "expected a mapping of keys, found list"),
        ("just words", "expected a mapping of keys, found str"),
        ("5: x\n", "expected a mapping of keys"),
        ("a: !!python/object/apply:os.system [x]\n", "expected YAML"),
        ("x: " + "y" * MAX_CONFIG_BYTES, "expected at most"),
    ],
)
def test_what_is_no_configuration_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    path = written(tmp_path, text)
    found = refusal(path)
    assert str(path) in found
    assert expected in found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("limits:\n  loss_e6: 1\n  loss_e6: 9\n", "key 'loss_e6' twice, in lines 7 and 8"),
        ("limits: {loss_e6: 1}\nlimits: {factor: 2}\n", "key 'limits' twice, in lines 6 and 7"),
        ("limits: {loss_e6: 1, 'loss_e6': 9}\n", "key 'loss_e6' twice, in lines 6 and 6"),
        ("by_side: {<<: {bid: 1}, bid: 2}\n", "line 6: a merge (<<)"),
    ],
)
def test_a_key_that_stands_twice_is_refused_with_its_lines(
    tmp_path: Path, text: str, expected: str
) -> None:
    assert expected in refusal(written(tmp_path, BASE + text))


def test_other_bytes_a_missing_file_and_a_directory_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bytes.yaml").write_bytes(b"\x00\x81\xff")
    assert "expected YAML" in refusal(tmp_path / "bytes.yaml")
    assert "No such file" in refusal(tmp_path / "none.yaml")
    assert "expected a YAML file" in refusal(tmp_path)


def test_an_empty_file_lacks_all(tmp_path: Path) -> None:
    assert "expected a value, found none" in refusal(written(tmp_path, "# nothing\n"))


@given(st.binary(max_size=200))
def test_any_bytes_give_a_configuration_or_one_line(tmp_path_factory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("config") / "any.yaml"
    path.write_bytes(data)
    assert refusal(path)


def test_secrets_are_one_line_and_never_shown(tmp_path: Path) -> None:
    path = written(tmp_path, "  hush-hush-hush \n", "secret")
    assert read_secret(path, "nats_password_file") == "hush-hush-hush"
    for name, data, expected in (
        ("none", None, "expected a readable file"),
        ("empty", b" \n", "found 0 words"),
        ("two", b"hush-hush-hush\nhush-hush-hush\n", "found 2 words"),
        ("bytes", b"\xff\xfe", "expected UTF-8"),
    ):
        if data is not None:
            (tmp_path / name).write_bytes(data)
        with pytest.raises(ConfigError) as refused:
            read_secret(tmp_path / name, "nats_password_file")
        text = str(refused.value)
        assert text.startswith("nats_password_file: ")
        assert expected in text
        assert str(tmp_path / name) in text
        assert "hush" not in text


def test_equal_configurations_have_equal_hashes(tmp_path: Path) -> None:
    path = written(tmp_path, BASE)
    assert config_hash(load_config([path], Example)) == config_hash(load_config([path], Example))
    other = written(tmp_path, BASE + "heartbeat_s: 6\n", "other.yaml")
    assert config_hash(load_config([path], Example)) != config_hash(load_config([other], Example))
    assert ClockSpec() == load_config([path], Example).clock


def test_a_long_value_is_not_repeated(tmp_path: Path) -> None:
    text = refusal(written(tmp_path, BASE + f"admin_port: {'x' * 500}\n"))
    assert "key 'admin_port': expected int, got str" in text
    assert len(text) < 300 + len(str(tmp_path))
