"""Typed configuration from YAML files: frozen, unknown keys refused, errors that say where."""

import hashlib
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml
from msgspec import Struct

from libs.common.clock import ClockSpec

MAX_CONFIG_BYTES = 1_000_000
GIVEN_MAX = 80
"""A longer value is not repeated in an error: it would hide what is wrong."""
T = TypeVar("T")

_AT_KEY = re.compile(r"^(?P<what>.*?)(?: - at (?:`key` in )?`\$\.?(?P<key>[^`]*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<field>[^`]*)`")
_OWN = re.compile(r"^(?P<key>[a-z_]\w*(?:\.\w+)*): (?P<what>.*)$", re.DOTALL)
"""What our own checks say: the key within the mapping at hand, then what is amiss."""
_NEVER_NEGATIVE = (
    *("_s", "_e2", "_e4", "_e6", "_max"),
    *("_usd", "_share", "_ratio", "_tokens", "_errors"),
)
"""Times, counts, prices, money and limits, by the house's names; an EV's minimum is money too."""
_MERGE = "tag:yaml.org,2002:merge"
_MISSING = re.compile(r"Object missing required field `(?P<field>[^`]*)`")


class ConfigError(ValueError):
    """A configuration can't be used; one line: file, key, expected, given."""


class _Loader(yaml.SafeLoader):
    """YAML of plain values, in which a key stands once: of two limits the last would win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        lines: dict[Any, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == _MERGE:
                raise yaml.YAMLError(f"line {key_node.start_mark.line + 1}: a merge (<<)")
            key, line = self.construct_object(key_node, deep=True), key_node.start_mark.line + 1
            if key in lines:
                raise yaml.YAMLError(f"key {key!r} twice, in lines {lines[key]} and {line}")
            lines[key] = line
        return super().construct_mapping(node, deep)


class ServiceConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every service needs to run; each service's own configuration extends it."""

    service: str
    nats_url: str
    nats_password_file: str
    admin_token_file: str
    instance: str = ""
    clock: ClockSpec = ClockSpec()
    host: str = "127.0.0.1"
    admin_port: int = 0
    metrics_port: int = 0
    log_level: str = "info"
    heartbeat_s: float = 5.0


def load_config(
    paths: Sequence[str | Path], config_type: type[T], given: dict[str, Any] | None = None
) -> T:
    """Read YAML files over each other (a later one wins, mappings merge) into `config_type`.

    `given` is put over them all. Raises `ConfigError`, naming what gave the offending key.
    """
    merged: dict[str, Any] = {}
    parts: list[tuple[str | Path, dict[str, Any]]] = [(path, _read(Path(path))) for path in paths]
    for path, part in parts:
        _refuse_impossible(path, part)
    if given is not None:
        parts.append(("given", given))
    for _, part in parts:
        merged = merge(merged, part)
    try:
        return msgspec.convert(merged, config_type, strict=True)
    except (msgspec.ValidationError, ValueError, AssertionError) as error:
        raise ConfigError(_explain(str(error), parts, merged, config_type)) from None


def load_part(path: str | Path, key: str, part_type: type[T]) -> T:
    """Return the part of a YAML file below a dotted key. Raises `ConfigError`."""
    whole = _read(Path(path))
    part = _value_at(whole, key)
    if not isinstance(part, dict):
        raise ConfigError(f"{path}: key {key!r}: expected a mapping of keys, found none")
    try:
        return msgspec.convert(part, part_type, strict=True)
    except (msgspec.ValidationError, ValueError, AssertionError) as error:
        raise ConfigError(_explain(str(error), [(path, part)], part, part_type)) from None


def load_list(path: str | Path) -> list[Any]:
    """Return the list that a YAML file holds. Raises `ConfigError`."""
    value = _read_yaml(Path(path))
    if not isinstance(value, list):
        raise ConfigError(f"{path}: expected a list, found {type(value).__name__}")
    return value


def read_as(value: Any, kind: type[T], where: str) -> T:
    """Convert plain data to `kind`; raises `ConfigError` that begins with `where`."""
    try:
        return msgspec.convert(value, kind, strict=True)
    except (msgspec.ValidationError, ValueError, AssertionError) as error:
        raise ConfigError(_explain(str(error), [(where, value)], value, kind)) from None


