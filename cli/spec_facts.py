"""What an official specification says, as a flat table of short facts, and how two tables differ.

A fact is (subject, part) -> signature: ("Market", "status") -> "required string {3f2a 91bc}". The
values of enumerations are kept as hashes; descriptions, examples and order are no facts.
"""

import hashlib
import re
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

Facts = dict[str, dict[str, str]]
Json = dict[str, Any]

METHODS = ("get", "put", "post", "delete", "patch", "head", "options")
DEPTH_MAX = 24
FACTS_MAX = 100_000
_BOUNDS = ("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern")
_VALUES = re.compile(r"\{([0-9a-f ]*)\}")


class SpecError(Exception):
    """A document that is no specification that we can read; says what was expected."""


class Spec(Struct, frozen=True, kw_only=True):
    """One document: its version, its facts, and the text behind the hashes of its values."""

    version: str
    facts: Facts
    values: dict[str, str] = {}


class Change(Struct, frozen=True, kw_only=True):
    """One difference. `before` or `after` is None where the fact was not there."""

    subject: str
    part: str
    before: str | None
    after: str | None
    new_values: tuple[str, ...] = ()
    gone_values: int = 0


def openapi_spec(document: object) -> Spec:
    """Return the facts of an OpenAPI document. Raises SpecError."""
    reader = _Reader()
    root = _mapping(document, "an OpenAPI document")
    for path, item in _mapping(root.get("paths"), "paths").items():
        shared = _mapping(item, f"paths {path}").get("parameters", [])
        for method in METHODS:
            if method in item:
                reader.operation(root, f"{method.upper()} {path}", item[method], shared)
    for name, schema in _mapping(_components(root).get("schemas", {}), "schemas").items():
        reader.add(f"schema {name}", "", schema, required=False)
    return reader.spec(root)


def asyncapi_spec(document: object) -> Spec:
    """Return the facts of an AsyncAPI document. Raises SpecError."""
    reader = _Reader()
    root = _mapping(document, "an AsyncAPI document")
    messages = _mapping(_components(root).get("messages", {}), "messages")
    for name, channel in _mapping(root.get("channels"), "channels").items():
        subject = f"channel {name}"
        reader.put(subject, "address", str(_mapping(channel, subject).get("address")))
        for key, reference in _mapping(channel.get("messages", {}), subject).items():
            target = _name_of(_mapping(reference, subject).get("$ref", key))
            message = _mapping(messages.get(target, {}), f"message {target}")
            payload = _name_of(_mapping(message.get("payload", {}), target).get("$ref", ""))
            reader.put(subject, f"message {key}", f"{message.get('name')} {payload}".strip())
    for name, schema in _mapping(_components(root).get("schemas", {}), "schemas").items():
        reader.add(f"schema {name}", "", schema, required=False)
    codes = root.get("x-error-codes")
    for code in codes.get("codes", []) if isinstance(codes, dict) else []:
        words = _mapping(code, "x-error-codes")
        reader.put("error codes", str(words.get("code")), reader.values([words.get("name")]))
    return reader.spec(root)


def compare(before: Spec, after: Spec) -> list[Change]:
    """Return every difference; a subject that came or went is one, not each of its parts."""
    changes = []
    for subject in sorted(before.facts.keys() | after.facts.keys()):
        old, new = before.facts.get(subject), after.facts.get(subject)
        if old is None or new is None:
            was, is_now = (None if each is None else "" for each in (old, new))
            changes.append(Change(subject=subject, part="", before=was, after=is_now))
            continue
        for part in sorted(old.keys() | new.keys()):
            if old.get(part) != new.get(part):
                changes.append(_changed(subject, part, old.get(part), new.get(part), after))
    return changes


def words_of(signature: str) -> set[str]:
    """Return the words of a signature, among them the schemas that it refers to."""
    return set(re.findall(r"[A-Za-z0-9_.]+", _VALUES.sub("", signature)))


def _changed(subject: str, part: str, old: str | None, new: str | None, after: Spec) -> Change:
    known, shown = _hashes(old), _hashes(new)
    both = known is not None and shown is not None
    added = sorted(after.values.get(each, each) for each in (shown or set()) - (known or set()))
    return Change(
        subject=subject,
        part=part,
        before=old,
        after=new,
        new_values=tuple(added) if both else (),
        gone_values=len((known or set()) - (shown or set())) if both else 0,
    )


def _hashes(signature: str | None) -> set[str] | None:
    found = _VALUES.search(signature or "")
    return None if found is None else set(found[1].split())


