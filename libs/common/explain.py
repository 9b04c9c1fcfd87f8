"""Every key of YAML policy files with its value, unit, place and the comment that documents it.

A comment stands behind the value, or in the lines right above the key; a key without one has that
of the mapping around it. What stands first in a file is about the file.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from msgspec import Struct
from yaml.nodes import MappingNode, Node, ScalarNode

_UNITS = (
    ("_ns", "ns"),
    ("_s", "s"),
    ("_days", "d"),
    ("_per_hour", "per hour"),
    ("_e6", "$0.000001"),
    ("_e4", "$0.0001"),
    ("_e2", "0.01 contract"),
    ("_bps", "bps"),
    ("_bytes", "bytes"),
    ("_tokens", "tokens"),
    ("_pp", "percentage points"),
)
SOURCE_KEY = "source"
"""What a mapping says under this key documents the others in it."""
_BOUND = re.compile(r"_(max|min)(?=_|$)")
_COMMENT = re.compile(r"(?:^|\s)#\s?(?P<text>.*)$")


class Explained(Struct, frozen=True, kw_only=True):
    """One key: dotted name, value, unit, where it was set, and what it means."""

    key: str
    value: Any
    unit: str
    source: str
    doc: str


def explain(paths: Sequence[Path]) -> list[Explained]:
    """Return every key of files that are read over each other, a later one winning, sorted."""
    found: dict[str, Explained] = {}
    for path in paths:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if not isinstance(root, MappingNode):
            continue
        for one in _walk(root, "", "", text.splitlines(), path):
            before = found.get(one.key)
            kept = one.doc or (before.doc if before else "")
            found[one.key] = Explained(
                key=one.key, value=one.value, unit=one.unit, source=one.source, doc=kept
            )
    return [found[key] for key in sorted(found)]


def unit_of(key: str) -> str:
    """Return the unit that a key's name ends with, "" if it names none."""
    for part in reversed(key.split(".")):
        bare = _BOUND.sub("", part)
        for suffix, unit in _UNITS:
            if bare.endswith(suffix):
                return unit
    return ""


def _walk(
    node: MappingNode, prefix: str, around: str, lines: list[str], path: Path
) -> Iterator[Explained]:
    named = [value.value for key, value in node.value if key.value == SOURCE_KEY]
    around = named[0] if named else around
    for key_node, value_node in node.value:
        assert isinstance(key_node, ScalarNode), "our files have plain keys"
        key = f"{prefix}.{key_node.value}".lstrip(".")
        line = key_node.start_mark.line
        doc = _doc(lines, line, value_node) or around
        if isinstance(value_node, MappingNode) and value_node.value:
            yield from _walk(value_node, key, doc, lines, path)
            continue
        yield Explained(
            key=key,
            value=_value(value_node),
            unit=unit_of(key),
            source=f"{path.name}:{line + 1}",
            doc=doc,
        )


def _value(node: Node) -> Any:
    return yaml.SafeLoader("").construct_document(node)


def _doc(lines: list[str], line: int, value: Node) -> str:
    """Return the comment behind a key's value, or the block of comments right above the key."""
    last = line if isinstance(value, MappingNode) else value.end_mark.line
    for number in (line, last):
        if number < len(lines) and (behind := _behind(lines[number])):
            return behind
    above: list[str] = []
    number = line - 1
    while number >= 0 and lines[number].lstrip().startswith("#"):
        above.append(lines[number].lstrip().lstrip("#").strip())
        number -= 1
    # The block at a file's very beginning is about the file.
    return "" if number < 0 else " ".join(reversed(above))


def _behind(line: str) -> str:
    """Return the comment of a line that has something before it; quotes may hold a #."""
    bare = re.sub(r"\"[^\"]*\"|'[^']*'", lambda quoted: "x" * len(quoted.group()), line)
    if bare.lstrip().startswith("#"):
        return ""
    found = _COMMENT.search(bare)
    return line[found.start("text") :].strip() if found else ""