def demand_at_least_zero(policy: Struct, *keys: str) -> None:
    """Raise ValueError for a value of these keys that is negative or not finite.

    Of a mapping all values count. Without keys every number that the struct itself holds does.
    """
    given = {key: getattr(policy, key) for key in keys or policy.__struct_fields__}
    if not keys:
        given = {key: value for key, value in given.items() if isinstance(value, int | float)}
    for key, value in given.items():
        numbers = value.values() if isinstance(value, dict) else (value,)
        if not all(0 <= number < math.inf for number in numbers):
            raise ValueError(f"{key}: expected 0 or more, and finite, got {value}")


def read_secret(path: str | Path, what: str) -> str:
    """Return the single line of a secret file; raise `ConfigError` when there is none."""
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(
            f"{what}: expected a readable file at {path}, found: {error.strerror}"
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(f"{what}: expected UTF-8 text in {path}, found other bytes") from None
    if not text or "\n" in text:
        raise ConfigError(f"{what}: expected one line in {path}, found {len(text.split())} words")
    return text


def config_hash(config: Struct) -> str:
    """Return a short hash of a configuration's values, equal for equal values."""
    return hashlib.sha256(msgspec.json.encode(config, order="sorted")).hexdigest()[:16]


def _read(path: Path) -> dict[str, Any]:
    value = _read_yaml(path)
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ConfigError(f"{path}: expected a mapping of keys, found {type(value).__name__}")
    return value


def _read_yaml(path: Path) -> Any:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: expected a YAML file, found: {error.strerror}") from None
    if len(raw) > MAX_CONFIG_BYTES:
        raise ConfigError(f"{path}: expected at most {MAX_CONFIG_BYTES} bytes, found {len(raw)}")
    try:
        return yaml.load(raw, Loader=_Loader)  # noqa: S506  a safe loader
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        problem = " ".join(str(error).split())
        raise ConfigError(f"{path}: expected YAML, found: {problem}") from None


def _refuse_impossible(path: str | Path, value: Any, key: str = "") -> None:
    """Raise ConfigError for a number that no key may have: the types alone would let it pass.

    A comparison with NaN is never true, so a limit of NaN, as one of infinity, limits nothing.
    """
    if isinstance(value, dict):
        for name, inner in value.items():
            _refuse_impossible(path, inner, f"{key}.{name}".lstrip("."))
    elif isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{path}: key {key!r}: expected a finite number, given {value}")
    elif isinstance(value, int | float) and value < 0 and key.endswith(_NEVER_NEGATIVE):
        raise ConfigError(f"{path}: key {key!r}: expected 0 or more, given {value}")


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Return the values of `over` put over those of `base`, key by key."""
    merged = dict(base)
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def _explain(
    text: str, parts: Sequence[tuple[str | Path, Any]], merged: Any, kind: type[Any]
) -> str:
    match = _AT_KEY.match(text)
    assert match is not None
    what, key = match["what"], match["key"] or ""
    if unknown := _UNKNOWN.search(what):
        key = f"{key}.{unknown['field']}".lstrip(".")
        what = "expected a known key, found an unknown one"
        if "." not in key and hasattr(kind, "__struct_fields__"):
            what += f" (known: {', '.join(sorted(kind.__struct_fields__))})"
    elif missing := _MISSING.search(what):
        key = f"{key}.{missing['field']}".lstrip(".")
        what = "expected a value, found none"
    elif (own := _OWN.match(what)) and _value_at(merged, f"{key}.{own['key']}") is not None:
        key, what = f"{key}.{own['key']}".lstrip("."), own["what"]
    else:
        what = what[:1].lower() + what[1:].replace("`", "")
        given = _value_at(merged, key)
        if key and given is not None and len(repr(given)) <= GIVEN_MAX:
            what += f", given {given!r}"
    file = next((path for path, part in reversed(parts) if _value_at(part, key) is not None), None)
    where = file or (parts[-1][0] if parts else "configuration")
    return f"{where}: key {key!r}: {what}" if key else f"{where}: {what}"


def _value_at(mapping: Any, key: str) -> Any:
    value = mapping
    for step in re.findall(r"[^.\[\]]+", key):
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value