class _Reader:
    """Collect the facts of one document, a bounded number of them."""

    def __init__(self) -> None:
        self._facts: Facts = {}
        self._values: dict[str, str] = {}
        self._count = 0

    def spec(self, root: Json) -> Spec:
        version = str(_mapping(root.get("info"), "info").get("version"))
        return Spec(version=version, facts=self._facts, values=self._values)

    def _count_one(self, subject: str, depth: int = 0) -> None:
        self._count += 1
        if self._count > FACTS_MAX:
            raise SpecError(f"expected at most {FACTS_MAX} facts in one document")
        if depth > DEPTH_MAX:
            raise SpecError(f"{subject}: expected at most {DEPTH_MAX} levels of fields")

    def put(self, subject: str, part: str, signature: str) -> None:
        self._count_one(subject)
        parts = self._facts.setdefault(subject, {})
        # Parts of an `allOf`, and alternatives, may speak of the same field.
        parts[part] = signature if part not in parts else f"{parts[part]} & {signature}"

    def values(self, texts: list[object]) -> str:
        hashed = []
        for text in texts:
            digest = hashlib.sha256(str(text).encode()).hexdigest()[:6]
            self._values[digest] = str(text)
            hashed.append(digest)
        return "{" + " ".join(sorted(hashed)) + "}"

    def operation(self, root: Json, call: str, value: object, shared: object) -> None:
        operation = _mapping(value, call)
        subject = f"operation {operation.get('operationId', call)}"
        self.put(subject, "call", call)
        self.put(subject, "key", "needed" if operation.get("security") else "not needed")
        for each in [*_items(shared, call), *_items(operation.get("parameters", []), call)]:
            parameter = _resolved(root, _mapping(each, call), "parameters")
            name = f"{parameter.get('in')} parameter {parameter.get('name')}"
            self.add(subject, name, parameter.get("schema", {}), bool(parameter.get("required")))
        if "requestBody" in operation:
            body = _mapping(operation["requestBody"], call)
            self.add(subject, "body", _json_of(body, call), bool(body.get("required")))
        for status, answer in _mapping(operation.get("responses", {}), call).items():
            response = _resolved(root, _mapping(answer, call), "responses")
            self.add(subject, f"answer {status}", _json_of(response, call), required=False)

    def add(self, subject: str, part: str, value: object, required: bool, depth: int = 0) -> None:
        """Put a schema's signature, and those of the fields inside of it."""
        self._count_one(subject, depth)
        schema = _mapping(value, f"{subject} {part}")
        signature = ("required " if required else "") + self._signature(schema, subject, depth)
        self.put(subject, part, signature)
        for inner_part, inner, needed in _inside(schema, part, subject):
            self.add(subject, inner_part, inner, needed, depth + 1)

    def _signature(self, schema: Json, subject: str, depth: int) -> str:
        self._count_one(subject, depth)
        if "$ref" in schema:
            return _name_of(schema["$ref"])
        kind = schema.get("type", "")
        words = ["|".join(map(str, kind)) if isinstance(kind, list) else str(kind)]
        words.append(str(schema.get("format", "")))
        words.append("or null" if schema.get("nullable") is True else "")
        words += [f"{bound}={schema[bound]}" for bound in _BOUNDS if bound in schema]
        if "enum" in schema or "const" in schema:
            given = schema.get("enum", [schema.get("const")])
            words.append(self.values(_items(given, subject)))
        for word in ("allOf", "oneOf", "anyOf"):
            several = [
                self._signature(_mapping(each, subject), subject, depth + 1)
                for each in _items(schema.get(word, []), subject)
            ]
            words.append(f"{word}({', '.join(several)})" if several else "")
        if "items" in schema:
            items = self._signature(_mapping(schema["items"], subject), subject, depth + 1)
            words.append(f"of {items}")
        if isinstance(schema.get("additionalProperties"), dict):
            rest = self._signature(schema["additionalProperties"], subject, depth + 1)
            words.append(f"map of {rest}")
        return " ".join(word for word in words if word) or "anything"


def _inside(schema: Json, part: str, subject: str) -> Iterator[tuple[str, object, bool]]:
    """Give the fields of a schema that are written out in it, with their names."""
    needed = _items(schema.get("required", []), subject)
    for name, inner in _mapping(schema.get("properties", {}), subject).items():
        yield f"{part}.{name}" if part else str(name), inner, name in needed
    for word in ("allOf", "oneOf", "anyOf"):
        for index, each in enumerate(_items(schema.get(word, []), subject)):
            if "properties" in _mapping(each, subject):
                yield part if word == "allOf" else f"{part}|{index}", each, False
    items = schema.get("items")
    if isinstance(items, dict) and "$ref" not in items:
        yield f"{part}[]", items, False


def _resolved(root: Json, value: Json, kind: str) -> Json:
    if "$ref" not in value:
        return value
    known = _mapping(_components(root).get(kind, {}), kind)
    return _mapping(known.get(_name_of(value["$ref"]), {}), f"{kind} {value['$ref']}")


def _json_of(holder: Json, call: str) -> Json:
    content = _mapping(holder.get("content", {}), call)
    return _mapping(_mapping(content.get("application/json", {}), call).get("schema", {}), call)


def _components(root: Json) -> Json:
    return _mapping(root.get("components", {}), "components")


def _name_of(reference: object) -> str:
    return str(reference).rsplit("/", 1)[-1]


def _mapping(value: object, where: str) -> Json:
    if not isinstance(value, dict):
        raise SpecError(f"{where}: expected a mapping, got {type(value).__name__}")
    return value


def _items(value: object, where: str) -> list[object]:
    if not isinstance(value, list):
        raise SpecError(f"{where}: expected a list, got {type(value).__name__}")
    return value
